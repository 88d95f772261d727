// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What jobs do on the GPU: order, registers, calls, rings that wrap, groups side by side.

use std::thread;

use anyhow::{ensure, Context, Result};
use guest::cs::{d, insn, r, Builder, Condition, Defer, Scope, State};
use guest::ioctl::Errno;
use guest::sync::FenceStatus;
use guest::{Bo, Buffer, GroupConfig};

use crate::cx::{run_ok_on, Gpu, Tests, LS_MASK, TIMEOUT};

pub(crate) fn tests(t: &mut Tests) {
    t.add("jobs::store_reaches_memory", store);
    t.add("jobs::order_within_a_queue", || order(65536, 400));
    t.add_not_for_c("c_overruns::order_within_a_full_ring", || order(4096, 1000));
    t.add("jobs::registers_last_from_job_to_job", registers);
    t.add("jobs::call_and_jump", call_and_jump);
    t.add("jobs::nested_calls", nested_calls);
    t.add("jobs::sync_point_of_a_new_queue", first_sync_point);
    t.add("jobs::sync_point_waits_for_the_queue", sync_point);
    t.add("jobs::flush_id", flush_id);
    t.add("jobs::sync_wait_between_queues", sync_wait);
    t.add("jobs::sync_add_between_groups", sync_between_groups);
    t.add("jobs::sync_32_bit", sync_32);
    t.add("jobs::deferred_sync_waits_for_its_scoreboards", deferred);
    t.add("jobs::timestamps_grow", timestamps);
    t.add("jobs::every_group_slot_at_once", all_slots);
    t.add("jobs::buffer_of_no_vm", shared_buffer);
    t.add("jobs::submissions_from_many_threads", threads);
    t.add("jobs::group_destroyed_while_blocked", destroy_blocked);
    t.add("jobs::group_destroyed_while_looping", destroy_looping);
    t.add("jobs::everything_dropped_while_blocked", drop_blocked);
    t.add("jobs::many_groups_one_after_another", many_groups);
}

fn store() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    for (offset, value) in [(0, 0x1111_1111), (4, 0x2222_2222), (0xfffc, u32::MAX)] {
        let stream = gpu.store(offset, value);
        gpu.run_ok(stream.on(0))?;
        let got: u32 = gpu.data.read(offset as usize);
        ensure!(got == value, "at {offset:#x} is {got:#x}");
    }
    Ok(())
}

/// Jobs through a ring of `ring` bytes, 128 each: every one notes the counter it saw and adds one.
fn order(ring: u32, count: u32) -> Result<()> {
    let mut config = GroupConfig::queues(1);
    config.queues[0].ringbuf_size = ring;
    let mut gpu = Gpu::with(&config)?;
    // One stream for all: it keeps its place in memory.
    let stream = gpu.stream(|cs, va| {
        cs.move48(d(0), va)
            .load32(r(2), d(0), 0)
            .load64(d(4), d(0), 8)
            .wait(LS_MASK)
            .store32(r(2), d(4), 0)
            .add_imm32(r(2), r(2), 1)
            .add_imm64(d(4), d(4), 4)
            .wait(LS_MASK)
            .store32(r(2), d(0), 0)
            .store64(d(4), d(0), 8)
            .wait(LS_MASK);
    });
    gpu.data.write(8, gpu.data.va() + 0x1000);
    let done = gpu.cx.syncobj()?;
    let mut jobs = vec![stream.on(0); count as usize];
    jobs[count as usize - 1].syncs.push(done.signal_op());
    for chunk in jobs.chunks(77) {
        gpu.group.submit(chunk)?;
    }
    done.wait(TIMEOUT)?;
    let seen: Vec<u32> = gpu.data.cpu().read_all(0x1000, count as usize);
    ensure!(seen.into_iter().eq(0..count), "jobs ran out of order");
    Ok(())
}

fn registers() -> Result<()> {
    let mut gpu = Gpu::new(2)?;
    let last = (gpu.cx.csif.cs_reg_count - gpu.cx.csif.unpreserved_cs_reg_count - 1) as u8;
    let write = |value: u32| {
        move |cs: &mut Builder, _va: u64| {
            cs.move32(r(10), value).move32(r(last), value + 1);
        }
    };
    let first = gpu.stream(write(100));
    let second = gpu.stream(write(200));
    let read = |offset: i16| {
        move |cs: &mut Builder, va: u64| {
            cs.move48(d(0), va)
                .store32(r(10), d(0), offset)
                .store32(r(last), d(0), offset + 4)
                .wait(LS_MASK);
        }
    };
    let read_first = gpu.stream(read(0));
    let read_second = gpu.stream(read(8));
    gpu.run_ok(first.on(0))?;
    gpu.run_ok(second.on(1))?;
    gpu.run_ok(read_first.on(0))?;
    gpu.run_ok(read_second.on(1))?;
    let got: Vec<u32> = gpu.data.cpu().read_all(0, 4);
    ensure!(got == [100, 101, 200, 201], "the queues kept {got:?}");
    Ok(())
}

/// A stream calls a second, which jumps to a third, which returns to the first.
fn call_and_jump() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let third = gpu.stream(|cs, _| {
        cs.add_imm32(r(4), r(4), 100);
    });
    let second = gpu.stream(|cs, _| {
        cs.add_imm32(r(4), r(4), 10)
            .move48(d(6), third.va)
            .move32(r(8), third.size)
            .jump(d(6), r(8))
            .add_imm32(r(4), r(4), 5000);
    });
    let first = gpu.stream(|cs, va| {
        cs.move32(r(4), 1)
            .move48(d(6), second.va)
            .move32(r(8), second.size)
            .call(d(6), r(8))
            .add_imm32(r(4), r(4), 1000)
            .move48(d(0), va)
            .store32(r(4), d(0), 0)
            .wait(LS_MASK);
    });
    gpu.run_ok(first.on(0))?;
    let got: u32 = gpu.data.read(0);
    ensure!(got == 1111, "the streams made {got}");
    Ok(())
}

/// Calls as deep as they may go: the kernel's call of the stream is one, five more are surely allowed.
fn nested_calls() -> Result<()> {
    const DEPTH: u32 = 5;
    let mut gpu = Gpu::new(1)?;
    let mut inner = gpu.stream(|cs, _| {
        cs.add_imm32(r(4), r(4), 1);
    });
    for _ in 0..DEPTH - 1 {
        let callee = inner;
        inner = gpu.stream(|cs, _| {
            cs.move48(d(6), callee.va)
                .move32(r(8), callee.size)
                .call(d(6), r(8))
                .add_imm32(r(4), r(4), 1);
        });
    }
    let outer = gpu.stream(|cs, va| {
        cs.move32(r(4), 0)
            .move48(d(6), inner.va)
            .move32(r(8), inner.size)
            .call(d(6), r(8))
            .move48(d(0), va)
            .store32(r(4), d(0), 0)
            .wait(LS_MASK);
    });
    gpu.run_ok(outer.on(0))?;
    let got: u32 = gpu.data.read(0);
    ensure!(got == DEPTH, "{got} of {DEPTH} streams ran to their end");
    Ok(())
}

fn first_sync_point() -> Result<()> {
    let gpu = Gpu::new(1)?;
    gpu.run_ok(guest::Job::sync_point(0))
}

fn sync_point() -> Result<()> {
    let mut gpu = Gpu::new(2)?;
    let blocked = gpu.wait_for(0);
    let release = gpu.release(0);
    let done = gpu.cx.syncobj()?;
    gpu.group.submit(&[
        blocked.on(0),
        guest::Job::sync_point(0).sync(done.signal_op()),
    ])?;
    ensure!(
        done.status()? == FenceStatus::Active,
        "the sync point did not wait for the blocked job"
    );
    gpu.run_ok(release.on(1))?;
    done.wait(TIMEOUT)?;
    ensure!(
        done.status()? == FenceStatus::Signaled,
        "the sync point failed"
    );
    Ok(())
}

fn flush_id() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let page = gpu.cx.device.map_flush_id()?;
    for n in 0..10 {
        let id = page.read();
        let stream = gpu.store(n * 4, n as u32 + 1);
        gpu.run_ok(stream.on(0).flush_id(id))
            .with_context(|| format!("flush id {id:#x}"))?;
    }
    let got: Vec<u32> = gpu.data.cpu().read_all(0, 10);
    ensure!(got.iter().copied().eq(1..=10), "the jobs left {got:?}");
    Ok(())
}

/// Two queues hand a token to and fro, 20 times.
fn sync_wait() -> Result<()> {
    const ROUNDS: u64 = 20;
    let mut gpu = Gpu::new(2)?;
    let player = |mine: u64, theirs: u64, ahead: u64| {
        move |cs: &mut Builder, va: u64| {
            cs.move48(d(0), va + mine)
                .move48(d(2), va + theirs)
                .move48(d(6), 1);
            for round in 0..ROUNDS {
                // The first player waits for the previous round, the second for this one.
                if round + 1 > ahead {
                    cs.move48(d(4), round - ahead).sync_wait64_gt(d(2), d(4));
                }
                cs.sync_add64(d(0), d(6), Scope::System);
            }
        }
    };
    let first = gpu.stream(player(0, 64, 1));
    let second = gpu.stream(player(64, 0, 0));
    let done = [gpu.cx.syncobj()?, gpu.cx.syncobj()?];
    gpu.group.submit(&[
        second.on(1).sync(done[1].signal_op()),
        first.on(0).sync(done[0].signal_op()),
    ])?;
    guest::sync::wait_all(&gpu.cx.device, &[&done[0], &done[1]], TIMEOUT)?;
    let got: (u64, u64) = (gpu.data.read(0), gpu.data.read(64));
    ensure!(got == (ROUNDS, ROUNDS), "the counters are {got:?}");
    Ok(())
}

fn sync_between_groups() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let other = gpu.another_group(1)?;
    let blocked = gpu.wait_for(0);
    let release = gpu.release(0);
    let done = gpu.cx.syncobj()?;
    gpu.group.submit(&[blocked.on(0).sync(done.signal_op())])?;
    run_ok_on(&gpu.cx, &other, release.on(0))?;
    done.wait(TIMEOUT)?;
    ensure!(done.status()? == FenceStatus::Signaled, "the job failed");
    Ok(())
}

fn sync_32() -> Result<()> {
    let mut gpu = Gpu::new(2)?;
    let waits = gpu.stream(|cs, va| {
        cs.move48(d(0), va)
            .move32(r(2), 6)
            .sync_wait32_gt(d(0), r(2))
            .load32(r(4), d(0), 0)
            .wait(LS_MASK)
            .store32(r(4), d(0), 64)
            .wait(LS_MASK);
    });
    let sets = gpu.stream(|cs, va| {
        cs.move48(d(0), va)
            .move32(r(2), 5)
            .sync_set32(d(0), r(2), Scope::System)
            .move32(r(2), 2)
            .sync_add32(d(0), r(2), Scope::Group);
    });
    let done = gpu.cx.syncobj()?;
    gpu.group.submit(&[waits.on(0).sync(done.signal_op())])?;
    gpu.run_ok(sets.on(1))?;
    done.wait(TIMEOUT)?;
    let got: u32 = gpu.data.read(64);
    ensure!(got == 7, "the waiter saw {got}");
    Ok(())
}

/// A deferred SYNC_SET runs when the stores before it are done, and the slot it signals is busy until then.
fn deferred() -> Result<()> {
    const SLOT: u8 = 3;
    let mut gpu = Gpu::new(2)?;
    let sets = gpu.stream(|cs, va| {
        let when = Defer::Until {
            wait: LS_MASK.into(),
            signal: SLOT,
        };
        cs.move48(d(0), va)
            .move48(d(2), 1)
            .move32(r(4), 0x5555)
            .store32(r(4), d(0), 64)
            .raw(insn::sync_set64(d(0), d(2), Scope::System, false, when))
            .wait(1 << SLOT)
            .load32(r(6), d(0), 0)
            .wait(LS_MASK)
            .store32(r(6), d(0), 128)
            .wait(LS_MASK);
    });
    let waits = gpu.stream(|cs, va| {
        cs.move48(d(0), va)
            .move48(d(2), 0)
            .sync_wait64_gt(d(0), d(2))
            .load32(r(4), d(0), 64)
            .wait(LS_MASK)
            .store32(r(4), d(0), 192)
            .wait(LS_MASK);
    });
    let done = gpu.cx.syncobj()?;
    gpu.group.submit(&[waits.on(1).sync(done.signal_op())])?;
    gpu.run_ok(sets.on(0))?;
    done.wait(TIMEOUT)?;
    let own: u32 = gpu.data.read(128);
    ensure!(own == 1, "behind the WAIT the sync object still was {own}");
    let other: u32 = gpu.data.read(192);
    ensure!(
        other == 0x5555,
        "the sync object was set before the store: {other:#x}"
    );
    Ok(())
}

fn timestamps() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let stream = gpu.stream(|cs, va| {
        cs.move48(d(0), va)
            .store_state(d(0), 0, State::Timestamp)
            .store_state(d(0), 8, State::CycleCount)
            .store_state(d(0), 16, State::ErrorStatus);
    });
    let mut last = 0u64;
    for _ in 0..3 {
        gpu.data.write(16, u64::MAX);
        gpu.run_ok(stream.on(0))?;
        let now: u64 = gpu.data.read(0);
        ensure!(now > last, "time went from {last} to {now}");
        let error: u64 = gpu.data.read(16);
        ensure!(error as u32 == 0, "the queue's error state is {error:#x}");
        last = now;
    }
    Ok(())
}

/// As many groups as the firmware has slots, all on the GPU together: each waits for the next one.
fn all_slots() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let blocked = gpu.cx.csif.csg_slot_count as usize - 1;
    let mut chain = Vec::new();
    for n in 0..blocked as u64 {
        let group = gpu.another_group(1)?;
        chain.push((
            group,
            gpu.wait_for(n * 64),
            gpu.release(n * 64),
            gpu.cx.syncobj()?,
        ));
    }
    for (group, wait, _, done) in &chain {
        group.submit(&[wait.on(0).sync(done.signal_op())])?;
    }
    // Behind its wait, each group releases the one before it; the last one is released from outside.
    for pair in chain.windows(2) {
        let ((_, _, release, _), (next, ..)) = (&pair[0], &pair[1]);
        next.submit(&[release.on(0)])?;
    }
    if let Some((_, _, release, done)) = chain.last() {
        ensure!(
            done.status()? == FenceStatus::Active,
            "the last group is not blocked"
        );
        gpu.run_ok(release.on(0))?;
    }
    for (n, (.., done)) in chain.iter().enumerate() {
        done.wait(TIMEOUT).with_context(|| format!("group {n}"))?;
        ensure!(done.status()? == FenceStatus::Signaled, "group {n} failed");
    }
    Ok(())
}

/// A buffer without an exclusive VM has a reservation of its own; jobs must reserve it, too.
fn shared_buffer() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let buffers = (0..4)
        .map(|_| {
            let bo = Bo::new(&gpu.cx.device, 4096, 0)?;
            Buffer::from_bo(&gpu.cx.vm, bo, 0)
        })
        .collect::<Result<Vec<_>, Errno>>()?;
    for (n, buffer) in buffers.iter().enumerate() {
        let stream = gpu.store_at(buffer.va(), n as u32 + 1);
        gpu.run_ok(stream.on(0))?;
    }
    let got: Vec<u32> = buffers.iter().map(|b| b.read(0)).collect();
    ensure!(got == [1, 2, 3, 4], "the buffers hold {got:?}");
    Ok(())
}

/// Four threads submit to the same queues of the same group.
fn threads() -> Result<()> {
    const THREADS: u32 = 4;
    const JOBS: u32 = 50;
    let mut gpu = Gpu::new(4)?;
    let add = gpu.stream(|cs, va| {
        cs.move48(d(0), va)
            .move48(d(2), 1)
            .sync_add64(d(0), d(2), Scope::System);
    });
    let (group, device) = (&gpu.group, &gpu.cx.device);
    thread::scope(|scope| {
        let handles: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(move || -> Result<()> {
                    let done = guest::Syncobj::new(device)?;
                    for n in 0..JOBS {
                        group.submit(&[add
                            .on(n % 4)
                            .sync(done.signal_point_op(u64::from(n) + 1))])?;
                    }
                    done.wait_point(JOBS.into(), TIMEOUT)?;
                    Ok(())
                })
            })
            .collect();
        handles
            .into_iter()
            .try_for_each(|h| h.join().expect("the thread must not panic"))
    })?;
    let got: u64 = gpu.data.read(0);
    ensure!(got == u64::from(THREADS * JOBS), "{got} jobs ran");
    Ok(())
}

fn destroyed_while(stream: impl FnOnce(&mut Builder, u64)) -> Result<()> {
    let mut gpu = Gpu::new(2)?;
    let endless = gpu.stream(stream);
    let witness = gpu.wait_for(0);
    let (ended, started) = (gpu.cx.syncobj()?, gpu.cx.syncobj()?);
    let group = gpu.another_group(2)?;
    group.submit(&[
        endless.on(0).sync(ended.signal_op()),
        witness.on(1).sync(started.signal_op()),
    ])?;
    started
        .wait(TIMEOUT)
        .context("wait for the endless job to begin")?;
    group.destroy()?;
    ended
        .wait(TIMEOUT)
        .context("wait for the destroyed group's job")?;
    let status = ended.status()?;
    ensure!(
        status == FenceStatus::Failed(Errno::ECANCELED),
        "the job of a destroyed group ended with {status:?}"
    );
    // The other group of the same VM is unharmed.
    let stream = gpu.store(128, 9);
    gpu.run_ok(stream.on(0))
}

fn destroy_blocked() -> Result<()> {
    destroyed_while(|cs, va| {
        cs.move48(d(0), va)
            .move48(d(2), 1)
            .sync_set64(d(0), d(2), Scope::System)
            .move48(d(0), va + 64)
            .sync_wait64_gt(d(0), d(2));
    })
}

fn destroy_looping() -> Result<()> {
    destroyed_while(|cs, va| {
        cs.move48(d(0), va)
            .move48(d(2), 1)
            .sync_set64(d(0), d(2), Scope::System);
        let top = cs.here();
        cs.branch(Condition::Always, r(0), top);
    })
}

fn drop_blocked() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let outside = gpu.cx.device.reopen()?;
    let blocked = gpu.wait_for(0);
    let done = guest::Syncobj::new(&outside)?;
    let inside = guest::Syncobj::import(&gpu.cx.device, &done.export()?)?;
    gpu.group
        .submit(&[blocked.on(0).sync(inside.signal_op())])?;
    ensure!(
        done.status()? == FenceStatus::Active,
        "the job is not blocked"
    );
    drop(inside);
    // Group, mappings, VM and at last the file itself.
    drop(gpu);
    done.wait(TIMEOUT)
        .context("wait for the closed file's job")?;
    let status = done.status()?;
    ensure!(
        matches!(status, FenceStatus::Failed(_)),
        "the job of a closed file ended with {status:?}"
    );
    Ok(())
}

fn many_groups() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let stream = gpu.store(0, 3);
    for n in 0..40 {
        let group = gpu.another_group(1)?;
        run_ok_on(&gpu.cx, &group, stream.on(0)).with_context(|| format!("group {n}"))?;
        group.destroy()?;
    }
    Ok(())
}
