// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Queries.

use super::timestamp;
use crate::{
    driver::{
        DrmDevice,
        DrmFile, //
    },
    sched::Scheduler, //
};
use kernel::{
    capability::{
        capable,
        Capability, //
    },
    drm::{
        master::is_current_master,
        Registered, //
    },
    prelude::*,
    sizes::{
        SZ_2M,
        SZ_4K, //
    },
    sync::Arc,
    uaccess::object::{
        self,
        UserObject, //
    },
    uapi, //
};

const LOW: u32 = uapi::drm_panthor_group_priority_PANTHOR_GROUP_PRIORITY_LOW;
const MEDIUM: u32 = uapi::drm_panthor_group_priority_PANTHOR_GROUP_PRIORITY_MEDIUM;
const HIGH: u32 = uapi::drm_panthor_group_priority_PANTHOR_GROUP_PRIORITY_HIGH;
const REALTIME: u32 = uapi::drm_panthor_group_priority_PANTHOR_GROUP_PRIORITY_REALTIME;

/// Whether the caller may make groups above medium priority.
pub(crate) fn may_raise_priority(file: &DrmFile) -> bool {
    capable(Capability::SysNice) || is_current_master(file)
}

/// `DEV_QUERY`: what the GPU, the firmware and the caller can do.
pub(crate) fn dev_query(
    _drm: &DrmDevice<Registered>,
    sched: &Arc<Scheduler>,
    args: &mut uapi::drm_panthor_dev_query,
    file: &DrmFile,
) -> Result<u32> {
    let device = sched.device();
    match args.type_ {
        uapi::drm_panthor_dev_query_type_DRM_PANTHOR_DEV_QUERY_GPU_INFO => {
            answer(args, |_| Ok(device.info.0))
        }
        uapi::drm_panthor_dev_query_type_DRM_PANTHOR_DEV_QUERY_CSIF_INFO => {
            answer(args, |_| Ok(*device.fw.csif_info()))
        }
        uapi::drm_panthor_dev_query_type_DRM_PANTHOR_DEV_QUERY_TIMESTAMP_INFO => {
            answer(args, |args| {
                let asked = object::read(args.pointer, args.size as usize)?;
                timestamp::read(sched.device(), &asked)
            })
        }
        uapi::drm_panthor_dev_query_type_DRM_PANTHOR_DEV_QUERY_GROUP_PRIORITIES_INFO => {
            answer(args, |_| Ok(priorities(file)))
        }
        uapi::drm_panthor_dev_query_type_DRM_PANTHOR_DEV_QUERY_MMU_INFO => answer(args, |_| {
            Ok(uapi::drm_panthor_mmu_info {
                page_size_bitmap: (SZ_4K | SZ_2M) as u64,
            })
        }),
        _ => Err(EINVAL),
    }
}

/// Without a pointer tells the structure's size, with one fills the structure.
fn answer<T: UserObject>(
    args: &mut uapi::drm_panthor_dev_query,
    object: impl FnOnce(&uapi::drm_panthor_dev_query) -> Result<T>,
) -> Result<u32> {
    if args.pointer == 0 {
        args.size = size_of::<T>() as u32;
        return Ok(0);
    }

    object::write(args.pointer, args.size as usize, &object(args)?)?;

    Ok(0)
}

fn priorities(file: &DrmFile) -> uapi::drm_panthor_group_priorities_info {
    let mut mask = 1u8 << LOW | 1 << MEDIUM;

    if may_raise_priority(file) {
        mask |= 1 << HIGH | 1 << REALTIME;
    }

    uapi::drm_panthor_group_priorities_info {
        allowed_mask: mask,
        pad: [0; 3],
    }
}
