// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A group slot: the group's life on it, its streams and its events.

mod running;

use std::time::Instant;

use super::blame;
use super::endpoints::priority;
use super::hold::Hold;
use super::layout::{self, csg};
use super::mailbox::Mailbox;
use super::mem::{self, MCU};
use super::port::{News, Port};
use super::settings::Settings;
use super::stream::{Blocked, Oom, Stream};
use super::suspend::{self, Saved};
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

    /// Reads and checks which endpoints the group may use.
    fn configure_endpoints(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        let allow = [
            self.input64(bus, csg::ALLOW_COMPUTE)?,
            self.input64(bus, csg::ALLOW_FRAGMENT)?,
            self.input32(bus, csg::ALLOW_OTHER)?.into(),
        ];
        let endpoint_req = self.input32(bus, csg::ENDPOINT_REQ)?;
        let (shaders, tilers) = (bus.profile().shader_present, bus.profile().tiler_present);
        let name = &self.mailbox.name;
        for (kind, allow, present, shift, bits) in [
            ("compute", allow[0], shaders, 0, 8),
            ("fragment", allow[1], shaders, 8, 8),
            ("tiler", allow[2], tilers, 16, 4),
        ] {
            if allow & !present != 0 {
                blame(
                    bus,
                    format_args!(
                        "{name}: {kind} endpoints {allow:#x} that are not present ({present:#x})"
                    ),
                );
            }
            let count = (endpoint_req >> shift) & ((1 << bits) - 1);
            if count > allow.count_ones() {
                blame(
                    bus,
                    format_args!(
                        "{name}: asks for {count} {kind} endpoints of the mask {allow:#x}"
                    ),
                );
            }
        }
        if let Some(resident) = &mut self.resident {
            resident.allow = allow;
            resident.endpoint_req = endpoint_req;
            for stream in self
                .ports
                .iter_mut()
                .filter_map(|port| port.stream.as_mut())
            {
                stream.recheck = true;
            }
        }
        Ok(())
    }

    /// Brings the group into the state that the host asks for; says whether that was possible.
    fn change_state(
        &mut self,
        bus: &mut dyn Bus,
        settings: &Settings,
        state: u32,
    ) -> Result<bool, Fault> {
        match (state, self.resident.is_some()) {
            (csg::START, false) => self.start(bus, settings),
            (csg::RESUME, false) => self.resume(bus, settings),
            (csg::SUSPEND, true) => self.suspend(bus),
            (csg::TERMINATE, _) => {
                self.report(bus)?;
                self.leave(bus)?;
                Ok(true)
            }
            (state, resident) => {
                blame(
                    bus,
                    format_args!(
                        "{}: asks for state {state} while {} group is on the slot",
                        self.mailbox.name,
                        if resident { "a" } else { "no" }
                    ),
                );
                Ok(false)
            }
        }
    }

    /// The group that the host configured, without streams; `None` if that makes no sense.
    fn configured(&mut self, bus: &mut dyn Bus) -> Result<Option<Resident>, Fault> {
        let config = self.input32(bus, csg::CONFIG)?;
        let as_nr = (config & 0xf) as u8;
        let present = bus.profile().as_present;
        if as_nr == MCU || present & (1 << as_nr) == 0 {
            blame(
                bus,
                format_args!(
                    "{}: address space {as_nr} is not one for groups (present: {present:#x})",
                    self.mailbox.name
                ),
            );
            return Ok(None);
        }
        Ok(Some(Resident {
            as_nr,
            allow: [0; 3],
            endpoint_req: 0,
            held: [0; 3],
            waiting: [None; 3],
            progress: vec![0; self.ports.len()],
            disjoint: 0,
            idle: IdleWatch::default(),
            stalled_since: None,
            stall_reported: false,
            called: None,
        }))
    }

    fn start(&mut self, bus: &mut dyn Bus, settings: &Settings) -> Result<bool, Fault> {
        let Some(resident) = self.configured(bus)? else {
            return Ok(false);
        };
        self.enter(bus, settings, resident, Vec::new())?;
        Ok(true)
    }

    fn resume(&mut self, bus: &mut dyn Bus, settings: &Settings) -> Result<bool, Fault> {
        let Some(mut resident) = self.configured(bus)? else {
            return Ok(false);
        };
        let va = self.input64(bus, csg::SUSPEND_BUF)?;
        let mut bytes = vec![0; settings.suspend_size as usize];
        bus.read(MCU, va, &mut bytes)?;
        let saved = match suspend::decode(&bytes, bus.now()) {
            Ok(saved) => saved,
            Err(damaged) => {
                blame(
                    bus,
                    format_args!(
                        "{}: cannot resume from the suspend buffer at {va:#x}: {damaged}",
                        self.mailbox.name
                    ),
                );
                return Ok(false);
            }
        };
        resident.progress = saved.progress;
        resident.disjoint = saved.disjoint + 1;
        self.enter(bus, settings, resident, saved.streams)?;
        Ok(true)
    }

    /// Puts a group on the slot and starts its streams.
    fn enter(
        &mut self,
        bus: &mut dyn Bus,
        settings: &Settings,
        resident: Resident,
        saved: Vec<Option<Stream>>,
    ) -> Result<(), Fault> {
        let as_nr = resident.as_nr;
        self.resident = Some(resident);
        self.configure_endpoints(bus)?;
        let mut saved = saved.into_iter();
        for n in 0..self.ports.len() {
            let saved = saved.next().flatten();
            let news = self.ports[n].serve(bus, settings, as_nr, saved)?;
            self.tell(bus, n, news)?;
            self.ports[n].kick(bus)?;
        }
        Ok(())
    }

    fn suspend(&mut self, bus: &mut dyn Bus) -> Result<bool, Fault> {
        let va = self.input64(bus, csg::SUSPEND_BUF)?;
        if va == 0 || va % 4096 != 0 {
            blame(
                bus,
                format_args!(
                    "{}: suspend buffer at {va:#x} is not page-aligned",
                    self.mailbox.name
                ),
            );
            return Ok(false);
        }
        self.report(bus)?;
        self.write_status(bus)?;
        let Some(resident) = &self.resident else {
            return Ok(false);
        };
        let saved = Saved {
            progress: resident.progress.clone(),
            disjoint: resident.disjoint,
            streams: self.ports.iter().map(|port| port.stream.clone()).collect(),
        };
        let bytes = suspend::encode(&saved, bus.now());
        bus.write(MCU, va, &bytes)?;
        self.leave(bus)?;
        Ok(true)
    }

    /// Takes the group off the slot.
    fn leave(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        self.resident = None;
        self.ports.iter_mut().try_for_each(|port| port.stop(bus))
    }

    /// Writes the status words of the group and of its streams.
    fn write_status(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        let Some(resident) = &self.resident else {
            return Ok(());
        };
        let as_nr = resident.as_nr;
        let request = resident.endpoint_req;
        let held = resident.held.map(u64::count_ones);
        let current = held[0] | (held[1] << 8) | (held[2] << 16) | (priority(request) << 28);
        let waits = |port: &Port| {
            let stream = port.stream.as_ref();
            stream.is_some_and(|stream| matches!(stream.blocked, Some(Blocked::Resource(_))))
        };
        let waiting = (0..self.ports.len()).filter(|&n| waits(&self.ports[n]));
        let waiting = waiting.fold(0, |mask, n| mask | (1 << n));
        for port in &self.ports {
            if let Some(stream) = &port.stream {
                let mut heap = [0; 12];
                if stream.heap == 0 || bus.read(as_nr, stream.heap, &mut heap).is_err() {
                    heap = [0; 12];
                }
                let word =
                    |n: usize| u32::from_le_bytes([heap[n], heap[n + 1], heap[n + 2], heap[n + 3]]);
                stream.write_status(bus, port.mailbox.output, [word(0), word(4), word(8)])?;
            }
        }
        let idle = self.is_idle();
        self.output32(bus, csg::STATUS_ENDPOINT_CURRENT, current)?;
        self.output32(bus, csg::STATUS_ENDPOINT_REQ, request)?;
        self.output32(bus, csg::STATUS_STATE, idle.into())?;
        self.output32(bus, csg::RESOURCE_DEP, waiting)
    }

    /// Whether no stream of the group has anything to do.
    pub(super) fn is_idle(&self) -> bool {
        let busy = |port: &Port| {
            let stream = port.stream.as_ref();
            stream.is_some_and(|stream| !stream.is_idle(port.levels))
        };
        !self.ports.iter().any(busy)
    }

    /// Tells the host how far one stream has come, and of its exceptions.
    fn report_stream(&mut self, bus: &mut dyn Bus, n: usize) -> Result<(), Fault> {
        let stream = self.ports[n].stream.as_ref();
        if stream.is_some_and(|stream| stream.oom == Some(Oom::Found)) {
            // The host needs the heap's address and counters.
            self.write_status(bus)?;
        }
        let news = self.ports[n].report(bus)?;
        self.tell(bus, n, news)
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

    /// Tells the host how far every stream has come, and of exceptions.
    fn report(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        (0..self.ports.len()).try_for_each(|n| self.report_stream(bus, n))
    }

    /// Passes a stream's news on to the host.
    fn tell(&mut self, bus: &mut dyn Bus, stream: usize, news: News) -> Result<(), Fault> {
        if news.event {
            let answered = self.input32(bus, csg::CS_IRQ_ACK)?;
            let bit = 1 << stream;
            if (answered ^ self.cs_irq_req) & bit == 0 {
                self.cs_irq_req ^= bit;
                self.output32(bus, csg::CS_IRQ_REQ, self.cs_irq_req)?;
            }
        }
        self.irq(bus, news.irq);
        Ok(())
    }

    fn raise(&mut self, bus: &mut dyn Bus, event: u32) -> Result<(), Fault> {
        let irq = self.mailbox.raise(bus, event)? == Some(true);
        self.irq(bus, irq);
        Ok(())
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
