// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Queues of jobs: what jobs are submitted to.

use super::{
    life::{
        Late,
        Life, //
    },
    pending::Paused,
    scheduler::{
        Config,
        Scheduler, //
    },
    ArmedJob,
    Operations,
    PendingJob, //
};
use crate::{
    bindings,
    dma_fence::Fence,
    error::to_result,
    prelude::*,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        atomic::{
            ordering,
            Atomic, //
        },
        wait::WaitQueue,
        Mutex,
        MutexGuard,
        SpinLock, //
    },
    time::Jiffies,
    types::Opaque, //
};
use core::{
    mem::offset_of,
    ptr::NonNull, //
};

// lockdep knows a class by the address of its name. A literal in a generic function may have one
// for each instance; a static has one.
static RELEASE_NAME: &CStr = c"drm::sched::JobQueue::release";
static SUBMISSION_NAME: &CStr = c"drm::sched::JobQueue::submission";
static LAST_NAME: &CStr = c"drm::sched::JobQueue::last";
static IDLE_NAME: &CStr = c"drm::sched::JobQueue::idle";

/// A queue of jobs, which are run in the order of their submission (C: an entity).
///
/// In the firmware flavour it has a ring of its own ([`JobQueue::new`]), in the hardware flavour it
/// shares one ([`Ring::new_queue`](super::hw::Ring::new_queue)).
///
/// # Invariants
///
/// * `entity` is an initialised entity of `sched` until the object is dropped.
/// * Every job of the entity holds a reference from its making to its end.
#[pin_data(PinnedDrop)]
pub struct JobQueue<T: Operations> {
    #[pin]
    entity: Opaque<bindings::drm_sched_entity>,
    /// Held from arming to pushing a job.
    #[pin]
    submission: Mutex<()>,
    /// What the last job that was run has ended with, or will.
    #[pin]
    last: SpinLock<Option<ARef<Fence>>>,
    /// The negative error number that jobs end with instead of being run, or zero.
    banned: Atomic<i32>,
    /// The negative error number that all jobs on the ring end with, or zero.
    cancelled: Atomic<i32>,
    /// Jobs that were armed and not freed.
    live: Atomic<usize>,
    #[pin]
    idle: WaitQueue,
    sched: ARef<Scheduler<T>>,
    /// After everything else: the module may go when this is gone.
    #[pin]
    life: Life,
}

// SAFETY: The C structures are internally synchronised, and jobs may be sent.
unsafe impl<T: Operations> Send for JobQueue<T> {}
// SAFETY: As above.
unsafe impl<T: Operations> Sync for JobQueue<T> {}

// SAFETY: The last field is a pinned `Life`, made for this type; the box is leaked in `on`.
unsafe impl<T: Operations> Late for JobQueue<T> {
    const LIFE: usize = offset_of!(Self, life);
}

// SAFETY: The life counts references; the object is freed after there is none.
unsafe impl<T: Operations> AlwaysRefCounted for JobQueue<T> {
    fn inc_ref(&self) {
        self.life.get();
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference, so the object is alive.
        unsafe { obj.as_ref().life.put() };
    }
}

impl<T: Operations> JobQueue<T> {
    /// Makes a queue that has a ring for itself.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` if `config` names one work queue for jobs and for timeouts.
    pub fn new(config: Config<'_>) -> Result<ARef<Self>> {
        Self::on(
            Scheduler::new(config, 1)?,
            bindings::drm_sched_priority_DRM_SCHED_PRIORITY_KERNEL,
        )
    }

    /// Makes a queue on `sched`.
    pub(super) fn on(
        sched: ARef<Scheduler<T>>,
        priority: bindings::drm_sched_priority,
    ) -> Result<ARef<Self>> {
        let mut raw = sched.as_raw();
        let teardown = sched.teardown().clone();
        let this = KBox::pin_init(
            try_pin_init!(Self {
                entity <- Opaque::try_ffi_init(|slot| {
                    // SAFETY: The scheduler is initialised; the entity's memory is ours, and stays
                    // where it is. The list of schedulers is read during the call only, since it
                    // has one element.
                    to_result(unsafe {
                        bindings::drm_sched_entity_init(
                            slot,
                            priority,
                            &mut raw,
                            1,
                            core::ptr::null_mut(),
                        )
                    })
                }),
                submission <- Mutex::new((), SUBMISSION_NAME, crate::static_lock_class!()),
                last <- SpinLock::new(None, LAST_NAME, crate::static_lock_class!()),
                banned: Atomic::new(0),
                cancelled: Atomic::new(0),
                live: Atomic::new(0),
                idle <- WaitQueue::new(IDLE_NAME, crate::static_lock_class!()),
                sched,
                life <- Life::new::<Self>(teardown, RELEASE_NAME, crate::static_lock_class!()),
            }? Error),
            GFP_KERNEL,
        )?;
        // SAFETY: The box stays where it is until the last reference is gone.
        let this = KBox::into_raw(unsafe { Pin::into_inner_unchecked(this) });
        // SAFETY: Not null, and the first reference is ours.
        Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(this)) })
    }

    /// The C entity, for jobs to be initialised with.
    pub(super) fn raw_entity(&self) -> *mut bindings::drm_sched_entity {
        self.entity.get()
    }

    /// The scheduler.
    pub(super) fn scheduler(&self) -> &Scheduler<T> {
        &self.sched
    }

    /// Makes a job for this queue.
    ///
    /// * `credits`: how much of the ring it takes, not zero.
    /// * `client`: the number of the file that the job is for, in traces.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` if it takes nothing of the ring, or more than there is; `ENODEV` if the
    /// module is being unloaded.
    pub fn new_job(
        self: &ARef<Self>,
        credits: u32,
        client: u64,
        resources: T::Resources,
        data: T::Job,
    ) -> Result<PendingJob<T>> {
        if credits == 0 || credits > self.sched.credit_limit() {
            return Err(EINVAL);
        }
        PendingJob::new(self.clone(), credits, client, resources, data)
    }

    /// Keeps others from submitting to this queue: the fences of its jobs count in the order of
    /// arming, and they run in the order of pushing, and so both go through this.
    ///
    /// May sleep. Only one queue's at a time may be held by a thread.
    ///
    /// # Examples
    ///
    /// Two jobs with nothing in between:
    ///
    /// ```ignore
    /// let mut submission = queue.submission();
    /// submission.arm(first)?.push();
    /// submission.arm(second)?.push();
    /// ```
    pub fn submission(&self) -> Submission<'_, T> {
        Submission {
            queue: self,
            _guard: self.submission.lock(),
        }
    }

    /// Has [`Operations::timed_out`] called for the oldest job on the ring, soon, if there is one.
    pub fn report_fault(&self) {
        self.sched.report_fault();
    }

    /// Keeps jobs from being run and freed as long as the result lives: those of this queue, and of
    /// all that share its ring.
    ///
    /// Waits for a call of [`Operations`] that is under way, but for [`Operations::timed_out`],
    /// from which it may be called; so it must not be called from the queue's submit queue. When it
    /// returns no other call begins, not even for who found the queue running before: an RCU grace
    /// period (an expedited one) has passed. Pauses nest. For several queues use
    /// [`pause_all`](super::pause_all).
    pub fn pause(&self) -> Paused<'_, T, Scheduler<T>> {
        Paused::new(core::slice::from_ref(&*self.sched))
    }

    /// From now on jobs are not run, but end with `error`, after all before them have ended.
    ///
    /// This goes for those that are queued as well, once what they depend on has happened; not for
    /// those that are on the ring. The first error stays. May be called anywhere.
    pub fn ban(&self, error: Error) {
        let _ = self.banned.cmpxchg(0, error.to_errno(), ordering::Relaxed);
    }

    /// Why jobs are not run any more, if they are not.
    pub fn banned(&self) -> Option<Error> {
        match self.banned.load(ordering::Relaxed) {
            0 => None,
            error => Some(Error::from_errno(error)),
        }
    }

    /// Ends all jobs with `error`: [bans](Self::ban) the queue, and has
    /// [`Operations::cancel_job`] called for each of its jobs on the ring.
    ///
    /// Only when the hardware writes to nothing any more that belongs to the jobs. What is left
    /// ends, and is freed, in the ordinary way: this is how a queue is taken down without waiting
    /// for that.
    ///
    /// Waits for a call of [`Operations::timed_out`] that is under way, whose job is among those to
    /// end; afterwards it is not called any more for a job of this queue. So this is to be called
    /// neither from the submit queue nor from that for timeouts. May sleep.
    pub fn cancel_all(&self, error: Error) {
        self.ban(error);
        let _ = self.cancelled.cmpxchg(0, error.to_errno(), ordering::Full);
        let paused = self.pause();
        // A job that times out is not on the list. When this returns it is again, or else the
        // handling of timeouts has begun after the store above, and ends the job itself.
        self.sched.flush_timeout();
        paused.for_each_pending(|job| {
            if core::ptr::eq(&**job.queue(), self) {
                job.cancel(error);
            }
        });
    }

    /// The error of [`cancel_all`](Self::cancel_all), if that was called.
    pub(super) fn cancelled(&self) -> Option<Error> {
        match self.cancelled.load(ordering::Acquire) {
            0 => None,
            error => Some(Error::from_errno(error)),
        }
    }

    /// Waits until every job of the queue has been freed, or `timeout` has passed; returns whether
    /// there is none left.
    ///
    /// The other way to take a queue down. Jobs are freed in the order of running: on a ring that is
    /// shared those of others have to end which were put there before. It is for the caller to know that nobody submits more,
    /// and that the jobs end: they may wait for others' fences. May sleep; must not be called from
    /// the queue's work queues.
    #[must_use]
    pub fn wait_idle(&self, timeout: Jiffies) -> bool {
        self.sched.might_wait();
        self.idle
            .wait_timeout(timeout, || self.live.load(ordering::Acquire) == 0)
    }

    /// How many jobs have been armed and not freed.
    pub fn live_jobs(&self) -> usize {
        self.live.load(ordering::Acquire)
    }

    /// A job is about to be armed.
    pub(super) fn job_begins(&self) {
        self.live.fetch_add(1, ordering::Relaxed);
    }

    /// A job has been freed.
    pub(super) fn job_is_gone(&self) {
        if self.live.fetch_sub(1, ordering::Full) == 1 {
            self.idle.wake_all();
        }
    }

    /// Remembers the fence of the job that has been run last.
    pub(super) fn set_last(&self, fence: &Fence) {
        let old = self.last.lock().replace(fence.into());
        drop(old);
    }

    /// The fence of the job that has been run last, unless it has signalled.
    pub(super) fn unsignalled_last(&self) -> Option<ARef<Fence>> {
        let last = self.last.lock().clone();
        last.filter(|fence| !fence.is_signalled())
    }

    /// Takes entity and scheduler down as if there were no jobs, for a test that leaves some.
    ///
    /// # Safety
    ///
    /// No other queue is on the scheduler, and nothing is done with this one afterwards but
    /// dropping it.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(super) unsafe fn take_down(&self) {
        // SAFETY: By the type invariant; and the requirements of this function.
        unsafe {
            bindings::drm_sched_entity_fini(self.entity.get());
            self.sched.take_down();
        }
    }
}

#[pinned_drop]
impl<T: Operations> PinnedDrop for JobQueue<T> {
    fn drop(self: Pin<&mut Self>) {
        if self.sched.is_down() {
            return;
        }
        // SAFETY: By the type invariant the entity is initialised. No reference is left, hence no
        // job: so the entity is empty, and nothing waits for others' fences. This is not one of the
        // scheduler's work queues, whose work may be done with the entity for a moment longer.
        unsafe { bindings::drm_sched_entity_fini(self.entity.get()) };
    }
}

/// The right to submit to a queue: see [`JobQueue::submission`].
#[must_use = "the queue is locked until this is dropped"]
pub struct Submission<'a, T: Operations> {
    queue: &'a JobQueue<T>,
    _guard: MutexGuard<'a, ()>,
}

impl<T: Operations> Submission<'_, T> {
    /// Makes the fences of `job`: the point of no return.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the job is for another queue; it is dropped then.
    pub fn arm(&mut self, job: PendingJob<T>) -> Result<ArmedJob<'_, T>> {
        if !core::ptr::eq(&**job.queue(), self.queue) {
            return Err(EINVAL);
        }
        Ok(self.arm_own(job))
    }

    /// Arms a job that is for this queue.
    pub(super) fn arm_own(&mut self, job: PendingJob<T>) -> ArmedJob<'_, T> {
        self.queue.job_begins();
        // SAFETY: `self` is borrowed for as long as the armed job exists, so that nobody else arms
        // or pushes one on this queue.
        unsafe { job.arm() }
    }
}
