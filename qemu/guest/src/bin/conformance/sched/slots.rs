// SPDX-License-Identifier: GPL-2.0 OR MIT

//! More groups than slots, more VMs than address spaces.

use anyhow::{ensure, Context, Result};
use guest::cs::{d, r, Condition};
use guest::sync::FenceStatus;
use guest::uapi::panthor::GROUP_PRIORITY_MEDIUM;
use guest::{GroupConfig, Syncobj};

use super::crowd::{crowd, Board, Busy};
use crate::cx::{Gpu, Tests, LS_MASK, TIMEOUT};

pub(super) fn tests(t: &mut Tests) {
    t.add("sched::slots::more_groups_than_slots", more_groups);
    t.add("sched::slots::endless_groups_share_them", endless_share);
    t.add("sched::slots::busy_groups_all_go_on", busy_groups);
    t.add("sched::slots::busy_and_short_jobs", busy_and_short);
    t.add("sched::slots::registers_survive_eviction", registers);
    t.add("sched::slots::many_queues_per_group", many_queues);
    t.add("sched::address_spaces::more_vms_than_those", more_vms);
    t.add("sched::address_spaces::busy_vms_all_go_on", busy_vms);
}

/// Checks that a job has ended well.
fn ended_well(done: &Syncobj) -> Result<()> {
    done.wait(TIMEOUT)?;
    let status = done.status()?;
    ensure!(
        status == FenceStatus::Signaled,
        "its job ended with {status:?}"
    );
    Ok(())
}

fn more_groups() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let count = gpu.cx.csif.csg_slot_count * 3;
    let mut groups = Vec::new();
    for n in 0..count {
        let stream = gpu.store(u64::from(n) * 4, n + 1);
        groups.push((gpu.another_group(1)?, stream, gpu.cx.syncobj()?));
    }
    for _ in 0..4 {
        for (group, stream, done) in &groups {
            group.submit(&[stream.on(0).sync(done.signal_op())])?;
        }
    }
    for (n, (.., done)) in groups.iter().enumerate() {
        ended_well(done).with_context(|| format!("group {n}"))?;
    }
    let got: Vec<u32> = gpu.data.cpu().read_all(0, count as usize);
    ensure!(got.into_iter().eq(1..=count), "not every group's job ran");
    Ok(())
}

/// As many endless groups as slots must not keep another one from the GPU.
fn endless_share() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let endless = gpu.stream(|cs, _| {
        let top = cs.here();
        cs.branch(Condition::Always, r(0), top);
    });
    let store = gpu.store(0, 1);
    let groups = (0..gpu.cx.csif.csg_slot_count)
        .map(|_| {
            let group = gpu.another_group(1)?;
            group.submit(&[endless.on(0)])?;
            Ok(group)
        })
        .collect::<Result<Vec<_>>>()?;
    gpu.run_ok(store.on(0))?;
    groups.into_iter().try_for_each(|g| Ok(g.destroy()?))
}

/// Three times as many busy groups as slots: each gets the GPU, and gets it again.
fn busy_groups() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let count = gpu.cx.csif.csg_slot_count * 3;
    let (board, crowd) = crowd(&mut gpu, count, GROUP_PRIORITY_MEDIUM)?;
    board.all_go_on(&crowd, 5)?;
    board.end(&crowd)
}

/// Groups with short jobs come and go among twice as many busy ones as there are slots.
fn busy_and_short() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let count = gpu.cx.csif.csg_slot_count * 2;
    let (board, crowd) = crowd(&mut gpu, count, GROUP_PRIORITY_MEDIUM)?;
    for n in 1..=10 {
        let store = gpu.store(0, n);
        gpu.run_ok(store.on(0))
            .with_context(|| format!("short job {n}"))?;
        ensure!(gpu.data.read::<u32>(0) == n, "short job {n} left nothing");
    }
    board.all_go_on(&crowd, 1)?;
    board.end(&crowd)
}

/// Streams that keep all they know in registers and in their call stack find it again after an eviction.
fn registers() -> Result<()> {
    const TURNS: u32 = 20_000;

    let mut gpu = Gpu::new(1)?;
    let count = gpu.cx.csif.csg_slot_count * 2;
    let mut groups = Vec::new();
    for n in 0..count {
        // Counts down in a stream that another one called, and adds up on the way.
        let inner = gpu.stream(|cs, _| {
            let top = cs.here();
            cs.add_imm32(r(10), r(10), n as i32 + 1)
                .add_imm32(r(11), r(11), -1)
                .branch(Condition::NotEqual, r(11), top);
        });
        let outer = gpu.stream(|cs, va| {
            cs.move48(d(0), va + u64::from(n) * 4)
                .move32(r(10), 0)
                .move32(r(11), TURNS)
                .move48(d(12), inner.va)
                .move32(r(14), inner.size)
                .call(d(12), r(14))
                .store32(r(10), d(0), 0)
                .wait(LS_MASK);
        });
        groups.push((gpu.another_group(1)?, outer, gpu.cx.syncobj()?));
    }
    for (group, stream, done) in &groups {
        group.submit(&[stream.on(0).sync(done.signal_op())])?;
    }
    for (n, (.., done)) in groups.iter().enumerate() {
        ended_well(done).with_context(|| format!("group {n}"))?;
    }
    for n in 0..count {
        let got: u32 = gpu.data.read(n as usize * 4);
        let want = TURNS * (n + 1);
        ensure!(got == want, "group {n} computed {got} instead of {want}");
    }
    Ok(())
}

/// All queues of more groups than slots, with jobs that wait for each other across queues.
fn many_queues() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let queues = gpu.cx.csif.cs_slot_count.min(4);
    let count = gpu.cx.csif.csg_slot_count * 2;
    let add = gpu.stream(|cs, va| {
        cs.move48(d(0), va)
            .move48(d(2), 1)
            .sync_add64(d(0), d(2), guest::cs::Scope::System);
    });
    let mut groups = Vec::new();
    for _ in 0..count {
        groups.push((gpu.another_group(queues as usize)?, gpu.cx.syncobj()?));
    }
    for (group, done) in &groups {
        // One after the other, each on the next queue.
        done.signal()?;
        for n in 0..queues * 4 {
            let job = add.on(n % queues).sync(done.wait_op());
            group.submit(&[job.sync(done.signal_op())])?;
        }
    }
    for (n, (_, done)) in groups.iter().enumerate() {
        ended_well(done).with_context(|| format!("group {n}"))?;
    }
    let (got, want) = (gpu.data.read::<u64>(0), u64::from(count * queues * 4));
    ensure!(got == want, "{got} jobs ran instead of {want}");
    Ok(())
}

/// How many address spaces the GPU has, the microcontroller's included.
fn address_spaces(gpu: &Gpu) -> u32 {
    gpu.cx.gpu.as_present.count_ones()
}

/// More VMs than address spaces, each with jobs now and again: each finds its own memory, at equal addresses.
fn more_vms() -> Result<()> {
    let first = Gpu::new(1)?;
    let count = address_spaces(&first) * 2;
    let mut gpus = (0..count)
        .map(|_| Gpu::new(1))
        .collect::<Result<Vec<_>>>()?;
    for round in 0..3 {
        let mut jobs = Vec::new();
        for (n, gpu) in (0u32..).zip(&mut gpus) {
            let stream = gpu.store(8 * u64::from(round), 1000 * round + n);
            let done = gpu.cx.syncobj()?;
            gpu.group.submit(&[stream.on(0).sync(done.signal_op())])?;
            jobs.push(done);
        }
        for (n, done) in jobs.iter().enumerate() {
            ended_well(done).with_context(|| format!("round {round}, VM {n}"))?;
        }
    }
    for (n, gpu) in (0u32..).zip(&gpus) {
        for round in 0..3 {
            let (got, want) = (gpu.data.read::<u32>(8 * round as usize), 1000 * round + n);
            ensure!(got == want, "VM {n} holds {got} instead of {want}");
        }
    }
    Ok(())
}

/// More busy VMs than address spaces: each gets one, and gets one again.
fn busy_vms() -> Result<()> {
    let first = Gpu::with(&GroupConfig::queues(1))?;
    let mut all: Vec<(Gpu, Board, Vec<Busy>)> = Vec::new();
    for _ in 0..address_spaces(&first) * 2 {
        let mut gpu = Gpu::new(1)?;
        let (board, busy) = crowd(&mut gpu, 1, GROUP_PRIORITY_MEDIUM)?;
        all.push((gpu, board, busy));
    }
    for _ in 0..3 {
        for (n, (_, board, busy)) in all.iter().enumerate() {
            board
                .all_go_on(busy, 1)
                .with_context(|| format!("VM {n}"))?;
        }
    }
    for (_, board, busy) in &all {
        board.stop(&busy[0]);
    }
    for (n, (_, board, busy)) in all.iter().enumerate() {
        board.end(busy).with_context(|| format!("VM {n}"))?;
    }
    Ok(())
}
