// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Bad streams and dead processes: the owner sees an error, nobody else notices.

use anyhow::{ensure, Context, Result};
use guest::cs::{d, r, Builder};
use guest::ioctl::Errno;
use guest::sync::FenceStatus;
use guest::uapi::panthor::{GROUP_STATE_FATAL_FAULT, VM_BIND_OP_MAP_READONLY};
use guest::{Buffer, Syncobj};

use crate::cx::{refused, run_ok_on, Cx, Gpu, Tests, LS_MASK, TIMEOUT};
use crate::roles::{Holder, Runner, BLOCKED, LOOPING};

/// A GPU address where nothing is mapped.
const NOWHERE: u64 = 0x7_0000_0000;

pub(crate) fn tests(t: &mut Tests) {
    t.add("faults::jump_to_unmapped_memory", || fatal(jump_nowhere));
    t.add("faults::call_to_unmapped_memory", || fatal(call_nowhere));
    t.add("faults::illegal_instruction", || fatal(illegal));
    t.add("faults::load_from_unmapped_memory", || fatal(load_nowhere));
    t.add("faults::store_to_unmapped_memory", || fatal(store_nowhere));
    t.add("faults::stream_that_is_not_there", stream_nowhere);
    t.add("faults::store_to_read_only_memory", store_read_only);
    t.add("faults::store_to_memory_unmapped_since", store_unmapped);
    t.add("faults::jobs_behind_the_bad_one_fail_too", behind);
    t.add("faults::waiters_on_a_failed_job_go_on", waiters);
    t.add("faults::other_files_go_on", other_files);
    t.add("faults::many_times", many_times);
    t.add("faults::process_killed_while_blocked", || killed(BLOCKED));
    t.add("faults::process_killed_while_looping", || killed(LOOPING));
    t.add("faults::many_processes_killed", many_killed);
}

fn jump_nowhere(cs: &mut Builder, _va: u64) {
    cs.move48(d(0), NOWHERE).move32(r(2), 64).jump(d(0), r(2));
}

fn call_nowhere(cs: &mut Builder, _va: u64) {
    cs.move48(d(0), NOWHERE).move32(r(2), 64).call(d(0), r(2));
}

fn illegal(cs: &mut Builder, _va: u64) {
    // 0xff is the operation code of no instruction.
    cs.raw(0xff << 56);
}

fn load_nowhere(cs: &mut Builder, _va: u64) {
    cs.move48(d(0), NOWHERE).load32(r(2), d(0), 0).wait(LS_MASK);
}

fn store_nowhere(cs: &mut Builder, _va: u64) {
    cs.move48(d(0), NOWHERE)
        .store32(r(2), d(0), 0)
        .wait(LS_MASK);
}

/// Checks that a group is dead of a fault on queue 0.
fn is_dead(gpu: &Gpu) -> Result<()> {
    let state = gpu.group.state()?;
    ensure!(
        state.state & GROUP_STATE_FATAL_FAULT != 0 && state.fatal_queues & 1 != 0,
        "the group reports {state:?}"
    );
    refused(
        gpu.group.submit(&[guest::Job::sync_point(0)]),
        Errno::EINVAL,
    )
    .context("a submission to the dead group")?;
    refused(
        gpu.group.submit(&[guest::Job::sync_point(1)]),
        Errno::EINVAL,
    )
    .context("a submission to its other queue")
}

/// Runs a bad stream; its job must fail, its group be dead, and a new group in the same VM work.
fn fatal(stream: fn(&mut Builder, u64)) -> Result<()> {
    let mut gpu = Gpu::new(2)?;
    let good = gpu.store(0, 1);
    let bad = gpu.stream(stream);
    gpu.run_ok(good.on(0))
        .context("a good job before the bad one")?;
    let status = gpu.run(bad.on(0))?;
    ensure!(
        status == FenceStatus::Failed(Errno::EINVAL),
        "the bad job ended with {status:?}"
    );
    is_dead(&gpu)?;
    let fresh = gpu.another_group(1)?;
    let good = gpu.store(4, 2);
    run_ok_on(&gpu.cx, &fresh, good.on(0)).context("a new group in the same VM")?;
    ensure!(
        gpu.data.read::<u32>(4) == 2,
        "the new group's job left nothing"
    );
    Ok(())
}

fn stream_nowhere() -> Result<()> {
    let gpu = Gpu::new(2)?;
    let status = gpu.run(guest::Job::new(0, NOWHERE, 64))?;
    ensure!(
        status == FenceStatus::Failed(Errno::EINVAL),
        "the job ended with {status:?}"
    );
    is_dead(&gpu)
}

fn store_read_only() -> Result<()> {
    let mut gpu = Gpu::new(2)?;
    let buffer = Buffer::new(&gpu.cx.vm, 4096, VM_BIND_OP_MAP_READONLY)?;
    buffer.write(0, 0x600du32);
    let bad = gpu.store_at(buffer.va(), 0xbad);
    let status = gpu.run(bad.on(0))?;
    ensure!(
        status == FenceStatus::Failed(Errno::EINVAL),
        "the job ended with {status:?}"
    );
    let got: u32 = buffer.read(0);
    ensure!(got == 0x600d, "the read-only page now holds {got:#x}");
    is_dead(&gpu)
}

fn store_unmapped() -> Result<()> {
    let mut gpu = Gpu::new(2)?;
    let buffer = Buffer::new(&gpu.cx.vm, 4096, 0)?;
    let stream = gpu.store_at(buffer.va(), 1);
    gpu.run_ok(stream.on(0))?;
    gpu.cx.vm.unmap(buffer.va(), 4096)?;
    buffer.write(0, 0u32);
    let status = gpu.run(stream.on(0))?;
    ensure!(
        status == FenceStatus::Failed(Errno::EINVAL),
        "the job ended with {status:?}"
    );
    let got: u32 = buffer.read(0);
    ensure!(got == 0, "an unmapped page was written");
    is_dead(&gpu)
}

fn behind() -> Result<()> {
    let mut gpu = Gpu::new(2)?;
    let block = gpu.wait_for(0);
    let bad = gpu.stream(illegal);
    let good = gpu.store(128, 1);
    let release = gpu.release(0);
    let done = (0..4)
        .map(|_| gpu.cx.syncobj())
        .collect::<Result<Vec<_>>>()?;
    gpu.group.submit(&[
        block.on(0).sync(done[0].signal_op()),
        bad.on(0).sync(done[1].signal_op()),
        good.on(0).sync(done[2].signal_op()),
        good.on(0).sync(done[3].signal_op()),
    ])?;
    gpu.group.submit(&[release.on(1)])?;
    for object in &done {
        object.wait(TIMEOUT)?;
    }
    for (n, object) in done.iter().enumerate().skip(1) {
        let status = object.status()?;
        ensure!(
            matches!(status, FenceStatus::Failed(_)),
            "job {n} ended with {status:?}"
        );
    }
    let got: u32 = gpu.data.read(128);
    ensure!(got == 0, "a job ran behind a fatal one");
    is_dead(&gpu)
}

fn waiters() -> Result<()> {
    let mut gpu = Gpu::new(2)?;
    let mut other = Gpu::new(1)?;
    let bad = gpu.stream(illegal);
    let failed = gpu.cx.syncobj()?;
    gpu.group.submit(&[bad.on(0).sync(failed.signal_op())])?;
    let imported = Syncobj::import(&other.cx.device, &failed.export()?)?;
    let store = other.store(0, 1);
    other
        .run_ok(store.on(0).sync(imported.wait_op()))
        .context("a job that waited for the failed one")?;
    ensure!(other.data.read::<u32>(0) == 1, "the job did not run");
    Ok(())
}

fn other_files() -> Result<()> {
    let mut process = Runner::start()?;
    process.run(20).context("before the faults")?;
    for stream in [jump_nowhere, illegal, store_nowhere] {
        process.begin(60)?;
        let mut gpu = Gpu::new(1)?;
        let bad = gpu.stream(stream);
        let status = gpu.run(bad.on(0))?;
        ensure!(
            matches!(status, FenceStatus::Failed(_)),
            "the bad job ended with {status:?}"
        );
        process.end(60).context("during a fault")?;
    }
    process.run(20).context("after the faults")
}

fn many_times() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let kinds = [jump_nowhere, illegal, store_nowhere, load_nowhere];
    for n in 0..20 {
        let group = gpu.another_group(1)?;
        let bad = gpu.stream(kinds[n % kinds.len()]);
        let status = crate::cx::run_on(&gpu.cx, &group, bad.on(0))?;
        ensure!(
            matches!(status, FenceStatus::Failed(_)),
            "bad job {n} ended with {status:?}"
        );
    }
    let fresh = gpu.another_group(1)?;
    let good = gpu.store(0, 1);
    run_ok_on(&gpu.cx, &fresh, good.on(0))
}

fn killed(role: &str) -> Result<()> {
    let cx = Cx::new()?;
    let ended = cx.syncobj()?;
    let mut process = Runner::start()?;
    process.run(10)?;
    let holder = Holder::start(role, &ended)?;
    let status = ended.status()?;
    ensure!(
        status == FenceStatus::Active,
        "the endless job is {status:?}"
    );
    process.begin(60)?;
    holder.kill()?;
    ended
        .wait(TIMEOUT)
        .context("wait for the dead process's job")?;
    // Cancelled; or, since its memory goes away at the same time, a fault that came first.
    let status = ended.status()?;
    ensure!(
        matches!(status, FenceStatus::Failed(_)),
        "the dead process's job ended with {status:?}"
    );
    process.end(60).context("during the kill")?;
    process.run(10).context("after the kill")
}

fn many_killed() -> Result<()> {
    let cx = Cx::new()?;
    let mut process = Runner::start()?;
    for n in 0..6 {
        let ended = cx.syncobj()?;
        let role = [BLOCKED, LOOPING][n % 2];
        Holder::start(role, &ended)?.kill()?;
        ended
            .wait(TIMEOUT)
            .with_context(|| format!("dead process {n}"))?;
        process.run(10)?;
    }
    Ok(())
}
