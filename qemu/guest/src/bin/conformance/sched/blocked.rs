// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Groups that wait for a sync object in memory leave their slots, and are woken.
//!
//! When a group without a slot is unblocked just after the tick found nothing to do and stopped, the C driver makes
//! it runnable and leaves the tick off: its jobs end in a timeout. So tests with more blocked groups than slots are not
//! for it, unless others keep the tick going.

use anyhow::{ensure, Context, Result};
use guest::cs::{d, Scope};
use guest::sync::FenceStatus;
use guest::uapi::panthor::{GROUP_PRIORITY_LOW, GROUP_PRIORITY_MEDIUM};
use guest::{Group, GroupConfig, Syncobj};

use super::crowd::crowd;
use crate::cx::{ends_well, run_ok_on, Gpu, Tests, TIMEOUT};

/// Bytes between two sync objects.
const LINE: u64 = 64;

pub(super) fn tests(t: &mut Tests) {
    t.add_not_for_c(
        "sched::c_stalls::more_blocked_groups_than_slots",
        more_blocked,
    );
    t.add_not_for_c("sched::c_stalls::woken_one_by_one", one_by_one);
    t.add_not_for_c("sched::c_stalls::woken_by_each_other", chain);
    t.add_not_for_c(
        "sched::c_stalls::less_urgent_ones_get_the_slots",
        less_urgent,
    );
    t.add("sched::blocked::others_get_the_slots", others);
    t.add("sched::blocked::woken_among_busy_groups", among_busy);
    t.add("sched::blocked::destroyed_while_blocked", destroyed);
}

/// A group with a job that waits for the sync object at `offset` of the data buffer.
fn blocked(gpu: &mut Gpu, offset: u64) -> Result<(Group, Syncobj)> {
    let wait = gpu.wait_for(offset);
    let (group, done) = (gpu.another_group(1)?, gpu.cx.syncobj()?);
    group.submit(&[wait.on(0).sync(done.signal_op())])?;
    Ok((group, done))
}

fn waits(done: &Syncobj) -> Result<()> {
    let status = done.status()?;
    ensure!(
        status == FenceStatus::Active,
        "the blocked job is {status:?}"
    );
    Ok(())
}

fn all_end(groups: &[(Group, Syncobj)]) -> Result<()> {
    for (n, (group, done)) in groups.iter().enumerate() {
        ends_well(group, done).with_context(|| format!("group {n}"))?;
    }
    Ok(())
}

/// The one that releases them all comes last.
fn more_blocked() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let count = gpu.cx.csif.csg_slot_count * 2;
    let groups = (0..count)
        .map(|_| blocked(&mut gpu, 0))
        .collect::<Result<Vec<_>>>()?;
    let release = gpu.release(0);
    gpu.run_ok(release.on(0))?;
    all_end(&groups)
}

/// Each waits for an object of its own; they are released last come first served, and none before its turn.
fn one_by_one() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let count = gpu.cx.csif.csg_slot_count * 2;
    let mut groups = (0..u64::from(count))
        .map(|n| blocked(&mut gpu, n * LINE))
        .collect::<Result<Vec<_>>>()?;
    while let Some(last) = groups.pop() {
        waits(&last.1)?;
        let release = gpu.release(groups.len() as u64 * LINE);
        gpu.run_ok(release.on(0))?;
        all_end(&[last])?;
        groups.iter().try_for_each(|(_, done)| waits(done))?;
    }
    Ok(())
}

/// Each group but the first waits for the one before it, so only one at a time can run; the last came first.
fn chain() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let count = u64::from(gpu.cx.csif.csg_slot_count) * 3;
    let mut groups = Vec::new();
    for n in (0..count).rev() {
        let pass_on = gpu.stream(|cs, va| {
            cs.move48(d(0), va + n * LINE)
                .move48(d(2), 0)
                .sync_wait64_gt(d(0), d(2))
                .move48(d(0), va + (n + 1) * LINE)
                .move48(d(2), 1)
                .sync_set64(d(0), d(2), Scope::System);
        });
        let (group, done) = (gpu.another_group(1)?, gpu.cx.syncobj()?);
        group.submit(&[pass_on.on(0).sync(done.signal_op())])?;
        groups.push((group, done));
    }
    let first = gpu.release(0);
    gpu.run_ok(first.on(0))?;
    all_end(&groups)?;
    let end: u64 = gpu.data.read((count * LINE) as usize);
    ensure!(end == 1, "the chain did not come to its end");
    Ok(())
}

/// As many blocked groups as slots; one more group runs its jobs all the same.
fn others() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let count = gpu.cx.csif.csg_slot_count;
    let groups = (0..count)
        .map(|_| blocked(&mut gpu, 0))
        .collect::<Result<Vec<_>>>()?;
    for n in 1..=3 {
        let store = gpu.store(1024, n);
        gpu.run_ok(store.on(0))
            .with_context(|| format!("job {n}"))?;
        ensure!(gpu.data.read::<u32>(1024) == n, "job {n} left nothing");
    }
    groups.iter().try_for_each(|(_, done)| waits(done))
}

/// As many groups as slots that do nothing, be it that they wait or that they have no jobs: a less urgent one runs.
fn less_urgent() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let count = gpu.cx.csif.csg_slot_count;
    let mut config = GroupConfig::queues(1);
    config.priority = GROUP_PRIORITY_LOW;
    let store = gpu.store(1024, 1);
    let run_low = |gpu: &Gpu, what: &str| -> Result<()> {
        let low = gpu.group_like(&config)?;
        gpu.data.write(1024, 0u32);
        run_ok_on(&gpu.cx, &low, store.on(0)).with_context(|| format!("beside {what}"))?;
        ensure!(gpu.data.read::<u32>(1024) == 1, "its job left nothing");
        Ok(())
    };
    let groups = (0..count)
        .map(|_| blocked(&mut gpu, 0))
        .collect::<Result<Vec<_>>>()?;
    run_low(&gpu, "groups that wait")?;
    groups.iter().try_for_each(|(_, done)| waits(done))?;
    let release = gpu.release(0);
    gpu.run_ok(release.on(0))?;
    all_end(&groups)?;
    run_low(&gpu, "groups without jobs")
}

/// More busy groups than slots keep the tick going; blocked ones are woken among them.
fn among_busy() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let slots = gpu.cx.csif.csg_slot_count;
    let (board, crowd) = crowd(&mut gpu, slots + slots / 2, GROUP_PRIORITY_MEDIUM)?;
    let groups = (0..slots)
        .map(|_| blocked(&mut gpu, 0))
        .collect::<Result<Vec<_>>>()?;
    board.all_go_on(&crowd, 3)?;
    groups.iter().try_for_each(|(_, done)| waits(done))?;
    let release = gpu.release(0);
    gpu.run_ok(release.on(0))?;
    all_end(&groups)?;
    crowd.iter().try_for_each(|busy| busy.goes_on())?;
    board.end(&crowd)
}

/// Blocked groups, with and without a slot, are destroyed; their jobs end, and others go on.
fn destroyed() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let count = gpu.cx.csif.csg_slot_count * 2;
    let groups = (0..count)
        .map(|_| blocked(&mut gpu, 0))
        .collect::<Result<Vec<_>>>()?;
    let store = gpu.store(1024, 1);
    gpu.run_ok(store.on(0))?;
    for (n, (group, done)) in groups.into_iter().enumerate() {
        waits(&done)?;
        group.destroy()?;
        done.wait(TIMEOUT).with_context(|| format!("group {n}"))?;
        let status = done.status()?;
        ensure!(
            matches!(status, FenceStatus::Failed(_)),
            "the job of the destroyed group {n} ended with {status:?}"
        );
    }
    let fresh = gpu.another_group(1)?;
    run_ok_on(&gpu.cx, &fresh, store.on(0))
}
