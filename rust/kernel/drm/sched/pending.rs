// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Schedulers that stand still, and the jobs that they have on their rings.

use super::{
    scheduler::Scheduler,
    Job,
    JobQueue,
    Operations, //
};
use crate::{
    bindings, container_of,
    sync::{
        aref::ARef,
        rcu, //
    },
};
use core::marker::PhantomData;

/// What has a scheduler, always the same.
///
/// Only types of this module implement it: that the scheduler which is paused is the one whose jobs
/// are looked at, and the one that goes on, is a matter of memory safety.
pub trait HasScheduler<T: Operations> {
    /// The scheduler.
    fn scheduler(&self) -> &Scheduler<T>;
}

impl<T: Operations> HasScheduler<T> for Scheduler<T> {
    fn scheduler(&self) -> &Scheduler<T> {
        self
    }
}

impl<T: Operations> HasScheduler<T> for ARef<JobQueue<T>> {
    fn scheduler(&self) -> &Scheduler<T> {
        JobQueue::scheduler(self)
    }
}

/// Schedulers that begin neither to run nor to free jobs, until this is dropped.
///
/// Made by [`JobQueue::pause`] and [`pause_all`]. Pauses nest.
///
/// # Invariants
///
/// The schedulers of `on` were stopped, and no thread that found them running has jobs run or freed
/// any more.
#[must_use = "the schedulers go on when this is dropped"]
pub struct Paused<'a, T: Operations, S: HasScheduler<T>> {
    on: &'a [S],
    _ops: PhantomData<&'a Scheduler<T>>,
}

/// Pauses all of `queues`, at the price of one grace period: see [`JobQueue::pause`].
///
/// # Examples
///
/// ```ignore
/// // The firmware ends the whole group, so the whole group stands still.
/// let paused = sched::pause_all(group.job_queues());
/// group.terminate();
/// drop(paused);
/// ```
pub fn pause_all<T: Operations>(queues: &[ARef<JobQueue<T>>]) -> Paused<'_, T, ARef<JobQueue<T>>> {
    Paused::new(queues)
}

impl<'a, T: Operations, S: HasScheduler<T>> Paused<'a, T, S> {
    /// Pauses the schedulers of `on`.
    pub(super) fn new(on: &'a [S]) -> Self {
        for each in on {
            each.scheduler().stop();
        }
        // Expedited, since fences wait for it.
        rcu::synchronize_rcu_expedited();
        for each in on {
            each.scheduler().settle();
        }
        // INVARIANT: Stopped and settled above, with a grace period in between.
        Self {
            on,
            _ops: PhantomData,
        }
    }

    /// Calls `f` for every job that was run and has not been freed, in the order of running for
    /// each scheduler.
    ///
    /// The job that [`Operations::timed_out`] was called for is not among them as long as that
    /// call lasts. Those whose fences have signalled are. `f` may sleep, and signal fences.
    pub fn for_each_pending(&self, mut f: impl FnMut(&Job<T>)) {
        for each in self.on {
            for_each_pending(each.scheduler(), &mut f);
        }
    }
}

impl<T: Operations, S: HasScheduler<T>> Drop for Paused<'_, T, S> {
    fn drop(&mut self) {
        for each in self.on {
            each.scheduler().start();
        }
    }
}

/// As [`Paused::for_each_pending`], for a `scheduler` that is paused.
///
/// The list is stable but for its first job: the handling of timeouts takes that off and puts it
/// back, whether or not the scheduler is paused. No job is freed.
fn for_each_pending<T: Operations>(scheduler: &Scheduler<T>, f: &mut impl FnMut(&Job<T>)) {
    let sched = scheduler.as_raw();
    // SAFETY: The scheduler is initialised; only addresses of its fields are computed.
    let (lock, head) = unsafe {
        (
            &raw mut (*sched).job_list_lock,
            &raw mut (*sched).pending_list,
        )
    };

    // SAFETY: The lock is initialised. Under it the list is intact.
    let mut at = unsafe {
        bindings::spin_lock(lock);
        let first = (*head).next;
        bindings::spin_unlock(lock);
        first
    };
    while !core::ptr::eq(at, head) {
        // SAFETY: What is on the list is the `list` of the `base` of a `Job<T>`. It is not freed as
        // long as the scheduler is paused.
        let job = unsafe { Job::<T>::from_raw(container_of!(at, bindings::drm_sched_job, list)) };
        f(job);
        // SAFETY: As above. A job that was taken off meanwhile points to itself; it was the
        // first, so that the one after it is the first now.
        unsafe {
            bindings::spin_lock(lock);
            let next = (*at).next;
            at = if core::ptr::eq(next, at) {
                (*head).next
            } else {
                next
            };
            bindings::spin_unlock(lock);
        }
    }
}
