// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Everything but the firmware: registers, MMU, interrupts and guest memory.
//!
//! [`Hardware`] decodes the register window for the host's side and is the [`Bus`]
//! of the firmware and the command streams.

use std::fmt;
use std::time::{Duration, Instant};

use crate::bus::{Access, Bus, Fault, TraceKind};
use crate::faults::{at_slot, Faults, Key, Kind, Values};
use crate::flush_id::FlushId;
use crate::gpu::power::Block;
use crate::gpu::{Action, GpuControl};
use crate::irq::{IrqBlock, Line, Vectors};
use crate::mmu::walk::BUS_FAULT;
use crate::mmu::{Mmu, Notice};
use crate::profile::Profile;
use crate::ram::{GuestRam, PhysMemory};
use crate::regs::{self, csf, gpu, int, mmu};
use crate::strict::Strict;
use crate::trace::Trace;

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

/// Interrupts without a cause that are yet to be sent.
struct Disturbance {
    line: Line,
    bits: u32,
    left: u64,
    next: Instant,
    gap: Duration,
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

    /// Sends `count` interrupts without a cause, `gap` apart.
    pub fn disturb(&mut self, line: Line, bits: u32, count: u64, gap: Duration) {
        self.disturbance = (count != 0).then(|| Disturbance {
            line,
            bits,
            left: count,
            next: Instant::now(),
            gap,
        });
    }

    /// Sends no more interrupts without a cause.
    pub fn calm(&mut self) {
        self.disturbance = None;
    }

    /// Sends one of the interrupts without a cause; late ones are not caught up on, so
    /// that each has the host's attention for a while.
    fn send_disturbance(&mut self, now: Instant) {
        let Some(disturbance) = &mut self.disturbance else {
            return;
        };
        let (line, bits) = (disturbance.line, disturbance.bits);
        disturbance.left -= 1;
        disturbance.next = now + disturbance.gap;
        if disturbance.left == 0 {
            self.disturbance = None;
        }
        self.irqs[line as usize].disturb(bits);
        self.signal(line);
        self.faults.done(Kind::SpuriousInterrupt);
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

    fn decode_read(&mut self, offset: u32, now: Instant) -> u32 {
        if let Some((line, at)) = interrupt_block(offset) {
            return self.irqs[line as usize].read(at);
        }
        match offset {
            csf::MCU_CONTROL => self.mcu_control,
            csf::MCU_STATUS => self.mcu_status,
            csf::LATEST_FLUSH => self.flush_id.value(),
            mmu::AS_BASE..=AS_LAST => self.mmu.read(offset - mmu::AS_BASE),
            _ => {
                let fault = self.mmu.faulted();
                match self.gpu.read(offset, &self.profile, fault, now) {
                    Some(value) => value,
                    None => {
                        let name = regs::name(offset);
                        self.misuse(format_args!(
                            "read of {name}, which is undefined or write-only"
                        ));
                        0
                    }
                }
            }
        }
    }

    fn decode_write(&mut self, offset: u32, value: u32, now: Instant) -> Event {
        if let Some((line, at)) = interrupt_block(offset) {
            self.write_interrupt(line, at, value);
            return Event::None;
        }
        let name = || regs::name(offset);
        if self.gpu.resetting() && offset != gpu::GPU_COMMAND {
            if self.gpu.reset_hangs() {
                // The host has waited long enough, and has to give the GPU up.
                return Event::None;
            }
            self.misuse(format_args!(
                "write of {value:#x} to {} while a reset is going on",
                name()
            ));
            return Event::None;
        }
        match offset {
            csf::MCU_CONTROL => return self.control_mcu(value),
            mmu::AS_BASE..=AS_LAST => {
                let raw = self.irqs[Line::Mmu as usize].raw();
                let at = offset - mmu::AS_BASE;
                if at % mmu::AS_STRIDE == mmu::reg::COMMAND && value != mmu::command::NOP {
                    let as_nr = at / mmu::AS_STRIDE;
                    let place = Values::default().with(Key::As, as_nr.into());
                    if self.faults.strike(Kind::AsStuck, &place).is_some() {
                        self.mmu.hang(as_nr as u8);
                    }
                }
                self.mmu.write(at, value, raw);
            }
            csf::DOORBELL_BASE.. => return self.ring(offset),
            gpu::L2_PWROFF if value != 0 && self.mcu_status != csf::status::DISABLED => {
                self.misuse(format_args!(
                    "L2 powered off while the microcontroller is not disabled"
                ));
            }
            SHADER_PWROFF..=TILER_PWROFF_HI if value != 0 && self.mcu_running() => {
                self.misuse(format_args!(
                    "{} while the firmware looks after the cores' power",
                    name()
                ));
            }
            _ => match self.gpu.write(offset, value, &self.profile, now) {
                Ok(Action::None) => {
                    let powering = offset == gpu::L2_PWRON && self.gpu.power.active();
                    if powering && self.strikes(Kind::L2Stuck) {
                        self.gpu.power.hang(Block::L2);
                    }
                }
                // The C driver also flushes and sets address spaces up with the L2 off, when
                // it is unbound from a GPU in use: no report for what its users would have met.
                Ok(Action::Flush) => {
                    if self.strikes(Kind::FlushStuck) {
                        self.gpu.hang_flush();
                    }
                    self.clean_caches();
                }
                Ok(Action::Reset) => {
                    if self.strikes(Kind::SoftResetStuck) {
                        self.gpu.hang_reset();
                    }
                    self.reset();
                    self.faults.done(Kind::GpuReset);
                    return Event::Stop;
                }
                Err(what) => self.misuse(format_args!("{what}")),
            },
        }
        Event::None
    }

    fn write_interrupt(&mut self, line: Line, at: u32, value: u32) {
        if line == Line::Gpu && at == int::CLEAR && value & gpu::irq::FAULT != 0 {
            self.gpu.fault_cleared();
        }
        match self.irqs[line as usize].write(at, value) {
            Ok(true) => self.signal(line),
            Ok(false) => {}
            Err(_) => self.misuse(format_args!(
                "write of {value:#x} to a read-only register of the {line:?} interrupt block"
            )),
        }
    }

    fn control_mcu(&mut self, value: u32) -> Event {
        self.mcu_control = value;
        match value {
            csf::control::DISABLE => {
                self.set_mcu_status(csf::status::DISABLED);
                Event::Stop
            }
            csf::control::ENABLE | csf::control::AUTO => {
                if self.mcu_status != csf::status::DISABLED {
                    // Writing it again changes nothing.
                    return Event::None;
                }
                if self.gpu.power.ready(Block::L2) == 0 {
                    self.misuse(format_args!("microcontroller started while the L2 is off"));
                    return Event::None;
                }
                if !self.mmu.enabled(0) {
                    self.misuse(format_args!(
                        "microcontroller started while address space 0 is not set up"
                    ));
                    return Event::None;
                }
                Event::Start
            }
            _ => {
                self.misuse(format_args!("MCU_CONTROL {value} is undefined"));
                Event::None
            }
        }
    }

    fn ring(&mut self, offset: u32) -> Event {
        let at = offset - csf::DOORBELL_BASE;
        let page = at / csf::DOORBELL_STRIDE;
        if at % csf::DOORBELL_STRIDE != 0 || page > self.profile.csf.group_num {
            self.misuse(format_args!("write to {offset:#x}, which is no doorbell"));
            return Event::None;
        }
        if !self.mcu_running() {
            let status = self.mcu_status;
            if status == csf::status::FATAL && self.faults.excused() {
                // The host cannot know yet.
                return Event::None;
            }
            self.misuse(format_args!(
                "doorbell {page} rung while the microcontroller does not run (MCU_STATUS {status})"
            ));
            return Event::None;
        }
        let lost = match page {
            0 => Values::default(),
            page => at_slot(page - 1),
        };
        if self.faults.strike(Kind::LostDoorbell, &lost).is_some() {
            self.trace
                .line(TraceKind::Request, format_args!("doorbell {page} is lost"));
            return Event::None;
        }
        Event::Doorbell(page)
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

    fn load(&mut self, as_nr: u8, va: u64, buf: &mut [u8], access: Access) -> Result<(), Fault> {
        let ram = &self.ram;
        let mut missing = None;
        let len = buf.len();
        let result = self
            .mmu
            .translate(ram, as_nr, va, len, access, |pa, range| {
                if !ram.read(pa, &mut buf[range]) {
                    missing.get_or_insert(pa);
                }
            });
        self.heed_mmu();
        result?;
        self.nothing_missing(as_nr, va, access, missing)
    }

    fn nothing_missing(
        &mut self,
        as_nr: u8,
        va: u64,
        access: Access,
        missing: Option<u64>,
    ) -> Result<(), Fault> {
        let Some(pa) = missing else { return Ok(()) };
        self.misuse(format_args!(
            "va {va:#x} of address space {as_nr} leads to {pa:#x}, where there is no memory"
        ));
        Err(Fault {
            as_nr,
            va,
            access,
            exception: BUS_FAULT,
        })
    }
}

/// The registers that power shader cores and tilers off.
const SHADER_PWROFF: u32 = gpu::SHADER_PWROFF;
const TILER_PWROFF_HI: u32 = gpu::TILER_PWROFF + 4;
/// Last register of the last possible address space.
const AS_LAST: u32 = mmu::AS_BASE + 32 * mmu::AS_STRIDE - 1;

/// The interrupt block that `offset` is in, and the offset within it.
fn interrupt_block(offset: u32) -> Option<(Line, u32)> {
    [
        (Line::Job, csf::JOB_INT_BASE),
        (Line::Mmu, mmu::INT_BASE),
        (Line::Gpu, gpu::INT_BASE),
    ]
    .into_iter()
    .find(|(_, base)| (*base..=base + int::STAT).contains(&offset))
    .map(|(line, base)| (line, offset - base))
}

impl Bus for Hardware {
    fn read(&mut self, as_nr: u8, va: u64, buf: &mut [u8]) -> Result<(), Fault> {
        self.load(as_nr, va, buf, Access::Read)
    }

    fn fetch(&mut self, as_nr: u8, va: u64, buf: &mut [u8]) -> Result<(), Fault> {
        self.load(as_nr, va, buf, Access::Execute)
    }

    fn write(&mut self, as_nr: u8, va: u64, data: &[u8]) -> Result<(), Fault> {
        let ram = &self.ram;
        let mut missing = None;
        let result = self
            .mmu
            .translate(ram, as_nr, va, data.len(), Access::Write, |pa, range| {
                if !ram.write(pa, &data[range]) {
                    missing.get_or_insert(pa);
                }
            });
        self.heed_mmu();
        result?;
        self.nothing_missing(as_nr, va, Access::Write, missing)
    }

    fn raise_mmu_fault(&mut self, fault: &Fault) {
        self.trace
            .line(TraceKind::Irq, format_args!("MMU fault: {fault}"));
        self.mmu.latch(fault);
        self.heed_mmu();
    }

    fn raise_job_irq(&mut self, bits: u32) {
        self.raise(Line::Job, bits);
    }

    fn raise_gpu_fault(&mut self, status: u32, address: u64) {
        self.gpu.latch_fault(status, address);
        self.raise(Line::Gpu, gpu::irq::FAULT);
    }

    fn timestamp(&self) -> u64 {
        self.gpu.timestamp(&self.profile, Instant::now())
    }

    fn cycles(&self) -> u64 {
        self.gpu.cycles(&self.profile, Instant::now())
    }

    fn count_cycles(&mut self, on: bool) {
        self.gpu.count_cycles(on, &self.profile, Instant::now());
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn flush_caches(&mut self) {
        self.clean_caches();
    }

    fn faults(&self) -> &Faults {
        &self.faults
    }

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn set_cores(&mut self, shaders: u64, tilers: u64) {
        self.gpu.power.set(Block::Shader, shaders);
        self.gpu.power.set(Block::Tiler, tilers);
    }

    fn shader_ready(&self) -> u64 {
        self.gpu.power.ready(Block::Shader)
    }

    fn tiler_ready(&self) -> u64 {
        self.gpu.power.ready(Block::Tiler)
    }

    fn misuse(&mut self, what: fmt::Arguments<'_>) {
        self.strict.misuse(what);
        self.trace
            .line(TraceKind::Request, format_args!("MISUSE: {what}"));
    }

    fn trace(&mut self, kind: TraceKind, what: fmt::Arguments<'_>) {
        self.trace.line(kind, what);
    }
}
