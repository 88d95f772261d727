// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Jobs that take too long, and jobs that only seem to.

use std::thread;
use std::time::Instant;

use anyhow::{ensure, Context, Result};
use guest::cs::{d, r, Condition};
use guest::ioctl::Errno;
use guest::kernel::{job_timeout, poll};
use guest::sync::FenceStatus;
use guest::uapi::panthor::{
    GROUP_PRIORITY_HIGH, GROUP_PRIORITY_LOW, GROUP_STATE_FATAL_FAULT, GROUP_STATE_TIMEDOUT,
};
use guest::{Group, GroupConfig, Job};

use crate::cx::{refused, run_ok_on, run_on, Gpu, Tests, LS_MASK, TIMEOUT};
use crate::roles::Runner;

pub(super) fn tests(t: &mut Tests) {
    t.add("sched::timeout::endless_job", endless_job);
    t.add("sched::timeout::blocked_job", blocked_job);
    t.add("sched::timeout::others_go_on", others);
    t.add("sched::timeout::waiting_for_a_slot_does_not_count", waiting);
    t.add("sched::timeout::each_job_has_its_own_time", own_time);
}

/// Runs a job that does not end until the kernel ends it.
fn time_out(gpu: &mut Gpu, endless: Job) -> Result<()> {
    let status = gpu.run(endless)?;
    ensure!(
        status == FenceStatus::Failed(Errno::ETIMEDOUT),
        "the endless job ended with {status:?}"
    );
    let state = gpu.group.state()?;
    ensure!(
        state.state & GROUP_STATE_TIMEDOUT != 0 && state.state & GROUP_STATE_FATAL_FAULT == 0,
        "the group reports {state:?}"
    );
    refused(gpu.group.submit(&[Job::sync_point(0)]), Errno::EINVAL)
}

fn endless(gpu: &mut Gpu) -> Job {
    let stream = gpu.stream(|cs, _| {
        let top = cs.here();
        cs.branch(Condition::Always, r(0), top);
    });
    stream.on(0)
}

fn endless_job() -> Result<()> {
    let mut gpu = Gpu::new(2)?;
    let job = endless(&mut gpu);
    time_out(&mut gpu, job)?;
    let fresh = gpu.another_group(1)?;
    let stream = gpu.store(0, 1);
    run_ok_on(&gpu.cx, &fresh, stream.on(0))
}

/// A job that waits for what never comes has a limit too, though its group need not be on the GPU.
fn blocked_job() -> Result<()> {
    let mut gpu = Gpu::new(2)?;
    let job = gpu.wait_for(0).on(0);
    time_out(&mut gpu, job)?;
    let fresh = gpu.another_group(1)?;
    let stream = gpu.store(64, 1);
    run_ok_on(&gpu.cx, &fresh, stream.on(0))
}

fn others() -> Result<()> {
    let mut process = Runner::start()?;
    process.run(10)?;
    process.begin(300)?;
    let mut gpu = Gpu::new(1)?;
    let job = endless(&mut gpu);
    time_out(&mut gpu, job)?;
    process.end(300).context("during the timeout")?;
    process.run(10).context("after the timeout")
}

/// Byte offset of the word that says how many steps may end.
const GATE: usize = 0;
/// Byte offset of the word that a job sets when it begins.
const BEGUN: usize = 128;
/// Steps that last somewhat less than twice the timeout together.
const STEPS: u32 = 6;

/// A stream that ends when the word at [`GATE`] has come to `step`.
fn step(gpu: &mut Gpu, step: u32) -> guest::group::Stream {
    gpu.stream(|cs, va| {
        cs.move48(d(0), va + GATE as u64);
        let top = cs.here();
        cs.load32(r(2), d(0), 0)
            .wait(LS_MASK)
            .add_imm32(r(2), r(2), -(step as i32))
            .branch(Condition::Less, r(2), top);
    })
}

/// Lets one step after the other end; no step is on the GPU for longer than a third of the timeout.
fn open_gates(gpu: &Gpu) -> u128 {
    let begin = Instant::now();
    let pause = job_timeout(&gpu.cx.device) / 3;
    for n in 1..=STEPS {
        // Time has to pass; it is what the test is about.
        thread::sleep(pause);
        gpu.data.write(GATE, n);
    }
    begin.elapsed().as_millis()
}

/// A group that waits for a slot for longer than a job may take runs its job all the same.
fn waiting() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let steps: Vec<_> = (1..=STEPS).map(|n| step(&mut gpu, n)).collect();
    let mut config = GroupConfig::queues(1);
    config.priority = GROUP_PRIORITY_LOW;
    // This one has begun when its slot is taken.
    let (evicted, evicted_done) = (gpu.group_like(&config)?, gpu.cx.syncobj()?);
    let long = gpu.stream(|cs, va| {
        cs.move48(d(0), va + BEGUN as u64)
            .move32(r(2), 1)
            .store32(r(2), d(0), 0);
    });
    let rest = step(&mut gpu, STEPS + 1);
    evicted.submit(&[long.on(0), rest.on(0).sync(evicted_done.signal_op())])?;
    let begun = poll(TIMEOUT, || Ok(gpu.data.read::<u32>(BEGUN) == 1))?;
    ensure!(begun, "the low group does not begin");
    config.priority = GROUP_PRIORITY_HIGH;
    // Each has all slots' worth of work until the last gate opens.
    let busy: Vec<(Group, guest::Syncobj)> = (0..gpu.cx.csif.csg_slot_count)
        .map(|_| {
            let (group, done) = (gpu.group_like(&config)?, gpu.cx.syncobj()?);
            let jobs: Vec<Job> = steps
                .iter()
                .map(|s| s.on(0).sync(done.signal_op()))
                .collect();
            group.submit(&jobs)?;
            Ok((group, done))
        })
        .collect::<Result<_>>()?;

    config.priority = GROUP_PRIORITY_LOW;
    let (low, done) = (gpu.group_like(&config)?, gpu.cx.syncobj()?);
    let store = gpu.store(64, 1);
    low.submit(&[store.on(0).sync(done.signal_op())])?;
    let waited = open_gates(&gpu);
    let limit = job_timeout(&gpu.cx.device).as_millis();
    ensure!(waited > limit, "the gates took {waited} ms of {limit}");
    for (n, (group, done)) in busy.iter().enumerate() {
        done.wait(TIMEOUT)?;
        let status = done.status()?;
        ensure!(
            status == FenceStatus::Signaled,
            "the last job of high group {n} ended with {status:?}, it reports {:?}",
            group.state()
        );
    }
    done.wait(TIMEOUT)?;
    let status = done.status()?;
    ensure!(
        status == FenceStatus::Signaled && gpu.data.read::<u32>(64) == 1,
        "the job that waited for a slot ended with {status:?}, its group reports {:?}",
        low.state()
    );
    gpu.data.write(GATE, STEPS + 1);
    evicted_done.wait(TIMEOUT)?;
    let status = evicted_done.status()?;
    ensure!(
        status == FenceStatus::Signaled,
        "the job whose slot was taken ended with {status:?}, its group reports {:?}",
        evicted.state()
    );
    Ok(())
}

/// A queue may be busy for longer than a job may take, if each job ends in time.
fn own_time() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let steps: Vec<_> = (1..=STEPS).map(|n| step(&mut gpu, n)).collect();
    let done = gpu.cx.syncobj()?;
    let jobs: Vec<Job> = steps
        .iter()
        .map(|s| s.on(0).sync(done.signal_op()))
        .collect();
    gpu.group.submit(&jobs)?;
    open_gates(&gpu);
    done.wait(TIMEOUT)?;
    let status = done.status()?;
    ensure!(
        status == FenceStatus::Signaled,
        "the last job ended with {status:?}, the group reports {:?}",
        gpu.group.state()
    );
    // And the next one has a limit again.
    let job = endless(&mut gpu);
    let status = run_on(&gpu.cx, &gpu.group, job)?;
    ensure!(
        status == FenceStatus::Failed(Errno::ETIMEDOUT),
        "an endless job behind them ended with {status:?}"
    );
    Ok(())
}
