// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Jobs, in the stages of their life.

use super::{
    JobQueue,
    Operations, //
};
use crate::{
    bindings,
    container_of,
    dma_fence::{
        Fence,
        SignallingSection, //
    },
    error::to_result,
    prelude::*,
    sync::aref::ARef,
    types::Opaque, //
};
use core::{
    cell::UnsafeCell,
    mem::ManuallyDrop,
    ptr::NonNull,
    sync::atomic::{
        AtomicBool,
        Ordering, //
    },
};

/// A job, as the scheduler lends it to [`Operations`].
///
/// # Invariants
///
/// * `base` was initialised by `drm_sched_job_init()` for the entity of `queue`.
/// * `resources` is accessed only by whoever owns the job, and by the one call of `run_job`.
#[pin_data]
pub struct Job<T: Operations> {
    #[pin]
    base: Opaque<bindings::drm_sched_job>,
    cancelled: AtomicBool,
    resources: UnsafeCell<Option<T::Resources>>,
    data: T::Job,
    /// Keeps entity and scheduler; after `data`, so that it is dropped last.
    queue: ARef<JobQueue<T>>,
}

impl<T: Operations> Job<T> {
    /// What the driver knows about the job.
    pub fn data(&self) -> &T::Job {
        &self.data
    }

    /// The queue that the job is on.
    pub fn queue(&self) -> &ARef<JobQueue<T>> {
        &self.queue
    }

    /// Borrows the job behind a pointer that C passes to a callback.
    ///
    /// # Safety
    ///
    /// `base` is the `base` of a `Job<T>` that stays alive and is not mutably borrowed during `'a`.
    unsafe fn from_raw<'a>(base: *mut bindings::drm_sched_job) -> &'a Self {
        // SAFETY: By the requirements of this function.
        unsafe { &*Self::container(base) }
    }

    /// The job around `base`.
    ///
    /// # Safety
    ///
    /// `base` is the `base` of a `Job<T>`.
    unsafe fn container(base: *mut bindings::drm_sched_job) -> *mut Self {
        // SAFETY: By the requirements of this function.
        unsafe { container_of!(Opaque::cast_from(base), Self, base) }.cast_mut()
    }

    /// The fence that signals when the job has ended.
    ///
    /// # Safety
    ///
    /// The job was armed.
    unsafe fn finished(&self) -> &Fence {
        // SAFETY: An armed job has initialised fences, to which it holds a reference.
        unsafe { Fence::from_raw(&raw mut (*(*self.base.get()).s_fence).finished) }
    }

    /// C's `run_job`.
    ///
    /// # Safety
    ///
    /// Called by the scheduler for a pushed job, once.
    pub(super) unsafe extern "C" fn run_callback(
        base: *mut bindings::drm_sched_job,
    ) -> *mut bindings::dma_fence {
        let _section = SignallingSection::enter();
        // SAFETY: The scheduler passes jobs that were pushed; it frees them only after this call.
        let job = unsafe { Self::from_raw(base) };
        // SAFETY: The job was pushed, so its owner is gone; and this is the one call of `run_job`
        // (jobs are never resubmitted by the scheduler), hence by the type invariant the access
        // is exclusive.
        let resources = unsafe { (*job.resources.get()).take() };

        let result = match resources {
            Some(resources) if !job.cancelled.load(Ordering::Relaxed) => T::run_job(job, resources),
            _ => Err(ECANCELED),
        };
        match result {
            Ok(fence) => {
                job.queue.set_last(&fence);
                // The scheduler takes over the reference.
                ARef::into_raw(fence).as_ptr().cast()
            }
            Err(error) => match job.queue.unsignalled_last() {
                Some(last) => {
                    // SAFETY: The fences of a pushed job are initialised and its own. They have
                    // not signalled, and nobody else writes the error before the scheduler does,
                    // which it does after this call, and only if `last` has one.
                    unsafe {
                        (*(*job.base.get()).s_fence).finished.error = error.to_errno();
                    }
                    // The scheduler takes over the reference.
                    ARef::into_raw(last).as_ptr().cast()
                }
                None => error.to_ptr(),
            },
        }
    }

    /// C's `timedout_job`.
    ///
    /// # Safety
    ///
    /// Called by the scheduler for a job that it has taken off its list of pending jobs.
    pub(super) unsafe extern "C" fn timed_out_callback(
        base: *mut bindings::drm_sched_job,
    ) -> bindings::drm_gpu_sched_stat {
        let _section = SignallingSection::enter();
        // SAFETY: The job is off the list, so nobody frees it until it is put back, after this
        // call.
        let job = unsafe { Self::from_raw(base) };
        // SAFETY: Jobs on the list have been armed.
        if !unsafe { job.finished() }.is_signalled() {
            T::timed_out(job);
        }
        // The scheduler puts the job back on its list, and frees it from there when it has ended.
        bindings::drm_gpu_sched_stat_DRM_GPU_SCHED_STAT_NO_HANG
    }

    /// C's `cancel_job`.
    ///
    /// # Safety
    ///
    /// Called by the scheduler as it is taken down, for a job on its list.
    pub(super) unsafe extern "C" fn cancel_callback(base: *mut bindings::drm_sched_job) {
        // SAFETY: The scheduler frees the job after this call.
        T::cancel_job(unsafe { Self::from_raw(base) });
    }

    /// C's `free_job`.
    ///
    /// # Safety
    ///
    /// Called by the scheduler for a job that has ended, once; nobody else uses the job any more.
    pub(super) unsafe extern "C" fn free_callback(base: *mut bindings::drm_sched_job) {
        let _section = SignallingSection::enter();
        // SAFETY: Initialised by `drm_sched_job_init`; cleaned up only here, or in
        // `PendingJob::drop`, which a pushed job does not get to.
        unsafe { bindings::drm_sched_job_cleanup(base) };
        // SAFETY: `ArmedJob::push_raw` leaked exactly this box, and the scheduler gives it back.
        drop(unsafe { KBox::from_raw(Self::container(base)) });
    }
}

/// A job that is not yet the scheduler's business.
///
/// # Invariants
///
/// The box is pinned; its job is initialised and not armed.
pub struct PendingJob<T: Operations>(ManuallyDrop<KBox<Job<T>>>);

// SAFETY: Everything in the job may be sent, and `self` owns it.
unsafe impl<T: Operations> Send for PendingJob<T> {}

impl<T: Operations> PendingJob<T> {
    pub(super) fn new(
        queue: ARef<JobQueue<T>>,
        credits: u32,
        client: u64,
        resources: T::Resources,
        data: T::Job,
    ) -> Result<Self> {
        let entity = queue.raw_entity();
        let job = KBox::pin_init(
            try_pin_init!(Job {
                base <- Opaque::try_ffi_init(|slot| {
                    // SAFETY: The slot is writable and stays where it is; the entity is
                    // initialised, and kept by the reference in `queue`.
                    to_result(unsafe {
                        bindings::drm_sched_job_init(
                            slot,
                            entity,
                            credits,
                            core::ptr::null_mut(),
                            client,
                        )
                    })
                }),
                cancelled: AtomicBool::new(false),
                resources: UnsafeCell::new(Some(resources)),
                data,
                queue,
            }? Error),
            GFP_KERNEL,
        )?;
        // SAFETY: The box is never moved out of: C gets its address, and it goes back into a box
        // only to be freed.
        let job = unsafe { Pin::into_inner_unchecked(job) };
        // INVARIANT: Initialised just now.
        Ok(Self(ManuallyDrop::new(job)))
    }

    /// What the driver knows about the job.
    pub fn data(&self) -> &T::Job {
        &self.0.data
    }

    /// Makes the job wait for `fence` before it runs.
    ///
    /// Jobs of the same queue need not be waited for: they run in order.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn add_dependency(&mut self, fence: ARef<Fence>) -> Result {
        // SAFETY: The job is initialised, and `self` owns it. The reference is consumed in any
        // case.
        to_result(unsafe {
            bindings::drm_sched_job_add_dependency(
                self.0.base.get(),
                ARef::into_raw(fence).as_ptr().cast(),
            )
        })
    }

    /// Makes the job's fences: the point of no return.
    ///
    /// The fences of a queue count in the order of arming, and its jobs run in the order of
    /// pushing. So from here to [`ArmedJob::push`] the caller keeps others from doing the same on
    /// this queue, by a lock.
    pub fn arm(self) -> ArmedJob<T> {
        let this = ManuallyDrop::new(self);
        // SAFETY: The job is initialised and not armed (type invariant); its entity is alive.
        unsafe { bindings::drm_sched_job_arm(this.0.base.get()) };
        // SAFETY: `this` is not used, and not dropped, after this.
        let job = unsafe { core::ptr::read(&*this.0) };
        // INVARIANT: Armed just now.
        ArmedJob(ManuallyDrop::new(job))
    }
}

impl<T: Operations> Drop for PendingJob<T> {
    fn drop(&mut self) {
        // SAFETY: The job is initialised and not armed (type invariant).
        unsafe { bindings::drm_sched_job_cleanup(self.0.base.get()) };
        // SAFETY: `self` is not used after this.
        unsafe { ManuallyDrop::drop(&mut self.0) };
    }
}

/// A job whose fences exist, and which is about to be pushed.
///
/// # Invariants
///
/// The box is pinned; its job is armed and not pushed.
#[must_use = "an armed job that is dropped is pushed as cancelled"]
pub struct ArmedJob<T: Operations>(ManuallyDrop<KBox<Job<T>>>);

// SAFETY: Everything in the job may be sent, and `self` owns it.
unsafe impl<T: Operations> Send for ArmedJob<T> {}

impl<T: Operations> ArmedJob<T> {
    /// What the driver knows about the job.
    pub fn data(&self) -> &T::Job {
        &self.0.data
    }

    /// The fence that signals when the job has ended.
    pub fn finished(&self) -> &Fence {
        // SAFETY: The job is armed.
        unsafe { self.0.finished() }
    }

    /// Hands the job to the scheduler.
    pub fn push(self) {
        // SAFETY: `self` is not used, and not dropped, after this.
        unsafe { Self::push_raw(&mut ManuallyDrop::new(self).0) };
    }

    /// Hands the job to the scheduler.
    ///
    /// # Safety
    ///
    /// `job` is not used after this.
    unsafe fn push_raw(job: &mut ManuallyDrop<KBox<Job<T>>>) {
        // SAFETY: By the requirements of this function.
        let job = unsafe { ManuallyDrop::take(job) };
        // SAFETY: A box is not null.
        let job = unsafe { NonNull::new_unchecked(KBox::into_raw(job)) };
        // SAFETY: The job is armed and not pushed (type invariant). It belongs to the scheduler
        // from here on, which returns it through `free_callback`; its entity is kept by the job.
        unsafe { bindings::drm_sched_entity_push_job((*job.as_ptr()).base.get()) };
    }
}

impl<T: Operations> Drop for ArmedJob<T> {
    fn drop(&mut self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
        // SAFETY: `self` is not used after this.
        unsafe { Self::push_raw(&mut self.0) };
    }
}
