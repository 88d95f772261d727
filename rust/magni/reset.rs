// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A GPU that is stuck.
//!
//! Who finds the hardware stuck says so to [`Reset`] and goes on as if the GPU were lost, without
//! waiting. A worker of its own then makes that true: the GPU is reset, so that it can write to no
//! memory any more, and everything that was to run on it ends. It is not started again: a device
//! that was lost takes no jobs until it is bound anew.

use crate::{
    fw::Firmware,
    mmu::Mmu,
    sched::Scheduler,
    trace::{
        self,
        ResetStage, //
    },
};
use kernel::{
    device::Device,
    dma_fence::SignallingSection,
    impl_has_work, new_spinlock, new_work,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            ordering,
            AtomicFlag, //
        },
        Arc,
        SpinLock, //
    },
    workqueue::{
        cancel_work_sync,
        OwnedQueue,
        Work,
        WorkItem, //
    },
};

/// The GPU's need of a reset.
#[pin_data]
pub(crate) struct Reset {
    dev: ARef<Device>,
    pending: AtomicFlag,
    /// Who does it, as long as there is something to save.
    #[pin]
    worker: SpinLock<Option<Arc<Worker>>>,
}

impl Reset {
    /// No reset is needed.
    pub(crate) fn new(dev: &Device) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                dev: dev.into(),
                pending: AtomicFlag::new(false),
                worker <- new_spinlock!(None, "magni::Reset::worker"),
            }),
            GFP_KERNEL,
        )
    }

    /// Asks for a reset because of `reason`. May be called from any task context, any number of
    /// times.
    pub(crate) fn schedule(&self, reason: &str) {
        if !self.pending.xchg(true, ordering::Full) {
            trace::reset(&self.dev, ResetStage::Scheduled);
            dev_err!(
                self.dev,
                "{reason}: the GPU is stuck; its jobs end, and it takes no more until the device is unbound and bound again\n"
            );

            if let Some(worker) = &*self.worker.lock() {
                worker.queue();
            }
        }
    }

    /// Whether the GPU is lost, or about to be.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.load(ordering::Acquire)
    }

    /// From now on `worker` does what is asked for, and what was asked for before.
    pub(crate) fn connect(&self, worker: Arc<Worker>) {
        let mut place = self.worker.lock();

        // Under the lock, so that one of the two, this or `schedule`, sees the other.
        if self.is_pending() {
            worker.queue();
        }
        *place = Some(worker);
    }

    /// Nothing is reset from now on; waits for a reset that is being done. Must not be called by
    /// what the reset waits for.
    pub(crate) fn disconnect(&self) {
        let worker = self.worker.lock().take();

        if let Some(worker) = worker {
            cancel_work_sync(&worker);
        }
    }
}

/// Resets the GPU.
#[pin_data]
pub(crate) struct Worker {
    queue: OwnedQueue,
    #[pin]
    work: Work<Worker>,
    dev: ARef<Device>,
    mmu: Arc<Mmu>,
    fw: Arc<Firmware>,
    sched: Arc<Scheduler>,
}

impl_has_work! {
    impl HasWork<Self> for Worker { self.work }
}

impl Worker {
    /// Makes the worker for a GPU of these blocks. It ends with [`Reset::disconnect`].
    pub(crate) fn new(
        dev: &Device,
        mmu: &Arc<Mmu>,
        fw: &Arc<Firmware>,
        sched: &Arc<Scheduler>,
    ) -> Result<Arc<Self>> {
        let queue = OwnedQueue::new_ordered()
            .mem_reclaim()
            .build(c"magni-reset")?;

        Arc::pin_init(
            pin_init!(Self {
                queue,
                work <- new_work!("magni::reset::Worker::work"),
                dev: dev.into(),
                mmu: mmu.clone(),
                fw: fw.clone(),
                sched: sched.clone(),
            }),
            GFP_KERNEL,
        )
    }

    fn queue(self: &Arc<Self>) {
        // What is queued already has yet to run.
        let _ = self.queue.enqueue(self.clone());
    }

    /// Stops the hardware and ends all jobs. Every wait has a limit, and none is for another work
    /// queue.
    fn reset(&self) {
        let _section = SignallingSection::enter();
        trace::reset(&self.dev, ResetStage::Begun);

        self.sched.freeze();
        self.fw.unplug();
        trace::reset(&self.dev, ResetStage::Stopped);

        // Ends all accesses to memory, those of a microcontroller that does not stop as well.
        if self.mmu.reset().is_err() {
            // Nothing is left to try, and nobody may wait for ever.
            self.mmu.unplug();
        }
        self.sched.unplug();
        trace::reset(&self.dev, ResetStage::Failed);

        dev_info!(self.dev, "the GPU is off, its jobs have ended\n");
    }
}

impl WorkItem for Worker {
    type Pointer = Arc<Worker>;

    fn run(this: Arc<Worker>) {
        // `disconnect` waits for this, so the last reference, and with it the queue, is not
        // dropped here.
        this.reset();
    }
}
