// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Everything but the firmware: registers, MMU, interrupts and guest memory.
//!
//! [`Hardware`] decodes the register window for the host's side and is the [`Bus`]
//! of the firmware and the command streams.

mod disturbance;
mod memory;
mod registers;

use std::time::Instant;

use crate::bus::{Bus, TraceKind};
use crate::faults::{Faults, Key, Kind, Values};
use crate::flush_id::FlushId;
use crate::gpu::GpuControl;
use crate::irq::{IrqBlock, Line, Vectors};
use crate::mmu::{Mmu, Notice};
use crate::profile::Profile;
use crate::ram::GuestRam;
use crate::regs::{self, csf, gpu};
use crate::strict::Strict;
use crate::trace::Trace;
use disturbance::Disturbance;

/// What a register write asks of the firmware's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing.
    None,
    /// The GPU was reset, or the microcontroller stopped: forget everything.
    Stop,
    /// Start the microcontroller.
    Start,
    /// A doorbell page was written.
    Doorbell(u32),
}

/// Everything but the firmware.
pub struct Hardware {
    profile: Profile,
    /// The guest's memory.
    pub ram: GuestRam,
    /// GPU control.
    pub gpu: GpuControl,
    /// What a test ordered to go wrong.
    pub faults: Faults,
    disturbance: Option<Disturbance>,
    mmu: Mmu,
    irqs: [IrqBlock; 3],
    vectors: Box<dyn Vectors>,
    flush_id: FlushId,
    mcu_control: u32,
    mcu_status: u32,
    trace: Trace,
    strict: Strict,
}

impl Hardware {
    /// Hardware as after power-on.
    pub fn new(
        profile: Profile,
        vectors: Box<dyn Vectors>,
        flush_id: FlushId,
        trace: Trace,
        strict: Strict,
    ) -> Self {
        Self {
            gpu: GpuControl::new(&profile, Instant::now()),
            faults: Faults::default(),
            disturbance: None,
            mmu: Mmu::new(&profile),
            profile,
            ram: GuestRam::default(),
            irqs: Default::default(),
            vectors,
            flush_id,
            mcu_control: csf::control::DISABLE,
            mcu_status: csf::status::DISABLED,
            trace,
            strict,
        }
    }

    /// Misuse reports made so far.
    pub fn misuses(&self) -> u64 {
        self.strict.count()
    }

    /// Writes out what the trace holds back.
    pub fn flush_trace(&mut self) {
        self.trace.flush();
    }

    /// Whether the microcontroller runs.
    pub fn mcu_running(&self) -> bool {
        matches!(self.mcu_status, csf::status::ENABLED | csf::status::HALT)
    }

    /// Changes `MCU_STATUS`, and the power of the blocks that the firmware looks after.
    pub fn set_mcu_status(&mut self, status: u32) {
        if self.mcu_status == status {
            return;
        }
        self.mcu_status = status;
        if status != csf::status::ENABLED {
            self.set_cores(0, 0);
        }
        self.raise(Line::Gpu, gpu::irq::MCU_STATUS_CHANGED);
    }

    /// When something finishes by itself.
    pub fn due(&self) -> Option<Instant> {
        let disturbance = self.disturbance.as_ref().map(|d| d.next);
        [self.gpu.due(), disturbance].into_iter().flatten().min()
    }

    /// Finishes what is due.
    pub fn settle(&mut self, now: Instant) {
        let bits = self.gpu.settle(now);
        self.raise(Line::Gpu, bits);
        if self.disturbance.as_ref().is_some_and(|d| d.next <= now) {
            self.send_disturbance(now);
        }
    }

    /// The host reads the 32-bit register at `offset`.
    pub fn read_register(&mut self, offset: u32) -> u32 {
        let now = Instant::now();
        self.settle(now);
        let value = self.decode_read(offset, now);
        self.note(false, offset, value);
        self.heed_mmu();
        value
    }

    /// The host writes the 32-bit register at `offset`.
    pub fn write_register(&mut self, offset: u32, value: u32) -> Event {
        let now = Instant::now();
        self.settle(now);
        self.note(true, offset, value);
        let event = self.decode_write(offset, value, now);
        self.heed_mmu();
        event
    }

    /// Reports an access to the window that is not one of an aligned 32-bit word.
    pub fn odd_access(&mut self, write: bool, offset: u64, len: usize) {
        let verb = if write { "write" } else { "read" };
        self.misuse(format_args!(
            "{verb} of {len} bytes at {offset:#x}: registers are aligned 32-bit words"
        ));
    }

    fn note(&mut self, write: bool, offset: u32, value: u32) {
        self.strict.access(write, offset, value);
        if self.trace.on(TraceKind::Reg) {
            let (name, arrow) = (regs::name(offset), if write { "<-" } else { "->" });
            self.trace
                .line(TraceKind::Reg, format_args!("{name} {arrow} {value:#x}"));
        }
    }

    fn raise(&mut self, line: Line, bits: u32) {
        if bits == 0 {
            return;
        }
        self.trace
            .line(TraceKind::Irq, format_args!("{line:?} raises {bits:#x}"));
        if self.irqs[line as usize].raise(bits) {
            self.signal(line);
        }
    }

    fn signal(&mut self, line: Line) {
        let place = Values::default().with(Key::Line, line as u64);
        if self.faults.strike(Kind::LostInterrupt, &place).is_some() {
            self.trace
                .line(TraceKind::Irq, format_args!("{line:?} edge is lost"));
            return;
        }
        self.trace
            .line(TraceKind::Irq, format_args!("{line:?} edge"));
        self.vectors.signal(line);
    }

    /// Deals with what the MMU had to say.
    fn heed_mmu(&mut self) {
        for notice in self.mmu.notices() {
            match notice {
                Notice::Raise(bits) => self.raise(Line::Mmu, bits),
                Notice::Misuse(what) => self.misuse(format_args!("{what}")),
            }
        }
    }

    /// Whether a fault that strikes anywhere does so now.
    fn strikes(&self, kind: Kind) -> bool {
        self.faults.strike(kind, &Values::default()).is_some()
    }

    fn clean_caches(&mut self) {
        self.flush_id.advance();
        self.mmu.flushed();
    }

    /// Everything but GPU control itself, which has been reset by its command.
    fn reset(&mut self) {
        self.mmu.reset();
        for block in &mut self.irqs {
            block.reset();
        }
        self.mcu_control = csf::control::DISABLE;
        self.mcu_status = csf::status::DISABLED;
        self.flush_id.advance();
    }

    /// The reset line of the bus: as a reset by command, but done at once.
    pub fn bus_reset(&mut self) {
        let now = Instant::now();
        self.gpu = GpuControl::new(&self.profile, now);
        self.reset();
        self.irqs = Default::default();
    }
}
