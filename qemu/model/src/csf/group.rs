// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A group slot: the group's life on it, its streams and its events.

mod report;
mod running;
mod state;

use std::time::Instant;

use super::blame;
use super::hold::Hold;
use super::layout::{self, csg};
use super::mailbox::Mailbox;
use super::mem::{self, MCU};
use super::port::Port;
use super::settings::Settings;
use super::stream::Blocked;
use super::timer::IdleWatch;
use crate::bus::{Bus, Fault, TraceKind};
use crate::faults::{at_slot, Request};
use crate::profile::Profile;

/// A group that is on a slot.
#[derive(Clone, Debug)]
struct Resident {
    /// Address space of the group.
    as_nr: u8,
    /// Cores that compute and fragment jobs may use, tilers, and the counts asked for.
    allow: [u64; 3],
    endpoint_req: u32,
    /// Endpoints on which jobs run, by kind.
    held: [u64; 3],
    /// Since when a stream waits for endpoints, by kind, in the order of waiting.
    waiting: [Option<u64>; 3],
    /// Progress counters of the streams.
    progress: Vec<u64>,
    /// How often the group was resumed.
    disjoint: u64,
    idle: IdleWatch,
    /// Since when endpoint jobs run without progress.
    stalled_since: Option<Instant>,
    /// The lack of progress was reported.
    stall_reported: bool,
    /// GPU address of the buffer that a stream was the last to call.
    called: Option<u64>,
}

/// The firmware's side of a group slot.
#[derive(Clone, Debug)]
pub(super) struct Group {
    slot: u32,
    mailbox: Mailbox,
    /// What the doorbell acknowledge word holds.
    doorbell_ack: u32,
    /// What the stream interrupt word holds.
    cs_irq_req: u32,
    ports: Vec<Port>,
    resident: Option<Resident>,
    hold: Hold,
}

impl Group {
    pub(super) fn new(slot: u32, profile: &Profile) -> Self {
        Self {
            slot,
            mailbox: Mailbox::new(
                format!("csg{slot}"),
                layout::csg_input(slot),
                layout::csg_output(slot),
                csg::ACK_IRQ_MASK,
                csg::EVENTS,
            ),
            doorbell_ack: 0,
            cs_irq_req: 0,
            ports: (0..profile.csf.stream_num)
                .map(|stream| Port::new(slot, stream))
                .collect(),
            resident: None,
            hold: Hold::default(),
        }
    }

    /// Takes over what memory holds when the firmware boots: nothing is on the slot.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the interface.
    pub(super) fn adopt(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        let output = self.mailbox.output;
        self.doorbell_ack = mem::read32(bus, MCU, output + csg::DOORBELL_ACK)?;
        self.cs_irq_req = mem::read32(bus, MCU, output + csg::CS_IRQ_REQ)?;
        self.mailbox.adopt(bus)?;
        if matches!(self.mailbox.ack() & csg::STATE, csg::START | csg::RESUME) {
            self.mailbox.answer(bus, csg::TERMINATE, csg::STATE)?;
        }
        for port in &mut self.ports {
            port.mailbox.adopt(bus)?;
            port.stop(bus)?;
        }
        Ok(())
    }

    /// Whether a group is on the slot.
    pub(super) fn is_resident(&self) -> bool {
        self.resident.is_some()
    }

    /// Slot and address space of the group if its last call was of a buffer in this GiB.
    pub(super) fn has_called(&self, gib: u64) -> Option<(u32, u8)> {
        let resident = self.resident.as_ref()?;
        (resident.called? >> 30 == gib).then_some((self.slot, resident.as_nr))
    }

    /// Number of streams that the slot has room for.
    pub(super) fn stream_count(&self) -> usize {
        self.ports.len()
    }

    fn input32(&self, bus: &mut dyn Bus, offset: u64) -> Result<u32, Fault> {
        mem::read32(bus, MCU, self.mailbox.input + offset)
    }

    fn input64(&self, bus: &mut dyn Bus, offset: u64) -> Result<u64, Fault> {
        mem::read64(bus, MCU, self.mailbox.input + offset)
    }

    fn output32(&self, bus: &mut dyn Bus, offset: u64, value: u32) -> Result<(), Fault> {
        mem::write32(bus, MCU, self.mailbox.output + offset, value)
    }

    fn irq(&self, bus: &mut dyn Bus, wanted: bool) {
        if wanted {
            bus.raise_job_irq(1 << self.slot);
        }
    }

    /// Serves the requests of this slot, whose doorbell the host rang.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach something that the host keeps in its address space.
    pub(super) fn serve(&mut self, bus: &mut dyn Bus, settings: &Settings) -> Result<(), Fault> {
        // The acknowledgement comes first, so that a doorbell that is rung while the
        // requests are read is seen as a new one.
        let rung = self.input32(bus, csg::DOORBELL_REQ)?;
        let streams = rung ^ self.doorbell_ack;
        if streams != 0 {
            self.doorbell_ack = rung;
            self.output32(bus, csg::DOORBELL_ACK, rung)?;
        }
        if streams >> self.ports.len() != 0 {
            blame(
                bus,
                format_args!(
                    "{}: doorbells {streams:#x} for streams that do not exist; there are {}",
                    self.mailbox.name,
                    self.ports.len()
                ),
            );
        }

        let req = self.mailbox.request(bus)?;
        let changed = (req ^ self.mailbox.ack()) & !csg::EVENTS;
        if changed != 0 {
            bus.trace(
                TraceKind::Request,
                format_args!(
                    "{}: req {req:#010x}, changed {changed:#010x}, streams {streams:#x}",
                    self.mailbox.name
                ),
            );
        }
        let unknown = changed & !(csg::STATE | csg::TOGGLES);
        if unknown != 0 {
            blame(
                bus,
                format_args!(
                    "{}: requests {unknown:#010x} that this firmware does not know",
                    self.mailbox.name
                ),
            );
        }

        let state = match req & csg::STATE {
            csg::TERMINATE => Request::Terminate,
            csg::START => Request::Start,
            csg::SUSPEND => Request::Suspend,
            _ => Request::Resume,
        };
        let names = [
            (csg::STATE, state),
            (csg::ENDPOINT_CONFIG, Request::Config),
            (csg::STATUS_UPDATE, Request::StatusUpdate),
        ];
        let place = at_slot(self.slot);
        let held = self.hold.filter(bus, place, &names, req, changed);
        let changed = changed & !held;
        let mut answers = csg::TOGGLES & !held;
        if changed & csg::ENDPOINT_CONFIG != 0 {
            self.configure_endpoints(bus)?;
        }
        if changed & csg::STATE != 0 && self.change_state(bus, settings, req & csg::STATE)? {
            answers |= csg::STATE;
        }
        if let Some(as_nr) = self.resident.as_ref().map(|resident| resident.as_nr) {
            for n in 0..self.ports.len() {
                if streams & (1 << n) != 0 {
                    let news = self.ports[n].serve(bus, settings, as_nr, None)?;
                    self.tell(bus, n, news)?;
                    self.ports[n].kick(bus)?;
                }
            }
        }
        self.report(bus)?;
        if changed & csg::STATUS_UPDATE != 0 {
            self.write_status(bus)?;
        }
        let irq = self.mailbox.answer(bus, req, answers)?;
        self.irq(bus, irq);
        Ok(())
    }

    /// MCU address of the output block beside a stream's ring, if there is one.
    pub(super) fn ring_output(&self, stream: usize) -> Option<u64> {
        let stream = self.ports.get(stream)?.stream.as_ref()?;
        Some(stream.ring.output).filter(|&output| output != 0)
    }

    /// Writes the output blocks as the firmware remembers them.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the interface or a ring's output block.
    pub(super) fn rewrite(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        self.output32(bus, csg::DOORBELL_ACK, self.doorbell_ack)?;
        self.output32(bus, csg::CS_IRQ_REQ, self.cs_irq_req)?;
        self.mailbox.rewrite(bus)?;
        for port in &mut self.ports {
            port.mailbox.rewrite(bus)?;
            if let Some(stream) = &mut port.stream {
                stream.ring.published = None;
                stream.publish(bus)?;
            }
        }
        self.write_status(bus)
    }

    /// The host rang the doorbell on `page` without a request.
    ///
    /// Says whether a stream of this group listens to it.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach a ring's input block.
    pub(super) fn ring(&mut self, bus: &mut dyn Bus, page: u32) -> Result<bool, Fault> {
        let mut heard = false;
        for port in &mut self.ports {
            if port.stream.as_ref().is_some_and(|s| s.doorbell == page) {
                heard = true;
                port.kick(bus)?;
            }
        }
        if heard {
            self.report(bus)?;
        }
        Ok(heard)
    }

    /// Lets streams that wait for sync objects look again.
    pub(super) fn wake(&mut self) {
        self.recheck(|blocked| matches!(blocked, Blocked::Sync { .. }));
    }

    /// Lets streams that wait for endpoints look again.
    pub(super) fn wake_for_endpoints(&mut self) {
        self.recheck(|blocked| matches!(blocked, Blocked::Resource(_)));
    }

    fn recheck(&mut self, which: impl Fn(&Blocked) -> bool) {
        for stream in self
            .ports
            .iter_mut()
            .filter_map(|port| port.stream.as_mut())
        {
            if stream.blocked.as_ref().is_some_and(&which) {
                stream.recheck = true;
            }
        }
    }
}
