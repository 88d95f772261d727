// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Jobs, in the stages of their life.

use super::{
    JobQueue,
    Operations,
    Submission,
    TimedOut, //
};
use crate::{
    bindings,
    container_of,
    dma_fence::{
        Fence,
        SignallingSection, //
    },
    dma_resv::{
        HeldResv,
        Usage, //
    },
    drm::{
        self,
        file::DriverFile,
        syncobj::SyncObj, //
    },
    error::to_result,
    module_ref::ModuleRef,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            ordering::{
                Acquire,
                Relaxed,
                Release, //
            },
            Atomic,
            AtomicFlag, //
        },
    },
    types::Opaque, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::NonNull, //
};

/// A job, as the scheduler lends it to [`Operations`].
///
/// # Invariants
///
/// * `base` was initialised by `drm_sched_job_init()` for the entity of `queue`.
/// * `resources` is accessed only by whoever owns the job, and by the one call of `run_job`.
/// * `reserved` is accessed only by whoever owns the job before it was pushed, and then only by the
///   scheduler's work that runs jobs.
#[pin_data]
pub struct Job<T: Operations> {
    #[pin]
    base: Opaque<bindings::drm_sched_job>,
    cancelled: AtomicFlag,
    /// `run_job` has put it on the ring.
    on_ring: AtomicFlag,
    /// `cancel_job` was called.
    told_to_end: AtomicFlag,
    resources: UnsafeCell<Option<T::Resources>>,
    // Few jobs have any, so that this does without memory of its own.
    reserved: UnsafeCell<Option<KBox<KVec<Place>>>>,
    data: T::Job,
    /// A job may wait for others' fences when nothing else is left of its process.
    _module: ModuleRef,
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

    /// Whether the job has ended: the fence that others wait for has signalled.
    pub fn has_ended(&self) -> bool {
        // SAFETY: Nobody gets to see a job before it was armed.
        unsafe { self.finished() }.is_signalled()
    }

    /// Whether [`Operations::run_job`] has put the job on the ring.
    pub fn is_on_ring(&self) -> bool {
        self.on_ring.load(Acquire)
    }

    /// Has the driver end the job, if it is on the ring, has not ended and was not told to before.
    pub(super) fn cancel(&self, error: Error) {
        if self.is_on_ring() && !self.has_ended() && !self.told_to_end.xchg(true, Relaxed) {
            T::cancel_job(self, error);
        }
    }

    /// Borrows the job behind a pointer that C passes to a callback.
    ///
    /// # Safety
    ///
    /// `base` is the `base` of a `Job<T>` that was armed, stays alive, and is not mutably borrowed
    /// during `'a`.
    pub(super) unsafe fn from_raw<'a>(base: *mut bindings::drm_sched_job) -> &'a Self {
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
    pub(super) unsafe fn finished(&self) -> &Fence {
        // SAFETY: An armed job has initialised fences, to which it holds a reference.
        unsafe { Fence::from_raw(&raw mut (*(*self.base.get()).s_fence).finished) }
    }

    /// C's `prepare_job`: what the job waits for beyond what C knows of.
    ///
    /// # Safety
    ///
    /// Called by the scheduler for a pushed job, before `run_job`.
    pub(super) unsafe extern "C" fn prepare_callback(
        base: *mut bindings::drm_sched_job,
        _entity: *mut bindings::drm_sched_entity,
    ) -> *mut bindings::dma_fence {
        // SAFETY: The scheduler passes jobs that were pushed; it frees them only after this call.
        let job = unsafe { Self::from_raw(base) };
        // SAFETY: The job was pushed, and only the work that runs jobs calls this; it is one work
        // item. By the type invariant the access is exclusive.
        let reserved = unsafe { &mut *job.reserved.get() };
        let mut places = reserved.iter_mut().flat_map(|places| places.iter_mut());
        match places.find_map(|place| place.fence.take()) {
            // The scheduler takes over the reference.
            Some(fence) => ARef::into_raw(fence).as_ptr().cast(),
            None => core::ptr::null_mut(),
        }
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

        let result = match (job.queue.banned(), resources) {
            (None, Some(resources)) if !job.cancelled.load(Relaxed) => {
                T::run_job(job, resources).inspect(|_| job.on_ring.store(true, Release))
            }
            (Some(error), _) => Err(error),
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
        if let Some(error) = job.queue.cancelled() {
            // Whoever cancels all may not have seen it, since it was off the list.
            let _paused = job.queue.pause();
            job.cancel(error);
        } else if !job.has_ended() {
            let outcome = T::timed_out(job);
            if matches!(outcome, TimedOut::Ended | TimedOut::DeviceGone) && !job.has_ended() {
                dev_err!(
                    job.queue.scheduler().device(),
                    "scheduler: the driver says that a job was ended ({outcome:?}), but its fence has not signalled\n"
                );
            }
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
        let job = unsafe { Self::from_raw(base) };
        job.cancel(ECANCELED);
        if job.has_ended() {
            return;
        }
        // It waits for the fence of an earlier job, or the driver did not do its duty. Either way
        // the job must not be freed while it is on a fence's list of callbacks.
        //
        // SAFETY: The scheduler is stopped, so that nobody but who signals the parent fence works
        // on the job; and the callback is gone after this.
        unsafe {
            let s_fence = (*base).s_fence;
            let parent = (*s_fence).parent;
            if !parent.is_null()
                && !bindings::dma_fence_remove_callback(parent, &raw mut (*base).cb)
            {
                // The callback has signalled it.
                return;
            }
            if (*s_fence).finished.error == 0 {
                (*s_fence).finished.error = ECANCELED.to_errno();
            }
            bindings::dma_fence_signal(&raw mut (*s_fence).finished);
        }
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
        let job = unsafe { KBox::from_raw(Self::container(base)) };
        let queue = job.queue.clone();
        drop(job);
        queue.job_is_gone();
    }
}

/// A place among what a job waits for, whose fence is not there yet: see
/// [`PendingJob::reserve_dependency`].
///
/// It is one job's, and known by a number that no other place has, so that it is of no use with
/// another job.
#[derive(Debug)]
pub struct Reserved(u64);

/// What becomes of a [`Reserved`] in its job.
struct Place {
    number: u64,
    fence: Option<ARef<Fence>>,
}

/// A job that is not yet the scheduler's business.
///
/// It may still fail, and be dropped.
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
        // Nothing may fail once C has initialised the job: nobody would clean it up.
        let module = ModuleRef::new::<T::Module>()?;
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
                cancelled: AtomicFlag::new(false),
                on_ring: AtomicFlag::new(false),
                told_to_end: AtomicFlag::new(false),
                resources: UnsafeCell::new(Some(resources)),
                reserved: UnsafeCell::new(None),
                data,
                _module: module,
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

    /// Makes the job wait for what the handle `handle` of `file` stands for: at `point` of a
    /// timeline, or the only fence if `point` is zero.
    ///
    /// # Errors
    ///
    /// Those of [`SyncObj::find_fence`]; `ENOMEM`.
    pub fn add_syncobj_dependency<F: DriverFile>(
        &mut self,
        file: &drm::File<F>,
        handle: u32,
        point: u64,
    ) -> Result {
        self.add_dependency(SyncObj::find_fence(file, handle, point)?)
    }

    /// Makes the job wait for the fences of a reservation object that somebody waits for who waits
    /// for `usage`: see [`Usage::to_wait_for`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn add_resv_dependencies(&mut self, resv: &HeldResv<'_>, usage: Usage) -> Result {
        // SAFETY: The job is initialised, and `self` owns it. The lock is held.
        to_result(unsafe {
            bindings::drm_sched_job_add_resv_dependencies(
                self.0.base.get(),
                resv.as_raw(),
                usage as bindings::dma_resv_usage,
            )
        })
    }

    /// Makes room for one more fence to wait for, which is going to exist only when nothing may
    /// fail any more: that of another job of the same submission.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Examples
    ///
    /// ```ignore
    /// let reserved = second.reserve_dependency()?;
    /// // Nothing fails from here on.
    /// let fence = first.submit(|_| {});
    /// second.fill_dependency(reserved, fence);
    /// second.submit(|fence| publish(fence));
    /// ```
    pub fn reserve_dependency(&mut self) -> Result<Reserved> {
        static NUMBER: Atomic<u64> = Atomic::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let fence = None;
        let places = match self.0.reserved.get_mut() {
            Some(places) => places,
            none => none.insert(KBox::new(KVec::new(), GFP_KERNEL)?),
        };
        places.push(Place { number, fence }, GFP_KERNEL)?;
        Ok(Reserved(number))
    }

    /// The place that `reserved` stands for, if it is one of this job's.
    fn place(&mut self, reserved: &Reserved) -> Option<&mut Place> {
        let places = self.0.reserved.get_mut().as_mut()?;
        places.iter_mut().find(|place| place.number == reserved.0)
    }

    /// Whether `reserved` is a place of this job.
    pub fn has_place(&mut self, reserved: &Reserved) -> bool {
        self.place(reserved).is_some()
    }

    /// Makes the job wait for `fence`, in the place that was reserved for it on this job.
    ///
    /// A place of another job is a bug of the driver, and is refused with a warning.
    pub fn fill_dependency(&mut self, reserved: Reserved, fence: ARef<Fence>) {
        match self.place(&reserved) {
            Some(place) => place.fence = Some(fence),
            None => drop(crate::warn_on!(true)),
        }
    }

    /// The queue that the job is for.
    pub fn queue(&self) -> &ARef<JobQueue<T>> {
        &self.0.queue
    }

    /// Arms and pushes the job; returns the fence that signals when it has ended.
    ///
    /// In between, `publish` is called with that fence, to put it where others find it. Nothing
    /// fails here. Others are kept from submitting to the queue meanwhile: may sleep, and `publish`
    /// must not submit to a queue.
    pub fn submit(self, publish: impl FnOnce(&Fence)) -> ARef<Fence> {
        let queue = self.queue().clone();
        let mut submission: Submission<'_, T> = queue.submission();
        let job = submission.arm_own(self);
        publish(job.finished());
        job.push()
    }

    /// Makes the job's fences: the point of no return.
    ///
    /// # Safety
    ///
    /// During `'a` nobody else arms or pushes a job of this queue.
    pub(super) unsafe fn arm<'a>(self) -> ArmedJob<'a, T> {
        let this = ManuallyDrop::new(self);
        // SAFETY: The job is initialised and not armed (type invariant); its entity is alive.
        unsafe { bindings::drm_sched_job_arm(this.0.base.get()) };
        // SAFETY: `this` is not used, and not dropped, after this.
        let job = unsafe { core::ptr::read(&*this.0) };
        // INVARIANT: Armed just now; and by the requirements of this function.
        ArmedJob(ManuallyDrop::new(job), PhantomData)
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
/// It borrows the [`Submission`] that it came from: there is one at a time.
///
/// # Invariants
///
/// The box is pinned; its job is armed and not pushed. During `'a` nobody else submits to its
/// queue.
#[must_use = "an armed job that is dropped is pushed as cancelled"]
pub struct ArmedJob<'a, T: Operations>(ManuallyDrop<KBox<Job<T>>>, PhantomData<&'a mut ()>);

impl<T: Operations> ArmedJob<'_, T> {
    /// What the driver knows about the job.
    pub fn data(&self) -> &T::Job {
        &self.0.data
    }

    /// The fence that signals when the job has ended.
    pub fn finished(&self) -> &Fence {
        // SAFETY: The job is armed.
        unsafe { self.0.finished() }
    }

    /// Hands the job to the scheduler; returns the fence that signals when it has ended.
    pub fn push(self) -> ARef<Fence> {
        let finished = self.finished().into();
        // SAFETY: `self` is not used, and not dropped, after this.
        unsafe { Self::push_raw(&mut ManuallyDrop::new(self).0) };
        finished
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
        // from here on, which returns it through `free_callback`; its entity is kept by the job,
        // and, should that be gone before this call returns, by the `Submission`'s queue.
        unsafe { bindings::drm_sched_entity_push_job((*job.as_ptr()).base.get()) };
    }
}

impl<T: Operations> Drop for ArmedJob<'_, T> {
    fn drop(&mut self) {
        self.0.cancelled.store(true, Relaxed);
        // SAFETY: `self` is not used after this.
        unsafe { Self::push_raw(&mut self.0) };
    }
}
