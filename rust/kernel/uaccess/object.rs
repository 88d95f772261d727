// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Structures shared with user space that may grow.
//!
//! A program built against an older or a newer header has a shorter or a longer structure than
//! the kernel. What is missing reads as zero; what is too much has to be zero.
//!
//! C header: [`include/linux/uaccess.h`](srctree/include/linux/uaccess.h) (`copy_struct_from_user`)

use crate::{
    alloc::allocator::KVmalloc,
    prelude::*,
    task::{
        fatal_signal_pending,
        might_sleep, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};
use core::{
    mem::{
        size_of,
        MaybeUninit, //
    },
    slice, //
};

mod panthor;

/// A structure that is shared with user space and may grow at its end.
///
/// # Safety
///
/// Every bit pattern is a value of the type, and it has no padding.
pub unsafe trait UserObject: Copy + 'static {
    /// The structure's size, in bytes, when it entered the interface: user space may not have a
    /// smaller one.
    const MIN_SIZE: usize;
}

fn bytes_of<T: UserObject>(object: &T) -> &[u8] {
    // SAFETY: `T` has no padding, so that each of its bytes is initialised.
    unsafe { slice::from_raw_parts(core::ptr::from_ref(object).cast(), size_of::<T>()) }
}

/// Ends loops whose length user space decides when it is being killed, and lets others run.
///
/// # Errors
///
/// `EINTR` if the task is about to be killed.
fn still_alive() -> Result {
    might_sleep();
    if fatal_signal_pending() {
        return Err(EINTR);
    }
    Ok(())
}

/// Reads one object of `size` bytes from user space.
///
/// # Errors
///
/// `EINVAL` if `size` is below [`UserObject::MIN_SIZE`], `E2BIG` if bytes that the kernel does not
/// know are not zero, `EFAULT` if the memory cannot be read, `EINTR` if the task is being killed.
pub fn read<T: UserObject>(address: u64, size: usize) -> Result<T> {
    if size < T::MIN_SIZE {
        return Err(EINVAL);
    }

    let mut object = MaybeUninit::<T>::zeroed();
    // SAFETY: All of the object's bytes are initialised, with zeroes, and it is not used otherwise
    // while the slice lives.
    let bytes =
        unsafe { slice::from_raw_parts_mut(object.as_mut_ptr().cast::<u8>(), size_of::<T>()) };

    let mut reader = UserSlice::new(UserPtr::from_addr(address as usize), size).reader();
    reader.read_slice(&mut bytes[..size.min(size_of::<T>())])?;

    let mut rest = [0u8; 64];
    while !reader.is_empty() {
        still_alive()?;
        let part = &mut rest[..reader.len().min(64)];
        reader.read_slice(part)?;
        if part.iter().any(|byte| *byte != 0) {
            return Err(E2BIG);
        }
    }

    // SAFETY: All bytes are initialised, and every bit pattern is a value of the type.
    Ok(unsafe { object.assume_init() })
}

/// Writes `object` to a user structure of `size` bytes and fills what is left with zeroes.
///
/// # Errors
///
/// `EINVAL` if `size` is below [`UserObject::MIN_SIZE`], `EFAULT` if the memory cannot be written,
/// `EINTR` if the task is being killed.
pub fn write<T: UserObject>(address: u64, size: usize, object: &T) -> Result {
    if size < T::MIN_SIZE {
        return Err(EINVAL);
    }

    let bytes = bytes_of(object);
    let mut writer = UserSlice::new(UserPtr::from_addr(address as usize), size).writer();
    writer.write_slice(&bytes[..size.min(bytes.len())])?;

    let zeroes = [0u8; 64];
    while !writer.is_empty() {
        still_alive()?;
        writer.write_slice(&zeroes[..writer.len().min(64)])?;
    }

    Ok(())
}

/// Reads an array of `count` objects, each `stride` bytes after the one before it.
///
/// # Errors
///
/// As [`read`]; `ENOMEM` if there is no memory for the array, which is charged to the caller. An empty array reads nothing, so
/// that its stride and address do not matter.
pub fn read_array<T: UserObject>(
    address: u64,
    stride: u32,
    count: u32,
) -> Result<Vec<T, KVmalloc>> {
    let mut array = Vec::<T, KVmalloc>::new();

    if count != 0 && (stride as usize) < T::MIN_SIZE {
        return Err(EINVAL);
    }

    // The array grows as it is read: a count that user space has no memory for ends with `EFAULT`
    // instead of an allocation of its size.
    for index in 0..u64::from(count) {
        still_alive()?;
        let at = index
            .checked_mul(stride.into())
            .and_then(|offset| address.checked_add(offset))
            .ok_or(EFAULT)?;
        array.push(
            read(at, stride as usize)?,
            GFP_KERNEL_ACCOUNT | __GFP_NOWARN,
        )?;
    }

    Ok(array)
}
