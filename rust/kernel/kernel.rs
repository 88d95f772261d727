// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The `kernel` crate as the driver sees it.
//!
//! Everything of the installed kernel's own `kernel` crate, and, at the paths they would have
//! upstream, the abstractions that it lacks. With `CONFIG_DRM=m` the installed crate has no `drm`
//! module, and without an in-tree user not all of it; [`drm`] then compiles the installed kernel's
//! own sources for it.

// The kernel's own crate may have a part of `drm`; the modules of this crate win.
#![cfg_attr(
    all(CONFIG_DRM = "y", not(MAGNI_KERNEL_HAS_DRM)),
    allow(ambiguous_glob_reexports, unreachable_pub)
)]

extern crate kernel as rk;

extern crate self as kernel;

pub use rk::*;

pub use ::bindings;

// This is the name that `scripts/build-module` gives it where it is compiled into this crate.
#[cfg(MAGNI_KERNEL_HAS_DRM)]
pub use rk::declare_drm_ioctls as declare_ioctls;

pub mod capability;
pub mod clocksource;
pub mod dma;
pub mod dma_fence;
pub mod dma_resv;
pub mod drm;
pub mod iommu;
pub mod irq;
pub mod magni_trace;
pub mod module_ref;
pub mod pm;
pub mod prelude;
pub mod sync;
pub mod sysfs;
pub mod task;
#[cfg(CONFIG_KUNIT = "y")]
mod test_device;
pub mod timekeeping;
pub mod tracepoint;
pub mod uaccess;
pub mod workqueue;

/// What the log lines of this crate begin with.
const __LOG_PREFIX: &[u8] = b"magni\0";

/// The owner of what the tests in upstream's sources register: no module, as in the kernel itself.
#[cfg(all(CONFIG_KUNIT, not(MAGNI_KERNEL_HAS_DRM)))]
struct LocalModule;

#[cfg(all(CONFIG_KUNIT, not(MAGNI_KERNEL_HAS_DRM)))]
impl ModuleMetadata for LocalModule {
    const NAME: &'static str::CStr = c"magni_kernel";
    // SAFETY: A null pointer means that there is no module.
    const THIS_MODULE: ThisModule = unsafe { ThisModule::from_ptr(core::ptr::null_mut()) };
}
