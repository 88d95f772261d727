// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The C scheduler: what one ring has one of.

use super::{
    life::{
        Late,
        Life, //
    },
    Job,
    Operations, //
};
use crate::{
    bindings, device,
    error::to_result,
    prelude::*,
    str::CString,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        atomic::{
            ordering::Relaxed,
            AtomicFlag, //
        },
        Arc,
        Mutex, //
    },
    time::Jiffies,
    types::Opaque,
    workqueue::{
        might_wait_for,
        ModuleQueueUse,
        SignallingQueue, //
    },
};
use core::{
    marker::PhantomData,
    mem::offset_of,
    ptr::NonNull, //
};

// lockdep knows a class by the address of its name. A literal in a generic function may have one
// for each instance; a static has one.
static RELEASE_NAME: &CStr = c"drm::sched::Scheduler::release";
static PAUSES_NAME: &CStr = c"drm::sched::Scheduler::pauses";

/// What a scheduler, and with it a [`JobQueue`](super::JobQueue) or a
/// [`Ring`](super::hw::Ring), is made of.
pub struct Config<'a> {
    /// The name of the timeline in traces.
    pub name: CString,
    /// The device, for messages.
    pub dev: &'a device::Device,
    /// How many credits jobs may have in flight: what the ring has room for.
    pub credit_limit: u32,
    /// How long a job may be the oldest on the ring; [`None`] if the driver's own timers decide
    /// (they may know when the ring is on the hardware) and call
    /// [`JobQueue::report_fault`](super::JobQueue::report_fault).
    pub time_limit: Option<Jiffies>,
    /// Where jobs are run and freed; may be shared among queues.
    pub submit: Arc<SignallingQueue>,
    /// Where timeouts are handled; may be shared among queues, but is not `submit`, which they
    /// wait for.
    pub timeout: Arc<SignallingQueue>,
    /// Where the scheduler is taken down.
    pub teardown: ModuleQueueUse,
}

/// A C scheduler.
///
/// # Invariants
///
/// * `sched` is an initialised scheduler until the object is dropped.
/// * Every job of the scheduler holds a queue, and every queue the scheduler.
#[pin_data(PinnedDrop)]
pub struct Scheduler<T: Operations> {
    #[pin]
    sched: Opaque<bindings::drm_gpu_scheduler>,
    #[pin]
    pauses: Mutex<u32>,
    /// It was taken down before its time, by a test.
    down: AtomicFlag,
    // What the scheduler points to.
    _name: CString,
    dev: ARef<device::Device>,
    _submit: Arc<SignallingQueue>,
    _timeout: Arc<SignallingQueue>,
    _ops: PhantomData<T>,
    /// After everything else: the module may go when this is gone.
    #[pin]
    life: Life,
}

// SAFETY: The C structure is internally synchronised, and jobs may be sent.
unsafe impl<T: Operations> Send for Scheduler<T> {}
// SAFETY: As above.
unsafe impl<T: Operations> Sync for Scheduler<T> {}

// SAFETY: The last field is a pinned `Life`, made for this type; the box is leaked in `new`.
unsafe impl<T: Operations> Late for Scheduler<T> {
    const LIFE: usize = offset_of!(Self, life);
}

// SAFETY: The life counts references; the object is freed after there is none.
unsafe impl<T: Operations> AlwaysRefCounted for Scheduler<T> {
    fn inc_ref(&self) {
        self.life.get();
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference, so the object is alive.
        unsafe { obj.as_ref().life.put() };
    }
}

impl<T: Operations> Scheduler<T> {
    const OPS: bindings::drm_sched_backend_ops = bindings::drm_sched_backend_ops {
        prepare_job: Some(Job::<T>::prepare_callback),
        run_job: Some(Job::<T>::run_callback),
        timedout_job: Some(Job::<T>::timed_out_callback),
        free_job: Some(Job::<T>::free_callback),
        cancel_job: Some(Job::<T>::cancel_callback),
    };

    /// Makes a scheduler with `priorities` priorities.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` if jobs and timeouts are to be handled by the same queue.
    pub(super) fn new(config: Config<'_>, priorities: u32) -> Result<ARef<Self>> {
        if core::ptr::eq(config.submit.as_raw(), config.timeout.as_raw()) {
            return Err(EINVAL);
        }
        let args = bindings::drm_sched_init_args {
            ops: const { &Self::OPS },
            submit_wq: config.submit.as_raw(),
            timeout_wq: config.timeout.as_raw(),
            num_rqs: priorities,
            credit_limit: config.credit_limit,
            hang_limit: 0,
            timeout: config
                .time_limit
                .and_then(|limit| limit.try_into().ok())
                .unwrap_or(c_long::MAX),
            score: core::ptr::null_mut(),
            name: config.name.as_char_ptr(),
            dev: device_as_raw(config.dev),
        };
        let this = KBox::pin_init(
            try_pin_init!(Self {
                // The C code takes a scheduler with run queues for an initialised one.
                sched <- Opaque::try_ffi_init(|slot: *mut bindings::drm_gpu_scheduler| {
                    // SAFETY: The slot is writable.
                    unsafe { slot.write_bytes(0, 1) };
                    // SAFETY: The slot is zeroed and stays where it is, since it is pinned; what
                    // `args` points to is kept in this structure.
                    to_result(unsafe { bindings::drm_sched_init(slot, &args) })
                }),
                pauses <- Mutex::new(0, PAUSES_NAME, crate::static_lock_class!()),
                down: AtomicFlag::new(false),
                _name: config.name,
                dev: config.dev.into(),
                _submit: config.submit,
                _timeout: config.timeout,
                _ops: PhantomData,
                life <- Life::new::<Self>(
                    config.teardown,
                    RELEASE_NAME,
                    crate::static_lock_class!()
                ),
            }? Error),
            GFP_KERNEL,
        )?;
        // SAFETY: The box stays where it is until the last reference is gone.
        let this = KBox::into_raw(unsafe { Pin::into_inner_unchecked(this) });
        // SAFETY: Not null, and the first reference is ours.
        Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(this)) })
    }

    /// The C scheduler.
    pub(super) fn as_raw(&self) -> *mut bindings::drm_gpu_scheduler {
        self.sched.get()
    }

    /// Where it is taken down.
    pub(super) fn teardown(&self) -> &ModuleQueueUse {
        self.life.queue()
    }

    /// The device, for messages.
    pub(super) fn device(&self) -> &device::Device {
        &self.dev
    }

    /// How many credits there are.
    pub(super) fn credit_limit(&self) -> u32 {
        // SAFETY: Initialised, and never written to after that.
        unsafe { (*self.as_raw()).credit_limit }
    }

    /// Has [`Operations::timed_out`] called for the oldest job, soon, if there is one.
    pub(super) fn report_fault(&self) {
        // SAFETY: The scheduler is initialised (type invariant).
        unsafe { bindings::drm_sched_fault(self.as_raw()) };
    }

    /// Keeps jobs from being run and freed, and waits for those that are.
    ///
    /// Who found the scheduler running before may still have a job run after: see
    /// [`settle`](Self::settle).
    pub(super) fn stop(&self) {
        let mut pauses = self.pauses.lock();
        self.stop_work();
        *pauses += 1;
    }

    /// Makes sure that nobody has a job run or freed after [`stop`](Self::stop).
    ///
    /// To be called after `stop` and a grace period: whoever queues the scheduler's work has
    /// looked whether it is stopped in the same RCU section (a fence's lock or the entity's is
    /// held), or is that work.
    pub(super) fn settle(&self) {
        let _pauses = self.pauses.lock();
        self.stop_work();
    }

    /// Takes back one [`stop`](Self::stop).
    pub(super) fn start(&self) {
        let mut pauses = self.pauses.lock();
        *pauses = pauses.saturating_sub(1);
        if *pauses == 0 {
            // SAFETY: The scheduler is initialised (type invariant).
            unsafe { bindings::drm_sched_wqueue_start(self.as_raw()) };
        }
    }

    /// Waits for the handling of a timeout, if it is under way or about to be.
    ///
    /// Does not touch the timer: one that has yet to fire is not waited for.
    pub(super) fn flush_timeout(&self) {
        let sched = self.as_raw();
        // SAFETY: The scheduler is initialised (type invariant), and so is its work.
        unsafe {
            let work = &raw mut (*sched).work_tdr.work;
            might_wait_for(work);
            bindings::flush_work(work);
        }
    }

    fn stop_work(&self) {
        self.might_wait();
        // SAFETY: The scheduler is initialised (type invariant).
        unsafe { bindings::drm_sched_wqueue_stop(self.as_raw()) };
    }

    /// Whether [`take_down`](Self::take_down) was called.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Relaxed)
    }

    /// Takes the C scheduler down with what it has.
    ///
    /// # Safety
    ///
    /// Its entities are down, and nothing is done with it afterwards but dropping it.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(super) unsafe fn take_down(&self) {
        self.down.store(true, Relaxed);
        // SAFETY: By the type invariant, and the requirements of this function.
        unsafe { bindings::drm_sched_fini(self.as_raw()) };
    }

    /// Tells lockdep that the caller may wait for jobs to be run and freed.
    pub(super) fn might_wait(&self) {
        let sched = self.as_raw();
        // SAFETY: The scheduler is initialised (type invariant), and so is its work.
        unsafe {
            might_wait_for(&raw mut (*sched).work_run_job);
            might_wait_for(&raw mut (*sched).work_free_job);
        }
    }
}

#[pinned_drop]
impl<T: Operations> PinnedDrop for Scheduler<T> {
    fn drop(self: Pin<&mut Self>) {
        if self.is_down() {
            return;
        }
        // SAFETY: No reference is left, hence by the type invariant no queue and no job. So
        // nothing waits; and the scheduler's own work ends at once. This is not one of its queues.
        //
        // No work is left after `drm_sched_fini()`, which stops the scheduler once more: stopping
        // sets a flag, takes back the work that runs jobs, then that which frees them. The second
        // may have read the flag before, and queue the first after that was taken back. But when
        // the first stop has returned, it has ended, and nothing queues it any more, for want of
        // jobs and because of the flag. What then may be queued or run is the work that runs
        // jobs, which finds the flag and queues nothing; the second stop waits for it.
        unsafe {
            bindings::drm_sched_wqueue_stop(self.as_raw());
            bindings::drm_sched_fini(self.as_raw());
        }
    }
}

/// The C device behind `dev`, whose own accessor is private to its crate.
fn device_as_raw(dev: &device::Device) -> *mut bindings::device {
    // `Device` is a transparent wrapper of an `Opaque<struct device>`.
    core::ptr::from_ref(dev).cast_mut().cast()
}
