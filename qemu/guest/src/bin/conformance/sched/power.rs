// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A GPU that sleeps when there is nothing to do, or with the whole system.
//!
//! When the system goes to sleep while groups are busy, the C driver lets it and counts the groups as idle ones: those
//! for which there is no slot afterwards never get one again.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use guest::cs::{d, Scope};
use guest::group::Stream;
use guest::kernel::{
    can_practise_sleep, poll, practise_sleep, sleeps, sysfs, wait_for_sleep, Awake,
};
use guest::sync::FenceStatus;
use guest::uapi::panthor::GROUP_PRIORITY_MEDIUM;
use guest::{GroupConfig, Job};

use super::crowd::crowd;
use crate::cx::{Gpu, Tests, TIMEOUT};

/// An idle GPU sleeps within this time; it is set to do so after 50 ms.
pub(super) const SOON: Duration = Duration::from_secs(10);

pub(super) fn tests(t: &mut Tests) {
    t.add("sched::power::job_after_sleep", after_sleep);
    t.add("sched::power::flush_id_while_asleep", flush_id_asleep);
    t.add("sched::power::rings_survive_sleep", rings);
    t.add("sched::power::no_sleep_with_jobs", no_sleep);
    t.add("sched::power::new_group_while_asleep", new_group);
    let practice = can_practise_sleep();
    t.add_if(
        practice,
        "sched::power::rings_survive_the_systems_sleep",
        system_sleep,
    );
    t.add_if(
        practice && !t.on_c_driver(),
        "sched::c_stalls::the_system_is_to_sleep_while_groups_wait_for_a_slot",
        system_sleep_with_jobs,
    );
}

/// A stream that adds one to the word at the beginning of the data buffer.
fn counter(gpu: &mut Gpu) -> Stream {
    gpu.stream(|cs, va| {
        cs.move48(d(0), va)
            .move48(d(2), 1)
            .sync_add64(d(0), d(2), Scope::System);
    })
}

fn after_sleep() -> Result<()> {
    let mut gpu = Gpu::new(2)?;
    for n in 1..=3 {
        let stream = gpu.store(0, n);
        gpu.run_ok(stream.on(n % 2))?;
        ensure!(gpu.data.read::<u32>(0) == n, "job {n} left nothing");
        wait_for_sleep(&gpu.cx.device, SOON)?;
    }
    Ok(())
}

fn flush_id_asleep() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let page = gpu.cx.device.map_flush_id()?;
    let stream = gpu.store(0, 1);
    gpu.run_ok(stream.on(0))?;
    page.read();
    wait_for_sleep(&gpu.cx.device, SOON)?;
    let id = page.read();
    ensure!(id != 0 && id & 0x7f00_0000 == 0, "the flush id is {id:#x}");
    let stream = gpu.store(4, 1);
    gpu.run_ok(stream.on(0).flush_id(id))
}

/// Rings that are somewhere in the middle, of more groups than slots, go on where they were.
fn rings() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let count = gpu.cx.csif.csg_slot_count * 2;
    let mut config = GroupConfig::queues(2);
    // The smallest ring: it goes round between two sleeps.
    for queue in &mut config.queues {
        queue.ringbuf_size = 4096;
    }
    let groups = (0..count)
        .map(|_| gpu.group_like(&config))
        .collect::<Result<Vec<_>>>()?;
    let add = counter(&mut gpu);
    let mut want = 0u64;
    for (round, jobs) in [1, 13, 31, 7].into_iter().enumerate() {
        let mut ends = Vec::new();
        for group in &groups {
            for queue in 0..2 {
                let done = gpu.cx.syncobj()?;
                let mut batch: Vec<Job> = (0..jobs).map(|_| add.on(queue)).collect();
                batch.push(add.on(queue).sync(done.signal_op()));
                want += batch.len() as u64;
                group.submit(&batch)?;
                ends.push(done);
            }
        }
        for done in &ends {
            done.wait(TIMEOUT)
                .with_context(|| format!("round {round}"))?;
            let status = done.status()?;
            ensure!(
                status == FenceStatus::Signaled,
                "round {round}: a job ended with {status:?}"
            );
        }
        let got: u64 = gpu.data.read(0);
        ensure!(got == want, "round {round}: {got} jobs ran of {want}");
        wait_for_sleep(&gpu.cx.device, SOON).with_context(|| format!("after round {round}"))?;
    }
    Ok(())
}

/// The GPU does not sleep while a job runs, and does when it has ended.
fn no_sleep() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let (board, crowd) = crowd(&mut gpu, 1, GROUP_PRIORITY_MEDIUM)?;
    // Longer than the 50 ms after which an idle GPU is put to sleep.
    let begin = std::time::Instant::now();
    while begin.elapsed().as_millis() < 300 {
        board.all_go_on(&crowd, 1)?;
        ensure!(!sleeps(&gpu.cx.device)?, "the GPU sleeps while a job runs");
    }
    board.end(&crowd)?;
    wait_for_sleep(&gpu.cx.device, SOON)
}

/// Groups made while the GPU sleeps work, and groups made before it slept can be destroyed then.
fn new_group() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let store = gpu.store(0, 1);
    gpu.run_ok(store.on(0))?;
    let old = gpu.another_group(1)?;
    guest::rig::run_ok_on(&gpu.cx, &old, store.on(0))?;
    wait_for_sleep(&gpu.cx.device, SOON)?;
    old.destroy()?;
    let fresh = gpu.another_group(1)?;
    gpu.data.write(0, 0u32);
    guest::rig::run_ok_on(&gpu.cx, &fresh, store.on(0))?;
    ensure!(gpu.data.read::<u32>(0) == 1, "the job left nothing");
    Ok(())
}

/// The system sleeps, and the GPU with it, which would have stayed awake; groups on the hardware and off it go on.
fn system_sleep() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let _awake = Awake::keep(&gpu.cx.device)?;
    let groups = (0..gpu.cx.csif.csg_slot_count * 2)
        .map(|_| gpu.another_group(1))
        .collect::<Result<Vec<_>>>()?;
    let add = counter(&mut gpu);
    let mut want = 0u64;
    for round in 0..3 {
        for (n, group) in groups.iter().enumerate() {
            guest::rig::run_ok_on(&gpu.cx, group, add.on(0))
                .with_context(|| format!("round {round}, group {n}"))?;
            want += 1;
        }
        let got: u64 = gpu.data.read(0);
        ensure!(got == want, "round {round}: {got} jobs ran of {want}");
        ensure!(!sleeps(&gpu.cx.device)?, "the GPU does not stay awake");
        // What the last job used may still be in use when its fence has signalled.
        let mut refused = None;
        let slept = poll(TIMEOUT, || {
            refused = practise_sleep()?;
            Ok(refused.is_none())
        })?;
        ensure!(slept, "{refused:?} refuses to sleep, without any job");
    }
    Ok(())
}

/// The system is to sleep while groups with jobs wait for a slot. Whether it does or the driver refuses, they go on.
fn system_sleep_with_jobs() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let own = sysfs(&gpu.cx.device)?;
    let own = own.file_name().context("the device has no name")?;
    let count = gpu.cx.csif.csg_slot_count * 2;
    let (board, crowd) = crowd(&mut gpu, count, GROUP_PRIORITY_MEDIUM)?;
    board.all_go_on(&crowd, 1)?;
    for round in 0..3 {
        if let Some(other) = practise_sleep()?.filter(|name| own != name.as_str()) {
            anyhow::bail!("{other} refuses to sleep, which has nothing to do with the GPU");
        }
        board
            .all_go_on(&crowd, 2)
            .with_context(|| format!("round {round}"))?;
        let store = gpu.store(0, round + 1);
        gpu.run_ok(store.on(0))
            .with_context(|| format!("a job after round {round}"))?;
    }
    board.end(&crowd)?;
    wait_for_sleep(&gpu.cx.device, SOON)
}
