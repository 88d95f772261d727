// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The host's side: what each register does.

use std::time::Instant;

use super::{Event, Hardware};
use crate::bus::{Bus, TraceKind};
use crate::faults::{at_slot, Key, Kind, Values};
use crate::gpu::power::Block;
use crate::gpu::Action;
use crate::irq::Line;
use crate::regs::{self, csf, gpu, int, mmu};

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

impl Hardware {
    pub(super) fn decode_read(&mut self, offset: u32, now: Instant) -> u32 {
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

    pub(super) fn decode_write(&mut self, offset: u32, value: u32, now: Instant) -> Event {
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
}
