// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The DRM GPU scheduler, for hardware whose firmware does the scheduling.
//!
//! Such hardware has a ring for each queue of jobs, and a firmware that picks among rings. So
//! there is one C scheduler with one entity for each ring: a [`JobQueue`]. It holds back jobs
//! until what they depend on has happened and the ring has room, then hands them to
//! [`Operations::run_job`], in order.
//!
//! # The life of a job
//!
//! | type | may | leaves by |
//! | --- | --- | --- |
//! | [`PendingJob`] | fail: allocate, gather dependencies, be dropped | [`PendingJob::arm`] |
//! | [`ArmedJob`] | no longer fail: its fences exist, so they have to signal | [`ArmedJob::push`] |
//! | [`Job`] | run; it belongs to the scheduler, which lends it to [`Operations`] | its end |
//!
//! An [`ArmedJob`] that is dropped is pushed all the same, as a cancelled one: in its turn, and
//! not before the jobs ahead of it have ended, its fences signal `-ECANCELED`, without
//! [`Operations::run_job`].
//!
//! # Who keeps what alive
//!
//! A job holds its queue. So the C scheduler is never taken down while it has jobs, which it
//! could not do without leaking them or waiting for fences of others. The last put of a queue may
//! come from anywhere, the queue's own callbacks included: taking down happens in a worker of a
//! [`ModuleQueue`], after a grace period. That is what the C code needs:
//!
//! * `drm_sched_fini()` waits for the work items that call [`Operations`];
//! * the thread that signals a job's fence still looks at the scheduler after the job may have
//!   been freed, inside the fence's lock, which a grace period waits for;
//! * the name of an unsignalled fence's timeline is read under RCU, and is the scheduler's.
//!
//! # Timeouts
//!
//! The callback cannot say what has become of the scheduler: [`Operations::timed_out`] returns
//! nothing, and C is always told that the scheduler keeps the job. This is how the guilty job
//! gets back on the list from which it is freed; every other answer leaks it, or leaves a fence
//! unsignalled. What the driver does instead is to end the ring, signal the fences of all jobs
//! that were on it, and let them be freed in the ordinary way.
//!
//! C header: [`include/drm/gpu_scheduler.h`](srctree/include/drm/gpu_scheduler.h)

mod job;
mod queue;
#[cfg(CONFIG_KUNIT = "y")]
mod tests;

pub use self::job::{
    ArmedJob,
    Job,
    PendingJob, //
};
pub use self::queue::{
    Config,
    JobQueue,
    Paused, //
};

use crate::{
    dma_fence::Fence,
    prelude::*,
    sync::aref::ARef, //
};

#[expect(unused_imports, reason = "for the documentation")]
use crate::workqueue::ModuleQueue;

/// What a driver does with jobs.
///
/// All of these are called from work queues: [`timed_out`](Self::timed_out) from that for
/// timeouts, the others from that for submission.
pub trait Operations: Sized + Send + Sync + 'static {
    /// What the driver knows about a job. Dropped when the job has ended, by the queue that also
    /// runs jobs: fences wait for the drop, which is under the same rules as
    /// [`run_job`](Self::run_job).
    type Job: Send + Sync;

    /// What running a job uses up: allocated and taken beforehand, where that may sleep and fail.
    /// Dropped like [`Job`](Self::Job) if the job is not run.
    type Resources: Send;

    /// Puts a job on the ring. Called once for each job, in the order of pushing.
    ///
    /// Fences wait for this: it must not allocate memory, nor take a lock under which others do.
    ///
    /// Returns the fence that signals when the job has ended; it does not signal before those that
    /// were returned for earlier jobs. An error ends the job, with that error, as soon as the
    /// last of these fences has signalled: not earlier, since others may keep only the newest
    /// fence of a queue, and take it to stand for all before.
    fn run_job(job: &Job<Self>, resources: Self::Resources) -> Result<ARef<Fence>>;

    /// A job has run for too long, or [`JobQueue::report_fault`] says so.
    ///
    /// Called with the oldest job that has not been freed, if it has not ended. The job may end
    /// at any time during the call. Fences wait for this as for [`run_job`](Self::run_job).
    fn timed_out(job: &Job<Self>);

    /// The scheduler goes away while the job is on the ring: its fence has to be signalled.
    ///
    /// Since jobs keep their queue, this is a last resort.
    fn cancel_job(job: &Job<Self>);
}
