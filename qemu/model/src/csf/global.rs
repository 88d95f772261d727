// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The global interface: configuration, PING, HALT and the doorbells of the groups.

use std::time::Instant;

use super::blame;
use super::hold::Hold;
use super::layout::{self, glb};
use super::mailbox::Mailbox;
use super::mem::{self, MCU};
use super::settings::Settings;
use super::timer;
use crate::bus::{Bus, Fault, TraceKind};
use crate::faults::{Request, Values};
use crate::profile::Profile;

/// What a doorbell on the global page asks of the rest of the firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Groups that the host flagged, one bit each.
    pub(super) groups: u32,
    /// The host wants the MCU to halt.
    pub(super) halt: bool,
}

/// The firmware's side of the global interface.
#[derive(Clone, Debug)]
pub(super) struct Global {
    pub(super) mailbox: Mailbox,
    /// What the doorbell acknowledge word holds.
    doorbell_ack: u32,
    groups: u32,
    hold: Hold,
}

impl Global {
    pub(super) fn new(profile: &Profile) -> Self {
        Self {
            mailbox: Mailbox::new(
                "global".into(),
                layout::GLB_INPUT,
                layout::GLB_OUTPUT,
                glb::ACK_IRQ_MASK,
                glb::EVENTS,
            ),
            doorbell_ack: 0,
            groups: profile.csf.group_num,
            hold: Hold::default(),
        }
    }

    /// Takes over what memory holds when the firmware boots.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the interface.
    pub(super) fn adopt(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        self.doorbell_ack = mem::read32(bus, MCU, layout::GLB_OUTPUT + glb::DOORBELL_ACK)?;
        mem::write32(bus, MCU, layout::GLB_OUTPUT + glb::HALT_STATUS, 0)?;
        self.mailbox.adopt(bus)
    }

    /// Serves the global requests, and collects what is asked of the groups.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the interface.
    pub(super) fn serve(
        &mut self,
        bus: &mut dyn Bus,
        settings: &mut Settings,
    ) -> Result<Asked, Fault> {
        let rung = mem::read32(bus, MCU, layout::GLB_INPUT + glb::DOORBELL_REQ)?;
        let groups = rung ^ self.doorbell_ack;
        if groups != 0 {
            self.doorbell_ack = rung;
            mem::write32(bus, MCU, layout::GLB_OUTPUT + glb::DOORBELL_ACK, rung)?;
        }
        if groups >> self.groups != 0 {
            blame(
                bus,
                format_args!(
                    "global: doorbells {groups:#x} for group slots that do not exist; there are {}",
                    self.groups
                ),
            );
        }

        let req = self.mailbox.request(bus)?;
        let changed = (req ^ self.mailbox.ack()) & !glb::EVENTS;
        bus.trace(
            TraceKind::Request,
            format_args!("global: req {req:#010x}, changed {changed:#010x}, groups {groups:#x}"),
        );
        let names = [
            (
                glb::CFG_PROGRESS_TIMER | glb::CFG_ALLOC_EN | glb::CFG_POWEROFF_TIMER,
                Request::Global,
            ),
            (glb::PING, Request::Ping),
            (glb::HALT, Request::Halt),
        ];
        let place = Values::default();
        let held = self.hold.filter(bus, place, &names, req, changed);
        let changed = changed & !held;
        if changed & glb::CFG_PROGRESS_TIMER != 0 {
            let value = mem::read32(bus, MCU, layout::GLB_INPUT + glb::PROGRESS_TIMER)?;
            settings.progress_time = timer::progress(value, bus.profile());
        }
        if changed & glb::CFG_POWEROFF_TIMER != 0 {
            let value = mem::read32(bus, MCU, layout::GLB_INPUT + glb::POWEROFF_TIMER)?;
            settings.poweroff_time = Some(timer::field(value, bus.profile()).unwrap_or_default());
        }
        if changed & glb::CFG_ALLOC_EN != 0 {
            let mask = mem::read64(bus, MCU, layout::GLB_INPUT + glb::CORE_EN_MASK)?;
            let present = bus.profile().shader_present;
            if mask & !present != 0 {
                blame(
                    bus,
                    format_args!(
                        "global: core mask {mask:#x} has cores that are not present ({present:#x})"
                    ),
                );
            }
            settings.core_mask = mask & present;
        }
        // After a fast reset the level is the same as before, but the setting is lost.
        if req & glb::IDLE_EN != 0 && !settings.idle_enabled {
            let value = mem::read32(bus, MCU, layout::GLB_INPUT + glb::IDLE_TIMER)?;
            settings.idle_time = timer::field(value, bus.profile()).unwrap_or_default();
        }
        bus.count_cycles(req & glb::COUNTER_EN != 0);
        settings.idle_enabled = req & glb::IDLE_EN != 0;
        let unknown = changed & !(glb::TOGGLES | glb::LEVELS | glb::HALT);
        if unknown != 0 {
            blame(
                bus,
                format_args!("global: requests {unknown:#010x} that this firmware does not know"),
            );
        }
        // HALT shows in the MCU's status only.
        let answers = (glb::TOGGLES | glb::LEVELS) & !held;
        if self.mailbox.answer(bus, req, answers)? {
            bus.raise_job_irq(layout::JOB_INT_GLOBAL);
        }
        Ok(Asked {
            groups: groups & ((1 << self.groups) - 1),
            halt: req & !held & glb::HALT != 0,
        })
    }

    /// Writes the output block as the firmware remembers it.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the interface.
    pub(super) fn rewrite(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        let output = layout::GLB_OUTPUT;
        mem::write32(bus, MCU, output + glb::DOORBELL_ACK, self.doorbell_ack)?;
        mem::write32(bus, MCU, output + glb::HALT_STATUS, 0)?;
        self.mailbox.rewrite(bus)
    }

    /// When a request is to be served that was held back.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.hold.deadline()
    }

    /// Reports that the whole GPU became idle.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the interface.
    pub(super) fn report_idle(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        if self.mailbox.raise(bus, glb::IDLE)? == Some(true) {
            bus.raise_job_irq(layout::JOB_INT_GLOBAL);
        }
        Ok(())
    }
}
