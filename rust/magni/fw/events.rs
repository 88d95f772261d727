// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The firmware's interrupt.

use super::gather::Gather;
use crate::{
    device::Upcall,
    irq::{
        IrqLine,
        Service, //
    },
    mmio::Mmio,
    regs::mcu::{
        Status,
        IRQ,
        IRQ_GLOBAL,
        MCU_STATUS, //
    },
    reset::Reset,
    trace::JobIrqTimer, //
};
use kernel::{
    device::Device,
    new_spinlock,
    prelude::*,
    static_lock_class,
    sync::{
        aref::ARef,
        atomic::{
            ordering,
            Atomic,
            AtomicFlag, //
        },
        wait::WaitQueue,
        Arc,
        SpinLock, //
    },
    time::{
        msecs_to_jiffies,
        Delta,
        Instant,
        Jiffies, //
    },
};

/// What the firmware's interrupt wakes.
#[pin_data]
pub(crate) struct McuEvents {
    mmio: Arc<Mmio>,
    #[pin]
    line: IrqLine,
    /// Who waits for the firmware to boot or to acknowledge something.
    #[pin]
    acks: WaitQueue,
    /// How many of these there are.
    waiting: Atomic<u32>,
    booted: AtomicFlag,
    /// The firmware was asked to stop.
    pub(super) halting: AtomicFlag,
    /// The firmware answers nothing any more, until it is started again.
    dead: AtomicFlag,
    #[pin]
    gather: SpinLock<Gather>,
}

impl McuEvents {
    /// Makes the state; touches no register.
    pub(crate) fn new(mmio: Arc<Mmio>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                mmio: mmio.clone(),
                line <- IrqLine::new(mmio.clone(), IRQ, c"magni::irq::job", static_lock_class!()),
                acks <- WaitQueue::new(c"magni::fw::acks", static_lock_class!()),
                waiting: Atomic::new(0),
                booted: AtomicFlag::new(false),
                halting: AtomicFlag::new(false),
                dead: AtomicFlag::new(false),
                gather <- new_spinlock!(Gather::new(), "magni::fw::gather"),
            }),
            GFP_KERNEL,
        )
    }

    /// Serves the interrupt from now on; the firmware has not booted yet.
    pub(super) fn arm(&self) -> Result {
        self.booted.store(false, ordering::Release);
        self.dead.store(false, ordering::Release);
        self.line.clear(!0)?;
        self.line.enable(!0)?;
        self.line.open()
    }

    /// Serves the interrupt no more, and waits for what is being served.
    pub(super) fn disarm(&self) {
        self.line.close();
    }

    /// Has an interrupt that was lost served all the same: see [`IrqLine::recheck`].
    pub(super) fn recheck(&self) {
        self.line.recheck();
    }

    /// Waits until the firmware has booted; returns whether it has.
    pub(super) fn wait_booted(&self, timeout_ms: u32) -> bool {
        self.wait(msecs_to_jiffies(timeout_ms), || {
            self.booted.load(ordering::Acquire)
        }) || self.line.raw().is_ok_and(|raw| raw & IRQ_GLOBAL != 0)
    }

    /// Asks for a reset if the firmware has stopped by itself.
    pub(crate) fn check_status(&self, reset: &Reset) {
        if !self.booted.load(ordering::Acquire) || self.halting.load(ordering::Acquire) {
            return;
        }

        // One that is disabled was stopped by the host.
        let reason = match self.mmio.read(MCU_STATUS).map(|status| status.value()) {
            Ok(Status::Fatal) => "the firmware stopped because of an error",
            Ok(Status::Halted) => "the firmware stopped",
            _ => return,
        };
        self.declare_dead();
        reset.schedule(reason);
    }

    /// The firmware answers nothing any more: nobody waits for it, until it is started again. The
    /// caller asks for a reset.
    pub(super) fn declare_dead(&self) {
        self.dead.store(true, ordering::Release);
        self.acks.wake_all();
    }

    /// Whether the firmware was [declared dead](Self::declare_dead).
    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(ordering::Acquire)
    }

    /// Sleeps until `condition`, which the firmware makes true, or the timeout; returns whether it
    /// holds.
    pub(super) fn wait(&self, timeout: Jiffies, condition: impl FnMut() -> bool) -> bool {
        self.waiting.fetch_add(1, ordering::Relaxed);
        let met = self.acks.wait_timeout(timeout, condition);
        self.waiting.fetch_sub(1, ordering::Relaxed);
        met
    }
}

/// Serves interrupt line "job".
pub(crate) struct JobIrq {
    /// The hardware's device, for trace events.
    pub(crate) dev: ARef<Device>,
    /// What the interrupt wakes.
    pub(crate) events: Arc<McuEvents>,
    /// Told of the firmware's events, once it has booted.
    pub(crate) upcall: Arc<Upcall>,
    /// Asked for when the firmware has died.
    pub(crate) reset: Arc<Reset>,
}

impl JobIrq {
    /// The first one says that the firmware has booted; later ones may mean that it has died.
    fn global_event(&self) {
        if !self.events.booted.load(ordering::Acquire) {
            self.events.booted.store(true, ordering::Release);
            return;
        }

        self.events.check_status(&self.reset);
    }
}

impl Service for JobIrq {
    fn line(&self) -> &IrqLine {
        &self.events.line
    }

    // A register is read only once more for each turn, and an interrupt saved; jobs that end one
    // after the other take as many as they like.
    const TURNS: u32 = 4;

    // All groups' events: they are found in memory, whether or not the register says so.
    const GATHERED: u32 = !IRQ_GLOBAL;

    fn gather(&self) -> Option<Delta> {
        let moment = self.events.gather.lock().moment();
        let has_time =
            || self.events.waiting.load(ordering::Relaxed) == 0 && self.upcall.has_time();
        moment.filter(|_| has_time())
    }

    fn serve(&self, events: u32) -> u32 {
        // Whoever waits for the firmware waits for this.
        let _section = self.events.acks.waking();
        let timer = JobIrqTimer::start();
        let begun = Instant::now();

        // Before anything is read, so that an event that comes meanwhile is seen again. Writes to
        // registers are posted: this one has arrived when a read after it returns.
        let _ = self.events.line.clear(events);
        let more = self.events.line.raw().unwrap_or(0);

        if events & IRQ_GLOBAL != 0 {
            self.global_event();
        }
        self.events.acks.wake_all();

        if self.events.booted.load(ordering::Acquire) {
            let slots = self.upcall.firmware_events(events & !IRQ_GLOBAL);
            timer.stop(&self.dev, events & IRQ_GLOBAL | slots);
        }
        self.events.gather.lock().note(begun);
        more
    }
}
