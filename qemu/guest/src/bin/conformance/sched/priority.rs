// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Priorities of groups.

use anyhow::{ensure, Context, Result};
use guest::sync::FenceStatus;
use guest::uapi::panthor::{
    GROUP_PRIORITY_HIGH, GROUP_PRIORITY_LOW, GROUP_PRIORITY_MEDIUM, GROUP_PRIORITY_REALTIME,
};
use guest::{Group, GroupConfig};

use super::crowd::crowd;
use crate::cx::{run_ok_on, Gpu, Tests, TIMEOUT};

/// All of them, the least urgent first.
const ALL: [u8; 4] = [
    GROUP_PRIORITY_LOW,
    GROUP_PRIORITY_MEDIUM,
    GROUP_PRIORITY_HIGH,
    GROUP_PRIORITY_REALTIME,
];

pub(super) fn tests(t: &mut Tests) {
    t.add("sched::priority::all_run", all_run);
    t.add("sched::priority::many_of_each", many_of_each);
    t.add(
        "sched::priority::realtime_comes_before_busy_low_ones",
        realtime_before_low,
    );
    t.add("sched::priority::low_waits_for_high", low_waits);
    t.add("sched::priority::less_urgent_comes_later", order);
}

fn group(gpu: &Gpu, priority: u8) -> Result<Group> {
    let mut config = GroupConfig::queues(1);
    config.priority = priority;
    gpu.group_like(&config)
        .with_context(|| format!("priority {priority}"))
}

fn all_run() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    for priority in ALL {
        let group = group(&gpu, priority)?;
        let store = gpu.store(u64::from(priority) * 4, 7 + u32::from(priority));
        run_ok_on(&gpu.cx, &group, store.on(0)).with_context(|| format!("priority {priority}"))?;
        let got: u32 = gpu.data.read(usize::from(priority) * 4);
        ensure!(
            got == 7 + u32::from(priority),
            "the job of priority {priority} left {got}"
        );
    }
    Ok(())
}

/// As many groups as slots at each priority, with a few jobs each: all are served in the end.
fn many_of_each() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let each = gpu.cx.csif.csg_slot_count;
    let mut groups = Vec::new();
    for n in 0..each * 4 {
        let priority = ALL[n as usize % ALL.len()];
        let store = gpu.store(u64::from(n) * 4, n + 1);
        groups.push((group(&gpu, priority)?, store, gpu.cx.syncobj()?));
    }
    for _ in 0..3 {
        for (group, store, done) in &groups {
            group.submit(&[store.on(0).sync(done.signal_op())])?;
        }
    }
    for (n, (.., done)) in groups.iter().enumerate() {
        done.wait(TIMEOUT).with_context(|| format!("group {n}"))?;
        ensure!(done.status()? == FenceStatus::Signaled, "group {n} failed");
    }
    let got: Vec<u32> = gpu.data.cpu().read_all(0, groups.len());
    ensure!(got.into_iter().eq(1..=each * 4), "not every job ran");
    Ok(())
}

/// Jobs of a realtime group are done while twice as many low groups as slots keep the GPU busy.
fn realtime_before_low() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let count = gpu.cx.csif.csg_slot_count * 2;
    let (board, crowd) = crowd(&mut gpu, count, GROUP_PRIORITY_LOW)?;
    board.all_go_on(&crowd, 1)?;
    let realtime = group(&gpu, GROUP_PRIORITY_REALTIME)?;
    for n in 1..=20 {
        let store = gpu.store(0, n);
        run_ok_on(&gpu.cx, &realtime, store.on(0)).with_context(|| format!("job {n}"))?;
        ensure!(gpu.data.read::<u32>(0) == n, "job {n} left nothing");
    }
    crowd.iter().try_for_each(|busy| busy.goes_on())?;
    board.all_go_on(&crowd, 1)?;
    board.end(&crowd)
}

/// While as many high groups as slots are busy, a low one waits and a realtime one does not.
fn low_waits() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let count = gpu.cx.csif.csg_slot_count;
    let (board, crowd) = crowd(&mut gpu, count, GROUP_PRIORITY_HIGH)?;
    board.all_go_on(&crowd, 1)?;

    let low = group(&gpu, GROUP_PRIORITY_LOW)?;
    let waits = gpu.cx.syncobj()?;
    let store = gpu.store(0, 1);
    low.submit(&[store.on(0).sync(waits.signal_op())])?;

    let realtime = group(&gpu, GROUP_PRIORITY_REALTIME)?;
    let quick = gpu.store(4, 1);
    for _ in 0..5 {
        run_ok_on(&gpu.cx, &realtime, quick.on(0)).context("the realtime group's job")?;
        board.all_go_on(&crowd, 1)?;
    }
    let status = waits.status()?;
    ensure!(
        status == FenceStatus::Active,
        "the low group's job is {status:?} while high groups fill the slots"
    );
    board.end(&crowd)?;
    waits.wait(TIMEOUT).context("the low group's job")?;
    ensure!(waits.status()? == FenceStatus::Signaled, "it failed");
    Ok(())
}

/// When everybody's jobs become ready at once, with all slots taken, the more urgent go first.
fn order() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let slots = gpu.cx.csif.csg_slot_count;
    // They take the slots from everybody below them until they are stopped.
    let (board, crowd) = crowd(&mut gpu, slots, GROUP_PRIORITY_REALTIME)?;
    board.all_go_on(&crowd, 1)?;

    // Each adds one to a common counter and notes where it was: its place in the order.
    let mut places = Vec::new();
    // The most urgent first: a job gets to the driver's scheduler some time after it was submitted.
    for priority in [
        GROUP_PRIORITY_HIGH,
        GROUP_PRIORITY_MEDIUM,
        GROUP_PRIORITY_LOW,
    ] {
        let group = group(&gpu, priority)?;
        let at = 64 + u64::from(priority) * 8;
        let note = gpu.stream(|cs, va| {
            use guest::cs::{d, r};
            cs.move48(d(0), va)
                .load32(r(2), d(0), 0)
                .wait(crate::cx::LS_MASK)
                .add_imm32(r(2), r(2), 1)
                .store32(r(2), d(0), 0)
                .store32(r(2), d(0), at as i16)
                .wait(crate::cx::LS_MASK);
        });
        let done = gpu.cx.syncobj()?;
        group.submit(&[note.on(0).sync(done.signal_op())])?;
        places.push((group, at as usize, done));
        board.all_go_on(&crowd, 2)?;
    }
    for (_, at, done) in &places {
        let status = done.status()?;
        ensure!(
            status == FenceStatus::Active,
            "the job that notes its place at {at} is {status:?} while realtime groups fill the slots"
        );
    }
    // One slot becomes free, and the next one when that job is done and its group idle.
    board.stop(&crowd[0]);
    crowd[0].ends_well()?;
    for (_, _, done) in &places {
        done.wait(TIMEOUT)?;
        ensure!(done.status()? == FenceStatus::Signaled, "a job failed");
    }
    let order: Vec<u32> = places.iter().map(|(_, at, _)| gpu.data.read(*at)).collect();
    ensure!(
        order == [1, 2, 3],
        "high, medium and low came as numbers {order:?}"
    );
    board.end(&crowd)
}
