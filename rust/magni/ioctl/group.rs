// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Groups.

use crate::{
    device::Device,
    driver::{
        DrmDevice,
        DrmFile, //
    },
};
use kernel::{
    drm::Registered,
    prelude::*,
    sync::Arc,
    uapi, //
};

/// `GROUP_CREATE`.
pub(crate) fn create(
    _drm: &DrmDevice<Registered>,
    _device: &Arc<Device>,
    _args: &mut uapi::drm_panthor_group_create,
    _file: &DrmFile,
) -> Result<u32> {
    Err(EOPNOTSUPP)
}

/// `GROUP_DESTROY`.
pub(crate) fn destroy(
    _drm: &DrmDevice<Registered>,
    _device: &Arc<Device>,
    _args: &mut uapi::drm_panthor_group_destroy,
    _file: &DrmFile,
) -> Result<u32> {
    Err(EOPNOTSUPP)
}

/// `GROUP_SUBMIT`.
pub(crate) fn submit(
    _drm: &DrmDevice<Registered>,
    _device: &Arc<Device>,
    _args: &mut uapi::drm_panthor_group_submit,
    _file: &DrmFile,
) -> Result<u32> {
    Err(EOPNOTSUPP)
}

/// `GROUP_GET_STATE`.
pub(crate) fn get_state(
    _drm: &DrmDevice<Registered>,
    _device: &Arc<Device>,
    _args: &mut uapi::drm_panthor_group_get_state,
    _file: &DrmFile,
) -> Result<u32> {
    Err(EOPNOTSUPP)
}
