// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A pair of request and acknowledge words.
//!
//! A toggled request is pending while its bits differ in the two words; the firmware
//! answers by making its bit equal. Events go the other way: the firmware flips its bit
//! when both are equal, and the host answers by making its bit equal.

use std::sync::atomic::{fence, Ordering};

use super::blame;
use super::layout::common;
use super::mem::{self, MCU};
use crate::bus::{Bus, Fault, TraceKind};

/// One request and acknowledge pair, with what the firmware remembers of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mailbox {
    /// For messages, such as "csg 3 cs 1".
    pub(super) name: String,
    /// MCU address of the input block.
    pub(super) input: u64,
    /// MCU address of the output block.
    pub(super) output: u64,
    /// Offset in the input block of the mask of bits that interrupt.
    irq_mask: u64,
    /// Bits that are events.
    events: u32,
    /// What the acknowledge word holds.
    ack: u32,
    /// Events that the host did not answer yet.
    outstanding: u32,
    /// Events that were withdrawn; the host may answer them nevertheless.
    withdrawn: u32,
}

impl Mailbox {
    /// A mailbox between these blocks.
    pub(super) fn new(name: String, input: u64, output: u64, irq_mask: u64, events: u32) -> Self {
        Self {
            name,
            input,
            output,
            irq_mask,
            events,
            ack: 0,
            outstanding: 0,
            withdrawn: 0,
        }
    }

    /// What the acknowledge word holds.
    pub(super) fn ack(&self) -> u32 {
        self.ack
    }

    /// Takes over what memory holds when the firmware boots.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the blocks.
    pub(super) fn adopt(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        self.ack = mem::read32(bus, MCU, self.output + common::ACK)?;
        let req = mem::read32(bus, MCU, self.input + common::REQ)?;
        self.outstanding = (req ^ self.ack) & self.events;
        Ok(())
    }

    /// Reads the request word and checks that the host keeps to the rules.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the blocks.
    pub(super) fn request(&mut self, bus: &mut dyn Bus) -> Result<u32, Fault> {
        let ack = mem::read32(bus, MCU, self.output + common::ACK)?;
        if ack != self.ack {
            blame(bus, format_args!(
                "{}: the host changed the acknowledge word from {:#010x} to {ack:#010x}; only the firmware writes it",
                self.name, self.ack
            ));
            mem::write32(bus, MCU, self.output + common::ACK, self.ack)?;
        }
        let req = mem::read32(bus, MCU, self.input + common::REQ)?;
        let differ = (req ^ self.ack) & self.events;
        let invented = differ & !self.outstanding;
        let excused = match bus.faults().excused() {
            true => invented,
            false => invented & self.withdrawn,
        };
        if excused != 0 {
            // The host answered what it was shown.
            self.ack ^= excused;
            self.withdrawn &= !excused;
            mem::write32(bus, MCU, self.output + common::ACK, self.ack)?;
        }
        let (differ, invented) = (differ & !excused, invented & !excused);
        if invented != 0 {
            blame(
                bus,
                format_args!(
                "{}: the host flipped event bits {invented:#010x} that the firmware had not raised",
                self.name
            ),
            );
        }
        self.outstanding = differ;
        Ok(req)
    }

    /// Writes the acknowledge word as the firmware remembers it.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the blocks.
    pub(super) fn rewrite(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        mem::write32(bus, MCU, self.output + common::ACK, self.ack)
    }

    /// Makes the bits of `mask` in the acknowledge word those of `value`.
    ///
    /// Returns whether the host wants an interrupt for that.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the blocks.
    pub(super) fn answer(
        &mut self,
        bus: &mut dyn Bus,
        value: u32,
        mask: u32,
    ) -> Result<bool, Fault> {
        let changed = (self.ack ^ value) & mask;
        if changed == 0 {
            return Ok(false);
        }
        self.ack ^= changed;
        // Outputs have to be visible before the acknowledgement.
        fence(Ordering::SeqCst);
        mem::write32(bus, MCU, self.output + common::ACK, self.ack)?;
        bus.trace(
            TraceKind::Request,
            format_args!(
                "{}: acknowledged {changed:#010x}, ack {:#010x}",
                self.name, self.ack
            ),
        );
        self.wants_irq(bus, changed)
    }

    /// Whether the host has answered the last `event`.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the blocks.
    pub(super) fn answered(&mut self, bus: &mut dyn Bus, event: u32) -> Result<bool, Fault> {
        Ok(self.request(bus)? & event == self.ack & event)
    }

    /// Raises an event unless the host has yet to answer the one before.
    ///
    /// Returns `None` if it has, else whether the host wants an interrupt for it.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the blocks.
    pub(super) fn raise(&mut self, bus: &mut dyn Bus, event: u32) -> Result<Option<bool>, Fault> {
        // What the event is about has to be visible before the host's half is read: a
        // host that answers first then sees it.
        fence(Ordering::SeqCst);
        if !self.answered(bus, event)? {
            return Ok(None);
        }
        self.ack ^= event;
        self.outstanding |= event;
        mem::write32(bus, MCU, self.output + common::ACK, self.ack)?;
        bus.trace(
            TraceKind::Request,
            format_args!("{}: event {event:#010x}, ack {:#010x}", self.name, self.ack),
        );
        self.wants_irq(bus, event).map(Some)
    }

    /// Takes an event back that the host has not answered.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the blocks.
    pub(super) fn withdraw(&mut self, bus: &mut dyn Bus, event: u32) -> Result<(), Fault> {
        let unanswered = (self.request(bus)? ^ self.ack) & event;
        if unanswered != 0 {
            self.ack ^= unanswered;
            self.outstanding &= !unanswered;
            self.withdrawn |= unanswered;
            mem::write32(bus, MCU, self.output + common::ACK, self.ack)?;
        }
        Ok(())
    }

    fn wants_irq(&self, bus: &mut dyn Bus, bits: u32) -> Result<bool, Fault> {
        Ok(mem::read32(bus, MCU, self.input + self.irq_mask)? & bits != 0)
    }
}
