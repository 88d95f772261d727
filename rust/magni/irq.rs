// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The GPU's three interrupt lines.
//!
//! All of them work alike: the interrupt handler only masks the line, a thread serves its events,
//! then unmasks it. Lines may be shared with other devices: the handler may run at any time, also
//! while the GPU has no power, and touches no register then.

use crate::{
    mmio::Mmio,
    regs::IrqRegs, //
};
use kernel::{
    irq::{
        IrqReturn,
        ThreadedHandler,
        ThreadedIrqReturn, //
    },
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            ordering,
            Atomic,
            AtomicFlag, //
        },
        rcu,
        Arc,
        LockClassKey,
        Mutex,
        SpinLock, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
};

/// One interrupt line.
#[pin_data]
pub(crate) struct IrqLine {
    mmio: Arc<Mmio>,
    regs: IrqRegs,
    /// The events that are served while the line is open. Never taken in interrupt context.
    #[pin]
    mask: SpinLock<u32>,
    /// Closed: no event is served, and no register is touched because of an interrupt.
    closed: AtomicFlag,
    /// The events that the interrupt handler saw, until the thread has taken them.
    seen: Atomic<u32>,
    /// Held while events are served.
    #[pin]
    serving: Mutex<()>,
}

impl IrqLine {
    /// Returns an initialiser for a line whose events are all masked until [`enable`](Self::enable).
    ///
    /// What a line serves takes locks under which another line may be [closed](Self::close): each
    /// has a lock class of its own, with its name.
    pub(crate) fn new(
        mmio: Arc<Mmio>,
        regs: IrqRegs,
        name: &'static CStr,
        class: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            mmio,
            regs,
            mask <- new_spinlock!(0, "magni::IrqLine::mask"),
            closed: AtomicFlag::new(false),
            seen: Atomic::new(0),
            serving <- Mutex::new((), name, class),
        })
    }

    /// Serves the events in `bits` from now on, those that happened before included.
    pub(crate) fn enable(&self, bits: u32) -> Result {
        let mut mask = self.mask.lock();
        *mask |= bits;
        self.write_mask(*mask)
    }

    /// Serves the events in `bits` from now on, but none that happened before.
    pub(crate) fn enable_anew(&self, bits: u32) -> Result {
        let mut mask = self.mask.lock();
        *mask |= bits;
        if self.is_closed() {
            return Ok(());
        }
        self.clear(bits)?;
        self.write_mask(*mask)
    }

    /// Stops serving the events in `bits`.
    pub(crate) fn disable(&self, bits: u32) -> Result {
        let mut mask = self.mask.lock();
        *mask &= !bits;
        self.write_mask(*mask)
    }

    /// Serves no events any more, until [`open`](Self::open), and waits for those that are being
    /// served. The interrupt handler may still be reading a register: it is waited for with
    /// [`synchronize_closed`].
    ///
    /// Must not be called by what the events' service waits for.
    pub(crate) fn close(&self) {
        {
            let _mask = self.mask.lock();
            self.closed.store(true, ordering::Release);
            // Without hardware there is nothing to mask.
            let _ = self.mmio.write32(self.regs.mask(), 0);
        }
        drop(self.serving.lock());
    }

    /// Serves events again, whatever has become of the registers meanwhile.
    pub(crate) fn open(&self) -> Result {
        let mask = self.mask.lock();
        // Of before the line was closed.
        self.seen.store(0, ordering::Relaxed);
        self.closed.store(false, ordering::Release);
        self.mmio.write32(self.regs.mask(), *mask)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(ordering::Acquire)
    }

    /// Writes the mask, whose lock the caller holds.
    fn write_mask(&self, mask: u32) -> Result {
        if self.is_closed() {
            return Ok(());
        }
        self.mmio.write32(self.regs.mask(), mask)
    }

    /// Asks for the interrupt once more if there are events that were not served: one may have been
    /// lost, and with it all that follow. Does not sleep.
    pub(crate) fn recheck(&self) {
        // As the interrupt handler does: whoever closes the line waits for this.
        let _open = rcu::read_lock();
        if !self.is_closed() && self.raw().is_ok_and(|raw| raw != 0) {
            self.unmask();
        }
    }

    /// Forgets the events in `bits`.
    pub(crate) fn clear(&self, bits: u32) -> Result {
        self.mmio.write32(self.regs.clear(), bits)
    }

    /// The events that happened, masked or not.
    pub(crate) fn raw(&self) -> Result<u32> {
        self.mmio.read32(self.regs.rawstat())
    }

    /// Those of the events in `raw` that are to be served.
    fn wanted(&self, raw: u32) -> u32 {
        raw & *self.mask.lock()
    }

    fn unmask(&self) {
        let mask = self.mask.lock();
        // An error means that the device is gone, and with it the interrupt.
        let _ = self.write_mask(*mask);
    }
}

/// Waits until no interrupt handler touches a register of a line that was closed. Sleeps.
pub(crate) fn synchronize_closed() {
    rcu::synchronize_rcu_expedited();
}

/// Who serves the events of a line.
pub(crate) trait Service: Send + Sync {
    /// The line.
    fn line(&self) -> &IrqLine;

    /// How often at most events are served in a row, those that come while others are served,
    /// before the line's thread lets those of the other lines go first, which have its priority.
    /// More than once only if it does no harm to serve an event that did not happen.
    const TURNS: u32 = 1;

    /// What may have come after such a wait: it does no harm to serve it if it has not.
    const GATHERED: u32 = 0;

    /// How long to wait for more, with the line masked, before events are served; [`None`] if that
    /// is to be at once. Whoever [closes](IrqLine::close) the line may wait for as long.
    fn gather(&self) -> Option<Delta> {
        None
    }

    /// Serves `events`, which includes clearing them. Runs in the line's thread; may sleep.
    ///
    /// Returns the events that have come meanwhile, masked or not, as far as it knows.
    fn serve(&self, events: u32) -> u32;
}

/// Connects a [`Service`] with the kernel.
pub(crate) struct IrqThread<T: Service>(pub(crate) T);

impl<T: Service> ThreadedHandler for IrqThread<T> {
    fn handle(&self) -> ThreadedIrqReturn {
        let line = self.0.line();
        // Whoever closes the line waits for those that found it open.
        let _open = rcu::read_lock();
        if line.is_closed() {
            return ThreadedIrqReturn::None;
        }

        match line.mmio.read32(line.regs.status()) {
            Ok(status) if status != 0 => {
                line.seen.store(status, ordering::Release);
                // The thread writes the mask again.
                let _ = line.mmio.write32(line.regs.mask(), 0);
                ThreadedIrqReturn::WakeThread
            }
            _ => ThreadedIrqReturn::None,
        }
    }

    fn handle_threaded(&self) -> IrqReturn {
        let line = self.0.line();
        let _serving = line.serving.lock();
        if line.is_closed() {
            return IrqReturn::None;
        }
        let raw = match T::TURNS {
            // They may have been cleared since the handler saw them.
            0 | 1 => line.raw().unwrap_or(0),
            _ => line.seen.xchg(0, ordering::Acquire),
        };
        let mut result = IrqReturn::None;
        let mut events = line.wanted(raw);
        // What is left after that keeps the line high and interrupts again.
        for _ in 0..T::TURNS {
            if events == 0 {
                break;
            }
            if let Some(delay) = self.0.gather() {
                fsleep(delay);
                events |= line.wanted(T::GATHERED);
            }
            events = line.wanted(self.0.serve(events));
            result = IrqReturn::Handled;
        }
        line.unmask();

        result
    }
}
