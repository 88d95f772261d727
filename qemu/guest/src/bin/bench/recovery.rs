// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A group hangs while others run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{anyhow, bail, ensure, Context, Result};
use guest::control::Control;
use guest::uapi::panthor::GROUP_PRIORITY_MEDIUM;
use guest::{Device, Vm};

use crate::clock::{self, ms};
use crate::events::Event;
use crate::record::{Round, Span};
use crate::tracefs::Tracer;
use crate::work::{Keeper, Shape, Work, LIMIT};

/// The work item of the DRM scheduler that calls the driver's `timedout_job`.
const TIMEOUT: &str = "drm_sched_job_timedout";
/// How long the others are watched before the hang counts, and after.
const WATCH: Duration = Duration::from_millis(500);

/// A group hangs while others run.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// The others.
    #[arg(long, default_value_t = 16)]
    n: usize,
    /// Have the firmware ignore that the group is to end, so that the GPU must be reset.
    #[arg(long)]
    reset: bool,
}

/// Runs one job after the other on every lane until `stop`; returns when each had ended.
///
/// A lane whose group takes no more jobs is left alone.
fn others(work: &Work, stop: &AtomicBool) -> Result<Vec<u64>> {
    let mut ended = Vec::new();
    let mut newest = vec![0; work.lanes.len()];
    let mut alive = vec![true; work.lanes.len()];
    while !stop.load(Ordering::Relaxed) {
        for (index, lane) in work.lanes.iter().enumerate() {
            if !alive[index] {
                continue;
            }
            if newest[index] > 0 {
                lane.done.wait_point(newest[index], LIMIT)?;
                ended.push(clock::now());
            }
            let point = newest[index] + 1;
            let job = work.job(index, 0).sync(lane.done.signal_point_op(point));
            match work.submit(index, &[job]) {
                Ok(()) => newest[index] = point,
                Err(_) => alive[index] = false,
            }
        }
        ensure!(alive.contains(&true), "all others have died");
    }
    for (lane, point) in work.lanes.iter().zip(newest) {
        if point > 0 {
            lane.done.wait_point(point, LIMIT)?;
        }
    }
    Ok(ended)
}

/// How many groups report that they can run no more.
fn dead(work: &Work) -> Result<usize> {
    let mut dead = 0;
    for group in &work.groups {
        let state = group.state().context("state of a group")?;
        dead += usize::from(state != Default::default());
    }
    Ok(dead)
}

/// Times in `span`, per second.
fn rate(times: &[u64], span: Span) -> f64 {
    let count = times
        .iter()
        .filter(|&&time| time >= span.begin && time < span.end)
        .count();
    count as f64 * 1e9 / (span.end - span.begin) as f64
}

/// The longest time in `span` in which nothing happened, in ns.
fn longest_gap(times: &[u64], span: Span) -> u64 {
    let inside = times
        .iter()
        .copied()
        .filter(|&time| time >= span.begin && time < span.end);
    let mut last = span.begin;
    let mut longest = 0;
    for time in inside.chain([span.end]) {
        longest = longest.max(time - last);
        last = time;
    }
    longest
}

/// How often it is tried to have the group end while it is on the hardware, as the reset needs: the others have its
/// slot now and then.
const ATTEMPTS: u32 = 5;

pub(crate) fn run(args: &Args) -> Result<()> {
    for _ in 0..ATTEMPTS {
        if measure(args)? {
            return Ok(());
        }
        eprintln!("bench: the group that hangs had no slot when it was ended: once more");
    }
    bail!("the driver never asks the firmware to end the group")
}

/// Measures, and prints what it was; returns whether there was something to measure.
fn measure(args: &Args) -> Result<bool> {
    let device = Device::open()?;
    let vm = Vm::new(&device).context("create a VM")?;
    let work = Work::new(
        &vm,
        Shape {
            groups: args.n,
            queues: 1,
            jobs: 1,
            priority: GROUP_PRIORITY_MEDIUM,
            runs: 0,
        },
    )?;
    let hung = Keeper::new(&device, GROUP_PRIORITY_MEDIUM)?;
    let tracer = Tracer::new(&["workqueue/workqueue_execute_start"])?;
    work.warm_up()?;
    let mut control = args.reset.then(Control::open).transpose()?;
    if let Some(control) = &mut control {
        control.send("arm ignore-request req=terminate")?;
    }

    let stop = AtomicBool::new(false);
    let (ended, submitted, signalled) = std::thread::scope(|scope| -> Result<_> {
        let runner = scope.spawn(|| others(&work, &stop));
        let hang = || -> Result<_> {
            tracer.on()?;
            let submitted = clock::now();
            hung.start()?;
            hung.done()
                .wait(LIMIT)
                .context("wait for the hung job's fence")?;
            let signalled = clock::now();
            std::thread::sleep(WATCH);
            Ok((submitted, signalled))
        };
        let times = hang();
        stop.store(true, Ordering::Relaxed);
        let ended = runner.join().map_err(|_| anyhow!("the others have died"))?;
        let (submitted, signalled) = times?;
        Ok((ended.context("the others")?, submitted, signalled))
    })?;
    let trace = tracer.off()?;
    if let Some(control) = &mut control {
        let struck = control.count("ignore-request")?;
        control.send("reset")?;
        if struck == 0 {
            return Ok(false);
        }
    } else {
        work.check(1)?;
    }
    let state = hung.group().state().context("state of the hung group")?;
    ensure!(state != Default::default(), "the group did not hang");

    let handler = trace
        .lines()
        .filter_map(Event::parse)
        .filter(|event| event.time >= submitted && event.time <= signalled)
        .filter(|event| {
            event
                .work()
                .is_some_and(|(_, function)| function == TIMEOUT)
        })
        .map(|event| event.time)
        // A driver may ask again while a reset is going on.
        .next()
        .context("the timeout handler was not seen")?;

    let before = Span {
        begin: handler.saturating_sub(4 * WATCH.as_nanos() as u64),
        end: handler,
    };
    let after = Span {
        begin: handler,
        end: handler + WATCH.as_nanos() as u64,
    };
    let scenario = match args.reset {
        true => "recovery, full reset",
        false => "recovery, one group",
    };
    let mut round = Round::new(&device, scenario, args.n as u64)?;
    round.add("others that died", "", dead(&work)? as f64);
    round.add(
        "submission to timeout handler",
        "ms",
        ms(handler - submitted),
    );
    round.add("timeout handler to fence", "ms", ms(signalled - handler));
    round.add(
        "others, jobs per second before",
        "1/s",
        rate(&ended, before),
    );
    round.add(
        "others, jobs per second in 0.5 s of recovery",
        "1/s",
        rate(&ended, after),
    );
    round.add(
        "others, dip",
        "%",
        100.0 * (1.0 - rate(&ended, after) / rate(&ended, before)).max(0.0),
    );
    round.add(
        "others, longest gap in 0.5 s of recovery",
        "ms",
        ms(longest_gap(&ended, after)),
    );
    round.add(
        "others, longest gap before",
        "ms",
        ms(longest_gap(&ended, before)),
    );
    round.print()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_gaps() {
        let span = Span {
            begin: 1000,
            end: 2000,
        };
        let times = [900, 1100, 1200, 1800, 2000];
        assert_eq!(rate(&times, span), 3e6);
        assert_eq!(longest_gap(&times, span), 600);
        assert_eq!(longest_gap(&[], span), 1000);
    }
}
