// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Shader cores that others keep.

use std::thread;
use std::time::Instant;

use anyhow::{ensure, Context, Result};
use guest::cs::{d, r, Condition};
use guest::group::Stream;
use guest::kernel::{job_timeout, poll};
use guest::rig::{Gpu, LS_MASK, TIMEOUT};
use guest::sync::FenceStatus;
use guest::uapi::panthor::{GROUP_PRIORITY_HIGH, GROUP_PRIORITY_LOW};
use guest::{Group, GroupConfig, Syncobj};

use crate::bystander::Fate;
use crate::frame::{ends, so_far, state_names, wait_for, Frame, Line};
use crate::Tests;

/// Byte offset of the word that says how many steps may end.
const GATE: usize = 0;
/// Byte offset of the word that the less urgent job sets when it begins.
const BEGUN: usize = 64;
/// Byte offset of the word that it sets when it had the cores.
const SERVED: usize = 68;
/// Byte offset of the first urgent group's count of its turns on the cores; the next one's is a [`LINE`] behind it.
const TURNS: usize = 128;
/// Bytes from one count to the next.
const LINE: usize = 64;
/// The bit of the endpoint jobs' scoreboard slot in a WAIT.
const CORES_MASK: u8 = 1 << 1;
/// Groups that keep the cores: while one has them another waits, and the less urgent have to wait behind that one.
const URGENT: usize = 2;
/// How many steps the time is made of that a job may take.
const STEPS_IN_TIMEOUT: u32 = 16;
/// How many steps the urgent groups have, and so the less urgent one no core.
const STEPS: u32 = 3 * STEPS_IN_TIMEOUT;

pub(crate) fn tests(t: &mut Tests) {
    t.add("no_cores_for_longer_than_a_job_may_take", starved);
}

/// A group with as many jobs as there are steps, each of which takes turns on the cores until its step may end; their
/// fences are added to `fences`.
fn urgent(gpu: &mut Gpu, n: usize, fences: &mut Vec<Syncobj>) -> Result<Group> {
    let mut config = GroupConfig::queues(1);
    config.priority = GROUP_PRIORITY_HIGH;
    let group = gpu.group_like(&config)?;
    let mut jobs = Vec::new();
    for step in 1..=STEPS {
        let end = gpu.cx.syncobj()?;
        let turns = take_turns(gpu, step, (TURNS + n * LINE) as i16);
        jobs.push(turns.on(0).sync(end.signal_op()));
        fences.push(end);
    }
    group.submit(&jobs).context("submit the urgent jobs")?;
    Ok(group)
}

/// A stream that counts its turns on the cores until the word at [`GATE`] has come to `step`.
fn take_turns(gpu: &mut Gpu, step: u32, turns: i16) -> Stream {
    gpu.stream(|cs, va| {
        cs.move48(d(0), va);
        let again = cs.here();
        cs.run_compute()
            .wait(CORES_MASK)
            .load32(r(4), d(0), turns)
            .wait(LS_MASK)
            .add_imm32(r(4), r(4), 1)
            .store32(r(4), d(0), turns)
            .load32(r(2), d(0), GATE as i16)
            .wait(LS_MASK)
            .add_imm32(r(2), r(2), -(step as i32))
            .branch(Condition::Less, r(2), again);
    })
}

/// Waits until each urgent group has had the cores.
fn cores_are_kept(gpu: &Gpu) -> Result<()> {
    let turns = || -> Vec<u32> {
        let each = (0..URGENT).map(|n| gpu.data.read(TURNS + n * LINE));
        each.collect()
    };
    let all = poll(TIMEOUT, || Ok(turns().iter().all(|turns| *turns > 0)))?;
    ensure!(all, "the urgent groups had the cores {:?} times", turns());
    Ok(())
}

/// Puts a job on the hardware that wants the cores; it waits for them when this returns.
fn wait_for_cores(gpu: &mut Gpu) -> Result<Syncobj> {
    let job = gpu.stream(|cs, va| {
        cs.move48(d(0), va)
            .move32(r(2), 1)
            .store32(r(2), d(0), BEGUN as i16)
            .run_compute()
            .wait(CORES_MASK)
            .store32(r(2), d(0), SERVED as i16)
            .wait(LS_MASK);
    });
    let done = gpu.cx.syncobj()?;
    gpu.group
        .submit(&[job.on(0).sync(done.signal_op())])
        .context("submit the job that is to wait")?;
    let begun = poll(TIMEOUT, || Ok(gpu.data.read::<u32>(BEGUN) == 1))?;
    ensure!(begun, "the job that is to wait for cores does not begin");
    Ok(done)
}

/// A job that has a slot, and no core for longer than a job may take since more urgent ones keep them all, is not to
/// blame: it runs when there are cores for it. The C driver of Linux 7.3 ends it.
fn starved() -> Result<Line> {
    let frame = Frame::new()?;
    let mut config = GroupConfig::queues(1);
    config.priority = GROUP_PRIORITY_LOW;
    let mut gpu = Gpu::on(&frame.device, &config)?;
    let mut fences = Vec::new();
    let urgent = (0..URGENT)
        .map(|n| urgent(&mut gpu, n, &mut fences))
        .collect::<Result<Vec<_>>>()?;
    cores_are_kept(&gpu)?;
    fences.insert(0, wait_for_cores(&mut gpu)?);

    let (since, limit) = (Instant::now(), job_timeout(&frame.device));
    for step in 1..STEPS {
        // Time has to pass; it is what the test is about.
        thread::sleep(limit / STEPS_IN_TIMEOUT);
        gpu.data.write(GATE, step);
    }
    let (waited, early) = (since.elapsed(), fences[0].status()?);
    let served: u32 = gpu.data.read(SERVED);
    let struck = Instant::now();
    gpu.data.write(GATE, STEPS);

    let statuses = wait_for(&frame.device, &fences, frame.times.patience())?;
    let state = gpu.group.state()?;
    let mut line = Line {
        errors: ends(&statuses),
        bound: frame.times.at_once(),
        measured: struck.elapsed(),
        state: state_names(state),
        ..Line::default()
    };
    so_far(&line);
    ensure!(
        early == FenceStatus::Active,
        "the job that waits for cores is {early:?} after {waited:?}, a job may take {limit:?}"
    );
    ensure!(
        served == 0,
        "the job had cores that others should have kept"
    );
    for (n, status) in statuses.iter().enumerate() {
        ensure!(
            *status == FenceStatus::Signaled,
            "job {n} (0 is the one that waited for cores) ended with {status:?}"
        );
    }
    ensure!(
        state.state == 0,
        "the group whose job waited for cores, and ended well, reports {state:?}"
    );
    ensure!(
        gpu.data.read::<u32>(SERVED) == 1,
        "the job that waited for cores ended well and left nothing"
    );
    ensure!(
        line.measured <= line.bound,
        "it took {:?} from when there were cores to the end of all jobs; the bound is {:?}",
        line.measured,
        line.bound
    );
    drop((urgent, fences, gpu));
    frame.end(&mut line, Fate::Unharmed)?;
    Ok(line)
}
