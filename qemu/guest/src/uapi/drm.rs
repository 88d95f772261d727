// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The parts of `drm.h` and `sync_file.h` that a render client needs.

use bytemuck::{Pod, Zeroable};

use crate::ioctl::{request, Dir, Ioctl, ReadOnlyIoctl};

/// Implements [`Ioctl`] for a core DRM ioctl.
macro_rules! drm_ioctl {
    ($type:ty, $dir:ident, $nr:expr) => {
        impl Ioctl for $type {
            const REQUEST: u64 = request(Dir::$dir, b'd', $nr, size_of::<$type>());
        }
    };
}

/// Driver identification (`struct drm_version`); the kernel writes through its pointers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Version {
    /// Major version.
    pub version_major: i32,
    /// Minor version.
    pub version_minor: i32,
    /// Patch level.
    pub version_patchlevel: i32,
    /// Alignment.
    pub pad: u32,
    /// In: bytes at `name`; out: length of the name.
    pub name_len: u64,
    /// User pointer.
    pub name: u64,
    /// In: bytes at `date`; out: length of the date.
    pub date_len: u64,
    /// User pointer.
    pub date: u64,
    /// In: bytes at `desc`; out: length of the description.
    pub desc_len: u64,
    /// User pointer.
    pub desc: u64,
}
drm_ioctl!(Version, ReadWrite, 0x00);

/// `struct drm_gem_close`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct GemClose {
    /// Handle to close.
    pub handle: u32,
    /// Must be zero.
    pub pad: u32,
}
drm_ioctl!(GemClose, Write, 0x09);

/// `struct drm_get_cap`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct GetCap {
    /// One of `CAP_*`.
    pub capability: u64,
    /// Returned value.
    pub value: u64,
}
drm_ioctl!(GetCap, ReadWrite, 0x0c);

/// Bit mask of PRIME import (1) and export (2).
pub const CAP_PRIME: u64 = 0x5;
/// 1 if the driver has sync objects.
pub const CAP_SYNCOBJ: u64 = 0x13;
/// 1 if the driver has timeline sync objects.
pub const CAP_SYNCOBJ_TIMELINE: u64 = 0x14;

/// `struct drm_prime_handle`, argument of PRIME_HANDLE_TO_FD.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct PrimeHandleToFd {
    /// Handle to export.
    pub handle: u32,
    /// `O_CLOEXEC`, `O_RDWR`.
    pub flags: u32,
    /// Returned file descriptor.
    pub fd: i32,
}
drm_ioctl!(PrimeHandleToFd, ReadWrite, 0x2d);

/// `struct drm_prime_handle`, argument of PRIME_FD_TO_HANDLE.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct PrimeFdToHandle {
    /// Returned handle.
    pub handle: u32,
    /// Unused.
    pub flags: u32,
    /// File descriptor to import.
    pub fd: i32,
}
drm_ioctl!(PrimeFdToHandle, ReadWrite, 0x2e);

/// `struct drm_syncobj_create`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct SyncobjCreate {
    /// Returned handle.
    pub handle: u32,
    /// [`SYNCOBJ_CREATE_SIGNALED`] or 0.
    pub flags: u32,
}
drm_ioctl!(SyncobjCreate, ReadWrite, 0xbf);

/// Create the sync object with a signalled fence.
pub const SYNCOBJ_CREATE_SIGNALED: u32 = 1;

/// `struct drm_syncobj_destroy`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct SyncobjDestroy {
    /// Handle to destroy.
    pub handle: u32,
    /// Must be zero.
    pub pad: u32,
}
drm_ioctl!(SyncobjDestroy, ReadWrite, 0xc0);

/// `struct drm_syncobj_handle`, argument of SYNCOBJ_HANDLE_TO_FD.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct SyncobjHandleToFd {
    /// Handle to export.
    pub handle: u32,
    /// [`SYNCOBJ_SYNC_FILE`] or 0.
    pub flags: u32,
    /// Returned file descriptor.
    pub fd: i32,
    /// Must be zero.
    pub pad: u32,
    /// Timeline point; only with the TIMELINE flag.
    pub point: u64,
}
drm_ioctl!(SyncobjHandleToFd, ReadWrite, 0xc1);

/// `struct drm_syncobj_handle`, argument of SYNCOBJ_FD_TO_HANDLE.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct SyncobjFdToHandle {
    /// Returned handle, or the handle that receives the sync file's fence.
    pub handle: u32,
    /// [`SYNCOBJ_SYNC_FILE`] or 0.
    pub flags: u32,
    /// File descriptor to import.
    pub fd: i32,
    /// Must be zero.
    pub pad: u32,
    /// Timeline point; only with the TIMELINE flag.
    pub point: u64,
}
drm_ioctl!(SyncobjFdToHandle, ReadWrite, 0xc2);

/// The file descriptor is a sync file, not a whole sync object.
pub const SYNCOBJ_SYNC_FILE: u32 = 1;

/// `struct drm_syncobj_wait`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct SyncobjWait {
    /// User pointer to handles.
    pub handles: u64,
    /// Absolute time on CLOCK_MONOTONIC, ns.
    pub timeout_nsec: i64,
    /// Number of handles.
    pub count_handles: u32,
    /// `SYNCOBJ_WAIT_*`.
    pub flags: u32,
    /// Returned index of the first that signalled, when not waiting for all.
    pub first_signaled: u32,
    /// Must be zero.
    pub pad: u32,
    /// Deadline hint, ns; only with the DEADLINE flag.
    pub deadline_nsec: u64,
}
drm_ioctl!(SyncobjWait, ReadWrite, 0xc3);

/// Wait for all handles, not for any.
pub const SYNCOBJ_WAIT_ALL: u32 = 1;
/// Also wait for a fence to be attached.
pub const SYNCOBJ_WAIT_FOR_SUBMIT: u32 = 2;
/// Wait only until a fence is attached.
pub const SYNCOBJ_WAIT_AVAILABLE: u32 = 4;

/// `struct drm_syncobj_array`, argument of SYNCOBJ_RESET.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct SyncobjReset {
    /// User pointer to handles.
    pub handles: u64,
    /// Number of handles.
    pub count_handles: u32,
    /// Must be zero.
    pub pad: u32,
}
drm_ioctl!(SyncobjReset, ReadWrite, 0xc4);

/// `struct drm_syncobj_array`, argument of SYNCOBJ_SIGNAL.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct SyncobjSignal {
    /// User pointer to handles.
    pub handles: u64,
    /// Number of handles.
    pub count_handles: u32,
    /// Must be zero.
    pub pad: u32,
}
drm_ioctl!(SyncobjSignal, ReadWrite, 0xc5);

/// `struct drm_syncobj_timeline_wait`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct SyncobjTimelineWait {
    /// User pointer to handles.
    pub handles: u64,
    /// User pointer to points.
    pub points: u64,
    /// Absolute time on CLOCK_MONOTONIC, ns.
    pub timeout_nsec: i64,
    /// Number of handles.
    pub count_handles: u32,
    /// `SYNCOBJ_WAIT_*`.
    pub flags: u32,
    /// Returned index of the first that signalled, when not waiting for all.
    pub first_signaled: u32,
    /// Must be zero.
    pub pad: u32,
    /// Deadline hint, ns; only with the DEADLINE flag.
    pub deadline_nsec: u64,
}
drm_ioctl!(SyncobjTimelineWait, ReadWrite, 0xca);

/// `struct drm_syncobj_timeline_array`, argument of SYNCOBJ_QUERY; the kernel writes to `points`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct SyncobjQuery {
    /// User pointer to handles.
    pub handles: u64,
    /// User pointer to the returned points.
    pub points: u64,
    /// Number of handles.
    pub count_handles: u32,
    /// LAST_SUBMITTED (1) or 0.
    pub flags: u32,
}
drm_ioctl!(SyncobjQuery, ReadWrite, 0xcb);

/// `struct drm_syncobj_transfer`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct SyncobjTransfer {
    /// Source handle.
    pub src_handle: u32,
    /// Destination handle.
    pub dst_handle: u32,
    /// Source point, 0 for a binary sync object.
    pub src_point: u64,
    /// Destination point, 0 for a binary sync object.
    pub dst_point: u64,
    /// `SYNCOBJ_WAIT_*`.
    pub flags: u32,
    /// Must be zero.
    pub pad: u32,
}
drm_ioctl!(SyncobjTransfer, ReadWrite, 0xcc);

/// `struct drm_syncobj_timeline_array`, argument of SYNCOBJ_TIMELINE_SIGNAL.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct SyncobjTimelineSignal {
    /// User pointer to handles.
    pub handles: u64,
    /// User pointer to points.
    pub points: u64,
    /// Number of handles.
    pub count_handles: u32,
    /// Must be zero.
    pub flags: u32,
}
drm_ioctl!(SyncobjTimelineSignal, ReadWrite, 0xcd);

/// `struct sync_file_info`; the kernel writes to `sync_fence_info` when `num_fences` is not zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct SyncFileInfo {
    /// Name of the sync file.
    pub name: [u8; 32],
    /// 1 signalled, 0 active, negative errno.
    pub status: i32,
    /// None defined.
    pub flags: u32,
    /// In: room at `sync_fence_info`; out: number of fences.
    pub num_fences: u32,
    /// Must be zero.
    pub pad: u32,
    /// User pointer to `struct sync_fence_info`.
    pub sync_fence_info: u64,
}

impl Ioctl for SyncFileInfo {
    const REQUEST: u64 = request(Dir::ReadWrite, b'>', 4, size_of::<SyncFileInfo>());
}

/// Marks the ioctls through whose pointers the kernel only reads.
macro_rules! read_only {
    ($($type:ty),* $(,)?) => {
        // SAFETY: `drm_gem.c`, `drm_prime.c` and `drm_syncobj.c` copy from user memory only for these.
        $(unsafe impl ReadOnlyIoctl for $type {})*
    };
}
read_only!(
    GemClose,
    GetCap,
    PrimeHandleToFd,
    PrimeFdToHandle,
    SyncobjCreate,
    SyncobjDestroy,
    SyncobjHandleToFd,
    SyncobjFdToHandle,
    SyncobjWait,
    SyncobjReset,
    SyncobjSignal,
    SyncobjTimelineWait,
    SyncobjTransfer,
    SyncobjTimelineSignal,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_match_drm_h() {
        assert_eq!(size_of::<Version>(), 64);
        assert_eq!(size_of::<PrimeHandleToFd>(), 12);
        assert_eq!(size_of::<SyncobjHandleToFd>(), 24);
        assert_eq!(size_of::<SyncobjWait>(), 40);
        assert_eq!(size_of::<SyncobjTimelineWait>(), 48);
        assert_eq!(size_of::<SyncobjTransfer>(), 32);
        assert_eq!(size_of::<SyncFileInfo>(), 56);
        assert_eq!(std::mem::offset_of!(Version, name_len), 16);
        assert_eq!(std::mem::offset_of!(SyncobjWait, deadline_nsec), 32);
    }

    #[test]
    fn numbers_match_drm_h() {
        assert_eq!(SyncobjCreate::REQUEST, 0xc008_64bf);
        assert_eq!(SyncobjTimelineWait::REQUEST, 0xc030_64ca);
        assert_eq!(SyncFileInfo::REQUEST, 0xc038_3e04);
    }
}
