// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The `kernel` crate as the driver sees it.
//!
//! Everything of the installed kernel's own `kernel` crate, and, at the paths they would have
//! upstream, the abstractions that it lacks. With `CONFIG_DRM=m` the installed crate has no `drm`
//! module; [`drm`] then compiles the installed kernel's own sources for it.

extern crate kernel as rk;

extern crate self as kernel;

pub use rk::*;

pub use ::bindings;

pub mod capability;
pub mod clocksource;
pub mod dma;
pub mod dma_fence;
pub mod drm;
pub mod iommu;
pub mod module_ref;
pub mod prelude;
pub mod sync;
pub mod task;
pub mod uaccess;
pub mod workqueue;

/// What the log lines of this crate begin with.
const __LOG_PREFIX: &[u8] = b"magni\0";

/// The owner of what the tests in upstream's sources register: no module, as in the kernel itself.
#[cfg(all(CONFIG_KUNIT, not(CONFIG_DRM = "y")))]
struct LocalModule;

#[cfg(all(CONFIG_KUNIT, not(CONFIG_DRM = "y")))]
impl ModuleMetadata for LocalModule {
    const NAME: &'static str::CStr = c"magni_kernel";
    // SAFETY: A null pointer means that there is no module.
    const THIS_MODULE: ThisModule = unsafe { ThisModule::from_ptr(core::ptr::null_mut()) };
}
