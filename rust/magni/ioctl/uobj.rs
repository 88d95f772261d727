// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The structures that user space passes by pointer, and arrays of them.

use super::few::Few;
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

/// As [`get_array`], for an array that hardly ever has more than one item.
///
/// # Errors
///
/// Those of [`get_array`].
pub(crate) fn get_few<T: UserObject>(array: &uapi::drm_panthor_obj_array) -> Result<Few<T>> {
    let Some(others) = array.count.checked_sub(1) else {
        return Ok(Few::new());
    };
    let first = object::read(array.array, array.stride as usize)?;
    let rest = match others {
        0 => KVVec::new(),
        _ => {
            let next = array.array.checked_add(array.stride.into());
            object::read_array(next.ok_or(EFAULT)?, array.stride, others)?
        }
    };
    Ok(Few::from_parts(first, rest))
}
