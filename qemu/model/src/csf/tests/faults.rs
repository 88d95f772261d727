// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Faults that tests order, and that nothing of them is there unless they are.

use std::time::Duration;

use super::asm::*;
use super::bench::*;
use crate::csf::Next;
use crate::faults::{Key, Kind, Request, Values};

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
