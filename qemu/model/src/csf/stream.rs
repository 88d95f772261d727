// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A command stream: its registers, its place in the ring and in called buffers.

use std::time::Instant;

use super::endpoints::Endpoint;
use super::instr::Condition;
use super::layout::{cs, ring};
use super::mem::{self, MCU};
use super::scoreboard::Scoreboard;
use crate::bus::{Bus, Fault};

/// The ring that a stream takes its instructions from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ring {
    /// GPU address of the ring, in the group's address space.
    pub(super) base: u64,
    /// Size in bytes, a power of two.
    pub(super) size: u64,
    /// MCU address of the block that the host writes.
    pub(super) input: u64,
    /// MCU address of the block that the stream writes, 0 if it is not to be written.
    pub(super) output: u64,
    /// How far the host had written when the doorbell was last rung, in bytes since the
    /// beginning of time.
    pub(super) insert: u64,
    /// Place of the next instruction, in bytes since the beginning of time.
    pub(super) pos: u64,
    /// What the output block was last told: the extract offset and the active flag.
    pub(super) published: Option<(u64, bool)>,
}

impl Ring {
    /// GPU address of the next instruction.
    fn address(&self) -> u64 {
        self.base.wrapping_add(self.pos & (self.size - 1))
    }
}

/// A called buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// GPU address of the next instruction.
    pub(super) ip: u64,
    /// GPU address at which the stream returns.
    pub(super) end: u64,
}

/// Why a stream does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocked {
    /// WAIT on these scoreboard slots.
    Scoreboards(u16),
    /// PROGRESS_WAIT.
    Progress,
    /// SYNC_WAIT on the object at `address`.
    Sync {
        address: u64,
        value: u64,
        condition: Condition,
        wide: bool,
    },
    /// Too many deferred instructions or endpoint jobs.
    Deferred,
    /// No endpoint of the kind that a RUN instruction needs.
    Resource(Endpoint),
}

impl Blocked {
    /// The number in `CS_STATUS_BLOCKED_REASON`.
    fn reason(&self) -> u32 {
        match self {
            Self::Scoreboards(_) => 1,
            Self::Progress => 2,
            Self::Sync { .. } => 3,
            Self::Deferred => 4,
            Self::Resource(_) => 5,
        }
    }
}

/// An exception to report to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exception {
    /// Type, see [`super::exception`].
    pub(super) kind: u8,
    /// Details: the address or the instruction that met it.
    pub(super) info: u64,
}

/// How far the host knows that the tiler heap is exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oom {
    /// The event is to be raised.
    Found,
    /// The event was raised.
    Told,
}

/// Handler that SET_EXCEPTION_HANDLER recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Handler {
    pub(super) exception: u8,
    pub(super) address: u64,
    pub(super) length: u32,
}

/// A stream that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) regs: Vec<u32>,
    pub(super) ring: Ring,
    /// Called buffers, the innermost last.
    pub(super) frames: Vec<Frame>,
    pub(super) scoreboard: Scoreboard,
    /// Scoreboard slot for endpoint jobs.
    pub(super) endpoint_slot: u8,
    /// Scoreboard slot for loads, stores and the like.
    pub(super) other_slot: u8,
    pub(super) blocked: Option<Blocked>,
    /// Something happened that may end the blocking.
    pub(super) recheck: bool,
    /// Error state: set by a fault, stored by sync instructions, cleared by ERROR_BARRIER.
    pub(super) error: bool,
    /// A fatal fault ended the stream.
    pub(super) dead: bool,
    /// A fault stopped the stream until the host acknowledges it.
    pub(super) faulted: bool,
    /// A test ordered that the stream does not go on.
    pub(super) stalled: bool,
    /// The tiler heap is exhausted, and what the host does about it is not known yet.
    pub(super) oom: Option<Oom>,
    /// GPU address of the tiler heap's context, 0 if none.
    pub(super) heap: u64,
    /// Resources that REQ_RESOURCE asked for.
    pub(super) resources: u8,
    pub(super) handler: Handler,
    /// Page of the doorbell that the host rings for this stream.
    pub(super) doorbell: u32,
    /// Events for the host that were not delivered yet.
    pub(super) pending_fault: Option<Exception>,
    pub(super) pending_fatal: Option<Exception>,
}

impl Stream {
    /// A fresh stream at the beginning of `ring`, its registers zero.
    pub(super) fn new(registers: u32, ring: Ring) -> Self {
        Self {
            regs: vec![0; registers as usize],
            ring,
            frames: Vec::new(),
            scoreboard: Scoreboard::default(),
            endpoint_slot: 0,
            other_slot: 0,
            blocked: None,
            recheck: false,
            error: false,
            dead: false,
            faulted: false,
            stalled: false,
            oom: None,
            heap: 0,
            resources: 0,
            handler: Handler::default(),
            doorbell: 0,
            pending_fault: None,
            pending_fatal: None,
        }
    }

    /// Offset up to which the host may reuse the ring: a CALL counts once it returned.
    pub(super) fn extract(&self) -> u64 {
        if self.frames.is_empty() {
            self.ring.pos
        } else {
            self.ring.pos - 8
        }
    }

    /// Whether every instruction of the ring was executed.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.ring.pos == self.ring.insert
    }

    /// Whether the stream has an instruction to try now.
    pub(super) fn is_runnable(&self) -> bool {
        let held = self.dead || self.faulted || self.stalled || self.oom.is_some();
        let held = held || (self.blocked.is_some() && !self.recheck);
        !held && !self.is_empty()
    }

    /// Whether the stream counts as idle, given the levels of its request word.
    pub(super) fn is_idle(&self, levels: u32) -> bool {
        if self.dead || self.faulted || self.stalled || self.oom.is_some() {
            return false;
        }
        if self.scoreboard.busy() != 0 {
            return false;
        }
        match self.blocked {
            // The outcome is not known before it was tried again.
            Some(_) if self.recheck => false,
            Some(Blocked::Sync { .. }) => levels & cs::IDLE_SYNC_WAIT != 0,
            Some(Blocked::Resource(_)) => levels & cs::IDLE_RESOURCE_REQ != 0,
            Some(_) => false,
            None => self.is_empty() && levels & cs::IDLE_EMPTY != 0,
        }
    }

    /// GPU address of the next instruction.
    pub(super) fn address(&self) -> u64 {
        self.frames
            .last()
            .map_or_else(|| self.ring.address(), |frame| frame.ip)
    }

    /// Moves past the current instruction.
    pub(super) fn advance(&mut self) {
        match self.frames.last_mut() {
            Some(frame) => frame.ip = frame.ip.wrapping_add(8),
            None => self.ring.pos += 8,
        }
    }

    /// Leaves the called buffers that are at their end.
    pub(super) fn unwind(&mut self) {
        while self
            .frames
            .last()
            .is_some_and(|frame| frame.ip == frame.end)
        {
            self.frames.pop();
        }
    }

    /// Reads how far the host has written.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the ring's input block.
    pub(super) fn read_insert(&mut self, bus: &mut dyn Bus) -> Result<Result<(), String>, Fault> {
        let insert = mem::read64(bus, MCU, self.ring.input + ring::INSERT)?;
        let Ring { pos, size, .. } = self.ring;
        let extract = self.extract();
        Ok(if insert % 64 != 0 {
            Err(format!("insert offset {insert:#x} is not a multiple of 64"))
        } else if insert < self.ring.insert.max(pos) {
            let old = self.ring.insert.max(pos);
            Err(format!(
                "insert offset went back from {old:#x} to {insert:#x}"
            ))
        } else if insert - extract > size {
            Err(format!(
                "insert offset {insert:#x} overruns the ring of {size:#x} bytes at extract offset {extract:#x}"
            ))
        } else {
            self.ring.insert = insert;
            Ok(())
        })
    }

    /// Tells the host how far the stream has come; says whether that was news.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the ring's output block.
    pub(super) fn publish(&mut self, bus: &mut dyn Bus) -> Result<bool, Fault> {
        let busy = !self.is_empty() || self.scoreboard.busy() != 0;
        let (extract, active) = (self.extract(), busy && !self.dead);
        let old = self.ring.published;
        let output = self.ring.output;
        if old == Some((extract, active)) || output == 0 {
            return Ok(false);
        }
        mem::write64(bus, MCU, output + ring::EXTRACT, extract)?;
        mem::write32(bus, MCU, output + ring::ACTIVE, u32::from(active))?;
        self.ring.published = Some((extract, active));
        Ok(old.is_some_and(|(old, _)| old != extract))
    }

    /// Writes the status words of the stream's output block at `output`.
    ///
    /// `heap` holds the heap's counters: tiling started, tiling ended, fragment ended.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the output block.
    pub(super) fn write_status(
        &self,
        bus: &mut dyn Bus,
        output: u64,
        heap: [u32; 3],
    ) -> Result<(), Fault> {
        let mut wait = 0;
        let (mut sync_address, mut sync_value) = (0, 0);
        match self.blocked {
            Some(Blocked::Scoreboards(mask)) => wait = u32::from(mask) | cs::WAIT_SB_SRC_WAIT,
            Some(Blocked::Progress) => wait = cs::WAIT_PROGRESS,
            Some(Blocked::Sync {
                address,
                value,
                condition,
                wide,
            }) => {
                wait = cs::WAIT_SYNC | (condition.code() << cs::WAIT_SYNC_COND_SHIFT);
                if wide {
                    wait |= cs::WAIT_SYNC_64B;
                }
                (sync_address, sync_value) = (address, value);
            }
            Some(Blocked::Deferred | Blocked::Resource(_)) | None => (),
        }
        let reason = self.blocked.map_or(0, |blocked| blocked.reason());
        mem::write64(bus, MCU, output + cs::STATUS_CMD_PTR, self.address())?;
        mem::write64(bus, MCU, output + cs::STATUS_WAIT_SYNC_PTR, sync_address)?;
        mem::write64(bus, MCU, output + cs::HEAP_ADDRESS, self.heap)?;
        for (offset, value) in [
            (cs::STATUS_WAIT, wait),
            (cs::STATUS_REQ_RESOURCE, u32::from(self.resources)),
            (cs::STATUS_WAIT_SYNC_VALUE, sync_value as u32),
            (cs::STATUS_WAIT_SYNC_VALUE_HI, (sync_value >> 32) as u32),
            (cs::STATUS_SCOREBOARDS, u32::from(self.scoreboard.busy())),
            (cs::STATUS_BLOCKED_REASON, reason),
            (cs::HEAP_VT_START, heap[0]),
            (cs::HEAP_VT_END, heap[1]),
            (cs::HEAP_FRAG_END, heap[2]),
        ] {
            mem::write32(bus, MCU, output + offset, value)?;
        }
        Ok(())
    }

    /// When the stream's next endpoint job ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.scoreboard.next_end()
    }
}
