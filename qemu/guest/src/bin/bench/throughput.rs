// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Jobs back to back on a number of queues.

use anyhow::{ensure, Context, Result};
use guest::uapi::panthor::GROUP_PRIORITY_MEDIUM;
use guest::{Device, Vm};

use crate::clock::{self, ms};
use crate::procfs;
use crate::record::{Round, Span};
use crate::work::{Shape, Work, LIMIT};

/// Jobs in flight on each queue, in two halves: one runs while the other is submitted.
const DEPTH: usize = 16;

/// Jobs back to back.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// Queues.
    #[arg(long, default_value_t = 8)]
    n: usize,
    /// Jobs in all.
    #[arg(long, default_value_t = 2048)]
    jobs: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let device = Device::open()?;
    let vm = Vm::new(&device).context("create a VM")?;
    let slots = device.csif_info()?.csg_slot_count as usize;
    let groups = args.n.min(slots);
    ensure!(args.n % groups == 0, "{} queues do not fill groups", args.n);
    let work = Work::new(
        &vm,
        Shape {
            groups,
            queues: args.n / groups,
            jobs: DEPTH,
            priority: GROUP_PRIORITY_MEDIUM,
            runs: 0,
        },
    )?;
    work.warm_up()?;
    let clocks = clock::compare(&device)?;
    let half = DEPTH / 2;
    let turns = (args.jobs / args.n / half).max(2) as u64;

    let before = procfs::Counts::take(true)?;
    let begin = clock::now();
    for turn in 1..=turns {
        for (index, lane) in work.lanes.iter().enumerate() {
            // The half that is used again must have ended.
            if turn > 2 {
                lane.done.wait_point(turn - 2, LIMIT)?;
            }
            let first = (turn as usize % 2) * half;
            let mut jobs: Vec<_> = (first..first + half)
                .map(|job| work.job(index, job))
                .collect();
            if let Some(last) = jobs.last_mut() {
                last.syncs.push(lane.done.signal_point_op(turn));
            }
            work.submit(index, &jobs)?;
        }
    }
    for lane in &work.lanes {
        lane.done.wait_point(turns, LIMIT)?;
    }
    let window = Span {
        begin,
        end: clock::now(),
    };
    let counts = procfs::Counts::take(false)?.since(before);
    work.check(DEPTH)?;

    let jobs = turns * (half * args.n) as u64;
    let mut round = Round::new(&device, "throughput", args.n as u64)?;
    let per_job = |value: f64| value / jobs as f64;
    let seconds = (window.end - window.begin) as f64 / 1e9;
    round.add("jobs per second", "1/s", jobs as f64 / seconds);
    round.add(
        "context switches per job",
        "",
        per_job(counts.switches as f64),
    );
    round.add("interrupts per job", "", per_job(counts.interrupts as f64));
    round.add(
        "CPU time of kernel threads per job",
        "ms",
        per_job(ms(counts.kernel_ns)),
    );
    round.jobs = jobs;
    round.window = Some(window);
    round.clocks = clocks;
    round.print()
}
