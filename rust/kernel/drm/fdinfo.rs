// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What an open file says about itself in `/proc/<pid>/fdinfo/<fd>`.
//!
//! C header: [`include/drm/drm_file.h`](srctree/include/drm/drm_file.h); the keys:
//! `Documentation/gpu/drm-usage-stats.rst`

use crate::{
    bindings,
    fmt,
    prelude::*, //
};
use core::{
    ffi::c_void,
    marker::PhantomData,
    ptr, //
};

/// The text about one file, while it is written.
///
/// # Invariants
///
/// Both pointers are valid: the printer is used by nobody else, the file is open.
pub struct FdInfo<'a> {
    printer: *mut bindings::drm_printer,
    file: *mut bindings::drm_file,
    _text: PhantomData<&'a mut ()>,
}

impl FdInfo<'_> {
    /// # Safety
    ///
    /// The pointers are those that `show_fdinfo` of a driver was called with, and the result does
    /// not outlive that call.
    pub(super) unsafe fn new(
        printer: *mut bindings::drm_printer,
        file: *mut bindings::drm_file,
    ) -> Self {
        // INVARIANT: By this function's contract.
        Self {
            printer,
            file,
            _text: PhantomData,
        }
    }

    /// Adds text: whole lines, each a key, a colon, a tab and a value.
    pub fn print(&mut self, text: fmt::Arguments<'_>) {
        // SAFETY: By the type invariant; `%pA` takes a pointer to `Arguments`.
        unsafe {
            bindings::drm_printf(
                self.printer,
                c"%pA".as_char_ptr(),
                ptr::from_ref(&text).cast::<c_void>(),
            );
        }
    }

    /// Adds a line `<prefix>-<stat>-<region>` with a size in bytes, in the largest unit that it is
    /// a multiple of.
    pub fn print_size(&mut self, prefix: &CStr, stat: &CStr, region: &CStr, size: u64) {
        // SAFETY: By the type invariant; the strings end with NUL.
        unsafe {
            bindings::drm_fdinfo_print_size(
                self.printer,
                prefix.as_char_ptr(),
                stat.as_char_ptr(),
                region.as_char_ptr(),
                size,
            );
        }
    }

    /// Adds the lines on the memory of the file's buffers.
    ///
    /// How much of it is resident is only known if buffers report it: see
    /// [`gem_table`](super::gem_table).
    pub fn print_memory_stats(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::drm_show_memory_stats(self.printer, self.file) };
    }
}
