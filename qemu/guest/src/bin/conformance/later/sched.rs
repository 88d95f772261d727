// SPDX-License-Identifier: GPL-2.0 OR MIT

//! More groups than slots, jobs that never end, a GPU that sleeps, fdinfo.

use std::fs;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use guest::cs::{r, Condition};
use guest::ioctl::Errno;
use guest::sync::FenceStatus;
use guest::uapi::panthor::{GROUP_STATE_FATAL_FAULT, GROUP_STATE_TIMEDOUT};

use crate::cx::{refused, run_ok_on, Gpu, Tests, TIMEOUT};
use crate::roles::Runner;

pub(crate) fn tests(t: &mut Tests) {
    t.add("later::slots::more_groups_than_slots", more_groups);
    t.add_not_for_c(
        "later::c_stalls::more_blocked_groups_than_slots",
        more_blocked,
    );
    t.add(
        "later::slots::endless_groups_share_the_slots",
        endless_share,
    );
    t.add("later::timeout::endless_job", endless_job);
    t.add("later::timeout::others_go_on", timeout_others);
    t.add("later::power::job_after_sleep", after_sleep);
    t.add("later::power::flush_id_while_asleep", flush_id_asleep);
    t.add("later::fdinfo", fdinfo);
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
        done.wait(TIMEOUT).with_context(|| format!("group {n}"))?;
        ensure!(done.status()? == FenceStatus::Signaled, "group {n} failed");
    }
    let got: Vec<u32> = gpu.data.cpu().read_all(0, count as usize);
    ensure!(got.into_iter().eq(1..=count), "not every group's job ran");
    Ok(())
}

/// Blocked groups must give up their slots: here the one that releases them all comes last.
///
/// When a group without a slot is unblocked just after the tick found nothing to do and stopped, the C driver makes
/// it runnable and leaves the tick off: its jobs end in a timeout.
fn more_blocked() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let count = gpu.cx.csif.csg_slot_count as usize * 2;
    let wait = gpu.wait_for(0);
    let release = gpu.release(0);
    let mut groups = Vec::new();
    for _ in 0..count {
        let (group, done) = (gpu.another_group(1)?, gpu.cx.syncobj()?);
        group.submit(&[wait.on(0).sync(done.signal_op())])?;
        groups.push((group, done));
    }
    gpu.run_ok(release.on(0))?;
    for (n, (_, done)) in groups.iter().enumerate() {
        done.wait(TIMEOUT).with_context(|| format!("group {n}"))?;
        ensure!(done.status()? == FenceStatus::Signaled, "group {n} failed");
    }
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

/// Runs an endless job until the kernel ends it.
fn time_out(gpu: &mut Gpu) -> Result<()> {
    let endless = gpu.stream(|cs, _| {
        let top = cs.here();
        cs.branch(Condition::Always, r(0), top);
    });
    let status = gpu.run(endless.on(0))?;
    ensure!(
        status == FenceStatus::Failed(Errno::ETIMEDOUT),
        "the endless job ended with {status:?}"
    );
    let state = gpu.group.state()?;
    ensure!(
        state.state & GROUP_STATE_TIMEDOUT != 0 && state.state & GROUP_STATE_FATAL_FAULT == 0,
        "the group reports {state:?}"
    );
    refused(
        gpu.group.submit(&[guest::Job::sync_point(0)]),
        Errno::EINVAL,
    )
}

fn endless_job() -> Result<()> {
    let mut gpu = Gpu::new(2)?;
    time_out(&mut gpu)?;
    let fresh = gpu.another_group(1)?;
    let stream = gpu.store(0, 1);
    run_ok_on(&gpu.cx, &fresh, stream.on(0))
}

fn timeout_others() -> Result<()> {
    let mut process = Runner::start()?;
    process.run(10)?;
    process.begin(300)?;
    time_out(&mut Gpu::new(1)?)?;
    process.end(300).context("during the timeout")?;
    process.run(10).context("after the timeout")
}

/// Waits until the kernel says that the GPU sleeps. There is no event for it.
fn wait_for_sleep(gpu: &Gpu) -> Result<()> {
    let node = gpu.cx.device.path();
    let name = node.file_name().context("the node has no name")?;
    let status = format!(
        "/sys/class/drm/{}/device/power/runtime_status",
        name.to_string_lossy()
    );
    let start = Instant::now();
    loop {
        let now = fs::read_to_string(&status).with_context(|| format!("read {status}"))?;
        if now.trim() == "suspended" {
            return Ok(());
        }
        ensure!(start.elapsed() < TIMEOUT, "the GPU stays {}", now.trim());
        thread::sleep(Duration::from_millis(5));
    }
}

fn after_sleep() -> Result<()> {
    let mut gpu = Gpu::new(2)?;
    for n in 1..=3 {
        let stream = gpu.store(0, n);
        gpu.run_ok(stream.on(n % 2))?;
        ensure!(gpu.data.read::<u32>(0) == n, "job {n} left nothing");
        wait_for_sleep(&gpu)?;
    }
    Ok(())
}

fn flush_id_asleep() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let page = gpu.cx.device.map_flush_id()?;
    let stream = gpu.store(0, 1);
    gpu.run_ok(stream.on(0))?;
    page.read();
    wait_for_sleep(&gpu)?;
    let id = page.read();
    ensure!(id != 0 && id & 0x7f00_0000 == 0, "the flush id is {id:#x}");
    let stream = gpu.store(4, 1);
    gpu.run_ok(stream.on(0).flush_id(id))
}

fn fdinfo() -> Result<()> {
    let gpu = Gpu::new(1)?;
    let path = format!("/proc/self/fdinfo/{}", gpu.cx.device.as_raw_fd());
    let text = fs::read_to_string(path)?;
    for key in [
        "drm-driver:\tpanthor",
        "drm-client-id:",
        "drm-maxfreq-panthor:",
        "drm-curfreq-panthor:",
        "panthor-resident-memory:",
        "panthor-active-memory:",
        "drm-total-memory:",
    ] {
        ensure!(text.contains(key), "fdinfo lacks {key:?}:\n{text}");
    }
    Ok(())
}
