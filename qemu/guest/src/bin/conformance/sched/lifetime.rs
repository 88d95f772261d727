// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Groups and VMs that go while they have no slot.
//!
//! The memory of a group that runs goes first, so its stream faults. In the C driver the group can lose its address space
//! to another VM before that fault's interrupt is handled: it then uses the address space with the fault still pending,
//! and blames the wrong VM.

use anyhow::{ensure, Context, Result};
use guest::sync::FenceStatus;
use guest::uapi::panthor::{VmDestroy, GROUP_PRIORITY_MEDIUM};

use super::crowd::{crowd, Board, Busy};
use crate::cx::{run_ok_on, Gpu, Tests, TIMEOUT};

pub(super) fn tests(t: &mut Tests) {
    t.add("sched::lifetime::groups_destroyed_while_suspended", groups);
    t.add_not_for_c("sched::c_races::vms_destroyed_while_suspended", vms);
    t.add_not_for_c("sched::c_races::files_closed_while_suspended", files);
}

/// Waits for the job of a group that is gone; it must have failed.
fn failed(n: usize, done: &guest::Syncobj) -> Result<()> {
    done.wait(TIMEOUT).with_context(|| format!("job {n}"))?;
    let status = done.status()?;
    ensure!(
        matches!(status, FenceStatus::Failed(_)),
        "job {n} ended with {status:?}, but what it ran in is gone"
    );
    Ok(())
}

/// Half of the groups have no slot when they are destroyed.
fn groups() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let count = gpu.cx.csif.csg_slot_count * 2;
    let (board, crowd) = crowd(&mut gpu, count, GROUP_PRIORITY_MEDIUM)?;
    board.all_go_on(&crowd, 2)?;
    for (n, busy) in crowd.into_iter().enumerate() {
        busy.goes_on()?;
        busy.group.destroy()?;
        failed(n, &busy.done)?;
    }
    let fresh = gpu.another_group(1)?;
    let store = gpu.store(0, 1);
    run_ok_on(&gpu.cx, &fresh, store.on(0))
}

/// Busy VMs, each in a file of its own, twice as many as slots.
fn busy_files(count: u32) -> Result<Vec<(Gpu, Board, Busy)>> {
    let mut all = Vec::new();
    for _ in 0..count {
        let mut gpu = Gpu::new(1)?;
        let (board, mut busy) = crowd(&mut gpu, 1, GROUP_PRIORITY_MEDIUM)?;
        let busy = busy.pop().context("no group")?;
        all.push((gpu, board, busy));
    }
    for (n, (_, board, busy)) in all.iter().enumerate() {
        board
            .all_go_on(std::slice::from_ref(busy), 2)
            .with_context(|| format!("VM {n}"))?;
    }
    Ok(all)
}

/// VMs go under their groups, of which half have no slot: the jobs fail, the groups are of no use any more.
fn vms() -> Result<()> {
    let mut other = Gpu::new(1)?;
    let all = busy_files(other.cx.csif.csg_slot_count * 2)?;
    for (n, (gpu, _, busy)) in all.iter().enumerate() {
        busy.goes_on().with_context(|| format!("VM {n}"))?;
        let id = gpu.cx.vm.id();
        gpu.cx.device.call(&mut VmDestroy { id, pad: 0 })?;
        failed(n, &busy.done)?;
        let store = other.store(0, 1);
        other
            .run_ok(store.on(0))
            .with_context(|| format!("after VM {n} went"))?;
    }
    Ok(())
}

/// Files are closed, as when processes die, while half of their groups have no slot.
fn files() -> Result<()> {
    let mut other = Gpu::new(1)?;
    let all = busy_files(other.cx.csif.csg_slot_count * 2)?;
    let mut ends = Vec::new();
    for (_, _, busy) in &all {
        let fd = busy.done.export()?;
        ends.push(guest::Syncobj::import(&other.cx.device, &fd)?);
    }
    for (n, (one, end)) in all.into_iter().zip(&ends).enumerate() {
        drop(one);
        failed(n, end)?;
        let store = other.store(0, 1);
        other
            .run_ok(store.on(0))
            .with_context(|| format!("after file {n} went"))?;
    }
    Ok(())
}
