// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a submission waits for, and what it signals.
//!
//! Everything that can fail is done before the first job is armed: sync objects are looked up, links
//! of timelines are allocated. A job may wait for one that is earlier in the same submission: both
//! name the same point of the same sync object.

use super::{
    few::Few,
    uobj::get_few, //
};
use crate::driver::DrmFile;
use kernel::{
    dma_fence::{
        Fence,
        FenceChain, //
    },
    drm::syncobj::SyncObj,
    prelude::*,
    sync::aref::ARef,
    uapi, //
};

const TYPE_MASK: u32 = uapi::drm_panthor_sync_op_flags_DRM_PANTHOR_SYNC_OP_HANDLE_TYPE_MASK as u32;
const TYPE_BINARY: u32 =
    uapi::drm_panthor_sync_op_flags_DRM_PANTHOR_SYNC_OP_HANDLE_TYPE_SYNCOBJ as u32;
const TYPE_TIMELINE: u32 =
    uapi::drm_panthor_sync_op_flags_DRM_PANTHOR_SYNC_OP_HANDLE_TYPE_TIMELINE_SYNCOBJ as u32;
const SIGNAL: u32 = uapi::drm_panthor_sync_op_flags_DRM_PANTHOR_SYNC_OP_SIGNAL as u32;

/// A point of a sync object: zero if it is not a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    handle: u32,
    value: u64,
}

/// What a job does with a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Wait(Point),
    Signal(Point),
}

impl TryFrom<&uapi::drm_panthor_sync_op> for Op {
    type Error = Error;

    /// # Errors
    ///
    /// `EINVAL` for flags that are not known, or a value for something that is not a timeline.
    fn try_from(op: &uapi::drm_panthor_sync_op) -> Result<Self> {
        let kind = op.flags & TYPE_MASK;
        if op.flags & !(TYPE_MASK | SIGNAL) != 0
            || !matches!(kind, TYPE_BINARY | TYPE_TIMELINE)
            || kind == TYPE_BINARY && op.timeline_value != 0
        {
            return Err(EINVAL);
        }
        let point = Point {
            handle: op.handle,
            value: op.timeline_value,
        };
        Ok(match op.flags & SIGNAL {
            0 => Self::Wait(point),
            _ => Self::Signal(point),
        })
    }
}

/// The sync operations of one job.
pub(crate) struct JobSyncs(Few<Op>);

impl JobSyncs {
    /// Reads the operations that user space lists in `array`.
    ///
    /// # Errors
    ///
    /// Those of the array; `EINVAL` for an operation that cannot be.
    pub(crate) fn read(array: &uapi::drm_panthor_obj_array) -> Result<Self> {
        let raw = get_few::<uapi::drm_panthor_sync_op>(array)?;
        let mut ops = Few::with_capacity(raw.len())?;
        for op in raw.iter() {
            ops.push(op.try_into()?, GFP_KERNEL)?;
        }
        Ok(Self(ops))
    }
}

/// A point that is going to be signalled.
struct Signal {
    point: Point,
    syncobj: ARef<SyncObj>,
    /// A link for the timeline, if it is one.
    chain: Option<FenceChain>,
    /// The fence that is there before the submission.
    old: Option<ARef<Fence>>,
    /// The job that signals it, of those looked at so far.
    job: Option<usize>,
}

/// What a job waits for.
pub(crate) enum Dependency {
    /// A fence that exists.
    Fence(ARef<Fence>),
    /// The job with that number in the same submission.
    Job(usize),
}

/// The sync operations of a submission.
pub(crate) struct Syncs<'a> {
    file: &'a DrmFile,
    signals: Few<Signal>,
}

impl<'a> Syncs<'a> {
    /// Looks up everything that `jobs` signal.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such sync object; `ENOMEM`.
    pub(crate) fn new(file: &'a DrmFile, jobs: &Few<JobSyncs>) -> Result<Self> {
        let mut signals = Few::<Signal>::new();
        for op in jobs.iter().flat_map(|job| job.0.iter()) {
            let Op::Signal(point) = *op else {
                continue;
            };
            if signals.iter().any(|signal| signal.point == point) {
                continue;
            }
            let signal = Signal {
                point,
                chain: match point.value {
                    0 => None,
                    _ => Some(FenceChain::new(GFP_KERNEL)?),
                },
                syncobj: SyncObj::find(file, point.handle).map_err(|_| EINVAL)?,
                old: SyncObj::find_fence(file, point.handle, point.value).ok(),
                job: None,
            };
            signals.push(signal, GFP_KERNEL)?;
        }
        Ok(Self { file, signals })
    }

    /// Tells `wait` what job number `number`, with the operations `syncs`, waits for.
    ///
    /// To be called for each job, in their order.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such sync object, `EINVAL` if nothing signals it; those of `wait`.
    pub(crate) fn dependencies(
        &mut self,
        number: usize,
        syncs: &JobSyncs,
        mut wait: impl FnMut(Dependency) -> Result,
    ) -> Result {
        for op in syncs.0.iter() {
            let Op::Wait(point) = *op else {
                continue;
            };
            let signal = self.signals.iter().find(|signal| signal.point == point);
            wait(match signal {
                Some(Signal { job: Some(job), .. }) => Dependency::Job(*job),
                Some(Signal { old, .. }) => Dependency::Fence(old.clone().ok_or(EINVAL)?),
                None => {
                    Dependency::Fence(SyncObj::find_fence(self.file, point.handle, point.value)?)
                }
            })?;
        }
        for op in syncs.0.iter() {
            let Op::Signal(point) = *op else {
                continue;
            };
            if let Some(signal) = self.signals.iter_mut().find(|signal| signal.point == point) {
                signal.job = Some(number);
            }
        }
        Ok(())
    }

    /// Puts the fences of the jobs, which have been pushed, into the sync objects.
    pub(crate) fn publish(self, fences: &Few<ARef<Fence>>) {
        for signal in self.signals.into_items() {
            let Some(fence) = signal.job.and_then(|job| fences.get(job)) else {
                continue;
            };
            match signal.chain {
                // The fence of a job is no link of a chain, so that this does not fail.
                Some(chain) => {
                    let _ = signal.syncobj.add_point(chain, fence, signal.point.value);
                }
                None => signal.syncobj.replace_fence(fence),
            }
        }
    }
}

#[kunit_tests(magni_ioctl_sync)]
mod tests {
    use super::*;

    fn op(flags: u32, timeline_value: u64) -> Result<Op> {
        Op::try_from(&uapi::drm_panthor_sync_op {
            flags,
            handle: 3,
            timeline_value,
        })
    }

    #[test]
    fn kinds_are_told_apart() {
        let point = |value| Point { handle: 3, value };
        assert_eq!(op(TYPE_BINARY, 0), Ok(Op::Wait(point(0))));
        assert_eq!(op(TYPE_BINARY | SIGNAL, 0), Ok(Op::Signal(point(0))));
        assert_eq!(op(TYPE_TIMELINE, 7), Ok(Op::Wait(point(7))));
        assert_eq!(op(TYPE_TIMELINE | SIGNAL, 7), Ok(Op::Signal(point(7))));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(op(TYPE_BINARY, 1), Err(EINVAL));
        assert_eq!(op(2, 0), Err(EINVAL));
        assert_eq!(op(1 << 8, 0), Err(EINVAL));
        assert_eq!(op(1 << 30, 0), Err(EINVAL));
    }
}
