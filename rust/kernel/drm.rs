// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DRM subsystem abstractions: upstream's, and those it lacks.

/// Upstream's own sources, where the installed `kernel` crate was built without them.
#[cfg(not(CONFIG_DRM = "y"))]
#[rustfmt::skip]
#[path = "kdrm/mod.rs"]
mod upstream;
#[cfg(not(CONFIG_DRM = "y"))]
pub use self::upstream::*;

#[cfg(CONFIG_DRM = "y")]
pub use rk::drm::*;

pub mod client;
pub mod exec;
pub mod gpuvm_ext;
pub mod master;
pub mod sched;
pub mod syncobj;
pub mod table;
