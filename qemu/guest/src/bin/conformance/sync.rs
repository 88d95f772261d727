// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Sync objects and timelines as waits and signals of jobs.

use anyhow::{ensure, Context, Result};
use guest::cs::Builder;
use guest::ioctl::Errno;
use guest::sync::FenceStatus;
use guest::{Job, Syncobj};
use std::time::Duration;

use crate::cx::{refused, run_ok_on, Gpu, Tests, TIMEOUT};

pub(crate) fn tests(t: &mut Tests) {
    t.add("sync::signal_makes_a_fence_at_once", fence_at_once);
    t.add("sync::wait_orders_two_queues", wait_orders);
    t.add("sync::wait_within_one_submission", within_submission);
    t.add("sync::wait_orders_two_files", two_files);
    t.add("sync::refuses_wait_without_a_fence", no_fence);
    t.add("sync::refuses_wait_for_a_point_not_submitted", no_point);
    t.add("sync::refuses_wait_on_what_a_later_job_signals", later_job);
    t.add("sync::timeline_points", timeline);
    t.add("sync::timeline_point_0_is_the_binary_fence", point_0);
    t.add("sync::earlier_point_of_a_timeline", earlier_point);
    t.add("sync::point_signalled_by_the_cpu", cpu_point);
    t.add("sync::one_job_many_signals", many_signals);
    t.add("sync::one_job_many_waits", many_waits);
    t.add("sync::last_signal_wins", last_signal);
    t.add("sync::same_object_waited_and_signalled", wait_and_signal);
    t.add("sync::destroyed_while_in_use", destroyed);
    t.add_not_for_c("c_oopses::signal_of_a_destroyed_syncobj", destroyed_before);
    t.add("sync::reset_while_in_use", reset);
    t.add("sync::timed_wait_ends", timed_wait);
    t.add("sync::empty_job_carries_waits", empty_job);
}

/// A group with a queue (0) whose job is blocked, and what releases it from queue 1.
struct Blocked {
    gpu: Gpu,
    release: guest::group::Stream,
}

impl Blocked {
    /// Submits the blocked job with the given sync operations.
    fn new(syncs: impl FnOnce(&Gpu) -> Result<Vec<guest::uapi::panthor::SyncOp>>) -> Result<Self> {
        let mut gpu = Gpu::new(4)?;
        let wait = gpu.wait_for(0);
        let release = gpu.release(0);
        let mut job = wait.on(0);
        job.syncs = syncs(&gpu)?;
        gpu.group.submit(&[job])?;
        Ok(Self { gpu, release })
    }

    /// Lets the blocked job end.
    fn release(&self) -> Result<()> {
        self.gpu.run_ok(self.release.on(1))
    }
}

fn active(done: &Syncobj) -> Result<()> {
    let status = done.status()?;
    ensure!(status == FenceStatus::Active, "the fence is {status:?}");
    Ok(())
}

fn signaled(done: &Syncobj) -> Result<()> {
    done.wait(TIMEOUT)?;
    let status = done.status()?;
    ensure!(status == FenceStatus::Signaled, "the fence is {status:?}");
    Ok(())
}

fn fence_at_once() -> Result<()> {
    let mut done = None;
    let blocked = Blocked::new(|gpu| {
        let object = gpu.cx.syncobj()?;
        let op = object.signal_op();
        done = Some(object);
        Ok(vec![op])
    })?;
    let done = done.context("no sync object")?;
    active(&done)?;
    blocked.release()?;
    signaled(&done)
}

fn wait_orders() -> Result<()> {
    let mut first = None;
    let mut b = Blocked::new(|gpu| {
        let object = gpu.cx.syncobj()?;
        let op = object.signal_op();
        first = Some(object);
        Ok(vec![op])
    })?;
    let first = first.context("no sync object")?;
    let second = b.gpu.cx.syncobj()?;
    let store = b.gpu.store(128, 1);
    b.gpu
        .group
        .submit(&[store.on(2).sync(first.wait_op()).sync(second.signal_op())])?;
    // What else runs on the GPU shows that there was time for it.
    let other = b.gpu.store(192, 2);
    b.gpu.run_ok(other.on(3))?;
    ensure!(b.gpu.data.read::<u32>(128) == 0, "the job did not wait");
    active(&second)?;
    b.release()?;
    signaled(&second)?;
    ensure!(b.gpu.data.read::<u32>(128) == 1, "the job did not run");
    Ok(())
}

fn within_submission() -> Result<()> {
    let mut gpu = Gpu::new(4)?;
    let link = gpu.cx.syncobj()?;
    let done = gpu.cx.syncobj()?;
    let copy = |from: i16, to: i16| {
        move |cs: &mut Builder, va: u64| {
            use guest::cs::{d, r};
            cs.move48(d(0), va)
                .load32(r(2), d(0), from)
                .wait(crate::cx::LS_MASK)
                .add_imm32(r(2), r(2), 1)
                .store32(r(2), d(0), to)
                .wait(crate::cx::LS_MASK);
        }
    };
    let streams = [
        gpu.stream(copy(0, 4)),
        gpu.stream(copy(4, 8)),
        gpu.stream(copy(8, 12)),
    ];
    gpu.data.write(0, 10u32);
    gpu.group.submit(&[
        streams[0].on(0).sync(link.signal_op()),
        // The same object, again and again: each wait means the signal before it.
        streams[1].on(1).sync(link.wait_op()).sync(link.signal_op()),
        streams[2].on(2).sync(link.wait_op()).sync(done.signal_op()),
    ])?;
    signaled(&done)?;
    let got: u32 = gpu.data.read(12);
    ensure!(got == 13, "the chain made {got}");
    Ok(())
}

fn two_files() -> Result<()> {
    let mut first = None;
    let blocked = Blocked::new(|gpu| {
        let object = gpu.cx.syncobj()?;
        let op = object.signal_op();
        first = Some(object);
        Ok(vec![op])
    })?;
    let first = first.context("no sync object")?;
    let mut other = Gpu::new(1)?;
    let imported = Syncobj::import(&other.cx.device, &first.export()?)?;
    let done = other.cx.syncobj()?;
    let store = other.store(0, 1);
    other
        .group
        .submit(&[store.on(0).sync(imported.wait_op()).sync(done.signal_op())])?;
    active(&done)?;
    ensure!(other.data.read::<u32>(0) == 0, "the job did not wait");
    blocked.release()?;
    signaled(&done)?;
    ensure!(other.data.read::<u32>(0) == 1, "the job did not run");
    Ok(())
}

fn no_fence() -> Result<()> {
    let gpu = Gpu::new(1)?;
    let empty = gpu.cx.syncobj()?;
    let job = Job::sync_point(0).sync(empty.wait_op());
    refused(gpu.group.submit(&[job]), Errno::EINVAL)
}

fn no_point() -> Result<()> {
    let gpu = Gpu::new(1)?;
    let timeline = gpu.cx.syncobj()?;
    let wait = |point| Job::sync_point(0).sync(timeline.wait_point_op(point));
    refused(gpu.group.submit(&[wait(1)]), Errno::EINVAL)?;
    gpu.group
        .submit(&[Job::sync_point(0).sync(timeline.signal_point_op(3))])?;
    gpu.group.submit(&[wait(3)])?;
    refused(gpu.group.submit(&[wait(4)]), Errno::EINVAL)
}

fn later_job() -> Result<()> {
    let gpu = Gpu::new(2)?;
    let link = gpu.cx.syncobj()?;
    // Signals of the whole submission are collected first, but a wait can only mean an earlier one, or a fence
    // that is there already.
    link.signal()?;
    gpu.group.submit(&[
        Job::sync_point(0).sync(link.wait_op()),
        Job::sync_point(1).sync(link.signal_op()),
    ])?;
    signaled(&link)
}

fn timeline() -> Result<()> {
    const POINTS: u64 = 30;
    let mut gpu = Gpu::new(3)?;
    let timeline = gpu.cx.syncobj()?;
    for point in 1..=POINTS {
        let stream = gpu.store(point * 4, point as u32);
        let job = stream
            .on((point % 3) as u32)
            .sync(timeline.signal_point_op(point));
        gpu.group.submit(&[match point {
            1 => job,
            _ => job.sync(timeline.wait_point_op(point - 1)),
        }])?;
    }
    for point in [5, POINTS] {
        timeline.wait_point(point, TIMEOUT)?;
        let status = timeline.point_status(point)?;
        ensure!(
            status == FenceStatus::Signaled,
            "point {point} is {status:?}"
        );
        let got: u32 = gpu.data.read(point as usize * 4);
        ensure!(got == point as u32, "job {point} left {got}");
    }
    let last = timeline.query()?;
    ensure!(last == POINTS, "the timeline is at {last}");
    Ok(())
}

fn point_0() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let object = gpu.cx.syncobj()?;
    let stream = gpu.store(0, 1);
    gpu.group
        .submit(&[stream.on(0).sync(object.signal_point_op(0))])?;
    signaled(&object)?;
    gpu.group
        .submit(&[Job::sync_point(0).sync(object.wait_point_op(0))])?;
    Ok(())
}

fn earlier_point() -> Result<()> {
    let mut gpu = Gpu::new(2)?;
    let timeline = gpu.cx.syncobj()?;
    timeline.signal_point(10)?;
    let stream = gpu.store(0, 1);
    let job = stream.on(0).sync(timeline.wait_point_op(7));
    gpu.run_ok(job).context("a point below one that has passed")
}

fn cpu_point() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let timeline = gpu.cx.syncobj()?;
    timeline.signal_point(1)?;
    let stream = gpu.store(0, 1);
    gpu.group.submit(&[stream
        .on(0)
        .sync(timeline.wait_point_op(1))
        .sync(timeline.signal_point_op(2))])?;
    timeline.wait_point(2, TIMEOUT)?;
    ensure!(timeline.query()? == 2, "the timeline did not go on");
    Ok(())
}

fn many_signals() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let objects = (0..50)
        .map(|_| gpu.cx.syncobj())
        .collect::<Result<Vec<_>>>()?;
    let timeline = gpu.cx.syncobj()?;
    let stream = gpu.store(0, 1);
    let mut job = stream.on(0).sync(timeline.signal_point_op(5));
    job.syncs.extend(objects.iter().map(Syncobj::signal_op));
    gpu.group.submit(&[job])?;
    objects.iter().try_for_each(signaled)?;
    timeline.wait_point(5, TIMEOUT)?;
    Ok(())
}

fn many_waits() -> Result<()> {
    let mut gpu = Gpu::new(4)?;
    let mut objects = Vec::new();
    for n in 0..40 {
        let object = gpu.cx.syncobj()?;
        let stream = gpu.store(4 * n, 1);
        gpu.group
            .submit(&[stream.on(n as u32 % 3).sync(object.signal_op())])?;
        objects.push(object);
    }
    let last = gpu.store(400, 2);
    let mut job = last.on(3);
    job.syncs.extend(objects.iter().map(Syncobj::wait_op));
    gpu.run_ok(job)?;
    let got: Vec<u32> = gpu.data.cpu().read_all(0, 40);
    ensure!(
        got.iter().all(|v| *v == 1),
        "the job came before those it waited for"
    );
    objects.iter().try_for_each(signaled)
}

fn last_signal() -> Result<()> {
    let mut first = None;
    let mut b = Blocked::new(|gpu| {
        let object = gpu.cx.syncobj()?;
        let op = object.signal_op();
        first = Some(object);
        Ok(vec![op])
    })?;
    let object = first.context("no sync object")?;
    active(&object)?;
    let quick = b.gpu.store(64, 1);
    b.gpu
        .group
        .submit(&[quick.on(2).sync(object.signal_op())])?;
    signaled(&object)?;
    b.release()
}

fn wait_and_signal() -> Result<()> {
    let mut gpu = Gpu::new(2)?;
    let object = gpu.cx.syncobj()?;
    object.signal()?;
    let stream = gpu.stream(|cs, va| {
        use guest::cs::{d, Scope};
        cs.move48(d(0), va)
            .move48(d(2), 1)
            .sync_add64(d(0), d(2), Scope::System);
    });
    for n in 0..50 {
        gpu.group.submit(&[stream
            .on(n % 2)
            .sync(object.wait_op())
            .sync(object.signal_op())])?;
    }
    signaled(&object)?;
    let got: u64 = gpu.data.read(0);
    ensure!(
        got == 50,
        "{got} jobs had run when the last one's fence signalled"
    );
    Ok(())
}

fn destroyed() -> Result<()> {
    let mut first = None;
    let blocked = Blocked::new(|gpu| {
        let object = gpu.cx.syncobj()?;
        let op = object.signal_op();
        first = Some(object);
        Ok(vec![op])
    })?;
    let object = first.context("no sync object")?;
    let done = blocked.gpu.cx.syncobj()?;
    blocked.gpu.group.submit(&[Job::sync_point(2)
        .sync(object.wait_op())
        .sync(done.signal_op())])?;
    drop(object);
    blocked.release()?;
    signaled(&done)
}

fn destroyed_before() -> Result<()> {
    let gpu = Gpu::new(1)?;
    let op = gpu.cx.syncobj()?.signal_op();
    refused(
        gpu.group.submit(&[Job::sync_point(0).sync(op)]),
        Errno::EINVAL,
    )
}

fn reset() -> Result<()> {
    let mut first = None;
    let blocked = Blocked::new(|gpu| {
        let object = gpu.cx.syncobj()?;
        let op = object.signal_op();
        first = Some(object);
        Ok(vec![op])
    })?;
    let object = first.context("no sync object")?;
    let done = blocked.gpu.cx.syncobj()?;
    blocked.gpu.group.submit(&[Job::sync_point(2)
        .sync(object.wait_op())
        .sync(done.signal_op())])?;
    object.reset()?;
    active(&done)?;
    blocked.release()?;
    signaled(&done)?;
    refused(
        blocked
            .gpu
            .group
            .submit(&[Job::sync_point(2).sync(object.wait_op())]),
        Errno::EINVAL,
    )
}

fn timed_wait() -> Result<()> {
    let mut first = None;
    let blocked = Blocked::new(|gpu| {
        let object = gpu.cx.syncobj()?;
        let op = object.signal_op();
        first = Some(object);
        Ok(vec![op])
    })?;
    let object = first.context("no sync object")?;
    refused(object.wait(Duration::from_millis(20)), Errno::ETIME)?;
    blocked.release()?;
    signaled(&object)
}

fn empty_job() -> Result<()> {
    let mut first = None;
    let blocked = Blocked::new(|gpu| {
        let object = gpu.cx.syncobj()?;
        let op = object.signal_op();
        first = Some(object);
        Ok(vec![op])
    })?;
    let first = first.context("no sync object")?;
    let done = blocked.gpu.cx.syncobj()?;
    let other = blocked.gpu.another_group(1)?;
    other.submit(&[Job::sync_point(0)
        .sync(first.wait_op())
        .sync(done.signal_op())])?;
    active(&done)?;
    blocked.release()?;
    signaled(&done)?;
    run_ok_on(&blocked.gpu.cx, &other, Job::sync_point(0))
}
