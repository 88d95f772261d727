// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Buffers.

use crate::{
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
        Registered, //
    },
    prelude::*,
    sync::Arc,
    uapi, //
};

const NO_MMAP: u32 = uapi::drm_panthor_bo_flags_DRM_PANTHOR_BO_NO_MMAP;
const WB_MMAP: u32 = uapi::drm_panthor_bo_flags_DRM_PANTHOR_BO_WB_MMAP;

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
    _drm: &DrmDevice<Registered>,
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
    if args.pad != 0 {
        return Err(EINVAL);
    }
    let bo = Bo::lookup_handle(file, args.handle)?;
    // Foreign buffers cannot be imported.
    args.extra_flags = 0;
    args.create_flags = bo.flags();

    Ok(0)
}

/// `BO_SET_LABEL`.
///
/// # Errors
///
/// `EOPNOTSUPP`, always.
pub(crate) fn set_label(
    _drm: &DrmDevice<Registered>,
    _sched: &Arc<Scheduler>,
    _args: &mut uapi::drm_panthor_bo_set_label,
    _file: &DrmFile,
) -> Result<u32> {
    Err(EOPNOTSUPP)
}

/// `BO_SYNC`.
///
/// # Errors
///
/// `EOPNOTSUPP`, always.
pub(crate) fn sync(
    _drm: &DrmDevice<Registered>,
    _sched: &Arc<Scheduler>,
    _args: &mut uapi::drm_panthor_bo_sync,
    _file: &DrmFile,
) -> Result<u32> {
    Err(EOPNOTSUPP)
}
