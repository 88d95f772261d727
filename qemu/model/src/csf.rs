// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The firmware's part of the GPU, and the command streams.
//!
//! No firmware code is run: [`Csf`] plays the microcontroller's part. It serves the
//! interface pages in the shared section ([`layout`]): global requests ([`global`]),
//! group slots ([`group`]) and streams ([`port`]); and it interprets the command streams
//! ([`instr`], [`exec`], [`stream`], [`scoreboard`]) of the groups that are on a slot.
//!
//! Interface version 1 is spoken, in which HALT is a bit of its own and endpoint requests
//! have 32 bits. What the host must not do is reported through [`Bus::misuse`].

mod boot;
mod endpoints;
mod exception;
mod exec;
mod garbage;
mod global;
mod group;
mod hold;
mod instr;
mod layout;
mod mailbox;
mod mem;
mod port;
mod power;
mod scoreboard;
mod settings;
mod stream;
mod suspend;
#[cfg(test)]
mod tests;
mod timer;

use std::time::{Duration, Instant};

use crate::bus::{Bus, Fault, TraceKind};
use crate::faults::Kind;
use crate::profile::Profile;

pub use boot::BootError;
use endpoints::Claim;
use garbage::Garbage;
use global::Global;
use group::Group;
use power::Power;
use settings::Settings;
use timer::IdleWatch;

/// Instructions that a stream may execute before the next one has its turn.
const QUANTUM: u32 = 32;

/// When [`Csf::run`] has to be called again if no doorbell rings before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At once: streams have more to do.
    Now,
    /// At this time: a job ends or a timer runs out.
    At(Instant),
    /// When a doorbell rings.
    Idle,
}

/// What the microcontroller does; the numbers are those of `MCU_STATUS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum McuState {
    /// Not started since the last reset.
    Disabled = 0,
    /// The firmware runs.
    Enabled = 1,
    /// The firmware honoured a HALT request.
    Halted = 2,
    /// The firmware crashed: it met a fault in its own address space.
    Fatal = 3,
}

/// The firmware and the command streams of a GPU.
#[derive(Debug)]
pub struct Csf {
    state: McuState,
    /// The firmware was halted, not cut off, the last time it ran.
    clean: bool,
    settings: Settings,
    global: Global,
    groups: Vec<Group>,
    idle: IdleWatch,
    power: Power,
    /// Which stream runs next, counted over all slots.
    turn: usize,
    /// Next place in the row of groups that wait for endpoints.
    ticket: u64,
    /// Doorbells that were rung while the firmware was silent, one bit for each page.
    unheard: u64,
    garbage: Garbage,
}

impl Csf {
    /// The firmware of this GPU, not booted.
    ///
    /// # Panics
    ///
    /// The profile asks for more than the interface has room for.
    pub fn new(profile: &Profile) -> Self {
        let csf = &profile.csf;
        assert!(
            csf.group_num <= layout::MAX_GROUPS && csf.stream_num <= layout::MAX_STREAMS,
            "profile {}: at most {} groups of {} streams fit into the shared section",
            profile.name,
            layout::MAX_GROUPS,
            layout::MAX_STREAMS
        );
        assert!(
            suspend::max_size(csf) <= csf.suspend_size as usize,
            "profile {}: a suspend buffer needs {} bytes",
            profile.name,
            suspend::max_size(csf)
        );
        assert!(
            csf.scoreboards <= 8 && csf.work_registers <= 255,
            "profile {}: instructions of architecture 10 name at most 8 scoreboard slots and 255 registers",
            profile.name
        );
        Self {
            state: McuState::Disabled,
            clean: false,
            settings: Settings::new(profile),
            global: Global::new(profile),
            groups: (0..csf.group_num)
                .map(|slot| Group::new(slot, profile))
                .collect(),
            idle: IdleWatch::after_busy(),
            power: Power::default(),
            turn: 0,
            ticket: 0,
            unheard: 0,
            garbage: Garbage::default(),
        }
    }

    /// Sets how long a RUN instruction keeps its scoreboard slot busy from now on.
    pub fn set_run_time(&mut self, run_time: Duration) {
        self.settings.run_time = run_time;
    }

    /// Slot and address space of the group whose stream was the last to call a buffer in this
    /// GiB of its address space, among those on a slot.
    pub fn find(&self, gib: u64) -> Option<(u32, u8)> {
        self.groups.iter().find_map(|group| group.has_called(gib))
    }

    /// What `MCU_STATUS` shows.
    pub fn state(&self) -> McuState {
        self.state
    }

    /// Whether the firmware honoured a HALT request.
    pub fn halted(&self) -> bool {
        self.state == McuState::Halted
    }

    /// Starts the firmware: checks the image that is mapped in address space 0, publishes
    /// the interface and raises the global interrupt.
    ///
    /// # Errors
    ///
    /// Why the image cannot be started; the microcontroller is then in its fatal state.
    pub fn boot(&mut self, bus: &mut dyn Bus) -> Result<(), BootError> {
        let clean = std::mem::take(&mut self.clean);
        let run_time = self.settings.run_time;
        let profile = bus.profile().clone();
        let garbage = std::mem::take(&mut self.garbage);
        *self = Self::new(&profile);
        self.garbage = garbage;
        self.settings.run_time = run_time;
        self.state = McuState::Fatal;
        bus.faults().end(Kind::McuSilent);
        if bus.faults().armed(Kind::Garbage).is_none() {
            bus.faults().blame();
        }

        boot::check_image(bus, clean)?;
        let section = "shared";
        boot::publish(bus, &profile)
            .and_then(|()| self.adopt(bus))
            .map_err(|fault| BootError::Unreachable { section, fault })?;
        self.state = McuState::Enabled;
        bus.trace(TraceKind::Request, format_args!("firmware booted"));
        bus.raise_job_irq(layout::JOB_INT_GLOBAL);
        Ok(())
    }

    fn adopt(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        self.global.adopt(bus)?;
        self.groups
            .iter_mut()
            .try_for_each(|group| group.adopt(bus))
    }

    /// Stops the firmware: the GPU was reset or the microcontroller disabled.
    pub fn reset(&mut self) {
        // A stopped firmware may be reset once more before it boots again.
        self.clean |= self.halted();
        if matches!(self.state, McuState::Enabled | McuState::Fatal) {
            self.clean = false;
        }
        self.state = McuState::Disabled;
    }

    /// The firmware halts or crashes by itself.
    pub fn fail(&mut self, state: McuState, bus: &mut dyn Bus) {
        self.state = state;
        if state == McuState::Halted {
            let result = self.put_right(bus);
            self.crash_on_fault(bus, result);
        }
    }

    fn put_right(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        self.garbage
            .put_right(bus, &mut self.global, &mut self.groups)
    }

    /// Doorbell page `page` was written: 0 is the global one.
    pub fn doorbell(&mut self, page: u32, bus: &mut dyn Bus) {
        if self.state != McuState::Enabled {
            if self.state != McuState::Fatal && !bus.faults().excused() {
                let state = self.state;
                bus.misuse(format_args!(
                    "doorbell {page} was rung while the MCU is {state:?}"
                ));
            }
            return;
        }
        if bus.faults().hold(Kind::McuSilent).is_some() {
            self.unheard |= 1 << page;
            return;
        }
        let result = if page == 0 {
            self.serve(bus)
        } else {
            self.ring(page, bus)
        };
        self.crash_on_fault(bus, result);
    }

    fn serve(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        let asked = self.global.serve(bus, &mut self.settings)?;
        for (slot, group) in self.groups.iter_mut().enumerate() {
            if asked.groups & (1 << slot) != 0 {
                group.serve(bus, &self.settings)?;
            }
            // The host may have changed a sync object.
            group.wake();
            // A group that was in the way may be gone.
            group.wake_for_endpoints();
        }
        if asked.halt {
            if let Some(slot) = self.groups.iter().position(Group::is_resident) {
                blame(
                    bus,
                    format_args!(
                        "HALT while a group is on slot {slot}; suspend or terminate it first"
                    ),
                );
            }
            bus.trace(TraceKind::Request, format_args!("firmware halted"));
            self.put_right(bus)?;
            self.state = McuState::Halted;
        }
        Ok(())
    }

    fn ring(&mut self, page: u32, bus: &mut dyn Bus) -> Result<(), Fault> {
        let mut heard = false;
        for group in &mut self.groups {
            heard |= group.ring(bus, page)?;
        }
        if !heard {
            bus.trace(
                TraceKind::Request,
                format_args!("doorbell {page}: no stream listens to it"),
            );
        }
        Ok(())
    }

    /// Runs the streams, fairly, for at most `budget` instructions.
    pub fn run(&mut self, budget: u32, bus: &mut dyn Bus) -> Next {
        if self.state != McuState::Enabled || bus.faults().hold(Kind::McuSilent).is_some() {
            return Next::Idle;
        }
        let mut unheard = std::mem::take(&mut self.unheard);
        while unheard != 0 {
            let page = unheard.trailing_zeros();
            unheard &= unheard - 1;
            self.doorbell(page, bus);
        }
        let result = self.run_streams(budget, bus);
        self.crash_on_fault(bus, result).unwrap_or(Next::Idle)
    }

    fn run_streams(&mut self, mut budget: u32, bus: &mut dyn Bus) -> Result<Next, Fault> {
        self.poll(bus)?;
        if self.state != McuState::Enabled {
            return Ok(Next::Idle);
        }
        let streams: Vec<(usize, usize)> = (0..self.groups.len())
            .flat_map(|slot| (0..self.groups[slot].stream_count()).map(move |n| (slot, n)))
            .collect();
        let mut waited = 0;
        while budget != 0 && waited < streams.len() {
            let (slot, n) = streams[self.turn % streams.len()];
            self.turn = (self.turn + 1) % streams.len();
            if !self.groups[slot].is_runnable(n) {
                waited += 1;
                continue;
            }
            waited = 0;
            let quantum = budget.min(QUANTUM);
            let claim = |other: &Group| other.claim(&self.settings);
            let others: Vec<Claim> = self.groups[..slot]
                .iter()
                .chain(&self.groups[slot + 1..])
                .map(claim)
                .collect();
            let group = &mut self.groups[slot];
            let (steps, wake) = group.run(bus, &self.settings, &others, n, quantum)?;
            if group.queue_up(&mut self.ticket) {
                self.groups.iter_mut().for_each(Group::wake_for_endpoints);
            }
            budget -= steps;
            if wake {
                self.groups.iter_mut().for_each(Group::wake);
            }
        }
        self.poll(bus)?;
        if self.groups.iter().any(Group::any_runnable) {
            return Ok(Next::Now);
        }
        let groups = self.groups.iter();
        let deadlines = groups.filter_map(|group| group.deadline(&self.settings));
        let global = self.idle.deadline(self.settings.idle_time);
        Ok(deadlines
            .chain(global.filter(|_| self.settings.idle_enabled))
            .chain(self.power.deadline(&self.settings))
            .chain(self.global.deadline())
            .chain(self.garbage.deadline())
            .min()
            .map_or(Next::Idle, Next::At))
    }

    /// Ends jobs and raises events whose time has come.
    fn poll(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        if self.global.deadline().is_some_and(|due| due <= bus.now()) {
            self.serve(bus)?;
        }
        self.garbage
            .update(bus, &mut self.global, &mut self.groups)?;
        let mut wake = false;
        let mut freed = false;
        for group in &mut self.groups {
            let (changed, released) = group.poll(bus, &self.settings)?;
            wake |= changed;
            freed |= released;
        }
        if wake {
            self.groups.iter_mut().for_each(Group::wake);
        }
        if freed {
            self.groups.iter_mut().for_each(Group::wake_for_endpoints);
        }
        let idle = self.groups.iter().all(Group::is_idle);
        let hold = self.settings.idle_time;
        if self.settings.idle_enabled && self.idle.update(idle, bus.now(), hold) {
            self.global.report_idle(bus)?;
        }
        self.power.update(bus, &self.settings, idle);
        Ok(())
    }

    /// The firmware crashes when it meets a fault in its own address space.
    fn crash_on_fault<T>(&mut self, bus: &mut dyn Bus, result: Result<T, Fault>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(fault) => {
                blame(bus, format_args!("the firmware crashed: {fault}"));
                bus.raise_mmu_fault(&fault);
                self.state = McuState::Fatal;
                None
            }
        }
    }
}

/// Reports that the host did what it must not, unless a fault that a test ordered may have
/// led it there.
fn blame(bus: &mut dyn Bus, what: std::fmt::Arguments<'_>) {
    if bus.faults().excused() {
        bus.trace(TraceKind::Request, format_args!("excused: {what}"));
    } else {
        bus.misuse(what);
    }
}
