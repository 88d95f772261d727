// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How a group comes on a slot and goes off it: START, SUSPEND, RESUME and TERMINATE.

use super::{Group, Resident};
use crate::bus::{Bus, Fault};
use crate::csf::blame;
use crate::csf::layout::csg;
use crate::csf::mem::MCU;
use crate::csf::settings::Settings;
use crate::csf::stream::Stream;
use crate::csf::suspend::{self, Saved};
use crate::csf::timer::IdleWatch;

impl Group {
    /// Reads and checks which endpoints the group may use.
    pub(super) fn configure_endpoints(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
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
    pub(super) fn change_state(
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
        let va = self.input64(bus, csg::SUSPEND_BUF)?;
        let mut mark = [0; 8];
        if va != 0 && bus.read(MCU, va, &mut mark).is_ok() && suspend::is_saved(mark) {
            blame(
                bus,
                format_args!(
                    "{}: starts anew a group that was suspended to {va:#x} and not resumed",
                    self.mailbox.name
                ),
            );
        }
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
        // A group goes on once from where it was.
        bus.write(MCU, va, &suspend::RESUMED)?;
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
}
