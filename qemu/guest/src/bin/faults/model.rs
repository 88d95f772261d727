// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Faults that the emulated GPU makes on request.

use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use guest::control::Control;
use guest::kernel::{poll, TraceEvents};
use guest::rig::TIMEOUT;
use guest::Buffer;

use crate::cases::CASES;
use crate::frame::{Frame, Line};
use crate::times::Times;
use crate::victim::{Expect, Victim};
use crate::Tests;

/// The channel; all faults are taken back when it goes.
pub(crate) struct Faults(pub(crate) Control);

impl Faults {
    /// Opens the channel, with no fault in force.
    pub(crate) fn open() -> Result<Self> {
        let mut control = Control::open()?;
        control.send("reset")?;
        Ok(Self(control))
    }

    /// Gives an order.
    pub(crate) fn order(&mut self, command: &str) -> Result<()> {
        self.0.send(command)?;
        Ok(())
    }

    /// How often the GPU was reset since the channel was opened.
    fn resets(&mut self) -> Result<u64> {
        Ok(self.0.count("gpu-reset")?)
    }
}

/// What tells a group from others.
#[derive(Default)]
struct Place {
    /// Where its streams are, its slot and its address space, as in orders: `gib=4 slot=1 as=2`.
    ///
    /// Slot and address space are another's when the GPU has slept in between.
    text: String,
}

impl Place {
    /// An order with `{gib}`, `{slot}` and `{as}` filled in.
    fn fill(&self, order: &str) -> Result<String> {
        let mut order = order.to_owned();
        for word in self.text.split_whitespace() {
            let (key, value) = word.split_once('=').context("a place on the GPU")?;
            order = order.replace(&format!("{{{key}}}"), value);
        }
        ensure!(!order.contains('{'), "what is meant by {order:?}?");
        Ok(order)
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        // A channel that is gone has no faults either.
        let _ = self.0.send("reset");
    }
}

/// What the victim has on the GPU when the fault comes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Nothing.
    None,
    /// So many short jobs, on two queues.
    Short(u32),
    /// A short job that meets the fault, and then seven more on the same queue.
    Behind,
    /// An endless job with short ones behind it.
    Endless,
    /// More groups than slots, busy until the fault has struck.
    Crowd,
    /// Short jobs while memory is mapped and unmapped.
    Binding,
}

/// How often the GPU has to be reset for a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resets {
    /// Never: there is a way out that costs nobody anything.
    Never,
    /// At least once.
    Some,
}

/// A fault and what has to become of it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Orders given before the victim's jobs are submitted. `{gib}` is where its streams are, `{slot}` and `{as}`
    /// are the slot and the address space of its group.
    pub(crate) before: &'static [&'static str],
    pub(crate) work: Work,
    /// Orders given when they run.
    pub(crate) then: &'static [&'static str],
    /// What must have struck, and how often.
    pub(crate) struck: (&'static str, u64),
    pub(crate) bound: fn(Times) -> Duration,
    pub(crate) resets: Resets,
    pub(crate) expect: Expect,
}

impl Case {
    /// Whether an order says where the victim is.
    fn needs_place(&self) -> bool {
        let mut orders = self.before.iter().chain(self.then);
        orders.any(|order| order.contains('{'))
    }
}

pub(crate) fn tests(t: &mut Tests) {
    for case in CASES {
        t.add(case.name, || run(case));
    }
}

fn run(case: &Case) -> Result<Line> {
    let mut faults = Faults::open()?;
    let frame = Frame::new()?;
    // The C driver has no such event.
    let stages = TraceEvents::start(&["magni:magni_reset"], "")?;
    let mut victim = Victim::new(&frame.device)?;
    let mut place = match case.needs_place() {
        true => victim.place(&mut faults)?,
        // It has not been on the GPU yet.
        false => Place::default(),
    };
    for order in case.before {
        faults.order(&place.fill(order)?)?;
    }
    let mut since = Instant::now();
    let strikes = |faults: &mut Faults| {
        let (fault, count) = case.struck;
        faults
            .0
            .wait(fault, count, frame.times.patience())
            .context("the fault did not come to be")
    };
    match case.work {
        Work::None => {}
        Work::Short(count) => {
            for n in 0..count {
                // After a fault the group may take no more jobs.
                if let Err(error) = victim.short(n % 2) {
                    ensure!(n > 0 && case.expect.state != 0, "job {n}: {error:#}");
                    break;
                }
            }
        }
        Work::Behind => {
            victim.short(0)?;
            strikes(&mut faults)?;
            since = Instant::now();
            for _ in 1..8 {
                // A dead group takes no more jobs.
                if victim.short(0).is_err() {
                    break;
                }
            }
        }
        Work::Endless => victim.endless()?,
        Work::Crowd => victim.crowd(victim.gpu.cx.csif.csg_slot_count * 2)?,
        Work::Binding => victim.endless_binding(0)?,
    }
    if case.then.iter().any(|order| order.contains('{')) {
        // Its job runs, so it is somewhere, and stays there.
        place = victim.whereabouts(&mut faults)?;
    }
    for order in case.then {
        since = Instant::now();
        faults.order(&place.fill(order)?)?;
    }
    if let Work::Binding = case.work {
        victim.endless_binding(50)?;
    }
    strikes(&mut faults)?;
    if matches!(case.work, Work::Crowd | Work::None) || case.struck.1 > 1000 {
        // It came when it came; what counts is the time from there.
        since = Instant::now();
    }
    victim.stop_crowd();
    if case.resets == Resets::Some {
        // Also so that the test after this one does not meet it.
        let patience = frame.times.patience();
        let reset = faults.0.wait("gpu-reset", 1, patience);
        reset.context("the GPU was not reset")?;
    }
    let bound = (case.bound)(frame.times);
    let line = victim.meets(frame, since, bound, case.expect)?;
    let resets = faults.resets()?;
    ensure!(
        case.resets != Resets::Never || resets == 0,
        "the GPU was reset {resets} times, which this fault is no reason for"
    );
    if let Some(stages) = stages {
        check_stages(&stages, case.resets)?;
    }
    Ok(line)
}

/// The stages of a reset, in their order, among others: a GPU that wakes up has some of them too.
const STAGES: [&[&str]; 7] = [
    &["scheduled"],
    &["begun"],
    &["suspended"],
    &["stopped"],
    &["fast", "slow"],
    &["restarted"],
    &["done"],
];

/// Whether the driver has said of a reset how far it came, if there was any.
fn check_stages(events: &TraceEvents, resets: Resets) -> Result<()> {
    let stages = || -> Result<Vec<String>> {
        let lines = events.lines()?;
        let stages = lines.iter().map(|line| {
            let (_, stage) = line
                .split_once("stage=")
                .context("an event without stage")?;
            Ok(stage.trim().to_owned())
        });
        stages.collect()
    };
    let is_right = |seen: &[String]| match resets {
        Resets::Never => !seen.iter().any(|stage| STAGES[0].contains(&&**stage)),
        Resets::Some => {
            let mut seen = seen.iter();
            let mut comes = |names: &&[&str]| seen.any(|stage| names.contains(&&**stage));
            STAGES.iter().all(&mut comes)
        }
    };
    let right = poll(TIMEOUT, || Ok(is_right(&stages()?)))?;
    ensure!(right, "it was said of resets: {:?}", stages()?);
    Ok(())
}

impl Victim {
    /// Puts its group on the GPU: it stays there as long as nobody wants its slot, and the GPU does not sleep.
    fn place(&mut self, faults: &mut Faults) -> Result<Place> {
        let store = self.gpu.store(0, 0);
        self.gpu
            .run_ok(store.on(0))
            .context("the victim's first job")?;
        self.whereabouts(faults)
    }

    /// Where its group is, which is on the GPU.
    fn whereabouts(&self, faults: &mut Faults) -> Result<Place> {
        let gib = format!("gib={}", self.gib());
        let found = faults.0.send(&format!("find {gib}"))?;
        Ok(Place {
            text: format!("{gib} {found}"),
        })
    }

    /// Maps memory, has a job store there, and unmaps it, so many times, each time with the jobs of before still on
    /// the GPU.
    fn endless_binding(&mut self, times: u32) -> Result<()> {
        if times == 0 {
            return self.short(0);
        }
        for n in 0..times {
            // While the GPU is being reset there may be no way to map anything.
            if let Ok(buffer) = Buffer::new(&self.gpu.cx.vm, 8192, 0) {
                buffer.write(0, n);
            }
            if self.short(n % 2).is_err() {
                break;
            }
        }
        Ok(())
    }
}
