// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What upstream's [`gpuvm`](crate::drm::gpuvm) leaves out.

use crate::{
    bindings,
    drm::gpuvm::{
        DriverGpuVm,
        GpuVa, //
    },
    types::Opaque, //
};

/// The layout of [`GpuVa`], which is `repr(C)`.
#[repr(C)]
struct Layout<D> {
    inner: Opaque<bindings::drm_gpuva>,
    data: D,
}

/// Access to a mapping's driver data while it is still mapped.
pub trait GpuVaExt<T: DriverGpuVm> {
    /// The driver data of this mapping.
    fn data(&self) -> &T::VaData;
}

impl<T: DriverGpuVm> GpuVaExt<T> for GpuVa<T> {
    fn data(&self) -> &T::VaData {
        let layout: *const Layout<T::VaData> = core::ptr::from_ref(self).cast();

        // SAFETY: `GpuVa` is `repr(C)` and has the fields of `Layout`, in that order; the data is
        // initialised for as long as a reference to the mapping exists. It is never changed.
        unsafe { &(*layout).data }
    }
}
