// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Sync objects and sync files.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::device::Device;
use crate::ioctl::{self, Ioctl, Result};
use crate::uapi::drm::{
    SyncFileInfo, SyncobjCreate, SyncobjDestroy, SyncobjFdToHandle, SyncobjHandleToFd,
    SyncobjQuery, SyncobjReset, SyncobjSignal, SyncobjTimelineSignal, SyncobjTimelineWait,
    SyncobjTransfer, SyncobjWait, SYNCOBJ_CREATE_SIGNALED, SYNCOBJ_SYNC_FILE, SYNCOBJ_WAIT_ALL,
    SYNCOBJ_WAIT_FOR_SUBMIT,
};
use crate::uapi::panthor::{
    SyncOp, SYNC_OP_SIGNAL, SYNC_OP_SYNCOBJ, SYNC_OP_TIMELINE_SYNCOBJ, SYNC_OP_WAIT,
};

/// How a finished fence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceStatus {
    /// Not finished.
    Active,
    /// Finished well.
    Signaled,
    /// Finished with an error.
    Failed(ioctl::Errno),
}

/// The absolute time, on CLOCK_MONOTONIC in ns, that lies `timeout` ahead.
fn deadline(timeout: Duration) -> i64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is valid for writing; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    let now = Duration::new(now.tv_sec as u64, now.tv_nsec as u32);
    i64::try_from((now + timeout).as_nanos()).unwrap_or(i64::MAX)
}

/// A sync object: a place for a fence, or, used as a timeline, for one fence per point.
#[derive(Debug)]
pub struct Syncobj {
    device: Device,
    handle: u32,
}

impl Drop for Syncobj {
    fn drop(&mut self) {
        // Fails only if a test destroyed it by its number, which is that test's business.
        let _ = self.device.call(&mut SyncobjDestroy {
            handle: self.handle,
            pad: 0,
        });
    }
}

impl Syncobj {
    /// An empty one.
    pub fn new(device: &Device) -> Result<Self> {
        Self::create(device, 0)
    }

    /// One with a signalled fence.
    pub fn signaled(device: &Device) -> Result<Self> {
        Self::create(device, SYNCOBJ_CREATE_SIGNALED)
    }

    fn create(device: &Device, flags: u32) -> Result<Self> {
        let mut args = SyncobjCreate { handle: 0, flags };
        device.call(&mut args)?;
        Ok(Self {
            device: device.clone(),
            handle: args.handle,
        })
    }

    /// Imports a sync object that was exported, of this or another file.
    pub fn import(device: &Device, fd: &impl AsRawFd) -> Result<Self> {
        let mut args = SyncobjFdToHandle {
            fd: fd.as_raw_fd(),
            ..Default::default()
        };
        device.call(&mut args)?;
        Ok(Self {
            device: device.clone(),
            handle: args.handle,
        })
    }

    /// Puts the fence of a sync file here.
    pub fn import_sync_file(&self, fd: &impl AsRawFd) -> Result<()> {
        self.device.call(&mut SyncobjFdToHandle {
            handle: self.handle,
            flags: SYNCOBJ_SYNC_FILE,
            fd: fd.as_raw_fd(),
            ..Default::default()
        })
    }

    /// Its handle.
    pub fn handle(&self) -> u32 {
        self.handle
    }

    /// The operation "wait for its fence before the job".
    pub fn wait_op(&self) -> SyncOp {
        SyncOp {
            flags: SYNC_OP_WAIT | SYNC_OP_SYNCOBJ,
            handle: self.handle,
            timeline_value: 0,
        }
    }

    /// The operation "put the job's fence here".
    pub fn signal_op(&self) -> SyncOp {
        SyncOp {
            flags: SYNC_OP_SIGNAL | SYNC_OP_SYNCOBJ,
            handle: self.handle,
            timeline_value: 0,
        }
    }

    /// The operation "wait for `point` before the job".
    pub fn wait_point_op(&self, point: u64) -> SyncOp {
        SyncOp {
            flags: SYNC_OP_WAIT | SYNC_OP_TIMELINE_SYNCOBJ,
            handle: self.handle,
            timeline_value: point,
        }
    }

    /// The operation "put the job's fence at `point`".
    pub fn signal_point_op(&self, point: u64) -> SyncOp {
        SyncOp {
            flags: SYNC_OP_SIGNAL | SYNC_OP_TIMELINE_SYNCOBJ,
            handle: self.handle,
            timeline_value: point,
        }
    }

    /// Waits for its fence, also for one to be attached. `ETIME` if that takes longer than `timeout`.
    pub fn wait(&self, timeout: Duration) -> Result<()> {
        wait_all(&self.device, &[self], timeout)
    }

    /// Waits for `point`, also for a fence to be attached to it. `ETIME` if that takes longer than `timeout`.
    pub fn wait_point(&self, point: u64, timeout: Duration) -> Result<()> {
        self.device.call(&mut SyncobjTimelineWait {
            handles: std::ptr::from_ref(&self.handle) as u64,
            points: std::ptr::from_ref(&point) as u64,
            timeout_nsec: deadline(timeout),
            count_handles: 1,
            flags: SYNCOBJ_WAIT_ALL | SYNCOBJ_WAIT_FOR_SUBMIT,
            ..Default::default()
        })
    }

    /// Puts a signalled fence here.
    pub fn signal(&self) -> Result<()> {
        self.device.call(&mut SyncobjSignal {
            handles: std::ptr::from_ref(&self.handle) as u64,
            count_handles: 1,
            pad: 0,
        })
    }

    /// Puts a signalled fence at `point`.
    pub fn signal_point(&self, point: u64) -> Result<()> {
        self.device.call(&mut SyncobjTimelineSignal {
            handles: std::ptr::from_ref(&self.handle) as u64,
            points: std::ptr::from_ref(&point) as u64,
            count_handles: 1,
            flags: 0,
        })
    }

    /// Drops its fence.
    pub fn reset(&self) -> Result<()> {
        self.device.call(&mut SyncobjReset {
            handles: std::ptr::from_ref(&self.handle) as u64,
            count_handles: 1,
            pad: 0,
        })
    }

    /// The last point that signalled.
    pub fn query(&self) -> Result<u64> {
        let mut point = 0u64;
        let mut args = SyncobjQuery {
            handles: std::ptr::from_ref(&self.handle) as u64,
            points: std::ptr::from_mut(&mut point) as u64,
            count_handles: 1,
            flags: 0,
        };
        // SAFETY: the kernel writes one u64 to `points`, which is `point`.
        unsafe { ioctl::call_unchecked(&self.device, SyncobjQuery::REQUEST, &mut args)? };
        Ok(point)
    }

    /// Copies the fence of `source` at `source_point` to `point` here (0 on a side: binary).
    pub fn transfer(&self, point: u64, source: &Syncobj, source_point: u64) -> Result<()> {
        self.device.call(&mut SyncobjTransfer {
            src_handle: source.handle,
            dst_handle: self.handle,
            src_point: source_point,
            dst_point: point,
            ..Default::default()
        })
    }

    /// Exports the object itself.
    pub fn export(&self) -> Result<OwnedFd> {
        self.to_fd(0)
    }

    /// Exports its present fence as a sync file.
    pub fn export_sync_file(&self) -> Result<OwnedFd> {
        self.to_fd(SYNCOBJ_SYNC_FILE)
    }

    fn to_fd(&self, flags: u32) -> Result<OwnedFd> {
        let mut args = SyncobjHandleToFd {
            handle: self.handle,
            flags,
            fd: -1,
            ..Default::default()
        };
        self.device.call(&mut args)?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(unsafe { OwnedFd::from_raw_fd(args.fd) })
    }

    /// How its present fence stands, error included.
    pub fn status(&self) -> Result<FenceStatus> {
        sync_file_status(&self.export_sync_file()?)
    }

    /// How the fence at `point` stands, error included; 0 for a binary sync object.
    pub fn point_status(&self, point: u64) -> Result<FenceStatus> {
        let copy = Syncobj::new(&self.device)?;
        copy.transfer(0, self, point)?;
        copy.status()
    }
}

/// Waits for all of `objects`. `ETIME` if that takes longer than `timeout`.
pub fn wait_all(device: &Device, objects: &[&Syncobj], timeout: Duration) -> Result<()> {
    let handles: Vec<u32> = objects.iter().map(|o| o.handle).collect();
    device.call(&mut SyncobjWait {
        handles: handles.as_ptr() as u64,
        timeout_nsec: deadline(timeout),
        count_handles: handles.len() as u32,
        flags: SYNCOBJ_WAIT_ALL | SYNCOBJ_WAIT_FOR_SUBMIT,
        ..Default::default()
    })
}

/// How a sync file stands.
pub fn sync_file_status(fd: &impl AsRawFd) -> Result<FenceStatus> {
    let mut info = SyncFileInfo::default();
    // SAFETY: with `num_fences` 0 the kernel writes to `info` only.
    unsafe { ioctl::call_unchecked(fd, SyncFileInfo::REQUEST, &mut info)? };
    Ok(match info.status {
        0 => FenceStatus::Active,
        1.. => FenceStatus::Signaled,
        error => FenceStatus::Failed(ioctl::Errno(-error)),
    })
}
