// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The structures that user space passes by pointer, and arrays of them.

use kernel::{
    alloc::allocator::KVmalloc,
    prelude::*,
    uaccess::object::{
        self,
        UserObject, //
    },
    uapi, //
};

/// Reads an array of structures.
///
/// # Errors
///
/// `EINVAL` if the stride is too small, `E2BIG` if there is something in a structure that the
/// kernel does not know, `EFAULT` if it cannot be read, `ENOMEM`.
pub(crate) fn get_array<T: UserObject>(
    array: &uapi::drm_panthor_obj_array,
) -> Result<Vec<T, KVmalloc>> {
    object::read_array(array.array, array.stride, array.count)
}
