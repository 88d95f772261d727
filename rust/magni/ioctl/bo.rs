// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Buffers.

use super::uobj::get_array;
use crate::{
    device::BoundDevice,
    driver::{
        DrmDevice,
        DrmFile, //
    },
    gem::{
        self,
        Bo, //
    },
    sched::Scheduler, //
};
use kernel::{
    drm::{
        gem::BaseObject,
        gem_sync::sync_range,
        Registered, //
    },
    prelude::*,
    str::CString,
    sync::Arc,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
    uapi, //
};

const NO_MMAP: u32 = uapi::drm_panthor_bo_flags_DRM_PANTHOR_BO_NO_MMAP;
const WB_MMAP: u32 = uapi::drm_panthor_bo_flags_DRM_PANTHOR_BO_WB_MMAP;

const FLUSH: u32 = uapi::drm_panthor_bo_sync_op_type_DRM_PANTHOR_BO_SYNC_CPU_CACHE_FLUSH;
const FLUSH_AND_INVALIDATE: u32 =
    uapi::drm_panthor_bo_sync_op_type_DRM_PANTHOR_BO_SYNC_CPU_CACHE_FLUSH_AND_INVALIDATE;

/// The most that a label may have, in bytes, its end included.
const LABEL_BYTES: usize = 4096;

/// `BO_CREATE`.
pub(crate) fn create(
    drm: &DrmDevice<Registered>,
    sched: &Arc<Scheduler>,
    args: &mut uapi::drm_panthor_bo_create,
    file: &DrmFile,
) -> Result<u32> {
    let device = sched.device();
    let both = NO_MMAP | WB_MMAP;
    if args.size == 0 || args.pad != 0 || args.flags & !both != 0 || args.flags & both == both {
        return Err(EINVAL);
    }

    let vm = match args.exclusive_vm_id {
        0 => None,
        id => Some(file.inner().vms().get(id)?),
    };
    let cached = device.mmu.coherent() || args.flags & WB_MMAP != 0;
    let bo = gem::new_bo(
        drm,
        args.size,
        args.flags,
        cached,
        vm.as_ref().map(|vm| vm.root()),
    )?;

    args.handle = bo.create_handle(file)?;
    args.size = bo.size() as u64;

    Ok(0)
}

/// `BO_MMAP_OFFSET`.
pub(crate) fn mmap_offset(
    drm: &DrmDevice<Registered>,
    _sched: &Arc<Scheduler>,
    args: &mut uapi::drm_panthor_bo_mmap_offset,
    file: &DrmFile,
) -> Result<u32> {
    if args.pad != 0 {
        return Err(EINVAL);
    }
    let bo = Bo::lookup_handle(file, args.handle)?;
    if bo.flags() & NO_MMAP != 0 {
        return Err(EPERM);
    }
    gem::prepare_cpu_mapping(drm.into(), &bo)?;
    args.offset = bo.create_mmap_offset()?;

    Ok(0)
}

/// `BO_QUERY_INFO`.
pub(crate) fn query_info(
    _drm: &DrmDevice<Registered>,
    _sched: &Arc<Scheduler>,
    args: &mut uapi::drm_panthor_bo_query_info,
    file: &DrmFile,
) -> Result<u32> {
    let bo = Bo::lookup_handle(file, args.handle)?;

    // Foreign buffers cannot be imported.
    args.extra_flags = 0;
    args.create_flags = bo.flags();
    args.pad = 0;

    Ok(0)
}

/// `BO_SET_LABEL`.
pub(crate) fn set_label(
    _drm: &DrmDevice<Registered>,
    _sched: &Arc<Scheduler>,
    args: &mut uapi::drm_panthor_bo_set_label,
    file: &DrmFile,
) -> Result<u32> {
    if args.pad != 0 {
        return Err(EINVAL);
    }
    let bo = Bo::lookup_handle(file, args.handle)?;
    let label = match args.label {
        0 => None,
        address => Some(KBox::new(read_label(address)?, GFP_KERNEL)?),
    };
    bo.set_label(label);

    Ok(0)
}

/// Reads a label.
///
/// # Errors
///
/// `E2BIG` if it does not end within [`LABEL_BYTES`], `EFAULT` if it cannot be read.
fn read_label(address: u64) -> Result<CString> {
    // A byte more than a label may have, to see whether it has.
    let mut buffer = KVec::from_elem(0, LABEL_BYTES + 1, GFP_KERNEL)?;
    let label = UserSlice::new(UserPtr::from_addr(address as usize), buffer.len())
        .reader()
        .strcpy_into_buf(&mut buffer)?;

    if label.to_bytes_with_nul().len() > LABEL_BYTES {
        return Err(E2BIG);
    }

    Ok(CString::try_from(label)?)
}

/// `BO_SYNC`: CPU cache maintenance.
///
/// # Errors
///
/// Of the first operation that fails; those before it are done.
pub(crate) fn sync(
    drm: &DrmDevice<Registered>,
    _sched: &Arc<Scheduler>,
    args: &mut uapi::drm_panthor_bo_sync,
    file: &DrmFile,
) -> Result<u32> {
    let cx = BoundDevice::from(drm);

    for op in &get_array::<uapi::drm_panthor_bo_sync_op>(&args.ops)? {
        let bo = Bo::lookup_handle(file, op.handle)?;
        let end = op.offset.checked_add(op.size).ok_or(EINVAL)?;
        if end > bo.size() as u64 {
            return Err(EINVAL);
        }
        let invalidate = match op.type_ {
            FLUSH => false,
            FLUSH_AND_INVALIDATE => true,
            _ => return Err(EINVAL),
        };

        // What is not mapped cached is never in a cache.
        if bo.is_cached() && op.size != 0 {
            sync_range(&bo, cx.dev, op.offset..end, invalidate)?;
        }
    }

    Ok(0)
}
