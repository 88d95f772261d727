// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DRM masters.
//!
//! C header: [`include/drm/drm_auth.h`](srctree/include/drm/drm_auth.h)

use crate::{
    bindings,
    drm::{
        file::DriverFile,
        File, //
    },
};

/// Whether `file` is its device's current master.
pub fn is_current_master<T: DriverFile>(file: &File<T>) -> bool {
    // `File` is a transparent wrapper of a `struct drm_file`.
    let raw: *mut bindings::drm_file = core::ptr::from_ref(file).cast_mut().cast();

    // SAFETY: The file is open for as long as the reference lives.
    unsafe { bindings::drm_is_current_master(raw) }
}
