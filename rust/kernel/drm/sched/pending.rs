// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Schedulers that stand still, and the jobs that they have on their rings.

use super::{
    scheduler::Scheduler,
    Job,
    JobQueue,
    Operations, //
};
use crate::{
    bindings,
    container_of,
    sync::rcu, //
};
use core::{
    iter::{
        once,
        Once, //
    },
    marker::PhantomData, //
};

/// Schedulers that begin neither to run nor to free jobs, until this is dropped.
///
/// Made by [`JobQueue::pause`] and [`pause_all`]. Pauses nest.
#[must_use = "the schedulers go on when this is dropped"]
pub struct Paused<'a, T, I = Once<&'a Scheduler<T>>>
where
    T: Operations,
    I: Iterator<Item = &'a Scheduler<T>> + Clone,
{
    schedulers: I,
    _borrow: PhantomData<&'a Scheduler<T>>,
}

/// Pauses all of `queues`, at the price of one grace period: see [`JobQueue::pause`].
///
/// # Examples
///
/// ```ignore
/// // The firmware ends the whole group, so the whole group stands still.
/// let paused = sched::pause_all(group.queues().iter().map(|queue| queue.jobs()));
/// group.terminate();
/// drop(paused);
/// ```
pub fn pause_all<'a, T, I>(
    queues: I,
) -> Paused<'a, T, impl Iterator<Item = &'a Scheduler<T>> + Clone>
where
    T: Operations,
    I: Iterator<Item = &'a JobQueue<T>> + Clone,
{
    Paused::new(queues.map(JobQueue::scheduler))
}

impl<'a, T: Operations> Paused<'a, T> {
    /// Pauses one scheduler.
    pub(super) fn one(scheduler: &'a Scheduler<T>) -> Self {
        Self::new(once(scheduler))
    }
}

impl<'a, T, I> Paused<'a, T, I>
where
    T: Operations,
    I: Iterator<Item = &'a Scheduler<T>> + Clone,
{
    /// Pauses `schedulers`.
    pub(super) fn new(schedulers: I) -> Self {
        for scheduler in schedulers.clone() {
            scheduler.stop();
        }
        // Expedited, since fences wait for it.
        rcu::synchronize_rcu_expedited();
        for scheduler in schedulers.clone() {
            scheduler.settle();
        }
        Self {
            schedulers,
            _borrow: PhantomData,
        }
    }

    /// Calls `f` for every job that was run and has not been freed, in the order of running for
    /// each scheduler.
    ///
    /// The job that [`Operations::timed_out`] was called for is not among them as long as that
    /// call lasts. Those whose fences have signalled are. `f` may sleep, and signal fences.
    pub fn for_each_pending(&self, mut f: impl FnMut(&Job<T>)) {
        for scheduler in self.schedulers.clone() {
            for_each_pending(scheduler, &mut f);
        }
    }
}

impl<'a, T, I> Drop for Paused<'a, T, I>
where
    T: Operations,
    I: Iterator<Item = &'a Scheduler<T>> + Clone,
{
    fn drop(&mut self) {
        for scheduler in self.schedulers.clone() {
            scheduler.start();
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
