// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tiler heaps, which this driver does not have yet.

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

/// `TILER_HEAP_CREATE`.
///
/// # Errors
///
/// `EOPNOTSUPP`, always.
pub(crate) fn create(
    _drm: &DrmDevice<Registered>,
    _sched: &Arc<Scheduler>,
    _args: &mut uapi::drm_panthor_tiler_heap_create,
    _file: &DrmFile,
) -> Result<u32> {
    Err(EOPNOTSUPP)
}

/// `TILER_HEAP_DESTROY`.
///
/// # Errors
///
/// `EOPNOTSUPP`, always.
pub(crate) fn destroy(
    _drm: &DrmDevice<Registered>,
    _sched: &Arc<Scheduler>,
    _args: &mut uapi::drm_panthor_tiler_heap_destroy,
    _file: &DrmFile,
) -> Result<u32> {
    Err(EOPNOTSUPP)
}
