// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Jobs on many queues wait for one fence, which the CPU signals.

use anyhow::{ensure, Context, Result};
use guest::uapi::panthor::GROUP_PRIORITY_MEDIUM;
use guest::{Device, Vm};

use crate::clock::{self, ms};
use crate::events::{self, Counts};
use crate::gate::Gate;
use crate::procfs;
use crate::record::{Round, Span, Start};
use crate::tracefs::Tracer;
use crate::work::{Keeper, Shape, Work};

/// Jobs on each queue.
const JOBS: usize = 4;

/// Jobs on many queues are released at once.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// Queues.
    #[arg(long, default_value_t = 8)]
    n: usize,
    /// Put so many queues in each group, so that all groups are on the hardware at once.
    #[arg(long)]
    resident: Option<usize>,
    /// Record and count the kernel's events, which takes time.
    #[arg(long)]
    traced: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let device = Device::open()?;
    let vm = Vm::new(&device).context("create a VM")?;
    let queues = args.resident.unwrap_or(1);
    ensure!(args.n % queues == 0, "{} queues do not fill groups", args.n);
    let shape = Shape {
        groups: args.n / queues,
        queues,
        jobs: JOBS,
        priority: GROUP_PRIORITY_MEDIUM,
        runs: 0,
    };
    let slots = device.csif_info()?.csg_slot_count as usize;
    ensure!(
        args.resident.is_none() || shape.groups < slots,
        "{} groups and the one that keeps the GPU awake do not fit {slots} slots",
        shape.groups
    );
    let work = Work::new(&vm, shape)?;
    let keeper = Keeper::new(&device, GROUP_PRIORITY_MEDIUM)?;
    let tracer = args
        .traced
        .then(|| Tracer::new(events::EVENTS))
        .transpose()?;

    // In this order: a GPU that goes to sleep in between has to be set up again for the storm.
    keeper.start()?;
    work.warm_up()?;
    let mut clocks = clock::compare(&device)?;
    let gate = Gate::new(&device)?;
    for (index, lane) in work.lanes.iter().enumerate() {
        let mut jobs: Vec<_> = (0..JOBS)
            .map(|job| work.job(index, job).sync(gate.syncobj.wait_op()))
            .collect();
        if let Some(last) = jobs.last_mut() {
            last.syncs.push(lane.done.signal_op());
        }
        work.submit(index, &jobs)?;
    }

    let before = procfs::Counts::take(true)?;
    if let Some(tracer) = &tracer {
        tracer.on()?;
    }
    let released = gate.open()?;
    work.wait()?;
    let done = clock::now();
    let trace = tracer.as_ref().map(Tracer::off).transpose()?;
    let counts = procfs::Counts::take(false)?.since(before);
    clocks.extend(clock::compare(&device)?);
    keeper.stop()?;
    work.check(JOBS)?;

    let scenario = match args.resident {
        Some(_) => "storm, all resident",
        None => "storm",
    };
    let mut round = Round::new(&device, scenario, args.n as u64)?;
    let window = Span {
        begin: released,
        end: done,
    };
    let jobs = (args.n * JOBS) as u64;
    if let Some(trace) = trace {
        Counts::of(&trace, window, &round.driver).record(&mut round, jobs);
        return round.print();
    }
    round.add("makespan", "ms", ms(done - released));
    let per_job = |count: u64| count as f64 / jobs as f64;
    round.add("context switches per job", "", per_job(counts.switches));
    round.add("interrupts per job", "", per_job(counts.interrupts));
    round.add("CPU time of kernel threads", "ms", ms(counts.kernel_ns));
    round.jobs = jobs;
    round.window = Some(window);
    round.clocks = clocks;
    // Groups that get on the hardware with their jobs need no doorbell.
    round.doorbells = args.resident.is_some() || args.n == 1;
    for lane in 0..args.n {
        round.starts.extend((0..JOBS).map(|job| Start {
            released,
            ticks: work.started(lane, job),
        }));
    }
    round.print()
}
