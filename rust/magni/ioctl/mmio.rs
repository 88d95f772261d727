// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Register pages in a file's address space.

use crate::{
    driver::{
        DrmDevice,
        DrmFile, //
    },
    sched::Scheduler, //
};
use kernel::{
    drm::Registered,
    prelude::*,
    sync::Arc,
    uapi, //
};

/// `SET_USER_MMIO_OFFSET`: chooses where the file's register pages start.
pub(crate) fn set_offset(
    _drm: &DrmDevice<Registered>,
    _sched: &Arc<Scheduler>,
    args: &mut uapi::drm_panthor_set_user_mmio_offset,
    file: &DrmFile,
) -> Result<u32> {
    file.inner().set_mmio_base(args.offset)?;

    Ok(0)
}
