// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How the streams of a group slot run, and what is due with time.

use std::time::{Duration, Instant};

use super::Group;
use crate::bus::{Bus, Fault};
use crate::csf::endpoints::{priority, Claim, Endpoint};
use crate::csf::exec::{Effects, Env};
use crate::csf::layout::csg;
use crate::csf::settings::Settings;
use crate::csf::stream::{Blocked, Stream};

impl Group {
    /// Whether the stream has an instruction to try now.
    pub(in crate::csf) fn is_runnable(&self, stream: usize) -> bool {
        let stream = self.ports[stream].stream.as_ref();
        self.resident.is_some() && stream.is_some_and(|stream| stream.is_runnable())
    }

    /// Whether any stream has an instruction to try now.
    pub(in crate::csf) fn any_runnable(&self) -> bool {
        (0..self.ports.len()).any(|stream| self.is_runnable(stream))
    }

    /// Runs one stream for at most `budget` instructions; returns how many it took, and
    /// whether the streams of all groups are to look at their sync objects again.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the interface or the ring's output block.
    pub(in crate::csf) fn run(
        &mut self,
        bus: &mut dyn Bus,
        settings: &Settings,
        others: &[Claim],
        n: usize,
        budget: u32,
    ) -> Result<(u32, bool), Fault> {
        let mut steps = 0;
        let own = self.claim(settings);
        let grants = Endpoint::ALL.map(|kind| own.grant(kind, others));
        let Some(effects) = self.with_stream(bus, settings, grants, n, |stream, env| {
            while steps < budget && stream.is_runnable() {
                stream.step(env);
                steps += 1;
            }
        }) else {
            return Ok((0, false));
        };
        if let Some(resident) = &mut self.resident {
            for (held, taken) in resident.held.iter_mut().zip(effects.taken) {
                *held |= taken;
            }
            resident.called = effects.called.or(resident.called);
        }
        self.settle(bus, n, effects)?;
        Ok((steps, effects.wake_all))
    }

    /// What the group has, may have and waits for.
    pub(in crate::csf) fn claim(&self, settings: &Settings) -> Claim {
        let Some(resident) = &self.resident else {
            return Claim::default();
        };
        let count = Endpoint::ALL.map(|kind| kind.count(resident.endpoint_req));
        let usable = Endpoint::ALL.map(|kind| {
            let allow = resident.allow[kind as usize];
            match kind {
                _ if count[kind as usize] == 0 => 0,
                Endpoint::Tiler => allow,
                Endpoint::Compute | Endpoint::Fragment => allow & settings.core_mask,
            }
        });
        Claim {
            priority: priority(resident.endpoint_req),
            usable,
            count,
            held: resident.held,
            waiting: resident.waiting,
        }
    }

    /// Notes for which endpoints streams wait; `ticket` is the next place in the row of
    /// all that wait. Says whether the group got what it waited for, so that others who
    /// wait are to look at what is left.
    pub(in crate::csf) fn queue_up(&mut self, ticket: &mut u64) -> bool {
        let Some(resident) = &mut self.resident else {
            return false;
        };
        let mut served = false;
        for kind in Endpoint::ALL {
            let waits = self.ports.iter().any(|port| {
                let stream = port.stream.as_ref().filter(|stream| !stream.dead);
                stream.is_some_and(|stream| stream.blocked == Some(Blocked::Resource(kind)))
            });
            let place = &mut resident.waiting[kind as usize];
            if !waits {
                served |= place.take().is_some();
            } else if place.is_none() {
                *place = Some(*ticket);
                *ticket += 1;
            }
        }
        served
    }

    /// Gives endpoints back on which no job runs any more; says whether there were any.
    fn release(&mut self) -> bool {
        let Some(resident) = &mut self.resident else {
            return false;
        };
        let mut any = false;
        for kind in Endpoint::ALL {
            let held = &mut resident.held[kind as usize];
            let mut streams = self.ports.iter().filter_map(|port| port.stream.as_ref());
            if *held != 0 && !streams.any(|stream| stream.scoreboard.runs_on(kind)) {
                *held = 0;
                any = true;
            }
        }
        any
    }

    /// Ends endpoint jobs whose time has come, and raises events that are due.
    ///
    /// Returns whether the streams of all groups are to look at their sync objects again,
    /// and whether they are to ask for endpoints again.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the interface or the ring's output block.
    pub(in crate::csf) fn poll(
        &mut self,
        bus: &mut dyn Bus,
        settings: &Settings,
    ) -> Result<(bool, bool), Fault> {
        let now = bus.now();
        if self.hold.deadline().is_some_and(|due| due <= now) {
            self.serve(bus, settings)?;
        }
        let mut wake_all = false;
        for n in 0..self.ports.len() {
            let mut ended = false;
            if let Some(effects) = self.with_stream(bus, settings, [0; 3], n, |stream, env| {
                ended = stream.finish_jobs(env, now);
            }) {
                wake_all |= effects.wake_all;
                if ended {
                    self.moved_on(now);
                }
                self.settle(bus, n, effects)?;
            }
        }
        let freed = self.release();
        self.check_progress(bus, settings, now)?;
        let idle = self.is_idle();
        if let Some(resident) = &mut self.resident {
            if resident.idle.update(idle, now, settings.idle_time) {
                self.report(bus)?;
                self.write_status(bus)?;
                self.raise(bus, csg::IDLE)?;
            }
        }
        Ok((wake_all, freed))
    }

    /// Notes that endpoint jobs made progress.
    fn moved_on(&mut self, now: Instant) {
        if let Some(resident) = &mut self.resident {
            resident.stalled_since = resident.stalled_since.map(|_| now);
            resident.stall_reported = false;
        }
    }

    /// Raises the progress timer event when endpoint jobs ran for too long.
    fn check_progress(
        &mut self,
        bus: &mut dyn Bus,
        settings: &Settings,
        now: Instant,
    ) -> Result<(), Fault> {
        let mut streams = self.ports.iter().filter_map(|port| port.stream.as_ref());
        let busy = self.next_end().is_some() || streams.any(|stream| stream.stalled);
        let Some(resident) = &mut self.resident else {
            return Ok(());
        };
        if !busy {
            resident.stalled_since = None;
            return Ok(());
        }
        let since = *resident.stalled_since.get_or_insert(now);
        let Some(limit) = settings.progress_time else {
            return Ok(());
        };
        if now >= since + limit && !resident.stall_reported {
            resident.stall_reported = true;
            self.raise(bus, csg::PROGRESS_TIMER)?;
        }
        Ok(())
    }

    /// Calls `f` with a stream and what it can reach, among it the endpoints in `grants`;
    /// `None` if there is no such stream.
    fn with_stream(
        &mut self,
        bus: &mut dyn Bus,
        settings: &Settings,
        grants: [u64; 3],
        n: usize,
        f: impl FnOnce(&mut Stream, &mut Env<'_>),
    ) -> Option<Effects> {
        let resident = self.resident.as_mut()?;
        let stream = self.ports[n].stream.as_mut()?;
        let mut env = Env {
            bus,
            decoder: settings.decoder,
            as_nr: resident.as_nr,
            slot: self.slot,
            stream: n,
            progress: &mut resident.progress,
            grants,
            disjoint: resident.disjoint,
            run_time: settings.run_time,
            max_calls: settings.max_calls,
            effects: Effects::default(),
        };
        f(stream, &mut env);
        Some(env.effects)
    }

    /// Passes on what a stream did to the rest of the group and to the host.
    fn settle(&mut self, bus: &mut dyn Bus, n: usize, effects: Effects) -> Result<(), Fault> {
        self.report_stream(bus, n)?;
        if effects.wake_group {
            self.wake();
        }
        if effects.progress {
            self.recheck(|blocked| matches!(blocked, Blocked::Progress));
            self.moved_on(bus.now());
        }
        if effects.sync_update {
            self.raise(bus, csg::SYNC_UPDATE)?;
        }
        Ok(())
    }

    fn next_end(&self) -> Option<Instant> {
        let streams = self.ports.iter().filter_map(|port| port.stream.as_ref());
        streams.filter_map(|stream| stream.next_end()).min()
    }

    /// When [`Group::poll`] has to be called again if nothing else happens.
    pub(in crate::csf) fn deadline(&self, settings: &Settings) -> Option<Instant> {
        let held = self.hold.deadline();
        let Some(resident) = &self.resident else {
            return held;
        };
        let stall = settings.progress_time.filter(|_| !resident.stall_reported);
        let stall = resident
            .stalled_since
            .zip(stall)
            .map(|(since, limit): (Instant, Duration)| since + limit);
        [
            self.next_end(),
            resident.idle.deadline(settings.idle_time),
            stall,
            held,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
