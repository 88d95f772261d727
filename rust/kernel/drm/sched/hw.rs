// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Rings that several queues share: the hardware scheduler's flavour.
//!
//! Such hardware has one ring for jobs of many owners, and no firmware that tells them apart. When
//! a job hangs the whole ring has to be reset, and the jobs of the others with it: they did nothing
//! wrong, and run again.
//!
//! [`Ring::recover`] does that, in this order: stop all rings that the reset hits; ban the guilty
//! queue; reset; end the guilty queue's jobs; put the survivors' jobs back on their rings, in
//! order, with the hardware fences they have had all along; start. No fence of a survivor is
//! signalled or replaced on the way, and nothing is allocated.
//!
//! C's own way (`drm_sched_stop()`, `drm_sched_resubmit_jobs()`, `drm_sched_start()`) takes the
//! hardware fences from the jobs, has `run_job` called a second time, which makes new ones, and
//! ends what then has none. It is deprecated, and not used here.

use super::{
    pending::{
        HasScheduler,
        Paused, //
    },
    scheduler::{
        Config,
        Scheduler, //
    },
    Job,
    JobQueue,
    Operations,
    TimedOut, //
};
use crate::{
    bindings,
    prelude::*,
    sync::aref::ARef, //
};

/// What a driver of a shared ring does beyond [`Operations`].
pub trait RingOperations: Operations {
    /// Stops the hardware of the rings that `guilty` was on, and makes it ready to run again.
    ///
    /// When this returns the hardware executes no job, and writes to nothing that belongs to one;
    /// the rings are empty. Called with the rings paused; allocates nothing.
    ///
    /// # Errors
    ///
    /// If the hardware cannot be saved: every job is ended then.
    fn reset(guilty: &Job<Self>) -> Result;

    /// Puts a job that was on its ring on it once more.
    ///
    /// It still has to signal the fence that [`Operations::run_job`] returned for it. Called in the
    /// order of running.
    fn rerun_job(job: &Job<Self>);
}

/// How urgent a queue is, among those of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// The kernel's own.
    Kernel,
    /// Before others.
    High,
    /// The usual one.
    Normal,
    /// After others.
    Low,
}

impl Priority {
    fn as_raw(self) -> bindings::drm_sched_priority {
        match self {
            Self::Kernel => bindings::drm_sched_priority_DRM_SCHED_PRIORITY_KERNEL,
            Self::High => bindings::drm_sched_priority_DRM_SCHED_PRIORITY_HIGH,
            Self::Normal => bindings::drm_sched_priority_DRM_SCHED_PRIORITY_NORMAL,
            Self::Low => bindings::drm_sched_priority_DRM_SCHED_PRIORITY_LOW,
        }
    }
}

/// A ring that queues share.
///
/// # Examples
///
/// ```ignore
/// let ring = Ring::<MyJobs>::new(config)?;
/// let mine = ring.new_queue(Priority::Normal)?;
/// let theirs = ring.new_queue(Priority::Normal)?;
///
/// // In `Operations::timed_out`:
/// Ring::recover(&[ring.clone()], job)
/// ```
pub struct Ring<T: Operations>(ARef<Scheduler<T>>);

impl<T: Operations> Clone for Ring<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Operations> Ring<T> {
    /// Makes a ring.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` if `config` names one work queue for jobs and for timeouts.
    pub fn new(config: Config<'_>) -> Result<Self> {
        let priorities = bindings::drm_sched_priority_DRM_SCHED_PRIORITY_COUNT as u32;
        Ok(Self(Scheduler::new(config, priorities)?))
    }

    /// Makes a queue whose jobs go to this ring.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new_queue(&self, priority: Priority) -> Result<ARef<JobQueue<T>>> {
        JobQueue::on(self.0.clone(), priority.as_raw())
    }

    /// Keeps jobs of all queues from being run and freed: see [`JobQueue::pause`].
    pub fn pause(&self) -> Paused<'_, T, Self> {
        Paused::new(core::slice::from_ref(self))
    }
}

impl<T: Operations> HasScheduler<T> for Ring<T> {
    fn scheduler(&self) -> &Scheduler<T> {
        &self.0
    }
}

impl<T: RingOperations> Ring<T> {
    /// Saves the jobs of the others from `guilty`, for which [`Operations::timed_out`] was called:
    /// `rings` are all that the reset hits. Returns what that call is to return.
    ///
    /// The guilty job ends with `-ETIMEDOUT` and its queue is banned: its other jobs end with
    /// `-ECANCELED`. Should the reset fail, all jobs of `rings` that have been run end with
    /// `-ENODEV`, and their queues are banned, too; it is for the driver to ban those that have
    /// none on a ring.
    ///
    /// One recovery at a time may be under way for a ring: all rings that are reset together are to
    /// have one queue for timeouts, which is ordered.
    pub fn recover(rings: &[Self], guilty: &Job<T>) -> TimedOut {
        let paused = Paused::new(rings);
        if guilty.has_ended() {
            return TimedOut::Finished;
        }
        let queue: *const JobQueue<T> = &**guilty.queue();
        guilty.queue().ban(ECANCELED);

        if T::reset(guilty).is_err() {
            guilty.cancel(ENODEV);
            paused.for_each_pending(|job| {
                job.queue().ban(ENODEV);
                job.cancel(ENODEV);
            });
            return TimedOut::DeviceGone;
        }

        guilty.cancel(ETIMEDOUT);
        paused.for_each_pending(|job| {
            if core::ptr::eq(&**job.queue(), queue) {
                job.cancel(ECANCELED);
            } else if job.is_on_ring() && !job.has_ended() {
                T::rerun_job(job);
            }
        });
        TimedOut::Ended
    }
}
