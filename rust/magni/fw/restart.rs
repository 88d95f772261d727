// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The firmware's life after its first boot: asked whether it is alive, stopped, started again.
//!
//! A firmware that stopped because it was asked to goes on where it was when it is started again.
//! After anything else its memory is not trusted, and every section is loaded again, from what was
//! kept of its file; that takes longer. Nothing here allocates: fences may wait for it.

use super::{
    layout::glb,
    mcu::Firmware,
    patience::Effort, //
};
use crate::regs::mcu::{
    Status,
    MCU_STATUS, //
};
use kernel::{
    io::poll::read_poll_timeout,
    prelude::*,
    sync::{
        atomic::ordering,
        rcu, //
    },
    time::Delta,
};

/// How long the firmware may take to stop when it is asked to.
const HALT_TIMEOUT: Delta = Delta::from_millis(1000);
/// How often it is looked at meanwhile.
const HALT_POLL: Delta = Delta::from_micros(50);

impl Firmware {
    /// Whether the firmware does what it is asked to. Sleeps, for a bounded time.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` if it does not answer, `EIO` if it has stopped, or is gone.
    pub(crate) fn ping(&self) -> Result {
        if !self.is_alive() {
            return Err(EIO);
        }

        let glb = self.glb();
        glb.toggle(glb::PING);
        self.ring_glb_doorbell();
        let answered = || glb.missing(glb::PING) == 0;
        self.wait_for(Effort::Firmware, answered, || self.ring_glb_doorbell())
            .map_err(|_| ETIMEDOUT)
    }

    /// Stops the firmware, with nobody on the hardware if `clean`; returns whether it can go on
    /// where it was. It hears no doorbell from here on. Sleeps, for a bounded time.
    pub(crate) fn stop(&self, clean: bool) -> bool {
        self.stopped.store(true, ordering::Release);
        // For those who have found that it hears, and are about to ring.
        rcu::synchronize_rcu_expedited();

        let halted = clean && self.halt();
        self.events.disarm();
        self.mcu.disable();

        halted
    }

    fn halt(&self) -> bool {
        let glb = self.glb();
        self.events.halting.store(true, ordering::Release);
        if glb.has_state() {
            glb.set(glb::STATE_MASK, glb::STATE_HALT);
        } else {
            glb.set(glb::HALT, glb::HALT);
        }
        self.ring_always(0);

        let acknowledged = || !glb.has_state() || glb.ack() & glb::STATE_MASK == glb::STATE_HALT;
        let halted = read_poll_timeout(
            || self.mmio.read(MCU_STATUS),
            |status| status.value() == Status::Halted && acknowledged(),
            HALT_POLL,
            HALT_TIMEOUT,
        );
        if halted.is_err() {
            dev_warn!(self.dev, "the firmware does not stop when it is asked to\n");
        }

        halted.is_ok()
    }

    /// Starts the firmware again: as it was when it stopped if that was `clean`, loaded anew
    /// otherwise. The L2 cache is on. Sleeps, for a bounded time.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` if it does not boot, `EINVAL` if its interface is not what it was, `ENODEV` if
    /// the hardware is gone. It is to be stopped then.
    pub(crate) fn start(&self, clean: bool) -> Result {
        match &*self.active.lock() {
            Some(active) => active.restore()?,
            None => return Err(ENODEV),
        }

        if clean {
            self.glb()
                .set(glb::STATE_MASK | glb::HALT, glb::STATE_ACTIVE);
        } else {
            for section in &self.sections {
                section.load()?;
            }
        }
        self.events.halting.store(false, ordering::Release);

        self.mcu.boot().inspect_err(|error| {
            dev_err!(
                self.dev,
                "the firmware does not start again ({}): {error:?}\n",
                if clean { "as it was" } else { "loaded anew" }
            );
        })?;
        if !self.interface.is_same() {
            dev_err!(
                self.dev,
                "firmware interface: it is not the same as before\n"
            );
            return Err(EINVAL);
        }

        self.stopped.store(false, ordering::Release);
        self.configure();

        Ok(())
    }
}
