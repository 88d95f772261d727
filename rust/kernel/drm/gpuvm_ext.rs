// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What upstream's [`gpuvm`](crate::drm::gpuvm) leaves out.

use crate::{
    bindings,
    drm::gpuvm::{
        DriverGpuVm,
        GpuVa,
        UniqueRefGpuVm, //
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

        // Should upstream add a field, this does not compile any more.
        const {
            assert!(size_of::<GpuVa<T>>() == size_of::<Layout<T::VaData>>());
            assert!(align_of::<GpuVa<T>>() == align_of::<Layout<T::VaData>>());
        }

        // SAFETY: `GpuVa` is `repr(C)` and has the fields of `Layout`, in that order; the data is
        // initialised for as long as a reference to the mapping exists. It is never changed.
        unsafe { &(*layout).data }
    }
}

/// Looking for mappings.
pub trait UniqueRefGpuVmExt<T: DriverGpuVm> {
    /// The first mapping that has something in common with `len` bytes from `address` on.
    fn find(&self, address: u64, len: u64) -> Option<&GpuVa<T>>;
}

impl<T: DriverGpuVm> UniqueRefGpuVmExt<T> for UniqueRefGpuVm<T> {
    fn find(&self, address: u64, len: u64) -> Option<&GpuVa<T>> {
        // SAFETY: The GPUVM is initialised. Its mappings are changed by whoever has this one
        // reference exclusively, which nobody does as long as `self` is borrowed.
        let va = unsafe { bindings::drm_gpuva_find_first(self.as_raw(), address, len) };
        // The range that is reserved for the kernel has a node which is none of the driver's.
        //
        // SAFETY: Only the address of the field is computed.
        let reserved = unsafe { &raw mut (*self.as_raw()).kernel_alloc_node };
        // SAFETY: As above the mapping stays while `self` is borrowed, and it is part of a
        // `GpuVa`, since nothing else is put into the tree.
        (!va.is_null() && va != reserved).then(|| unsafe { GpuVa::from_raw(va) })
    }
}
