// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the emulated GPU has seen, on the guest's clock.
//!
//! Both clocks run on this machine's: they differ by a constant. Each reading of the GPU's
//! timestamp that the guest makes is in the trace too, with the value; it happened between two
//! times that the guest has noted. All of them together leave a few µs for the constant.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{ensure, Context, Result};

use super::results::Results;
use super::rounds::{Round, Span};

/// ns per tick of the emulated GPU's timestamp.
const TICK: i64 = 16;

/// What an access was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A read of a register of an interrupt block.
    InterruptRead,
    /// A read of any other register.
    Read,
    /// A write to the doorbell of the group slot with this number plus one, or to the global one.
    Doorbell(u8),
    /// A write to any other register.
    Write,
    /// An interrupt was sent.
    Interrupt,
}

/// One line of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Access {
    /// ns of the emulated GPU's clock.
    time: i64,
    kind: Kind,
}

/// The timestamp that was read at a time.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    high: i64,
    /// By value: when.
    count: usize,
}

/// A trace on the guest's clock.
pub(super) struct Seen {
    accesses: Vec<Access>,
    /// What to add to the emulated GPU's time to get the guest's, at least and at most.
    offset: (i64, i64),
    /// The emulated GPU's time at tick 0.
    tick_zero: i64,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} accesses of the GPU traced; its clock is known to ±{:.1} us",
            self.accesses.len(),
            (self.offset.1 - self.offset.0) as f64 / 2000.0
        )
    }
}

impl Seen {
    /// Reads the trace at `path` and brings its clock in line with that of `rounds`.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or the clocks do not fit together.
    pub(super) fn load(path: &Path, rounds: &[Round]) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        Self::read(BufReader::new(file), rounds)
            .with_context(|| format!("in the trace {}", path.display()))
    }

    fn read(trace: impl BufRead, rounds: &[Round]) -> Result<Self> {
        let mut accesses = Vec::new();
        let mut readings: HashMap<i64, i64> = HashMap::new();
        let mut last = Reading::default();
        for line in trace.lines() {
            let line = line.context("reading a line")?;
            let Some((time, kind, name, value)) = parse(&line) else {
                continue;
            };
            match (name, value) {
                ("TIMESTAMP_HI", Some(value)) => last.high = value,
                ("TIMESTAMP_LO", Some(value)) => {
                    readings.insert((last.high << 32) | value, time);
                    last.count += 1;
                }
                _ => {}
            }
            accesses.push(Access { time, kind });
        }
        let mut offset = (i64::MIN, i64::MAX);
        let mut zeros = Vec::new();
        for sample in rounds.iter().flat_map(|round| &round.clocks) {
            let Some(time) = readings.get(&sample.ticks) else {
                continue;
            };
            offset.0 = offset.0.max(sample.before - time);
            offset.1 = offset.1.min(sample.after - time);
            zeros.push(time - sample.ticks * TICK);
        }
        ensure!(
            !zeros.is_empty(),
            "none of the guest's readings of the GPU's time is there ({} others are)",
            last.count
        );
        ensure!(
            offset.0 <= offset.1,
            "the clocks of guest and GPU differ by {} ns more at one time than at another",
            offset.0 - offset.1
        );
        // The line is written a little after the register was read.
        zeros.sort_unstable();
        let tick_zero = zeros[zeros.len() / 2];
        Ok(Self {
            accesses,
            offset,
            tick_zero,
        })
    }

    fn offset(&self) -> i64 {
        self.offset.0 + (self.offset.1 - self.offset.0) / 2
    }

    /// What happened in `span`, with the guest's times.
    fn within(&self, span: Span) -> impl Iterator<Item = Access> + '_ {
        let offset = self.offset();
        let first = self
            .accesses
            .partition_point(|access| access.time + offset < span.begin);
        self.accesses[first..]
            .iter()
            .map(move |access| Access {
                time: access.time + offset,
                ..*access
            })
            .take_while(move |access| access.time <= span.end)
    }

    /// Adds to `results` what was seen in `round`.
    pub(super) fn add_to(&self, results: &mut Results, round: &Round) {
        let Some(window) = round.window else { return };
        let count = |wanted: fn(Kind) -> bool| {
            let found = self.within(window).filter(|access| wanted(access.kind));
            found.count() as f64 / round.jobs as f64
        };
        if round.label.is_empty() {
            for (name, wanted) in COUNTS {
                results.value(round, name, "", count(*wanted));
            }
        }
        if round.doorbells {
            let times = self.within(window).filter_map(|access| match access.kind {
                Kind::Doorbell(1..) => Some(access.time - window.begin),
                _ => None,
            });
            record(results, round, "release to doorbell", times.collect());
        }
        let started = |ticks: i64| self.tick_zero + ticks * TICK + self.offset();
        let starts = round.starts.iter();
        let latencies = starts.map(|start| started(start.ticks) - start.released);
        let name = format!("{}release to start of job", round.label);
        record(results, round, &name, latencies.collect());
        if !round.label.is_empty() {
            let name = format!("{}release to doorbell", round.label);
            record(results, round, &name, self.heartbeats(round));
        }
    }

    /// For a group that is alone in its slot, with one job at a time: how long after its release
    /// each job's doorbell was rung.
    ///
    /// Nothing says which slot the group has. It is the one whose doorbell was rung between
    /// release and start of the most jobs.
    fn heartbeats(&self, round: &Round) -> Vec<i64> {
        let mut best = Vec::new();
        for page in 1..=31 {
            let mut times = Vec::new();
            for start in &round.starts {
                let span = Span {
                    begin: start.released,
                    end: self.tick_zero + start.ticks * TICK + self.offset() + 20_000,
                };
                let rung = self
                    .within(span)
                    .find(|access| access.kind == Kind::Doorbell(page));
                times.extend(rung.map(|access| access.time - start.released));
            }
            if times.len() > best.len() {
                best = times;
            }
        }
        best
    }
}

/// What is counted, per job.
type Wanted = fn(Kind) -> bool;
const COUNTS: &[(&str, Wanted)] = &[
    ("MMIO reads per job", |kind| {
        matches!(kind, Kind::Read | Kind::InterruptRead)
    }),
    ("MMIO reads per job, not of interrupts", |kind| {
        kind == Kind::Read
    }),
    ("MMIO writes per job", |kind| {
        matches!(kind, Kind::Write | Kind::Doorbell(_))
    }),
    ("group doorbells per job", |kind| {
        matches!(kind, Kind::Doorbell(1..))
    }),
    ("global doorbells per job", |kind| kind == Kind::Doorbell(0)),
    ("interrupts sent per job", |kind| kind == Kind::Interrupt),
];

/// Adds median, 99th percentile and maximum of times in ns.
fn record(results: &mut Results, round: &Round, name: &str, mut times: Vec<i64>) {
    if times.is_empty() {
        return;
    }
    times.sort_unstable();
    let at = |share: f64| {
        let at = (times.len() as f64 * share).ceil() as usize;
        times[at.saturating_sub(1)] as f64 / 1000.0
    };
    for (share, what) in [(0.5, "p50"), (0.99, "p99"), (1.0, "max")] {
        results.value(round, &format!("{name}, {what}"), "us", at(share));
    }
}

/// Time, kind, register name and value of a line that matters.
fn parse(line: &str) -> Option<(i64, Kind, &str, Option<i64>)> {
    let (time, rest) = line.trim_start().split_once(' ')?;
    let (seconds, micros) = time.split_once('.')?;
    let time = seconds.parse::<i64>().ok()? * 1_000_000_000 + micros.parse::<i64>().ok()? * 1000;
    let (class, rest) = rest.split_once(' ')?;
    match class {
        "reg" => {
            let mut words = rest.split(' ');
            let (name, arrow, value) = (words.next()?, words.next()?, words.next()?);
            let value = i64::from_str_radix(value.trim_start_matches("0x"), 16).ok();
            let kind = match (arrow, name.strip_prefix("DOORBELL")) {
                ("<-", Some(page)) => Kind::Doorbell(page.parse().ok()?),
                ("<-", None) => Kind::Write,
                _ if name.contains("_INT_") => Kind::InterruptRead,
                _ => Kind::Read,
            };
            Some((time, kind, name, value))
        }
        "irq" if rest.ends_with(" edge") => Some((time, Kind::Interrupt, "", None)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rounds::{Sample, Start};

    const TRACE: &str = "\
    1.000000 reg TIMESTAMP_HI -> 0x1
    1.000010 reg TIMESTAMP_LO -> 0x10
    1.000020 reg TIMESTAMP_HI -> 0x1
    2.000000 reg JOB_INT_MASK <- 0x0
    2.000100 reg DOORBELL3 <- 0x1
    2.000200 irq Job raises 0x4
    2.000200 irq Job edge
    2.000300 reg JOB_INT_STAT -> 0x4
    2.000400 reg MCU_STATUS -> 0x1
    9.000000 reg DOORBELL0 <- 0x1
";

    fn round() -> Round {
        let ticks = (1 << 32) + 0x10;
        let begin = 102_000_000_000;
        Round {
            driver: "panthor".to_owned(),
            scenario: "storm".to_owned(),
            n: 1,
            metrics: Vec::new(),
            jobs: 2,
            window: Some(Span {
                begin,
                end: begin + 500_000,
            }),
            label: String::new(),
            starts: vec![Start {
                released: begin,
                // A second and 150 µs after the reading.
                ticks: ticks + (1_000_000_000 - 10_000 + 150_000) / TICK,
            }],
            doorbells: true,
            // The guest's clock is 100 s ahead, give or take 2 µs.
            clocks: vec![Sample {
                before: 101_000_010_000 - 2000,
                after: 101_000_010_000 + 2000,
                ticks,
            }],
        }
    }

    #[test]
    fn the_trace_is_laid_to_the_guests_clock() {
        let rounds = [round()];
        let seen = Seen::read(TRACE.as_bytes(), &rounds).unwrap();
        assert_eq!(seen.offset(), 100_000_000_000);
        let mut results = Results::default();
        seen.add_to(&mut results, &rounds[0]);
        let value = |metric: &str| results.get("storm", 1, metric).unwrap().panthor[0];
        assert_eq!(value("MMIO reads per job"), 1.0);
        assert_eq!(value("MMIO reads per job, not of interrupts"), 0.5);
        assert_eq!(value("MMIO writes per job"), 1.0);
        assert_eq!(value("group doorbells per job"), 0.5);
        assert_eq!(value("global doorbells per job"), 0.0);
        assert_eq!(value("interrupts sent per job"), 0.5);
        assert_eq!(value("release to doorbell, p50"), 100.0);
        assert_eq!(value("release to start of job, max"), 150.0);
    }

    #[test]
    fn clocks_that_do_not_fit_are_an_error() {
        let mut late = round();
        for sample in &mut late.clocks {
            sample.before += 10_000;
            sample.after += 10_000;
        }
        assert!(Seen::read(TRACE.as_bytes(), &[round(), late]).is_err());
        let mut unknown = round();
        for sample in &mut unknown.clocks {
            sample.ticks += 1;
        }
        assert!(Seen::read(TRACE.as_bytes(), &[unknown]).is_err());
    }

    #[test]
    fn the_slot_of_a_lonely_group_is_found() {
        let mut round = round();
        round.label = "realtime, ".to_owned();
        let seen = Seen::read(TRACE.as_bytes(), &[round.clone()]).unwrap();
        assert_eq!(seen.heartbeats(&round), [100_000]);
    }
}
