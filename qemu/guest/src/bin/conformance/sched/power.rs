// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A GPU that sleeps when there is nothing to do.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use guest::cs::{d, Scope};
use guest::kernel::{sleeps, wait_for_sleep};
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
    let add = gpu.stream(|cs, va| {
        cs.move48(d(0), va)
            .move48(d(2), 1)
            .sync_add64(d(0), d(2), Scope::System);
    });
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
