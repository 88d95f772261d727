// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Streams that are wrong by themselves.

use std::time::Instant;

use anyhow::{Context, Result};
use guest::cs::{d, r, Builder, Condition};
use guest::ioctl::Errno;
use guest::rig::{Gpu, LS_MASK};
use guest::uapi::panthor::{
    GROUP_STATE_FATAL_FAULT, GROUP_STATE_TIMEDOUT, VM_BIND_OP_MAP_READONLY,
};
use guest::{Buffer, GroupConfig};

use crate::bystander::Fate;
use crate::frame::{ends, so_far, state_names, wait_for, Frame, Line};
use crate::victim::{End, Expect, Victim, ANY};
use crate::Tests;

/// A GPU address where nothing is mapped.
const NOWHERE: u64 = 0x7_0000_0000;
/// How many groups hang at once.
const HANGING: u32 = 16;

/// What becomes of a group whose job took too long.
pub(crate) const TIMED_OUT: Expect = Expect {
    first: &[End::With(Errno::ETIMEDOUT)],
    rest: &[End::Failed],
    state: GROUP_STATE_TIMEDOUT,
    maybe: 0,
    bystander: Fate::Unharmed,
};

/// What becomes of a group whose stream the firmware gave up.
pub(crate) const FATAL: Expect = Expect {
    first: &[End::With(Errno::EINVAL)],
    rest: &[End::Failed],
    state: GROUP_STATE_FATAL_FAULT,
    maybe: 0,
    bystander: Fate::Unharmed,
};

pub(crate) fn tests(t: &mut Tests) {
    t.add("endless_stream", endless);
    t.add("blocked_stream", blocked);
    t.add("illegal_instruction", || {
        fatal(|cs, _| {
            cs.raw(0xff << 56);
        })
    });
    t.add("mmu_fault_read", || {
        fatal(|cs, _| {
            cs.move48(d(0), NOWHERE).load32(r(2), d(0), 0).wait(LS_MASK);
        })
    });
    t.add("mmu_fault_write", || {
        fatal(|cs, _| {
            cs.move48(d(0), NOWHERE)
                .store32(r(2), d(0), 0)
                .wait(LS_MASK);
        })
    });
    t.add("mmu_fault_fetch", || {
        fatal(|cs, _| {
            cs.move48(d(0), NOWHERE).move32(r(2), 64).jump(d(0), r(2));
        })
    });
    t.add("mmu_fault_permission", || {
        fatal(|cs, read_only| {
            cs.move48(d(0), read_only)
                .store32(r(2), d(0), 0)
                .wait(LS_MASK);
        })
    });
    t.add("sixteen_groups_hang", sixteen);
    t.add("stream_overwrites_its_ring_and_sync_objects", overwrite);
}

fn endless() -> Result<Line> {
    let frame = Frame::new()?;
    let mut victim = Victim::new(&frame.device)?;
    let struck = Instant::now();
    victim.endless()?;
    let bound = frame.times.timeout();
    victim.meets(frame, struck, bound, TIMED_OUT)
}

fn blocked() -> Result<Line> {
    let frame = Frame::new()?;
    let mut victim = Victim::new(&frame.device)?;
    let wait = victim.gpu.wait_for(128);
    let done = victim.gpu.cx.syncobj()?;
    let struck = Instant::now();
    victim
        .gpu
        .group
        .submit(&[wait.on(0).sync(done.signal_op())])?;
    victim.fences.push(done);
    victim.short(0)?;
    let bound = frame.times.timeout();
    victim.meets(frame, struck, bound, TIMED_OUT)
}

/// A stream that faults, made with the address of a page that it may not write.
fn fatal(stream: fn(&mut Builder, u64)) -> Result<Line> {
    let frame = Frame::new()?;
    let mut victim = Victim::new(&frame.device)?;
    let page = Buffer::new(&victim.gpu.cx.vm, 4096, VM_BIND_OP_MAP_READONLY)?;
    let bad = victim.gpu.stream(|cs, _| stream(cs, page.va()));
    let hold = victim.gpu.wait_for(128);
    let release = victim.gpu.release(128);
    let done = victim.gpu.cx.syncobj()?;
    // So that there are jobs behind the bad one.
    victim
        .gpu
        .group
        .submit(&[hold.on(0), bad.on(0).sync(done.signal_op())])?;
    victim.fences.push(done);
    for _ in 0..3 {
        victim.short(0)?;
    }
    let struck = Instant::now();
    victim.gpu.group.submit(&[release.on(1)])?;
    let bound = frame.times.at_once();
    drop(page);
    victim.meets(frame, struck, bound, FATAL)
}

fn sixteen() -> Result<Line> {
    let frame = Frame::new()?;
    let mut victim = Victim::new(&frame.device)?;
    let slots = victim.gpu.cx.csif.csg_slot_count;
    let struck = Instant::now();
    // Nobody stops it.
    victim.crowd(HANGING)?;
    // The bystander wants its share of the slots too.
    let bound = frame.times.timeouts(HANGING + 1, slots);
    let expect = Expect {
        rest: TIMED_OUT.first,
        state: 0,
        ..TIMED_OUT
    };
    victim.meets(frame, struck, bound, expect)
}

/// A stream writes over the kernel's own pages in its VM: rings, sync objects, samples, one after the other.
///
/// What becomes of such a group is its own affair, if only its fences are signalled.
fn overwrite() -> Result<Line> {
    /// Pages of four rings of one page, and of what else a group has.
    const PAGES: u64 = 12;

    let frame = Frame::new()?;
    let mut all = Line {
        bound: frame.times.timeout(),
        ..Line::default()
    };
    let (mut statuses, mut states) = (Vec::new(), Vec::new());
    for page in 0..PAGES {
        let mut config = GroupConfig::queues(4);
        for queue in &mut config.queues {
            queue.ringbuf_size = 4096;
        }
        let mut gpu = Gpu::on(&frame.device, &config)?;
        // The kernel's own addresses begin where the user's end.
        let va = gpu.cx.vm.user_va_range() + page * 4096;
        let fill = gpu.stream(|cs, _| {
            cs.move48(d(0), va)
                .move32(r(2), 0xffff_ffff)
                .move32(r(3), 1024);
            let top = cs.here();
            cs.store32(r(2), d(0), 0)
                .add_imm64(d(0), d(0), 4)
                .add_imm32(r(3), r(3), -1)
                .wait(LS_MASK)
                .branch(Condition::NotEqual, r(3), top);
        });
        let store = gpu.store(0, 1);
        let fences = (0..4)
            .map(|_| gpu.cx.syncobj())
            .collect::<Result<Vec<_>>>()?;
        let struck = Instant::now();
        gpu.group.submit(&[
            fill.on(0).sync(fences[0].signal_op()),
            store.on(0).sync(fences[1].signal_op()),
            store.on(1).sync(fences[2].signal_op()),
            store.on(3).sync(fences[3].signal_op()),
        ])?;
        let ended = wait_for(&frame.device, &fences, frame.times.patience())?;
        all.measured = all.measured.max(struck.elapsed());
        anyhow::ensure!(
            ended.iter().all(|end| ANY.iter().any(|any| any.is(*end))),
            "page {page}: the jobs are {ended:?}"
        );
        statuses.extend(ended);
        states.push(state_names(gpu.group.state().context("its state")?));
    }
    states.sort();
    states.dedup();
    all.errors = ends(&statuses);
    all.state = states.join(",");
    so_far(&all);
    anyhow::ensure!(
        all.measured <= all.bound,
        "it took {:?} to signal all fences; the bound is {:?}",
        all.measured,
        all.bound
    );
    frame.end(&mut all, Fate::Unharmed)?;
    Ok(all)
}
