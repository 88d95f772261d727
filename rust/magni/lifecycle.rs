// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The GPU's ups and downs: resets, the firmware's watchdog, and [`sleep`].
//!
//! A reset saves what it can. If the firmware still answers, groups are suspended to memory and go
//! on afterwards as if nothing had been; if it also stops when it is asked to, it goes on where it
//! was (a fast reset), else it is loaded anew (a slow one). A GPU that does not come up either way
//! is lost: its jobs end, and user space loses the device.
//!
//! Resets and the watchdog run on a work queue of their own, on which fences may wait: it allocates nothing,
//! each of its waits has a limit, and none is for another work queue.

use crate::{
    driver::MagniDrm,
    fw::Firmware,
    gpu::Gpu,
    irq,
    mmio::Mmio,
    mmu::Mmu,
    params::PING_PERIOD_MS,
    power::Clocks,
    reset::Reset,
    sched::Scheduler,
    trace::{
        self,
        ResetStage, //
    },
    CLEANUP, //
};
use kernel::{
    device::Device,
    dma_fence::SignallingSection,
    drm::registration::Unplugger,
    impl_has_delayed_work, impl_has_work, new_delayed_work, new_mutex, new_work,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    },
    time::{
        msecs_to_jiffies,
        Instant,
        Monotonic, //
    },
    workqueue::{
        cancel_delayed_work_sync,
        cancel_work_sync,
        DelayedOn,
        DelayedWork,
        ModuleQueueUse,
        OwnedQueue,
        Work,
        WorkItem, //
    },
};

mod sleep;

pub(crate) use self::sleep::Sleeper;

/// A fast reset is not tried again within this time, in milliseconds: that the GPU is stuck once
/// more may be due to what the first one kept.
const FAST_AGAIN_MS: i64 = 10_000;

/// The numbers of the work items.
const RESET: u64 = 0;
const PING: u64 = 1;
const UNPLUG: u64 = 2;

/// What the lock protects: the hardware as a whole.
struct State {
    /// The GPU has power.
    awake: bool,
    /// Before it lost it the firmware stopped in such a way that it can go on.
    clean: bool,
    /// The device is being unbound: the hardware is somebody else's.
    unbinding: bool,
    /// When the last fast reset was.
    last_fast: Option<Instant<Monotonic>>,
}

/// Who turns the GPU upside down.
#[pin_data]
pub(crate) struct Lifecycle {
    queue: OwnedQueue,
    #[pin]
    reset_work: Work<Lifecycle, RESET>,
    #[pin]
    ping_work: DelayedWork<Lifecycle, PING>,
    #[pin]
    unplug_work: Work<Lifecycle, UNPLUG>,
    dev: ARef<Device>,
    mmio: Arc<Mmio>,
    gpu: Arc<Gpu>,
    mmu: Arc<Mmu>,
    fw: Arc<Firmware>,
    sched: Arc<Scheduler>,
    reset: Arc<Reset>,
    /// What drives the GPU.
    clocks: Arc<Clocks>,
    /// Takes the device away from user space.
    unplugger: Unplugger<MagniDrm>,
    /// Held while the hardware is turned on or off. Nothing is allocated under it.
    #[pin]
    state: Mutex<State>,
    cleanup: ModuleQueueUse,
}

impl_has_work! {
    impl HasWork<Self, RESET> for Lifecycle { self.reset_work }
    impl HasWork<Self, UNPLUG> for Lifecycle { self.unplug_work }
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self, PING> for Lifecycle { self.ping_work }
}

impl DelayedOn for Lifecycle {
    fn delayed_on(&self) -> &OwnedQueue {
        &self.queue
    }
}

impl Lifecycle {
    /// Looks after the GPU that `sched` schedules for, which is on, from [`start`](Self::start) to
    /// [`disconnect`](Self::disconnect).
    pub(crate) fn new(
        sched: &Arc<Scheduler>,
        clocks: &Arc<Clocks>,
        unplugger: Unplugger<MagniDrm>,
    ) -> Result<Arc<Self>> {
        let device = sched.device();
        let queue = OwnedQueue::new_ordered()
            .mem_reclaim()
            .build(c"magni-reset")?;
        let cleanup = CLEANUP.hold()?;

        Arc::pin_init(
            pin_init!(Self {
                queue,
                reset_work <- new_work!("magni::Lifecycle::reset_work"),
                ping_work <- new_delayed_work!("magni::Lifecycle::ping_work"),
                unplug_work <- new_work!("magni::Lifecycle::unplug_work"),
                dev: device.dev.clone(),
                mmio: device.mmio.clone(),
                gpu: device.gpu.clone(),
                mmu: device.mmu.clone(),
                fw: device.fw.clone(),
                sched: sched.clone(),
                reset: device.reset.clone(),
                clocks: clocks.clone(),
                unplugger,
                state <- new_mutex!(State {
                    awake: true,
                    clean: false,
                    unbinding: false,
                    last_fast: None,
                }, "magni::Lifecycle::state"),
                cleanup,
            }),
            GFP_KERNEL,
        )
    }

    /// Does the resets that are asked for from now on, and those that were asked for before.
    pub(crate) fn start(self: &Arc<Self>) {
        self.reset.connect(self.clone());
        self.arm_ping();
    }

    /// Leaves the GPU alone from now on; waits for what is being done. Must not be called by what
    /// that waits for.
    pub(crate) fn disconnect(self: &Arc<Self>) {
        self.state.lock().unbinding = true;
        self.reset.disconnect();
        drop(cancel_work_sync::<Self, RESET>(self));
        drop(cancel_delayed_work_sync::<Self, PING>(self));
        drop(cancel_work_sync::<Self, UNPLUG>(self));
    }

    /// Has the GPU reset. Does not sleep.
    pub(crate) fn queue_reset(self: &Arc<Self>) {
        // What is queued already has yet to run.
        let _ = self.queue.enqueue::<Arc<Self>, RESET>(self.clone());
    }

    /// Has the firmware asked whether it is alive, in a while.
    fn arm_ping(self: &Arc<Self>) {
        OwnedQueue::mod_delayed::<Self, PING>(self.clone(), msecs_to_jiffies(PING_PERIOD_MS.get()));
    }

    fn ping(self: &Arc<Self>) {
        let state = self.state.lock();
        if state.unbinding || !state.awake || self.reset.is_pending() {
            return;
        }

        match self.fw.ping() {
            Ok(()) => self.arm_ping(),
            Err(_) => self.reset.schedule("the firmware does not answer a ping"),
        }
    }

    /// Resets the GPU, if that is still wanted.
    fn do_reset(self: &Arc<Self>) {
        let _section = SignallingSection::enter();
        let mut state = self.state.lock();
        if state.unbinding || self.reset.is_lost() || !self.reset.is_requested() {
            return;
        }
        if !state.awake {
            // It is reset when it wakes up.
            state.clean = false;
            self.reset.forget_requests();
            self.reset.end();
            return;
        }
        let begun = Instant::<Monotonic>::now();
        self.trace(ResetStage::Begun);

        // One that answers no ping may still save groups.
        self.sched.before_reset(self.fw.is_alive());
        // A firmware that is stopped with groups on the hardware would not go on well, nor would
        // one that does not answer.
        let clean = self.sched.is_off_hardware() && self.fw.ping().is_ok();
        self.trace(ResetStage::Suspended);
        let halted = self.fw.stop(clean);
        self.mmu.close_irq();
        self.trace(ResetStage::Stopped);

        let again = state
            .last_fast
            .is_some_and(|last| last.elapsed().as_millis() < FAST_AGAIN_MS);
        let mut fast = halted && !again;
        let mut result = self.bring_up(fast);
        if let Err(error) = result {
            dev_err!(self.dev, "the reset failed: {error:?}; trying again\n");
            self.fw.stop(false);
            self.mmu.close_irq();
            fast = false;
            result = self.bring_up(fast);
        }

        match result {
            Ok(()) => {
                state.last_fast = fast.then(Instant::now);
                self.sched.after_reset(Ok(()));
                self.reset.end();
                // It has not looked as long as the reset was pending.
                self.sched.resumed();
                self.arm_ping();
                self.trace(ResetStage::Done);
                dev_info!(
                    self.dev,
                    "the GPU has been reset in {} ms, its firmware {}\n",
                    begun.elapsed().as_millis(),
                    if fast { "goes on" } else { "was loaded anew" }
                );
            }
            Err(error) => {
                dev_err!(
                    self.dev,
                    "the GPU cannot be reset ({error:?}): its jobs end, and it is gone until the device is unbound and bound again\n"
                );
                self.lose();
            }
        }
    }

    /// Resets the hardware, and starts the firmware, as it was when it stopped if that was `clean`.
    /// The firmware is stopped, and no interrupt of the MMU is served.
    fn bring_up(&self, clean: bool) -> Result {
        self.trace(if clean {
            ResetStage::Fast
        } else {
            ResetStage::Slow
        });
        self.reset.begin();
        self.mmu.reset()?;
        self.power_up(clean)
    }

    /// Powers the GPU up, after a reset or a loss of power, and starts the firmware.
    fn power_up(&self, clean: bool) -> Result {
        self.gpu.l2_on()?;
        self.gpu.open_irq()?;
        self.mmu.open_irq()?;
        self.fw.start(clean)?;

        if self.reset.is_requested() {
            return Err(EIO);
        }
        self.trace(ResetStage::Restarted);
        Ok(())
    }

    fn trace(&self, stage: ResetStage) {
        trace::reset(&self.dev, stage);
    }

    /// Nothing brings the GPU up: ends everything.
    fn lose(self: &Arc<Self>) {
        self.fw.stop(false);
        self.silence();
        self.reset.give_up();
        self.sched.after_reset(Err(ENODEV));
        self.trace(ResetStage::Failed);

        // That waits for user space to leave the driver, which waits for this, maybe.
        let _ = self
            .cleanup
            .queue()
            .enqueue::<Arc<Self>, UNPLUG>(self.clone());
    }

    /// Ends all accesses of the GPU to memory, which is given back when the fences have signalled:
    /// by a reset; without its cache, which they all go through; or without clocks.
    fn silence(&self) {
        if self.mmu.reset().is_ok() {
            return;
        }
        dev_err!(self.dev, "turning off the GPU's cache\n");
        if self.gpu.cut_off_memory().is_ok() {
            return;
        }
        dev_err!(self.dev, "stopping the GPU's clocks\n");
        self.cut_off();
        self.clocks.stop();
    }

    /// Nobody touches the GPU, which is lost, from here on.
    fn cut_off(&self) {
        self.mmu.close_irq();
        self.gpu.close_irq();
        irq::synchronize_closed();
        self.mmio.turn_off();
    }
}

impl WorkItem<RESET> for Lifecycle {
    type Pointer = Arc<Lifecycle>;

    fn run(this: Arc<Lifecycle>) {
        // `disconnect` waits for this, so the last reference, and with it the queue, is not
        // dropped here. The same holds for the others.
        this.do_reset();
    }
}

impl WorkItem<PING> for Lifecycle {
    type Pointer = Arc<Lifecycle>;

    fn run(this: Arc<Lifecycle>) {
        this.ping();
    }
}

impl WorkItem<UNPLUG> for Lifecycle {
    type Pointer = Arc<Lifecycle>;

    fn run(this: Arc<Lifecycle>) {
        this.unplugger.unplug();
    }
}
