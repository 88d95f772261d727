// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The kernel's prelude, for the sources that are compiled into this crate as well.

pub use rk::prelude::*;

/// Access to the C object behind a kernel type whose own accessor is private to its crate.
///
/// Upstream's sources in [`drm`](crate::drm) call `as_raw` as members of that crate; here they
/// are not, and this trait, in scope through the prelude, answers instead.
pub trait AsRawDevice {
    /// Returns the C `struct device`, valid as long as `self`.
    fn as_raw(&self) -> *mut crate::bindings::device;
}

impl<Ctx: rk::device::DeviceContext> AsRawDevice for rk::device::Device<Ctx> {
    fn as_raw(&self) -> *mut crate::bindings::device {
        // `Device` is a transparent wrapper of an `Opaque<struct device>`, which may be mutated
        // behind a shared reference.
        core::ptr::from_ref(self).cast_mut().cast()
    }
}
