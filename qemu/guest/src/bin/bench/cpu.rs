// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Jobs between marks that QEMU's instruction counter sees.
//!
//! A mark is a hint instruction that no processor gives a meaning to.

use anyhow::{Context, Result};
use guest::uapi::panthor::GROUP_PRIORITY_MEDIUM;
use guest::{Device, Vm};

use crate::gate::Gate;
use crate::record::Round;
use crate::work::{Keeper, Shape, Work, LIMIT};

/// Storms in each round.
const STORMS: usize = 3;

/// Jobs between marks.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// Jobs, one at a time.
    #[arg(long, default_value_t = 100)]
    jobs: u64,
    /// Queues of a storm, four jobs on each.
    #[arg(long, default_value_t = 32)]
    storm: usize,
}

/// Says that counting begins.
fn begin() {
    #[cfg(target_arch = "aarch64")]
    // SAFETY: an unallocated hint does nothing.
    unsafe {
        std::arch::asm!("hint #120")
    }
}

/// Says that one thing is done: what was counted since the last mark is noted.
fn lap() {
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("hint #121")
    }
}

/// Says that counting ends.
fn end() {
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("hint #122")
    }
}

fn one_at_a_time(device: &Device, jobs: u64) -> Result<()> {
    let vm = Vm::new(device).context("create a VM")?;
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
    let once = || -> Result<()> {
        work.submit(0, &[work.job(0, 0).sync(done.signal_op())])?;
        done.wait(LIMIT).context("wait for a job")
    };
    for _ in 0..10 {
        once()?;
    }
    begin();
    for _ in 0..jobs {
        once()?;
        lap();
    }
    end();
    work.check(1)?;
    let mut round = Round::new(device, "cpu, one job at a time", 1)?;
    round.jobs = jobs;
    round.print()
}

fn storm(device: &Device, n: usize) -> Result<()> {
    const JOBS: usize = 4;
    let vm = Vm::new(device).context("create a VM")?;
    let work = Work::new(
        &vm,
        Shape {
            groups: 4,
            queues: n / 4,
            jobs: JOBS,
            priority: GROUP_PRIORITY_MEDIUM,
            runs: 0,
        },
    )?;
    work.warm_up()?;
    let keeper = Keeper::new(device, GROUP_PRIORITY_MEDIUM)?;
    keeper.start()?;
    let gate = Gate::new(device)?;
    for (index, lane) in work.lanes.iter().enumerate() {
        let mut jobs: Vec<_> = (0..JOBS)
            .map(|job| work.job(index, job).sync(gate.syncobj.wait_op()))
            .collect();
        if let Some(last) = jobs.last_mut() {
            last.syncs.push(lane.done.signal_op());
        }
        work.submit(index, &jobs)?;
    }
    begin();
    gate.open()?;
    work.wait()?;
    lap();
    end();
    keeper.stop()?;
    work.check(JOBS)?;
    let mut round = Round::new(device, "cpu, storm", n as u64)?;
    round.jobs = (n * JOBS) as u64;
    round.print()
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let device = Device::open()?;
    one_at_a_time(&device, args.jobs)?;
    // A storm is short: whatever the kernel has to do beside it shows. So there are some.
    for _ in 0..STORMS {
        storm(&device, args.storm)?;
    }
    Ok(())
}
