// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Garbage that the firmware writes on a test's order into what it may write at run time:
//! output blocks, the offsets beside the rings, events and acknowledgements.
//!
//! The same seed gives the same sequence of places and values. What the firmware itself
//! remembers stays right, and after a while it puts right what it wrote; a host that
//! survived the moment can then go on.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::global::Global;
use super::group::Group;
use super::layout::{self, common, csg, glb, ring};
use super::mem::{self, MCU};
use crate::bus::{Bus, Fault, TraceKind};
use crate::faults::{Key, Kind, Values, Where};

/// Most words that are written before others have their turn.
const BURST: u64 = 32;

/// The places that [`Where`] can be, when it is left open.
const ANYWHERE: [Where; 5] = [
    Where::Global,
    Where::Group,
    Where::Stream,
    Where::Ring,
    Where::Events,
];

/// Random numbers: xorshift64*.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        // The state must not be 0.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Garbage as it was ordered.
#[derive(Clone, Debug)]
struct Run {
    order: Values,
    random: Random,
    begin: Instant,
    /// Nanoseconds from one word to the next.
    gap: u64,
    /// Words that were due so far.
    words: u64,
    end: Option<Instant>,
    /// How long what was written stays.
    stays: Duration,
    repair: Option<Instant>,
}

impl Run {
    fn new(order: Values, now: Instant) -> Self {
        let seed = order.get(Key::Seed).unwrap_or_else(|| {
            let time = SystemTime::now().duration_since(UNIX_EPOCH);
            time.map_or(1, |time| time.as_nanos() as u64)
        });
        eprintln!("mali-csf: garbage begins, seed={seed}");
        let millis = order.or(Key::ForMs, 1000);
        Self {
            order,
            random: Random::new(seed),
            begin: now,
            gap: 1_000_000_000 / order.or(Key::PerS, 1000).max(1),
            words: 0,
            end: (millis != 0).then(|| now + Duration::from_millis(millis)),
            stays: Duration::from_millis(order.or(Key::RepairMs, 20)),
            repair: None,
        }
    }

    fn next(&self) -> Instant {
        self.begin + Duration::from_nanos(self.gap.saturating_mul(self.words))
    }
}

/// The garbage that is being written, if any.
#[derive(Clone, Debug, Default)]
pub(super) struct Garbage(Option<Run>);

impl Garbage {
    /// Writes what is due, and puts right what has been there for long enough.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the interface.
    pub(super) fn update(
        &mut self,
        bus: &mut dyn Bus,
        global: &mut Global,
        groups: &mut [Group],
    ) -> Result<(), Fault> {
        let now = bus.now();
        let order = bus.faults().armed(Kind::Garbage);
        let Some(run) = &mut self.0 else {
            self.0 = order.map(|order| Run::new(order, now));
            return Ok(());
        };
        let over = order != Some(run.order) || run.end.is_some_and(|end| end <= now);
        let mut burst = 0;
        while !over && run.next() <= now && burst < BURST {
            run.words += 1;
            burst += 1;
            bus.faults().excuse();
            if write(bus, &mut run.random, run.order, groups)? {
                bus.faults().done(Kind::Garbage);
                run.repair.get_or_insert(now + run.stays);
            }
        }
        if run.repair.is_some_and(|due| due <= now) || (over && run.repair.is_some()) {
            run.repair = None;
            repair(bus, global, groups)?;
        }
        if over {
            let words = bus.faults().count(Kind::Garbage);
            eprintln!("mali-csf: garbage ends, {words} words so far");
            if order == Some(run.order) {
                bus.faults().disarm(Some(Kind::Garbage));
            }
            self.0 = None;
        }
        Ok(())
    }

    /// Puts right what was written, before the firmware stops for the host to start it again.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the interface.
    pub(super) fn put_right(
        &mut self,
        bus: &mut dyn Bus,
        global: &mut Global,
        groups: &mut [Group],
    ) -> Result<(), Fault> {
        match self.0.as_mut().and_then(|run| run.repair.take()) {
            Some(_) => repair(bus, global, groups),
            None => Ok(()),
        }
    }

    /// When [`Garbage::update`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let run = self.0.as_ref()?;
        [Some(run.next()), run.end, run.repair]
            .into_iter()
            .flatten()
            .min()
    }
}

/// Writes a word of garbage; says whether there was a place for it.
fn write(
    bus: &mut dyn Bus,
    random: &mut Random,
    order: Values,
    groups: &[Group],
) -> Result<bool, Fault> {
    // The same numbers are drawn in any case, so that the sequence does not depend on
    // which streams there are.
    let (any, slot, stream) = (random.next(), random.next(), random.next());
    let (word, shape, value) = (random.next(), random.next(), random.next());
    let place = match order.or(Key::Where, 0) {
        0 => ANYWHERE[any as usize % ANYWHERE.len()],
        n => ANYWHERE[n as usize - 1],
    };
    let slot = (slot >> 32) as u32 % groups.len() as u32;
    let streams = groups[slot as usize].stream_count() as u64;
    let stream = ((stream >> 32) % streams) as u32;
    let pick = |words: u64| (word >> 32) % words * 4;
    let group_irq = 1 << slot;
    let (va, irq) = match place {
        Where::Global => (layout::GLB_OUTPUT + pick(8), layout::JOB_INT_GLOBAL),
        Where::Group => (layout::csg_output(slot) + pick(8), group_irq),
        Where::Stream => {
            // The acknowledgement, or the status words from 64 on.
            let at = match pick(39) {
                0 => common::ACK,
                at => 60 + at,
            };
            (layout::cs_output(slot, stream) + at, group_irq)
        }
        Where::Ring => {
            let output = groups[slot as usize].ring_output(stream as usize);
            let Some(output) = output else {
                return Ok(false);
            };
            (
                output + [ring::EXTRACT, ring::EXTRACT + 4, ring::ACTIVE][pick(3) as usize / 4],
                0,
            )
        }
        Where::Events => match pick(6) / 4 {
            0 => (layout::GLB_OUTPUT + common::ACK, layout::JOB_INT_GLOBAL),
            1 => (layout::GLB_OUTPUT + glb::DOORBELL_ACK, 0),
            2 => (layout::csg_output(slot) + common::ACK, group_irq),
            3 => (layout::csg_output(slot) + csg::CS_IRQ_REQ, group_irq),
            4 => (layout::csg_output(slot) + csg::DOORBELL_ACK, group_irq),
            _ => (layout::cs_output(slot, stream) + common::ACK, group_irq),
        },
    };
    let value = match shape >> 61 {
        0 => 0,
        1 => u32::MAX,
        2 => (value >> 32) as u32,
        3 => ((value >> 32) as u32) & 0xffff,
        // The most credible garbage is nearly right.
        _ => mem::read32(bus, MCU, va)? ^ (1 << (value >> 59)),
    };
    mem::write32(bus, MCU, va, value)?;
    bus.trace(
        TraceKind::Request,
        format_args!("garbage at {va:#x}: {value:#010x}"),
    );
    if irq != 0 && shape & 1 == 0 {
        bus.raise_job_irq(irq);
    }
    Ok(true)
}

/// Writes anew what the firmware remembers, and lets the host look at it.
fn repair(bus: &mut dyn Bus, global: &mut Global, groups: &mut [Group]) -> Result<(), Fault> {
    global.rewrite(bus)?;
    for group in groups.iter_mut() {
        group.rewrite(bus)?;
    }
    let all = (1 << groups.len()) - 1;
    bus.raise_job_irq(all | layout::JOB_INT_GLOBAL);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_the_sequence() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..8).map(|_| random.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_ne!(draw(0)[0], 0);
    }
}
