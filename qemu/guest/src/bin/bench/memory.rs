// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What groups, queues and waiting jobs take of the memory.

use std::time::Duration;

use anyhow::{bail, Context, Result};
use guest::uapi::panthor::QueueCreate;
use guest::{Device, Group, GroupConfig, Vm};

use crate::gate::Gate;
use crate::procfs::Memory;
use crate::record::Round;
use crate::work::{Shape, Work};

/// Memory per group, queue and job.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// Objects of each kind.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(8..=120))]
    count: u32,
}

/// Bytes of the smallest ring, which is the user's wish and not the driver's.
const RING: u32 = 4096;

/// How many jobs are made for each group: they are small.
const JOBS: u32 = 4;

/// Memory of one object.
#[derive(Clone, Copy, Debug)]
struct Cost {
    slab: f64,
    buffers: f64,
    pages: f64,
}

impl Cost {
    /// What each of `count` objects takes.
    fn between(before: Memory, after: Memory, count: u32) -> Self {
        let each = |before: i64, after: i64| (after - before) as f64 / f64::from(count);
        Self {
            slab: each(before.slab, after.slab),
            buffers: each(before.buffers, after.buffers),
            pages: each(before.pages, after.pages),
        }
    }

    /// What is in use now, once nothing more is given back: much is freed by work items.
    fn settled() -> Result<Memory> {
        const LOOKS: u32 = 50;
        let mut last = Memory::take()?;
        for _ in 0..LOOKS {
            std::thread::sleep(Duration::from_millis(100));
            let now = Memory::take()?;
            if now.total() > last.total() - 4096 {
                return Ok(now);
            }
            last = now;
        }
        bail!("memory is still being given back after {LOOKS} looks")
    }

    fn record(self, round: &mut Round, what: &str) {
        let all = self.slab + self.buffers + self.pages;
        round.add(format!("memory per {what}"), "B", all);
        round.add(format!("slab per {what}"), "B", self.slab);
        round.add(format!("buffers per {what}"), "B", self.buffers);
    }
}

/// Makes idle groups with `queues` queues each; returns what each took.
fn groups(device: &Device, count: u32, queues: usize) -> Result<Cost> {
    let vm = Vm::new(device)?;
    let queue = QueueCreate {
        priority: 1,
        pad: [0; 3],
        ringbuf_size: RING,
    };
    let mut config = GroupConfig::queues(queues);
    config.queues = vec![queue; queues];
    // The first one also pays for what all share.
    let _first = Group::new(&vm, &config).context("create a group")?;
    let before = Cost::settled()?;
    let groups = (0..count)
        .map(|_| Group::new(&vm, &config).context("create a group"))
        .collect::<Result<Vec<_>>>()?;
    let after = Cost::settled()?;
    drop(groups);
    Ok(Cost::between(before, after, count))
}

/// Makes jobs that wait for a fence; returns what each took.
fn jobs(device: &Device, count: u32) -> Result<Cost> {
    let vm = Vm::new(device)?;
    let shape = Shape {
        groups: 1,
        queues: 1,
        jobs: 1,
        priority: guest::uapi::panthor::GROUP_PRIORITY_MEDIUM,
        runs: 0,
    };
    let work = Work::new(&vm, shape)?;
    work.warm_up()?;
    let done = &work.lanes[0].done;
    // The gate has to be opened within seconds: what takes long comes before it.
    let before = Cost::settled()?;
    let gate = Gate::new(device)?;
    let submit = |last: bool| {
        let job = work.job(0, 0).sync(gate.syncobj.wait_op());
        let job = if last {
            job.sync(done.signal_op())
        } else {
            job
        };
        work.submit(0, &[job])
    };
    let count = count * JOBS;
    for _ in 0..count {
        submit(false)?;
    }
    let after = Memory::take()?;
    submit(true)?;
    gate.open()?;
    work.wait()?;
    work.check(1)?;
    Ok(Cost::between(before, after, count))
}

pub(crate) fn run(args: &Args) -> Result<()> {
    const QUEUES: usize = 8;
    let device = Device::open()?;
    let mut round = Round::new(&device, "memory", args.count.into())?;
    // Fills the pools that caches keep.
    groups(&device, args.count, 1)?;
    let one = groups(&device, args.count, 1)?;
    let many = groups(&device, args.count, QUEUES)?;
    let slope = |one: f64, many: f64| (many - one) / (QUEUES - 1) as f64;
    one.record(&mut round, "idle group with a queue");
    Cost {
        slab: slope(one.slab, many.slab),
        buffers: slope(one.buffers, many.buffers) - f64::from(RING),
        pages: slope(one.pages, many.pages),
    }
    .record(&mut round, "further queue, without its ring");
    jobs(&device, args.count)?;
    jobs(&device, args.count)?.record(&mut round, "waiting job");
    round.print()
}
