// SPDX-License-Identifier: GPL-2.0 OR MIT

//! One job at a time: from the ioctl to its fence.

use anyhow::{Context, Result};
use guest::uapi::panthor::GROUP_PRIORITY_MEDIUM;
use guest::{Device, Vm};

use crate::clock::{self, ms, us};
use crate::procfs;
use crate::record::{percentile, Round, Span, Start};
use crate::work::{Shape, Work, LIMIT};

/// One job at a time.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// Jobs.
    #[arg(long, default_value_t = 200)]
    jobs: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let device = Device::open()?;
    let vm = Vm::new(&device).context("create a VM")?;
    let work = Work::new(
        &vm,
        Shape {
            groups: 1,
            queues: 1,
            jobs: 1,
            priority: GROUP_PRIORITY_MEDIUM,
            runs: 0,
        },
    )?;
    work.warm_up()?;
    let done = &work.lanes[0].done;
    let mut clocks = clock::compare(&device)?;
    let (mut times, mut ioctls, mut starts) = (Vec::new(), Vec::new(), Vec::new());

    let before = procfs::Counts::take(true)?;
    let begin = clock::now();
    for _ in 0..args.jobs {
        done.reset()?;
        let job = work.job(0, 0).sync(done.signal_op());
        let released = clock::now();
        work.submit(0, &[job])?;
        let submitted = clock::now();
        done.wait(LIMIT).context("wait for a job")?;
        times.push(us(clock::now() - released));
        ioctls.push(us(submitted - released));
        starts.push(Start {
            released,
            ticks: work.started(0, 0),
        });
    }
    let window = Span {
        begin,
        end: clock::now(),
    };
    let counts = procfs::Counts::take(false)?.since(before);
    clocks.extend(clock::compare(&device)?);
    work.check(1)?;

    let mut round = Round::new(&device, "latency", 1)?;
    let per_job = |value: f64| value / args.jobs as f64;
    round.add("ioctl to fence p50", "us", percentile(&mut times, 0.5));
    round.add("ioctl to fence p99", "us", percentile(&mut times, 0.99));
    round.add("ioctl p50", "us", percentile(&mut ioctls, 0.5));
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
    round.jobs = args.jobs;
    round.window = Some(window);
    round.starts = starts;
    round.clocks = clocks;
    round.print()
}
