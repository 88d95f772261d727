// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a reset, sleep and the end of the GPU mean for address spaces.
//!
//! A VM keeps its seat through all of it, and whoever needs it active goes on doing so: only the
//! hardware forgets. It is told again when the VM is next made active, or with
//! [`ActiveVm::restore`].

use super::{
    slots::Mmu,
    vm::ActiveVm, //
};
use crate::regs::mmu::MAX_AS;
use kernel::prelude::*;

impl Mmu {
    /// Resets the GPU, which takes every VM out of the hardware. What a reset was asked for before
    /// is done then. The GPU's own interrupt is not served from here on.
    ///
    /// The caller has closed the other interrupts, and nobody asks the firmware for anything.
    ///
    /// # Errors
    ///
    /// Those of the reset; then the VMs stay where they were.
    pub(crate) fn reset(&self) -> Result {
        // Nobody changes an address space meanwhile, or flushes; who did has seen the end of it.
        let mut slots = self.slots.lock();
        // Who looks at the microcontroller because of an interrupt, too.
        self.gpu.close_irq();

        self.gpu.soft_reset()?;
        self.reset.forget_requests();
        for seat in slots.seats.iter_mut().flatten() {
            seat.enabled = false;
            seat.locked = false;
        }

        Ok(())
    }

    /// Takes every VM out of the hardware, which is about to lose its power.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` if the hardware is stuck; a reset has been asked for then. `ENODEV` if it is
    /// gone.
    pub(crate) fn suspend(&self) -> Result {
        let mut slots = self.slots.lock();

        self.unless_stuck(|| {
            self.gpu.flush_caches()?;
            for (nr, place) in slots.seats.iter_mut().enumerate() {
                if let Some(seat) = place.as_mut().filter(|seat| seat.enabled) {
                    self.unlock(nr, seat)?;
                    self.unmap(nr, seat)?;
                }
            }
            Ok(())
        })
    }

    /// Takes every VM out of its address space, for good; the GPU is idle, or does not matter any
    /// more.
    pub(crate) fn unplug(&self) {
        // What cannot be taken out is stopped by the reset and the loss of power that follow.
        let _ = self.suspend();
        let seats = {
            let mut slots = self.slots.lock();
            slots.gone = true;
            core::mem::replace(&mut slots.seats, [const { None }; MAX_AS])
        };
        // Page tables may be freed here.
        drop(seats);

        let _ = self.line.disable(!0);
    }

    /// Serves no interrupt until [`open_irq`](Self::open_irq): see
    /// [`IrqLine::close`](crate::irq::IrqLine::close).
    pub(crate) fn close_irq(&self) {
        self.line.close();
    }

    /// Serves the block's interrupts again.
    pub(crate) fn open_irq(&self) -> Result {
        self.line.open()
    }
}

impl ActiveVm {
    /// Tells the hardware of the VM again, which has forgotten it. Sleeps, for a bounded time; to
    /// be used while the GPU is brought up.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` if the hardware is stuck, `ENODEV` if it is gone.
    pub(crate) fn restore(&self) -> Result {
        let mmu = self.vm.mmu();
        let mut slots = mmu.slots.lock();
        if slots.gone {
            return Err(ENODEV);
        }

        match slots.seat(self.vm.space()) {
            Some((nr, seat)) if !seat.enabled => mmu.turn_on(nr, seat),
            _ => Ok(()),
        }
    }
}
