// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Queues of jobs: a scheduler with its one entity.

use super::{
    Job,
    Operations,
    PendingJob, //
};
use crate::{
    bindings, container_of, device,
    dma_fence::Fence,
    error::to_result,
    prelude::*,
    str::CString,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        Arc,
        Mutex,
        Refcount,
        SpinLock, //
    },
    types::Opaque,
    workqueue::{
        ModuleQueueUse,
        OwnedQueue, //
    },
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

// lockdep knows a class by the address of its name. A literal in a generic function may have one
// for each instance; a static has one.
static RELEASE_NAME: &CStr = c"drm::sched::JobQueue::release";
static PAUSES_NAME: &CStr = c"drm::sched::JobQueue::pauses";
static LAST_NAME: &CStr = c"drm::sched::JobQueue::last";

/// What a [`JobQueue`] is made of.
pub struct Config<'a> {
    /// The name of the timeline in traces.
    pub name: CString,
    /// The device, for messages.
    pub dev: &'a device::Device,
    /// How many credits jobs may have in flight: what the ring has room for.
    pub credit_limit: u32,
    /// Where jobs are run and freed; may be shared among queues.
    pub submit: Arc<OwnedQueue>,
    /// Where timeouts are handled; may be shared among queues.
    pub timeout: Arc<OwnedQueue>,
    /// Where the queue is taken down.
    pub teardown: ModuleQueueUse,
}

/// A scheduler with one entity, for one ring.
///
/// # Invariants
///
/// * `sched` is an initialised scheduler, and `entity` an entity of it, until the last reference
///   is gone.
/// * Every job of the entity and of the scheduler holds a reference.
#[pin_data]
pub struct JobQueue<T: Operations> {
    #[pin]
    sched: Opaque<bindings::drm_gpu_scheduler>,
    #[pin]
    entity: Opaque<bindings::drm_sched_entity>,
    #[pin]
    release: Opaque<bindings::rcu_work>,
    #[pin]
    pauses: Mutex<u32>,
    /// What the last job that was run has ended with, or will.
    #[pin]
    last: SpinLock<Option<ARef<Fence>>>,
    refcount: Refcount,
    // What the scheduler points to.
    _name: CString,
    _dev: ARef<device::Device>,
    _submit: Arc<OwnedQueue>,
    _timeout: Arc<OwnedQueue>,
    _ops: PhantomData<T>,
    /// After everything else: the module may go when this is gone.
    teardown: ModuleQueueUse,
}

// SAFETY: The C structures are internally synchronised, and jobs may be sent.
unsafe impl<T: Operations> Send for JobQueue<T> {}
// SAFETY: As above.
unsafe impl<T: Operations> Sync for JobQueue<T> {}

// SAFETY: `refcount` counts references; the object is freed after it reached zero only.
unsafe impl<T: Operations> AlwaysRefCounted for JobQueue<T> {
    fn inc_ref(&self) {
        self.refcount.inc();
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference, so the object is alive.
        let this = unsafe { obj.as_ref() };
        if this.refcount.dec_and_test() {
            // SAFETY: The work is initialised, and this is the only time that it is queued. The
            // module's queue is kept by `teardown`.
            unsafe {
                bindings::queue_rcu_work(this.teardown.as_raw(), this.release.get());
            }
        }
    }
}

impl<T: Operations> JobQueue<T> {
    const OPS: bindings::drm_sched_backend_ops = bindings::drm_sched_backend_ops {
        prepare_job: None,
        run_job: Some(Job::<T>::run_callback),
        timedout_job: Some(Job::<T>::timed_out_callback),
        free_job: Some(Job::<T>::free_callback),
        cancel_job: Some(Job::<T>::cancel_callback),
    };

    /// Makes a queue.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(config: Config<'_>) -> Result<ARef<Self>> {
        let args = bindings::drm_sched_init_args {
            ops: const { &Self::OPS },
            submit_wq: config.submit.as_raw(),
            timeout_wq: config.timeout.as_raw(),
            num_rqs: 1,
            credit_limit: config.credit_limit,
            hang_limit: 0,
            // The driver's own timers decide: they know when the ring is on the hardware.
            timeout: c_long::MAX,
            score: core::ptr::null_mut(),
            name: config.name.as_char_ptr(),
            dev: device_as_raw(config.dev),
        };
        let queue = KBox::pin_init(
            try_pin_init!(Self {
                // The C code takes a scheduler with run queues for an initialised one.
                sched <- Opaque::try_ffi_init(|slot: *mut bindings::drm_gpu_scheduler| {
                    // SAFETY: The slot is writable.
                    unsafe { slot.write_bytes(0, 1) };
                    // SAFETY: The slot is zeroed and stays where it is, since the queue is
                    // pinned; what `args` points to is kept in this structure.
                    to_result(unsafe { bindings::drm_sched_init(slot, &args) })
                }),
                entity: Opaque::zeroed(),
                release <- Opaque::ffi_init(|slot: *mut bindings::rcu_work| {
                    // SAFETY: The slot is writable, and its work stays where it is.
                    unsafe {
                        bindings::init_work_with_key(
                            &raw mut (*slot).work,
                            Some(Self::release_callback),
                            false,
                            RELEASE_NAME.as_char_ptr(),
                            crate::static_lock_class!().as_ptr(),
                        )
                    }
                }),
                pauses <- Mutex::new(0, PAUSES_NAME, crate::static_lock_class!()),
                last <- SpinLock::new(None, LAST_NAME, crate::static_lock_class!()),
                refcount: Refcount::new(1),
                _name: config.name,
                _dev: config.dev.into(),
                _submit: config.submit,
                _timeout: config.timeout,
                _ops: PhantomData,
                teardown: config.teardown,
            }? Error),
            GFP_KERNEL,
        )?;

        let mut sched = queue.sched.get();
        // SAFETY: The scheduler is initialised; the entity's memory is ours, and stays where it
        // is. The list of schedulers is read during the call only, since it has one element.
        let result = to_result(unsafe {
            bindings::drm_sched_entity_init(
                queue.entity.get(),
                bindings::drm_sched_priority_DRM_SCHED_PRIORITY_KERNEL,
                &mut sched,
                1,
                core::ptr::null_mut(),
            )
        });
        if let Err(error) = result {
            // SAFETY: The scheduler is initialised, and nothing uses it.
            unsafe { bindings::drm_sched_fini(sched) };
            return Err(error);
        }

        // SAFETY: The box stays where it is until the last reference is gone.
        let queue = KBox::into_raw(unsafe { Pin::into_inner_unchecked(queue) });
        // SAFETY: Not null, and the first reference is ours.
        Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(queue)) })
    }

    /// The newest job that was run ends with `fence`.
    pub(super) fn set_last(&self, fence: &Fence) {
        let old = self.last.lock().replace(fence.into());
        drop(old);
    }

    /// What the newest job that was run ends with, if it has not ended.
    pub(super) fn unsignalled_last(&self) -> Option<ARef<Fence>> {
        let last = self.last.lock().clone()?;
        // Looks at it under the fence's lock: so what waits for the fence was told, too.
        last.status().is_none().then_some(last)
    }

    pub(super) fn raw_entity(&self) -> *mut bindings::drm_sched_entity {
        self.entity.get()
    }

    /// Takes the queue down, after a grace period since the last reference went.
    ///
    /// # Safety
    ///
    /// `work` is in the `release` of a queue without references.
    unsafe extern "C" fn release_callback(work: *mut bindings::work_struct) {
        // SAFETY: By the requirements of this function.
        let this = unsafe {
            let rcu_work = container_of!(work, bindings::rcu_work, work);
            container_of!(Opaque::cast_from(rcu_work), Self, release).cast_mut()
        };
        // SAFETY: No reference is left, hence by the type invariant no job. So the entity is
        // empty, and nothing waits; and the scheduler's own work ends at once. This is not one
        // of its queues.
        //
        // No work is left after `drm_sched_fini()`, which stops the scheduler once more: stopping
        // sets a flag, takes back the work that runs jobs, then that which frees them. The second
        // may have read the flag before, and queue the first after that was taken back. But when
        // the first stop has returned, it has ended, and nothing queues it any more, for want of
        // jobs and because of the flag. What then may be queued or run is the work that runs
        // jobs, which finds the flag and queues nothing; the second stop waits for it.
        unsafe {
            bindings::drm_sched_wqueue_stop((*this).sched.get());
            bindings::drm_sched_entity_fini((*this).entity.get());
            bindings::drm_sched_fini((*this).sched.get());
        }
        // SAFETY: The box was leaked in `new`, and nobody refers to it any more.
        drop(unsafe { KBox::from_raw(this) });
    }

    /// Makes a job for this queue.
    ///
    /// * `credits`: how much of the ring it takes, not zero.
    /// * `client`: the number of the file that the job is for, in traces.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` if it takes nothing of the ring, or more than there is.
    pub fn new_job(
        self: &ARef<Self>,
        credits: u32,
        client: u64,
        resources: T::Resources,
        data: T::Job,
    ) -> Result<PendingJob<T>> {
        // SAFETY: Initialised, and never written to after that.
        let limit = unsafe { (*self.sched.get()).credit_limit };
        if credits == 0 || credits > limit {
            return Err(EINVAL);
        }
        PendingJob::new(self.clone(), credits, client, resources, data)
    }

    /// Has [`Operations::timed_out`] called for the oldest job, soon, if there is one.
    pub fn report_fault(&self) {
        // SAFETY: The scheduler is initialised (type invariant).
        unsafe { bindings::drm_sched_fault(self.sched.get()) };
    }

    /// Keeps jobs from being run and freed as long as the result lives, but for those that are on
    /// their way.
    ///
    /// Waits for a call of [`Operations`] that is under way; so it must not be called from the
    /// queue's submit queue. But whoever found the queue not paused, in pushing a job or in
    /// signalling a fence, may still have one run or freed soon after: a driver that stops a ring
    /// keeps its own [`Operations::run_job`] off it, by the ring's lock. Pauses nest.
    pub fn pause(&self) -> Paused<'_, T> {
        let mut pauses = self.pauses.lock();
        if *pauses == 0 {
            // SAFETY: The scheduler is initialised (type invariant).
            unsafe { bindings::drm_sched_wqueue_stop(self.sched.get()) };
        }
        *pauses += 1;
        Paused { queue: self }
    }
}

/// A queue that begins neither to run nor to free jobs: see [`JobQueue::pause`].
#[must_use = "the queue goes on when this is dropped"]
pub struct Paused<'a, T: Operations> {
    queue: &'a JobQueue<T>,
}

impl<T: Operations> Drop for Paused<'_, T> {
    fn drop(&mut self) {
        let mut pauses = self.queue.pauses.lock();
        *pauses -= 1;
        if *pauses == 0 {
            // SAFETY: The scheduler is initialised (type invariant of the queue).
            unsafe { bindings::drm_sched_wqueue_start(self.queue.sched.get()) };
        }
    }
}

/// The C device behind `dev`, whose own accessor is private to its crate.
fn device_as_raw(dev: &device::Device) -> *mut bindings::device {
    // `Device` is a transparent wrapper of an `Opaque<struct device>`.
    core::ptr::from_ref(dev).cast_mut().cast()
}
