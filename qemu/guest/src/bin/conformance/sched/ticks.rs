// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The scheduler looks again and again while somebody waits for a slot, and else leaves the CPU alone.
//!
//! Seen through the kernel's own events of work queues: both drivers have a queue whose name ends in `-sched` for it.

use std::thread;
use std::time::Duration;

use anyhow::{ensure, Result};
use guest::kernel::{poll, wait_for_sleep, TraceEvents};
use guest::uapi::panthor::{GROUP_PRIORITY_HIGH, GROUP_PRIORITY_LOW, GROUP_PRIORITY_MEDIUM};

use super::crowd::{crowd, Board};
use super::power::SOON;
use crate::cx::{Gpu, Tests, TIMEOUT};

/// What is counted.
const EVENT: &str = "workqueue:workqueue_queue_work";
/// Where.
const QUEUES: &str = "workqueue ~ \"*-sched\"";
/// How long nothing must happen.
const QUIET: Duration = Duration::from_millis(500);
/// Ticks in that time, if they came every 10 ms, are 50; what has nothing to do with them are a few.
const FEW: usize = 10;

pub(super) fn tests(t: &mut Tests) {
    t.add("sched::ticks::come_while_groups_wait", come);
    t.add("sched::ticks::stop_when_nobody_waits", stop);
    t.add("sched::ticks::stop_when_the_gpu_sleeps", stop_asleep);
}

/// The events; without them there is nothing to see.
fn events() -> Result<TraceEvents> {
    match TraceEvents::start(&[EVENT], QUEUES)? {
        Some(events) => Ok(events),
        None => anyhow::bail!("this kernel has no event {EVENT}"),
    }
}

/// Counts what happens in a while.
fn quiet(events: &TraceEvents) -> Result<usize> {
    events.clear()?;
    // Time has to pass in which nothing happens.
    thread::sleep(QUIET);
    Ok(events.lines()?.len())
}

fn come() -> Result<()> {
    let events = events()?;
    let mut gpu = Gpu::new(1)?;
    let count = gpu.cx.csif.csg_slot_count * 2;
    let (board, crowd) = crowd(&mut gpu, count, GROUP_PRIORITY_MEDIUM)?;
    events.clear()?;
    let ticks = poll(TIMEOUT, || Ok(events.lines()?.len() > 2 * FEW))?;
    ensure!(ticks, "only {} ticks came", events.lines()?.len());
    board.end(&crowd)
}

fn stop() -> Result<()> {
    let events = events()?;
    let mut gpu = Gpu::new(1)?;
    // Everybody has a slot, and keeps it; groups of equal priority may take turns within the firmware.
    let mut board = Board::new(&gpu)?;
    let crowd = [
        GROUP_PRIORITY_LOW,
        GROUP_PRIORITY_MEDIUM,
        GROUP_PRIORITY_HIGH,
    ]
    .into_iter()
    .map(|priority| board.start(&mut gpu, priority))
    .collect::<Result<Vec<_>>>()?;
    board.all_go_on(&crowd, 2)?;
    let seen = quiet(&events)?;
    crowd.iter().try_for_each(|busy| busy.goes_on())?;
    ensure!(
        seen <= FEW,
        "the scheduler was busy {seen} times in {QUIET:?} while everybody had a slot"
    );
    board.end(&crowd)
}

fn stop_asleep() -> Result<()> {
    let events = events()?;
    let mut gpu = Gpu::new(1)?;
    let store = gpu.store(0, 1);
    gpu.run_ok(store.on(0))?;
    wait_for_sleep(&gpu.cx.device, SOON)?;
    let seen = quiet(&events)?;
    ensure!(
        seen <= FEW,
        "the scheduler was busy {seen} times in {QUIET:?} while the GPU slept"
    );
    Ok(())
}
