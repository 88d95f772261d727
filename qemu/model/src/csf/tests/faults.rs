// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Faults that tests order, and that nothing of them is there unless they are.

use std::time::Duration;

use super::asm::*;
use super::bench::*;
use crate::csf::Next;
use crate::faults::{Key, Kind, Request, Values, Where};

fn arm(bench: &Bench, kind: Kind, values: &[(Key, u64)]) {
    let values = values
        .iter()
        .fold(Values::default(), |values, &(key, value)| {
            values.with(key, value)
        });
    bench.bus.faults.arm(kind, values);
}

fn struck(bench: &Bench, kind: Kind) -> u64 {
    bench.bus.faults.count(kind)
}

/// A store that shows that a stream came so far.
fn mark(at: u64) -> [u64; 2] {
    [move48(30, DATA + at), store(30, 1, 30, 0)]
}

#[test]
fn ignored_states_stay_pending_until_another_one_is_asked_for() {
    let mut bench = Bench::with_group(1);
    let csg = bench.csg(0);
    for (request, state, instead) in [
        (Request::Suspend, SUSPEND, START),
        (Request::Terminate, TERMINATE, START),
        (Request::Resume, RESUME, SUSPEND),
        (Request::Start, START, TERMINATE),
    ] {
        if bench.ack(csg) & 7 != instead {
            assert!(bench.state(0, instead));
        }
        arm(&bench, Kind::IgnoreRequest, &[(Key::Req, request as u64)]);
        assert!(!bench.state(0, state), "{request:?}");
        bench.ring_csg(0, 1);
        bench.pass(Duration::from_secs(10));
        assert_eq!(bench.ack(csg) & 7, instead, "{request:?} is acknowledged");
        // The host takes it back.
        assert!(bench.state(0, instead));
    }
    assert_eq!(struck(&bench, Kind::IgnoreRequest), 4);
    // Another group, whose state was never saved.
    bench.set64(Bench::suspend_buffer(0), 0);
    bench.program_group(0, 0, 1);
    assert!(bench.state(0, START), "asked for anew");
    bench.exec(&mark(0));
    assert_eq!(bench.data(0), DATA as u32);
    bench.clean();
}

#[test]
fn a_group_that_ignores_its_suspend_runs_on() {
    let mut bench = Bench::with_group(1);
    arm(
        &bench,
        Kind::IgnoreRequest,
        &[(Key::Req, Request::Suspend as u64), (Key::Slot, 0)],
    );
    bench.start_group(1, 1);
    assert!(bench.state(1, SUSPEND), "another slot");
    assert!(!bench.state(0, SUSPEND));
    bench.exec(&mark(0));
    assert_eq!(bench.data(0), DATA as u32);
}

#[test]
fn a_group_is_found_by_the_last_buffer_that_it_called() {
    let mut bench = Bench::with_group(1);
    bench.start_group(1, 1);
    let (gib, other) = (CODE >> 30, DATA >> 30);
    assert_eq!(bench.csf.find(gib), None, "nobody called anything");
    let size = bench.code(1, CODE, &[move32(4, 1)]);
    bench.submit(1, 0, &[move48(92, CODE), move32(94, size), call(92, 94)]);
    bench.run();
    assert_eq!(bench.csf.find(gib), Some((1, 2)));
    assert_eq!(bench.csf.find(other), None);
    assert!(bench.state(1, TERMINATE));
    assert_eq!(bench.csf.find(gib), None, "it is on no slot any more");
    bench.clean();
}

#[test]
fn ignored_toggles_stay_pending() {
    let mut bench = Bench::with_group(1);
    let (csg, glb) = (bench.csg(0), bench.glb());
    for request in [Request::StatusUpdate, Request::Config, Request::Ping] {
        arm(&bench, Kind::IgnoreRequest, &[(Key::Req, request as u64)]);
    }
    arm(
        &bench,
        Kind::IgnoreRequest,
        &[(Key::Req, Request::Global as u64)],
    );
    let asked = STATUS_UPDATE | ENDPOINT_CONFIG;
    let global = PING | CFG_PROGRESS_TIMER | CFG_ALLOC_EN;
    bench.toggle(csg, asked);
    bench.toggle(glb, global);
    bench.ring_glb(1);
    bench.ring_glb(1);
    assert_eq!(bench.pending(csg, asked), asked);
    assert_eq!(bench.pending(glb, global), global);
    // The host gives up and asks again.
    bench.toggle(csg, 0);
    let (csg_ack, glb_ack) = (bench.ack(csg), bench.ack(glb));
    bench.set_bits(csg, csg_ack, asked);
    bench.set_bits(glb, glb_ack, global);
    bench.ring_glb(1);
    bench.toggle(csg, asked);
    bench.toggle(glb, global);
    bench.ring_glb(1);
    assert_eq!(bench.pending(csg, asked), 0);
    assert_eq!(bench.pending(glb, global), 0);
    bench.clean();
}

#[test]
fn halt_is_ignored() {
    let mut bench = Bench::new();
    arm(&bench, Kind::IgnoreRequest, &[]);
    let glb = bench.glb();
    bench.set_bits(glb, HALT, HALT);
    bench.ring_glb(0);
    assert!(!bench.csf.halted());
    bench.set_bits(glb, 0, HALT);
    bench.ring_glb(0);
    bench.set_bits(glb, HALT, HALT);
    bench.ring_glb(0);
    assert!(bench.csf.halted());
    bench.clean();
}

#[test]
fn late_requests_are_served_when_their_time_has_come() {
    let mut bench = Bench::with_group(1);
    let (csg, glb) = (bench.csg(0), bench.glb());
    let late = [(Key::Us, 1000), (Key::Times, 2)];
    arm(&bench, Kind::LateAck, &late);
    bench.toggle(glb, PING);
    bench.ring_glb(0);
    assert!(!bench.state(0, SUSPEND));
    bench.irq();
    assert!(matches!(bench.run(), Next::At(_)));
    bench.pass(Duration::from_micros(900));
    bench.ring_glb(1);
    assert_eq!(bench.pending(csg, 7), SUSPEND ^ START);
    assert_eq!(bench.pending(glb, PING), PING);
    bench.pass(Duration::from_micros(100));
    assert_eq!(bench.pending(csg, 7), 0);
    assert_eq!(bench.pending(glb, PING), 0);
    assert_eq!(bench.irq() & (1 | GLOBAL), 1 | GLOBAL);
    assert_eq!(struck(&bench, Kind::LateAck), 2);
    bench.clean();
}

#[test]
fn everything_late_is_still_served() {
    let mut bench = Bench::new();
    arm(&bench, Kind::LateAck, &[(Key::Us, 10), (Key::Times, 0)]);
    bench.create_group(0, 1);
    bench.program_group(0, 0, 1);
    assert!(!bench.state(0, START));
    bench.insert(0, 0, &mark(0));
    bench.pass(Duration::from_micros(10));
    assert!(bench.is_through(0, 0));
    assert_eq!(struck(&bench, Kind::LateAck), 2, "START and the endpoints");
    bench.clean();
}

/// Submits a job as kernels do: a CALL to what marks `at`, and a sync object at 0x40.
fn job(bench: &mut Bench, stream: u32, at: u64) {
    let size = bench.code(0, CODE + at * 16, &mark(at));
    let wrapped = [
        move48(92, CODE + at * 16),
        move32(94, size),
        call(92, 94),
        move48(92, DATA + 0x40),
        move48(94, 1),
        with_error(sync_add64(92, 94)),
        ERROR_BARRIER,
    ];
    bench.submit(0, stream, &wrapped);
    bench.run();
}

#[test]
fn a_fault_is_raised_in_the_job_and_the_job_goes_on() {
    let mut bench = Bench::with_group(2);
    let stream = [(Key::Slot, 0), (Key::Cs, 0), (Key::Type, 0x58)];
    arm(&bench, Kind::StreamFault, &stream);
    job(&mut bench, 1, 8);
    assert_eq!(struck(&bench, Kind::StreamFault), 0, "another stream");
    assert_eq!((bench.data(0x40), bench.data(0x48)), (1, 0));
    job(&mut bench, 0, 16);
    assert_eq!(struck(&bench, Kind::StreamFault), 1);
    assert_eq!(bench.extract(0, 0), 16, "at the CALL");
    assert_eq!(bench.exception(CS_FAULT), (0x58, 0));
    bench.run();
    assert!(bench.is_through(0, 0));
    assert_eq!(
        (bench.data(0x40), bench.data(0x48)),
        (2, 1),
        "with an error"
    );
    assert_eq!(bench.data(16), DATA as u32 + 16);
    job(&mut bench, 0, 24);
    assert_eq!((bench.data(0x40), bench.data(0x48)), (3, 0));
    bench.clean();
}

#[test]
fn a_fault_meets_the_stream_that_called_a_buffer_in_a_gib() {
    let mut bench = Bench::with_group(1);
    let gib = CODE >> 30;
    arm(&bench, Kind::StreamStall, &[(Key::Gib, gib + 1)]);
    job(&mut bench, 0, 8);
    assert!(bench.is_through(0, 0), "called elsewhere");
    arm(&bench, Kind::StreamStall, &[(Key::Gib, gib)]);
    job(&mut bench, 0, 16);
    assert_eq!(struck(&bench, Kind::StreamStall), 1);
    assert!(!bench.is_through(0, 0));
    bench.clean();
}

#[test]
fn a_fatal_fault_ends_the_stream() {
    let mut bench = Bench::with_group(1);
    arm(&bench, Kind::StreamFatal, &[(Key::Type, 0x41)]);
    job(&mut bench, 0, 0);
    assert_eq!(bench.exception(CS_FATAL), (0x41, 0));
    job(&mut bench, 0, 8);
    assert_eq!((bench.data(0), bench.data(8)), (0, 0));
    assert_eq!(bench.data(0x40), 0);
    bench.clean();
}

#[test]
fn a_silent_firmware_hears_afterwards() {
    let mut bench = Bench::with_group(1);
    let glb = bench.glb();
    arm(&bench, Kind::McuSilent, &[]);
    bench.insert(0, 0, &mark(0));
    bench.csf.doorbell(1, &mut bench.bus);
    bench.toggle(glb, PING);
    bench.csf.doorbell(0, &mut bench.bus);
    assert_eq!(bench.run(), Next::Idle);
    assert_eq!(bench.pending(glb, PING), PING);
    assert!(!bench.is_through(0, 0));
    assert_eq!(struck(&bench, Kind::McuSilent), 1);
    bench.bus.faults.disarm(None);
    bench.run();
    assert_eq!(bench.pending(glb, PING), 0);
    assert!(bench.is_through(0, 0));
    bench.clean();
}

#[test]
fn a_stalled_stream_trips_the_progress_timer() {
    for armed in [true, false] {
        let mut bench = Bench::with_group(2);
        let (glb, csg) = (bench.glb(), bench.csg(0));
        // 1024 cycles of the 1 GHz clock are about a microsecond.
        bench.set32(glb.input + 16, 1000);
        bench.toggle(glb, CFG_PROGRESS_TIMER);
        bench.ring_glb(0);
        if armed {
            arm(&bench, Kind::StreamStall, &[(Key::Cs, 1)]);
        }
        job(&mut bench, 1, 0);
        assert_eq!(struck(&bench, Kind::StreamStall), u64::from(armed));
        assert_eq!(bench.is_through(0, 1), !armed);
        bench.pass(Duration::from_millis(1));
        assert_eq!(bench.pending(csg, PROGRESS_TIMER), 0);
        bench.pass(Duration::from_millis(1));
        let expected = if armed { PROGRESS_TIMER } else { 0 };
        assert_eq!(bench.pending(csg, PROGRESS_TIMER), expected);
        assert_eq!(
            bench.answer(csg, IDLE) == 0,
            armed,
            "a stalled group is busy"
        );
        // Suspending does not cure it.
        bench.answer(csg, PROGRESS_TIMER);
        assert!(bench.state(0, SUSPEND));
        bench.program_group(0, 0, 2);
        assert!(bench.state(0, RESUME));
        bench.run();
        bench.pass(Duration::from_secs(1));
        assert_eq!(bench.is_through(0, 1), !armed);
        assert_eq!(bench.pending(csg, PROGRESS_TIMER), expected);
        bench.clean();
    }
}

/// GPU address of a heap context.
const HEAP: u64 = DATA + 0x200;

/// Lets stream 0 of slot 0 meet an exhausted heap while a render pass is tiled.
fn exhaust(bench: &mut Bench) {
    arm(bench, Kind::TilerOom, &[]);
    bench.exec(&[move48(30, HEAP), heap_set(30), heap_operation(0)]);
    bench.irq();
    job(bench, 0, 0);
    assert_eq!(struck(bench, Kind::TilerOom), 1);
    let (csg, cs) = (bench.csg(0), bench.cs(0, 0));
    assert_eq!(bench.irq(), 1);
    assert_eq!(bench.get32(0, csg.output + 12), 1, "stream 0 is flagged");
    assert_eq!(bench.pending(cs, CS_TILER_OOM), CS_TILER_OOM);
    assert_eq!(bench.get64(0, cs.output + 208), HEAP);
    let counters = [192, 196, 204].map(|at| bench.get32(0, cs.output + at));
    assert_eq!(counters, [1, 0, 0]);
    assert!(!bench.is_through(0, 0));
    // Acknowledged, not answered: as drivers do at the interrupt.
    bench.set32(csg.input + 12, 1);
    bench.ring_csg(0, 1);
    bench.run();
    assert!(!bench.is_through(0, 0));
}

fn give_chunk(bench: &mut Bench, chunk: u64) {
    let cs = bench.cs(0, 0);
    bench.set64(cs.input + 32, chunk);
    bench.set64(cs.input + 40, chunk);
    assert_eq!(bench.answer(cs, CS_TILER_OOM), CS_TILER_OOM);
    bench.ring_csg(0, 1);
    bench.run();
}

#[test]
fn a_stream_goes_on_with_the_chunk_that_the_host_gives() {
    let mut bench = Bench::with_group(1);
    exhaust(&mut bench);
    give_chunk(&mut bench, (DATA + 0x1000) | 2);
    assert!(bench.is_through(0, 0));
    assert_eq!(bench.data(0), DATA as u32);
    bench.clean();
}

#[test]
fn a_chunk_has_to_be_memory() {
    for chunk in [0x7_0000_0001, DATA + 0x1000, (DATA + 0xf000) | 2] {
        let mut bench = Bench::with_group(1);
        exhaust(&mut bench);
        let cs = bench.cs(0, 0);
        bench.set64(cs.input + 40, (DATA + 0x1000) | 1);
        bench.set64(cs.input + 32, chunk);
        bench.answer(cs, CS_TILER_OOM);
        bench.ring_csg(0, 1);
        bench.misused("no chunk for the tiler heap");
    }
}

#[test]
fn without_a_chunk_the_handler_runs_and_without_one_the_stream_ends() {
    let mut bench = Bench::with_group(1);
    let size = bench.code(0, CODE + 0x800, &mark(0x100));
    bench.exec(&[
        move48(30, CODE + 0x800),
        move32(32, size),
        set_exception_handler(2, 30, 32),
    ]);
    exhaust(&mut bench);
    give_chunk(&mut bench, 0);
    assert!(bench.is_through(0, 0));
    assert_eq!(bench.data(0x100), DATA as u32 + 0x100, "by the handler");
    assert_eq!(bench.data(0), DATA as u32);
    bench.clean();

    let mut bench = Bench::with_group(1);
    exhaust(&mut bench);
    give_chunk(&mut bench, 0);
    assert_eq!(bench.exception(CS_FATAL), (0x60, HEAP));
    assert!(!bench.is_through(0, 0));
    bench.clean();
}

#[test]
fn a_group_that_leaves_its_slot_asks_again_for_a_chunk() {
    let mut bench = Bench::with_group(1);
    exhaust(&mut bench);
    let cs = bench.cs(0, 0);
    assert!(bench.state(0, SUSPEND));
    assert_eq!(bench.pending(cs, CS_TILER_OOM), 0, "not the next group's");
    // The host was about to answer.
    bench.toggle(cs, CS_TILER_OOM);
    bench.program_group(0, 0, 1);
    assert!(bench.state(0, RESUME));
    bench.run();
    assert_eq!(bench.pending(cs, CS_TILER_OOM), CS_TILER_OOM);
    give_chunk(&mut bench, (DATA + 0x1000) | 1);
    assert!(bench.is_through(0, 0));
    bench.clean();
}

/// What garbage did: the output blocks of slot 0 and of the global interface, before it
/// is put right.
fn litter(seed: u64, place: u64) -> (u64, Vec<u32>) {
    let mut bench = Bench::with_group(1);
    let order = [
        (Key::Seed, seed),
        (Key::Where, place),
        (Key::PerS, 20_000),
        (Key::RepairMs, 1 << 30),
        (Key::ForMs, 100),
    ];
    arm(&bench, Kind::Garbage, &order);
    for _ in 0..90 {
        bench.pass(Duration::from_millis(1));
    }
    let (glb, csg, cs) = (bench.glb(), bench.csg(0), bench.cs(0, 0));
    let mut words = Vec::new();
    for (block, size) in [
        (glb.output, 28),
        (csg.output, 32),
        (cs.output, 216),
        (Bench::ring_blocks(0, 0) + 0x1000, 12),
    ] {
        for at in (0..size).step_by(4) {
            words.push(bench.get32(0, block + at));
        }
    }
    (struck(&bench, Kind::Garbage), words)
}

#[test]
fn garbage_is_the_same_for_the_same_seed() {
    for place in 0..6 {
        let once = litter(42, place);
        assert!(once.0 >= 5, "{} words of {place}", once.0);
        assert_eq!(once, litter(42, place), "place {place}");
        assert_ne!(once, litter(43, place), "place {place}");
    }
}

#[test]
fn garbage_is_put_right_and_the_host_is_told() {
    let mut bench = Bench::with_group(2);
    let (glb, csg) = (bench.glb(), bench.csg(0));
    let order = [
        (Key::Seed, 5),
        (Key::PerS, 100_000),
        (Key::ForMs, 50),
        (Key::RepairMs, 1),
    ];
    arm(&bench, Kind::Garbage, &order);
    for round in 0..50 {
        bench.bus.pass(Duration::from_millis(1));
        // The host does what it always does, and believes what it reads.
        bench.insert(0, round % 2, &mark(8));
        bench.csf.doorbell(1, &mut bench.bus);
        let flags = bench.get32(0, glb.output + 8) ^ 1;
        bench.set32(glb.input + 8, flags);
        bench.toggle(csg, STATUS_UPDATE);
        bench.csf.doorbell(0, &mut bench.bus);
        let ack = bench.ack(csg);
        bench.set_bits(csg, ack, !0xff);
        for _ in 0..50 {
            bench.csf.run(64, &mut bench.bus);
        }
    }
    assert!(struck(&bench, Kind::Garbage) > 500);
    bench.pass(Duration::from_millis(2));
    assert!(bench.bus.faults.armed(Kind::Garbage).is_none(), "it ends");
    bench.clean();
    // The interface works as before.
    bench.irq();
    let group = bench.ack(csg);
    bench.set_bits(csg, group, !7);
    bench.toggle(glb, PING);
    bench.csf.doorbell(0, &mut bench.bus);
    assert_eq!(bench.pending(glb, PING), 0);
    assert_ne!(bench.irq() & GLOBAL, 0);
}

#[test]
fn a_halted_firmware_leaves_no_garbage() {
    let mut bench = Bench::new();
    let glb = bench.glb();
    let before = bench.get32(0, glb.output + 8);
    let order = [
        (Key::Seed, 9),
        (Key::Where, Where::Events as u64),
        (Key::PerS, 100_000),
        (Key::RepairMs, 1 << 30),
    ];
    arm(&bench, Kind::Garbage, &order);
    for _ in 0..20 {
        bench.pass(Duration::from_millis(1));
    }
    assert_ne!(bench.get32(0, glb.output + 8), before);
    bench.set_bits(glb, HALT, HALT);
    bench.csf.doorbell(0, &mut bench.bus);
    assert!(bench.csf.halted());
    assert_eq!(bench.get32(0, glb.output + 8), before);
    // The fast way back, with nobody excused any more.
    bench.bus.faults.reset();
    bench.csf.reset();
    bench.set_bits(glb, 0, HALT);
    bench.csf.boot(&mut bench.bus).unwrap();
    bench.start_group(0, 1);
    bench.exec(&mark(0));
    assert_eq!(bench.data(0), DATA as u32);
}
