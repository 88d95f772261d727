// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The DRM GPU scheduler.
//!
//! It holds back jobs until what they depend on has happened and the hardware's ring has room, then
//! hands them to [`Operations::run_job`], in order. There are two flavours:
//!
//! * **Firmware does the scheduling.** There is a ring for each queue of jobs, and a firmware that
//!   picks among rings. So there is one C scheduler with one entity for each ring:
//!   [`JobQueue::new`] makes both. A ring whose job hangs is taken from the hardware, and only its
//!   owner pays.
//! * **The kernel does the scheduling.** Queues of several owners share a ring: [`hw::Ring`]. A job
//!   that hangs costs its owner the queue; the others' jobs run again.
//!
//! # The life of a job
//!
//! | type | may | leaves by |
//! | --- | --- | --- |
//! | [`PendingJob`] | fail: allocate, gather dependencies, be dropped | [`PendingJob::submit`], or [`Submission::arm`] |
//! | [`ArmedJob`] | no longer fail: its fences exist, so they have to signal | [`ArmedJob::push`] |
//! | [`Job`] | run; it belongs to the scheduler, which lends it to [`Operations`] | its end |
//!
//! Fences of a queue count in the order of arming, and its jobs run in the order of pushing. So both
//! go through a [`Submission`], which holds a lock of the queue.
//!
//! An [`ArmedJob`] that is dropped is pushed all the same, as a cancelled one: in its turn, and
//! not before the jobs ahead of it have ended, its fences signal `-ECANCELED`, without
//! [`Operations::run_job`].
//!
//! # Who keeps what alive
//!
//! A job holds its queue, the queue the scheduler, and the job its module. So the C scheduler is
//! never taken down while it has jobs, which it could not do without leaking them or waiting for
//! fences of others. The last put of a queue may come from anywhere, the queue's own callbacks
//! included: taking down happens in a worker of a [`ModuleQueue`], after a grace period. That is
//! what the C code needs:
//!
//! * `drm_sched_fini()` waits for the work items that call [`Operations`];
//! * the thread that signals a job's fence still looks at the scheduler after the job may have
//!   been freed, inside the fence's lock, which a grace period waits for;
//! * the name of an unsignalled fence's timeline is read under RCU, and is the scheduler's.
//!
//! # The end of a queue
//!
//! Dropping the last [`JobQueue`] is enough: the jobs run on, and the queue goes after them. To have
//! them end, either signal everything and let it drain ([`JobQueue::cancel_all`], which does not
//! wait; Xe's way), or wait until it is empty ([`JobQueue::wait_idle`]; Nouveau's way).
//!
//! # Timeouts
//!
//! [`Operations::timed_out`] says what has happened ([`TimedOut`]), and C is always told that the
//! scheduler keeps the job. This is how the guilty job gets back on the list from which it is freed;
//! every other answer leaks it, or leaves a fence unsignalled. What the driver does is to end the
//! ring, signal the fences of all jobs that were on it, and let them be freed in the ordinary way.
//!
//! C header: [`include/drm/gpu_scheduler.h`](srctree/include/drm/gpu_scheduler.h)

pub mod hw;
mod job;
mod life;
mod pending;
mod queue;
mod scheduler;
#[cfg(CONFIG_KUNIT = "y")]
mod tests;

pub use self::job::{
    ArmedJob,
    Job,
    PendingJob,
    Reserved, //
};
pub use self::pending::{
    pause_all,
    Paused, //
};
pub use self::queue::{
    JobQueue,
    Submission, //
};
pub use self::scheduler::{
    Config,
    Scheduler, //
};

use crate::{
    dma_fence::Fence,
    prelude::*,
    sync::aref::ARef,
    ModuleMetadata, //
};

#[expect(unused_imports, reason = "for the documentation")]
use crate::workqueue::ModuleQueue;

/// What has come of a job that ran for too long: see [`Operations::timed_out`].
///
/// Whatever it is, the scheduler keeps the job until its fence signals, and then frees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimedOut {
    /// It has ended meanwhile, or it makes progress: nothing was done.
    Finished,
    /// The hardware can no longer write to what belongs to the job, and its fence has signalled.
    Ended,
    /// The hardware does not let go of it. A reset has been queued, which will signal the fence.
    ResetQueued,
    /// There is no hardware any more, and the fence of the job has signalled.
    DeviceGone,
}

/// What a driver does with jobs.
///
/// # Examples
///
/// ```ignore
/// impl Operations for Jobs {
///     type Module = MyDriver;
///     type Job = Arc<MyRing>;
///     type Resources = FenceAlloc<Names>;
///
///     fn run_job(job: &Job<Self>, fence: FenceAlloc<Names>) -> Result<ARef<Fence>> {
///         job.data().emit(fence)
///     }
///
///     fn timed_out(job: &Job<Self>) -> TimedOut {
///         let _paused = job.queue().pause();
///         if job.has_ended() {
///             return TimedOut::Finished;
///         }
///         job.queue().ban(ECANCELED);
///         match job.data().remove_from_hardware() {
///             Ok(()) => {
///                 job.data().signal_all(ETIMEDOUT);
///                 TimedOut::Ended
///             }
///             Err(_) => {
///                 job.data().queue_reset();
///                 TimedOut::ResetQueued
///             }
///         }
///     }
///
///     fn cancel_job(job: &Job<Self>, error: Error) {
///         job.data().signal(job, error);
///     }
/// }
/// ```
///
/// All of these are called from work queues: [`timed_out`](Self::timed_out) from that for
/// timeouts, the others from that for submission.
pub trait Operations: Sized + Send + Sync + 'static {
    /// The module whose code this is: every job keeps it loaded.
    type Module: ModuleMetadata;

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
    ///
    /// Returns what has come of it. That the job was ended is checked: if its fence has not
    /// signalled then, an error is logged.
    fn timed_out(job: &Job<Self>) -> TimedOut;

    /// The job is on the ring, and is to end with `error`: the fence that
    /// [`run_job`](Self::run_job) returned has to be signalled.
    ///
    /// The hardware is known not to write to what belongs to the job. Called with the scheduler
    /// paused: by [`JobQueue::cancel_all`] and [`hw::Ring::recover`], and, as a last resort, by a
    /// scheduler that goes away with jobs on its ring. Others' jobs may be ended as well. The job
    /// may end by itself at any time during the call.
    fn cancel_job(job: &Job<Self>, error: Error);
}
