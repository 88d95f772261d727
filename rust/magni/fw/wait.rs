// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Waiting for the firmware.

use super::{
    layout::glb,
    mcu::Firmware,
    patience::{
        Effort,
        Next,
        Patience,
        Verdict,
        STEP_MS, //
    },
};
use crate::{
    params::ACK_TIMEOUT_MS,
    regs::mcu::{
        Status,
        MCU_STATUS, //
    },
};
use kernel::{
    io::poll::read_poll_timeout_atomic,
    sync::barrier::{
        dma_mb,
        Read, //
    },
    time::{
        msecs_to_jiffies,
        Delta,
        Instant,
        Monotonic, //
    },
};

impl Firmware {
    /// Waits until the firmware has acknowledged the requests in `mask` of all group slots in
    /// `slots`, a bit each; returns those of them that it has. Sleeps, for a bounded time. A
    /// firmware that is found [dead](Self::is_dead) is not waited for again.
    pub(crate) fn wait_csg_acks(&self, slots: u32, mask: u32, effort: Effort) -> u32 {
        let missing = || {
            let groups = self.interface.groups.iter().enumerate();
            groups
                .filter(|(slot, csg)| slots & 1 << slot != 0 && csg.missing(mask) != 0)
                .fold(0, |missing, (slot, _)| missing | 1 << slot)
        };

        let mut left = slots;
        let answered = || {
            left = missing();
            left == 0
        };
        let result = self.wait_for(effort, answered, || self.ring_csg_doorbells(missing()));
        if result == Err(Verdict::Dead) {
            self.events.declare_dead();
        }
        slots & !left
    }

    /// Whether the firmware answers nothing any more. A reset has been asked for then, or is about
    /// to be.
    pub(crate) fn is_dead(&self) -> bool {
        self.events.is_dead()
    }

    /// Whether the firmware runs, for all that is known without asking it. The GPU is powered.
    pub(crate) fn is_alive(&self) -> bool {
        !self.is_dead() && self.is_enabled()
    }

    /// Has an interrupt that was lost served all the same. The GPU is powered. Does not sleep.
    pub(crate) fn recheck_interrupt(&self) {
        self.events.recheck();
    }

    /// Waits until `answered`; has `remind` ring the firmware's doorbell once more in between.
    ///
    /// # Errors
    ///
    /// Why it is not waited for any longer.
    pub(super) fn wait_for(
        &self,
        effort: Effort,
        mut answered: impl FnMut() -> bool,
        remind: impl Fn(),
    ) -> core::result::Result<(), Verdict> {
        // Firmware usually answers at once; sleeping takes longer than that.
        let spun =
            read_poll_timeout_atomic(|| Ok(answered()), |met| *met, Delta::from_micros(1), 10);
        if spun.is_err() {
            self.sleep_until(effort, answered, remind)?;
        }

        // What the firmware wrote before it acknowledged is read after it has.
        dma_mb(Read);
        Ok(())
    }

    fn sleep_until(
        &self,
        effort: Effort,
        mut answered: impl FnMut() -> bool,
        remind: impl Fn(),
    ) -> core::result::Result<(), Verdict> {
        let mut patience = Patience::new(effort, ACK_TIMEOUT_MS.get());
        loop {
            let begun = Instant::<Monotonic>::now();
            let step = msecs_to_jiffies(STEP_MS).max(1);
            let _ = self.events.wait(step, || answered() || self.is_dead());
            let took = begun.elapsed().as_millis().clamp(0, u32::MAX.into()) as u32;
            if took >= STEP_MS / 2 {
                // Who has slept for so long was not woken, answered or not.
                self.events.recheck();
            }
            if answered() {
                return Ok(());
            }
            if self.is_dead() {
                return Err(Verdict::Dead);
            }

            match patience.step(took, self.glb().missing(glb::PING) == 0) {
                Next::Wait => {}
                Next::Ask => {
                    if !self.is_enabled() {
                        return Err(Verdict::Dead);
                    }
                    // In this order: a ping that is answered was seen after the request.
                    self.glb().toggle(glb::PING);
                    remind();
                }
                Next::GiveUp(verdict) => return Err(verdict),
            }
        }
    }

    /// Whether the microcontroller runs, as far as the hardware knows.
    fn is_enabled(&self) -> bool {
        self.mmio
            .read(MCU_STATUS)
            .is_ok_and(|status| status.value() == Status::Enabled)
    }
}
