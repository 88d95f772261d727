// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The scheduler's part in a reset of the GPU, in its sleep, and in its end.
//!
//! A reset has two halves. [`before_reset`](Scheduler::before_reset) saves what can be saved: the
//! groups that the firmware still suspends go on afterwards as if nothing had been. Nothing is
//! signalled then, for the GPU may still write. [`after_reset`](Scheduler::after_reset) ends what
//! could not be saved, and lets the rest go on.

use super::{
    group::Fate,
    slots::bits,
    Scheduler, //
};
use crate::trace::TickCause;
use kernel::{
    dma_fence::SignallingSection,
    prelude::*,
    sync::{
        atomic::Release,
        Arc, //
    },
};

impl Scheduler {
    /// A reset of the GPU is about to be done.
    ///
    /// From here on nobody is put on the hardware, and no doorbell is rung. If the firmware still
    /// works it is asked to suspend who is there; who it does not suspend, in bounded time, is
    /// banned: as innocent, unless it was to end anyway. Signals no fence.
    pub(crate) fn before_reset(self: &Arc<Self>, firmware_works: bool) {
        let _section = SignallingSection::enter();
        let mut slots = self.slots.lock();

        slots.frozen = true;
        let mut to_save = 0;
        for slot in bits(slots.which(|_| true)) {
            if let Some(group) = slots.group(slot) {
                group.residency.leave();
                to_save |= u32::from(group.can_run()) << slot;
            }
        }
        if firmware_works {
            self.suspend(&mut slots, to_save);
        }
        // Who is guilty may be waiting to be told.
        self.clear_slots(&slots);
        slots.which(|group| {
            group.ban(Fate::Innocent);
            false
        });
    }

    /// Whether nobody is on the hardware.
    pub(crate) fn is_off_hardware(&self) -> bool {
        self.slots.lock().which(|_| true) == 0
    }

    /// The GPU writes no more of what it was doing before the reset.
    ///
    /// Ends the jobs of those who were banned. With `Ok` the firmware runs again, without any
    /// group; everybody else goes on. With `Err` nothing will ever run: all jobs end with `ENODEV`,
    /// those that come later as well.
    pub(crate) fn after_reset(self: &Arc<Self>, outcome: Result) {
        let _section = SignallingSection::enter();
        {
            let mut slots = self.slots.lock();
            if outcome.is_err() {
                self.lost.store(true, Release);
                self.gone.store(true, Release);
            } else {
                slots.frozen = false;
            }
            self.abandon(&mut slots);
        }
        self.kick();
    }

    /// Takes everybody off the hardware, which is about to sleep. Nobody is put on it until
    /// [`resumed`](Self::resumed).
    ///
    /// # Errors
    ///
    /// `EBUSY` if somebody still has something to do, on the hardware or off it, as can be when
    /// the whole system is to sleep; `ETIMEDOUT` if the firmware does not answer, which asks for a
    /// reset.
    pub(crate) fn suspend_idle(self: &Arc<Self>) -> Result {
        let mut slots = self.slots.lock();
        if slots.which(|group| group.has_jobs()) != 0 || !slots.waiting.is_empty() {
            return Err(EBUSY);
        }
        let all = slots.which(|_| true);
        if self.suspend(&mut slots, all) != all {
            self.dev
                .schedule_reset("the firmware does not suspend a group");
            return Err(ETIMEDOUT);
        }
        slots.asleep = true;
        Ok(())
    }

    /// The hardware is awake again, or has been reset; there is no group on it.
    pub(crate) fn resumed(self: &Arc<Self>) {
        self.slots.lock().asleep = false;
        self.kick();
    }

    /// Ends everything that is on the hardware: the device is about to go. The firmware still
    /// works.
    pub(crate) fn pre_unplug(self: &Arc<Self>) {
        let mut slots = self.slots.lock();
        self.gone.store(true, Release);
        slots.frozen = true;
        let all = slots.which(|group| {
            group.ban(Fate::Destroyed);
            true
        });
        self.terminate(&mut slots, all);
    }

    /// Ends everything that is left: the GPU does not work any more.
    ///
    /// Jobs that come later, because what they waited for came later, end as they come.
    pub(crate) fn unplug(self: &Arc<Self>) {
        {
            let mut slots = self.slots.lock();
            self.gone.store(true, Release);
            slots.frozen = true;
            self.abandon(&mut slots);
        }
        self.look(TickCause::Event);
    }
}
