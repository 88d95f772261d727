// SPDX-License-Identifier: GPL-2.0 OR MIT

//! GROUP_SUBMIT: arguments of the call, of jobs and of sync operations.

use anyhow::{ensure, Context, Result};
use guest::group::StreamBuffer;
use guest::ioctl::{self, Errno};
use guest::uapi::panthor::{
    GroupSubmit, ObjArray, QueueSubmit, SyncOp, SYNC_OP_SIGNAL, SYNC_OP_SYNCOBJ,
    SYNC_OP_TIMELINE_SYNCOBJ, SYNC_OP_WAIT,
};
use guest::{Group, GroupConfig, Job, Syncobj};

use crate::cx::{refused, Change, Cx, Gpu, Row, Tests, NO_HANDLE, TIMEOUT};

pub(crate) fn tests(t: &mut Tests) {
    t.add_refusals("group_submit", call, CALL);
    t.add_refusals("group_submit_job", job, JOB);
    t.add_refusals("group_submit_wait", wait_op, WAIT);
    t.add_refusals("group_submit_signal", signal_op, SIGNAL);
    t.add_not_for_c(
        "c_oopses::group_submit_signal_of_an_unknown_handle",
        unknown_signal,
    );
    t.add("group_submit::no_jobs_do_nothing", no_jobs);
    t.add("group_submit::all_or_nothing", all_or_nothing);
    t.add("group_submit::flush_id_with_the_top_bit", top_flush_bit);
}

/// Submits one small job, with a changed call.
fn call(cx: &Cx, change: Change<GroupSubmit>) -> ioctl::Result<()> {
    let group = Group::new(&cx.vm, &GroupConfig::queues(1))?;
    let submits = [QueueSubmit::default()];
    let mut args = GroupSubmit {
        group_handle: group.handle(),
        pad: 0,
        queue_submits: ObjArray::of(&submits),
    };
    change(cx, &mut args);
    cx.device.call(&mut args)
}

const CALL: &[Row<GroupSubmit>] = &[
    ("pad", Errno::EINVAL, |_, a| a.pad = 1),
    ("group_0", Errno::EINVAL, |_, a| a.group_handle = 0),
    ("unknown_group", Errno::EINVAL, |_, a| {
        a.group_handle = NO_HANDLE
    }),
];

/// Submits a job of one instruction, changed, and waits for it.
fn job(cx: &Cx, change: Change<QueueSubmit>) -> ioctl::Result<()> {
    let group = Group::new(&cx.vm, &GroupConfig::queues(2))?;
    let mut streams = StreamBuffer::new(&cx.vm, 4096)?;
    let stream = streams.add_words(&[guest::cs::insn::nop(); 8]);
    let done = Syncobj::new(&cx.device)?;
    let syncs = [done.signal_op()];
    let mut submit = QueueSubmit {
        stream_addr: stream.va,
        stream_size: stream.size,
        syncs: ObjArray::of(&syncs),
        ..Default::default()
    };
    change(cx, &mut submit);
    let submits = [submit];
    cx.device.call(&mut GroupSubmit {
        group_handle: group.handle(),
        pad: 0,
        queue_submits: ObjArray::of(&submits),
    })?;
    done.wait(TIMEOUT)
}

const JOB: &[Row<QueueSubmit>] = &[
    ("pad", Errno::EINVAL, |_, s| s.pad = 1),
    ("queue_beyond_the_last", Errno::EINVAL, |_, s| {
        s.queue_index = 2
    }),
    ("queue_32", Errno::EINVAL, |_, s| s.queue_index = 32),
    ("largest_queue", Errno::EINVAL, |_, s| {
        s.queue_index = u32::MAX
    }),
    ("address_at_8", Errno::EINVAL, |_, s| s.stream_addr += 8),
    ("address_at_32", Errno::EINVAL, |_, s| s.stream_addr += 32),
    ("address_at_1", Errno::EINVAL, |_, s| s.stream_addr += 1),
    ("size_of_4", Errno::EINVAL, |_, s| s.stream_size = 4),
    ("size_of_63", Errno::EINVAL, |_, s| s.stream_size = 63),
    ("address_without_size", Errno::EINVAL, |_, s| {
        s.stream_size = 0
    }),
    ("size_without_address", Errno::EINVAL, |_, s| {
        s.stream_addr = 0
    }),
    ("flush_id_bit_24", Errno::EINVAL, |_, s| {
        s.latest_flush = 1 << 24
    }),
    ("flush_id_bit_30", Errno::EINVAL, |_, s| {
        s.latest_flush = 1 << 30
    }),
];

/// Submits a job without a stream that has one wait, changed, of a signalled sync object.
fn wait_op(cx: &Cx, change: Change<SyncOp>) -> ioctl::Result<()> {
    let ready = Syncobj::signaled(&cx.device)?;
    sync_op(cx, ready.wait_op(), change)
}

/// Submits a job without a stream that has one signal, changed.
fn signal_op(cx: &Cx, change: Change<SyncOp>) -> ioctl::Result<()> {
    let done = Syncobj::new(&cx.device)?;
    sync_op(cx, done.signal_op(), change)
}

fn sync_op(cx: &Cx, mut op: SyncOp, change: Change<SyncOp>) -> ioctl::Result<()> {
    let group = Group::new(&cx.vm, &GroupConfig::queues(1))?;
    change(cx, &mut op);
    group.submit(&[Job::sync_point(0).sync(op)])
}

const WAIT: &[Row<SyncOp>] = &[
    ("unknown_flag", Errno::EINVAL, |_, o| o.flags |= 1 << 8),
    ("flag_30", Errno::EINVAL, |_, o| o.flags |= 1 << 30),
    ("type_2", Errno::EINVAL, |_, o| o.flags = SYNC_OP_WAIT | 2),
    ("type_255", Errno::EINVAL, |_, o| {
        o.flags = SYNC_OP_WAIT | 255
    }),
    ("point_of_a_binary_syncobj", Errno::EINVAL, |_, o| {
        assert_eq!(o.flags, SYNC_OP_WAIT | SYNC_OP_SYNCOBJ);
        o.timeline_value = 1;
    }),
    ("handle_0", Errno::ENOENT, |_, o| o.handle = 0),
    ("unknown_handle", Errno::ENOENT, |_, o| o.handle = NO_HANDLE),
    ("unknown_timeline", Errno::ENOENT, |_, o| {
        *o = SyncOp {
            flags: SYNC_OP_WAIT | SYNC_OP_TIMELINE_SYNCOBJ,
            handle: NO_HANDLE,
            timeline_value: 1,
        }
    }),
];

const SIGNAL: &[Row<SyncOp>] = &[
    ("unknown_flag", Errno::EINVAL, |_, o| o.flags |= 1 << 8),
    ("flag_30", Errno::EINVAL, |_, o| o.flags |= 1 << 30),
    ("type_2", Errno::EINVAL, |_, o| o.flags = SYNC_OP_SIGNAL | 2),
    ("point_of_a_binary_syncobj", Errno::EINVAL, |_, o| {
        assert_eq!(o.flags, SYNC_OP_SIGNAL | SYNC_OP_SYNCOBJ);
        o.timeline_value = 1;
    }),
];

/// The C driver releases the sync object that it did not find.
fn unknown_signal() -> Result<()> {
    let cx = Cx::new()?;
    signal_op(&cx, |_, _| {})?;
    refused(signal_op(&cx, |_, o| o.handle = 0), Errno::EINVAL)?;
    refused(signal_op(&cx, |_, o| o.handle = NO_HANDLE), Errno::EINVAL)?;
    // The same with a point, which has one more thing to give back.
    let timeline = |_: &Cx, o: &mut SyncOp| {
        *o = SyncOp {
            flags: SYNC_OP_SIGNAL | SYNC_OP_TIMELINE_SYNCOBJ,
            handle: NO_HANDLE,
            timeline_value: 1,
        }
    };
    refused(signal_op(&cx, timeline), Errno::EINVAL)
}

fn no_jobs() -> Result<()> {
    let cx = Cx::new()?;
    let group = Group::new(&cx.vm, &GroupConfig::queues(1))?;
    group.submit(&[]).context("an empty array")?;
    let mut args = GroupSubmit {
        group_handle: group.handle(),
        pad: 0,
        queue_submits: ObjArray {
            stride: 0,
            count: 0,
            array: 0x10,
        },
    };
    cx.device.call(&mut args).context("a count of 0")
}

fn all_or_nothing() -> Result<()> {
    let mut gpu = Gpu::new(2)?;
    let done = gpu.cx.syncobj()?;
    let stream = gpu.store(0, 0xbad);
    let good = stream.on(0).sync(done.signal_op());
    let bad = stream.on(7);
    refused(gpu.group.submit(&[good.clone(), bad]), Errno::EINVAL)?;
    // The first job got no fence; a wait for it in a job finds none.
    let waits = Job::sync_point(0).sync(done.wait_op());
    refused(gpu.group.submit(&[waits]), Errno::EINVAL)?;
    // Nor did it run: what comes after it on its queue is done, it is not.
    let after = gpu.store(4, 1);
    gpu.run_ok(after.on(0))?;
    ensure!(gpu.data.read::<u32>(0) == 0, "a refused job ran");
    // A wait that cannot be met refuses all, too.
    let bad_wait = stream.on(1).sync(SyncOp {
        flags: SYNC_OP_WAIT,
        handle: NO_HANDLE,
        timeline_value: 0,
    });
    refused(gpu.group.submit(&[good, bad_wait]), Errno::ENOENT)?;
    let after = gpu.store(4, 2);
    gpu.run_ok(after.on(0))?;
    ensure!(gpu.data.read::<u32>(0) == 0, "a refused job ran");
    Ok(())
}

fn top_flush_bit() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let stream = gpu.store(0, 1);
    gpu.run_ok(stream.on(0).flush_id(1 << 31))
}
