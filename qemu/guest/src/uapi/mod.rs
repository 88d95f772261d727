// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Structures and constants of the kernel's uAPI, written from its headers.
//!
//! Names are those of the headers without their `DRM_`/`drm_` prefixes. Each structure is `Pod`, so it has no
//! hidden padding and any content may be sent.

pub mod drm;
pub mod panthor;
