// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Who has a DRM file open.

use crate::drm::{
    self,
    file::DriverFile,
    syncobj::raw_file, //
};

/// The number of `file`'s client, for traces and for procfs: unique, and never used again.
pub fn client_id<T: DriverFile>(file: &drm::File<T>) -> u64 {
    // SAFETY: The file is open; the field is set when it is opened and never changed.
    unsafe { (*raw_file(file)).client_id }
}
