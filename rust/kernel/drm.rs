// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DRM subsystem abstractions: upstream's, and those it lacks.

/// Upstream's own sources, where the installed `kernel` crate was built without (all of) them.
#[cfg(not(MAGNI_KERNEL_HAS_DRM))]
#[rustfmt::skip]
#[path = "kdrm/mod.rs"]
mod upstream;
#[cfg(not(MAGNI_KERNEL_HAS_DRM))]
pub use self::upstream::*;

#[cfg(MAGNI_KERNEL_HAS_DRM)]
pub use rk::drm::*;

pub mod client;
pub mod exec;
pub mod fdinfo;
pub mod gem_peek;
pub mod gem_sync;
pub mod gem_table;
pub mod gpuvm_ext;
pub mod master;
pub mod registration;
pub mod sched;
pub mod syncobj;
pub mod table;
#[cfg(CONFIG_KUNIT = "y")]
mod test_driver;
