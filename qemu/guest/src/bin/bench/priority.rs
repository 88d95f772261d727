// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A realtime group that submits now and then, alone and beside a storm of others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{anyhow, Context, Result};
use guest::uapi::panthor::{GROUP_PRIORITY_LOW, GROUP_PRIORITY_REALTIME};
use guest::{Device, Vm};

use crate::clock::{self, us};
use crate::record::{percentile, Round, Span, Start};
use crate::work::{Shape, Work, LIMIT};

/// Time between two jobs of the realtime group.
const PERIOD: Duration = Duration::from_millis(5);
/// Jobs on a queue of the storm before it waits.
const JOBS: usize = 4;

/// A realtime group beside a storm of others.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// Low groups.
    #[arg(long, default_value_t = 32)]
    n: usize,
    /// Jobs of the realtime group, in each part.
    #[arg(long, default_value_t = 200)]
    jobs: u64,
}

/// One part: when jobs were submitted, when they began, and how long until their fences.
struct Part {
    starts: Vec<Start>,
    fences: Vec<f64>,
    window: Span,
}

/// Submits a job every [`PERIOD`].
fn beat(work: &Work, jobs: u64) -> Result<Part> {
    let done = &work.lanes[0].done;
    let (mut starts, mut fences) = (Vec::new(), Vec::new());
    let begin = clock::now();
    for _ in 0..jobs {
        done.reset()?;
        let job = work.job(0, 0).sync(done.signal_op());
        let released = clock::now();
        work.submit(0, &[job])?;
        done.wait(LIMIT).context("wait for a realtime job")?;
        let ended = clock::now();
        fences.push(us(ended - released));
        starts.push(Start {
            released,
            ticks: work.started(0, 0),
        });
        std::thread::sleep(PERIOD.saturating_sub(Duration::from_nanos(ended - released)));
    }
    Ok(Part {
        starts,
        fences,
        window: Span {
            begin,
            end: clock::now(),
        },
    })
}

/// Keeps every queue of `work` busy until `stop`; returns how many jobs it ran.
fn storm(work: &Work, stop: &AtomicBool) -> Result<u64> {
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        for (index, lane) in work.lanes.iter().enumerate() {
            if turn > 1 {
                lane.done.wait_point(turn - 1, LIMIT)?;
            }
            let mut jobs: Vec<_> = (0..JOBS).map(|job| work.job(index, job)).collect();
            if let Some(last) = jobs.last_mut() {
                last.syncs.push(lane.done.signal_point_op(turn));
            }
            work.submit(index, &jobs)?;
        }
    }
    for lane in &work.lanes {
        lane.done.wait_point(turn, LIMIT)?;
    }
    Ok(turn * (JOBS * work.lanes.len()) as u64)
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let device = Device::open()?;
    let vm = Vm::new(&device).context("create a VM")?;
    let shape = |groups, jobs, priority| Shape {
        groups,
        queues: 1,
        jobs,
        priority,
        runs: 0,
    };
    let realtime = Work::new(&vm, shape(1, 1, GROUP_PRIORITY_REALTIME))?;
    let low = Work::new(&vm, shape(args.n, JOBS, GROUP_PRIORITY_LOW))?;
    realtime.warm_up()?;
    low.warm_up()?;

    let mut clocks = clock::compare(&device)?;
    let idle = beat(&realtime, args.jobs)?;
    let stop = AtomicBool::new(false);
    let (busy, others) = std::thread::scope(|scope| -> Result<_> {
        let others = scope.spawn(|| storm(&low, &stop));
        let busy = beat(&realtime, args.jobs);
        stop.store(true, Ordering::Relaxed);
        let others = others.join().map_err(|_| anyhow!("the storm has died"))?;
        Ok((busy?, others.context("the storm")?))
    })?;
    clocks.extend(clock::compare(&device)?);
    realtime.check(1)?;
    low.check(JOBS)?;

    let mut round = Round::new(&device, "priority", args.n as u64)?;
    let mut p99 = Vec::new();
    for (part, when) in [(&idle, "idle"), (&busy, "in the storm")] {
        let mut fences = part.fences.clone();
        for (share, name) in [(0.5, "p50"), (0.99, "p99")] {
            let value = percentile(&mut fences, share);
            round.add(
                format!("realtime ioctl to fence, {when}, {name}"),
                "us",
                value,
            );
            p99.push(value);
        }
    }
    round.add(
        "realtime ioctl to fence, storm p99 / idle p99",
        "",
        p99[3] / p99[1],
    );
    let seconds = (busy.window.end - busy.window.begin) as f64 / 1e9;
    round.add(
        "jobs of the others per second",
        "1/s",
        others as f64 / seconds,
    );
    round.jobs = args.jobs;
    round.clocks = clocks;
    for (part, label) in [
        (idle, "realtime, idle, "),
        (busy, "realtime, in the storm, "),
    ] {
        let mut line = round.clone();
        if label.contains("storm") {
            line.metrics.clear();
        }
        line.label = label.to_owned();
        line.window = Some(part.window);
        line.starts = part.starts;
        line.print()?;
    }
    Ok(())
}
