// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The life of groups on slots: start, suspend, resume, terminate, endpoints.

use super::asm::*;
use super::bench::*;

/// Counts at `DATA`.
fn count() -> [u64; 4] {
    [
        move48(30, DATA),
        load(8, 1, 30, 0),
        add32(8, 8, 1),
        store(8, 1, 30, 0),
    ]
}

#[test]
fn start_runs_what_is_in_the_ring_already() {
    let mut bench = Bench::new();
    bench.create_group(0, 2);
    bench.program_group(0, 0, 2);
    bench.insert(0, 0, &count());
    bench.insert(0, 1, &count());
    assert!(bench.state(0, START));
    assert_eq!(bench.irq(), 1);
    bench.run();
    assert!(bench.is_through(0, 0) && bench.is_through(0, 1));
    assert_eq!(bench.data(0), 2);
    bench.clean();
}

#[test]
fn start_leaves_streams_alone_that_are_not_asked_for() {
    let mut bench = Bench::with_group(1);
    let cs = bench.cs(0, 1);
    assert_eq!(bench.ack(cs), 0);
    bench.csf.doorbell(1, &mut bench.bus);
    bench.clean();
}

#[test]
fn terminate_drops_the_group() {
    let mut bench = Bench::with_group(1);
    let cs = bench.cs(0, 0);
    bench.submit(
        0,
        0,
        &[RUN_COMPUTE, wait(1), move48(30, DATA), store(30, 1, 30, 0)],
    );
    bench.run();
    assert!(bench.state(0, TERMINATE));
    assert_eq!(bench.ack(cs) & 7, 0, "the stream is stopped");
    bench.pass(2 * RUN_TIME);
    assert_eq!(bench.data(0), 0);
    // Terminating nothing is fine.
    bench.set_bits(cs, 0, 7);
    let csg = bench.csg(0);
    bench.program_group(0, 0, 0);
    assert!(bench.state(0, START));
    assert!(bench.state(0, SUSPEND));
    assert!(bench.state(0, TERMINATE));
    assert_eq!(bench.ack(csg) & 7, TERMINATE);
    bench.clean();
}

#[test]
fn states_out_of_order_are_misuse() {
    for (first, then, part) in [
        (TERMINATE, SUSPEND, "asks for state 2 while no group"),
        (START, RESUME, "asks for state 3 while a group"),
        (START, 4, "asks for state 4 while a group"),
    ] {
        let mut bench = Bench::new();
        bench.create_group(0, 1);
        bench.program_group(0, 0, 1);
        assert!(bench.state(0, first));
        assert!(!bench.state(0, then), "not acknowledged");
        bench.misused(part);
    }
}

#[test]
fn address_space_has_to_be_one_for_groups() {
    for as_nr in [0, 8] {
        let mut bench = Bench::new();
        bench.create_group(0, 1);
        bench.program_group(0, 0, 1);
        let csg = bench.csg(0);
        bench.set32(csg.input + 80, as_nr);
        assert!(!bench.state(0, START));
        bench.misused("not one for groups");
    }
}

#[test]
fn endpoints_are_checked_and_reported() {
    let mut bench = Bench::with_group(1);
    let csg = bench.csg(0);
    bench.status();
    let endpoints = 4 | (4 << 8) | (1 << 16) | (15 << 28);
    assert_eq!(bench.get32(0, csg.output + 16), 15 << 28, "nothing runs");
    assert_eq!(bench.get32(0, csg.output + 20), endpoints);
    bench.submit(0, 0, &[RUN_FRAGMENT, RUN_IDVS]);
    bench.run();
    bench.status();
    let current = bench.get32(0, csg.output + 16);
    assert_eq!(current, endpoints & !0xff);
    bench.pass(RUN_TIME);

    for (field, value, part) in [
        (32, 0x7u64, "compute endpoints 0x7 that are not present"),
        (
            40,
            0x8_0005,
            "fragment endpoints 0x80005 that are not present",
        ),
        (48, 2, "tiler endpoints 0x2 that are not present"),
    ] {
        let old = bench.get32(0, csg.input + field);
        bench.set32(csg.input + field, value as u32);
        // Few enough for the mask.
        bench.set32(csg.input + 52, 1 | (1 << 8));
        bench.toggle(csg, ENDPOINT_CONFIG);
        bench.ring_glb(1);
        bench.misused(part);
        assert_eq!(bench.pending(csg, ENDPOINT_CONFIG), 0);
        bench.set32(csg.input + field, old);
    }
    bench.set32(csg.input + 52, 5);
    bench.toggle(csg, ENDPOINT_CONFIG);
    bench.ring_glb(1);
    bench.misused("asks for 5 compute endpoints");
}

#[test]
fn status_update_reports_idleness() {
    let mut bench = Bench::with_group(1);
    let csg = bench.csg(0);
    bench.status();
    assert_eq!(bench.get32(0, csg.output + 24), 1);
    bench.submit(0, 0, &[RUN_COMPUTE]);
    bench.status();
    assert_eq!(bench.get32(0, csg.output + 24), 0, "work to do");
    bench.run();
    bench.status();
    assert_eq!(bench.get32(0, csg.output + 24), 0, "a job runs");
    bench.pass(RUN_TIME);
    bench.status();
    assert_eq!(bench.get32(0, csg.output + 24), 1);
}

/// Takes the group off its slot and puts it on another one.
fn move_group(bench: &mut Bench, from: u32, to: u32, owner: u32, streams: u32) {
    assert!(bench.state(from, SUSPEND));
    for stream in 0..streams {
        // Drivers ask for STOP afterwards, without a doorbell.
        let cs = bench.cs(from, stream);
        bench.set_bits(cs, 0, 7);
    }
    bench.program_group(to, owner, streams);
    assert!(bench.state(to, RESUME));
    bench.clean();
}

#[test]
fn resumed_group_goes_on_where_it_was() {
    let mut bench = Bench::with_group(1);
    // Stopped inside of two calls, with values in registers, before a store.
    let inner = bench.code(
        0,
        CODE + 0x100,
        &[
            move32(8, 55),
            set_sb_entry(2, 0),
            RUN_COMPUTE,
            wait(1 << 2),
            move48(30, DATA),
            store(8, 1, 30, 0),
        ],
    );
    let outer = [
        move48(92, CODE + 0x100),
        move32(94, inner),
        call(92, 94),
        store(8, 1, 30, 4),
    ];
    let size = bench.code(0, CODE, &outer);
    bench.submit(
        0,
        0,
        &[
            move48(92, CODE),
            move32(94, size),
            call(92, 94),
            store(8, 1, 30, 8),
        ],
    );
    bench.run();
    assert_eq!(bench.extract(0, 0), 16, "at the CALL");
    move_group(&mut bench, 0, 3, 0, 1);
    bench.run();
    assert_eq!(bench.data(0), 0, "the job has not lost its time");
    bench.pass(RUN_TIME);
    assert_eq!([0, 4, 8].map(|at| bench.data(at)), [55; 3]);
    assert!(bench.is_through(0, 0));
    // The doorbell is the new slot's.
    bench.insert(0, 0, &[NOP]);
    bench.csf.doorbell(1, &mut bench.bus);
    bench.run();
    assert!(!bench.is_through(0, 0));
    bench.csf.doorbell(4, &mut bench.bus);
    bench.run();
    assert!(bench.is_through(0, 0));
    bench.clean();
}

#[test]
fn resumed_group_uses_the_address_space_of_then() {
    let mut bench = Bench::with_group(1);
    bench.submit(
        0,
        0,
        &[RUN_COMPUTE, wait(1), move48(30, DATA), store(30, 1, 30, 0)],
    );
    bench.run();
    assert!(bench.state(0, SUSPEND));
    // The same memory, now in address space 5.
    bench.create_group(4, 0);
    bench
        .bus
        .map(5, Bench::ring_base(0), RING_SIZE, super::memory::Use::Data);
    for at in (0..64).step_by(8) {
        let word = bench.get64(1, Bench::ring_base(0) + at);
        let to = Bench::ring_base(0) + at;
        bench.bus.fill(5, to, &word.to_le_bytes());
    }
    bench.bus.unmap(1, Bench::ring_base(0), RING_SIZE);
    bench.program_group(0, 0, 1);
    let csg = bench.csg(0);
    bench.set32(csg.input + 80, 5);
    assert!(bench.state(0, RESUME));
    bench.pass(RUN_TIME);
    assert!(bench.is_through(0, 0));
    assert_eq!(bench.get32(5, DATA), DATA as u32);
    bench.clean();
}

#[test]
fn resumed_group_has_its_deferred_and_blocked_state() {
    let mut bench = Bench::with_group(2);
    bench.set_data(0, 0);
    bench.submit(
        0,
        0,
        &[
            RUN_COMPUTE,
            move48(30, DATA + 0x40),
            move48(32, 7),
            deferred(sync_add64(30, 32), 1, 3),
            move48(30, DATA),
            move48(32, 0),
            sync_wait64(GT, 30, 32),
            store(32, 1, 30, 0x50),
        ],
    );
    bench.run();
    let before = bench.status();
    let wait = bench.get64(0, before + 80);
    move_group(&mut bench, 0, 1, 0, 2);
    let after = bench.cs(1, 0).output;
    bench.run();
    let csg = bench.csg(1);
    bench.toggle(csg, STATUS_UPDATE);
    bench.ring_glb(2);
    assert_eq!(bench.get32(0, after + 96), 3);
    assert_eq!(bench.get64(0, after + 80), wait);
    assert_eq!(bench.get32(0, after + 92), 0b1001, "scoreboards");
    bench.pass(RUN_TIME);
    assert_eq!(bench.data(0x40), 7);
    // Woken after the host wrote the object while the group was suspended.
    bench.set_data(0, 1);
    move_group(&mut bench, 1, 0, 0, 2);
    bench.run();
    assert!(bench.is_through(0, 0));
    bench.clean();
}

#[test]
fn insert_offset_that_moved_meanwhile_is_seen() {
    let mut bench = Bench::with_group(1);
    bench.exec(&count());
    assert!(bench.state(0, SUSPEND));
    bench.insert(0, 0, &count());
    bench.program_group(0, 0, 1);
    assert!(bench.state(0, RESUME));
    bench.run();
    assert_eq!(bench.data(0), 2);
}

#[test]
fn a_suspended_group_goes_on_once_from_where_it_was() {
    let mut bench = Bench::with_group(1);
    move_group(&mut bench, 0, 0, 0, 1);
    assert!(bench.state(0, TERMINATE));
    bench.program_group(0, 0, 1);
    assert!(!bench.state(0, RESUME));
    bench.misused("it was resumed from already");
}

#[test]
fn a_suspended_group_is_not_to_be_started_anew() {
    let mut bench = Bench::with_group(1);
    assert!(bench.state(0, SUSPEND));
    bench.program_group(0, 0, 1);
    assert!(bench.state(0, START));
    bench.misused("was suspended to");
    // Another group, with another buffer, is none of that.
    assert!(bench.state(0, SUSPEND));
    bench.set64(Bench::suspend_buffer(0), 0);
    bench.program_group(0, 0, 1);
    assert!(bench.state(0, START));
    bench.clean();
}

#[test]
fn a_stream_is_resumed_with_its_group() {
    let mut bench = Bench::with_group(2);
    assert!(bench.state(0, SUSPEND));
    bench.program_group(0, 0, 2);
    let cs = bench.cs(0, 1);
    bench.set_bits(cs, 0, 7);
    assert!(bench.state(0, RESUME));
    bench.misused("csg0.cs1: was running when its group was suspended");
}

#[test]
fn resume_counts_as_disjoint() {
    let mut bench = Bench::with_group(1);
    for _ in 0..3 {
        move_group(&mut bench, 0, 0, 0, 1);
    }
    bench.exec(&[move48(30, DATA), store_state(2, 30, 0)]);
    assert_eq!(bench.data(0), 3);
}

#[test]
fn status_is_there_before_the_suspend_is_acknowledged() {
    let mut bench = Bench::with_group(1);
    bench.submit(0, 0, &[move48(30, DATA), sync_wait64(GT, 30, 32)]);
    bench.run();
    assert!(bench.state(0, SUSPEND));
    let output = bench.cs(0, 0).output;
    assert_eq!(bench.get32(0, output + 96), 3);
    assert_eq!(bench.get64(0, output + 80), DATA);
}

#[test]
fn suspend_buffer_has_to_be_the_groups() {
    let mut bench = Bench::with_group(1);
    let csg = bench.csg(0);
    bench.set64(csg.input + 64, 0);
    assert!(!bench.state(0, SUSPEND));
    bench.misused("suspend buffer at 0x0");
    bench.set64(csg.input + 64, Bench::suspend_buffer(0));
    assert!(bench.state(0, SUSPEND));

    bench.bus.fill(0, Bench::suspend_buffer(0) + 100, &[0xaa]);
    bench.program_group(0, 0, 1);
    assert!(!bench.state(0, RESUME));
    bench.misused("changed since the suspend");
    bench.bus.fill(0, Bench::suspend_buffer(0), &[0; 4096]);
    assert!(!bench.state(0, RESUME));
    bench.misused("never suspended to");
}

#[test]
fn many_groups_rotate_over_one_slot() {
    let mut bench = Bench::new();
    for owner in 0..6 {
        bench.create_group(owner, 1);
        let mut instrs = count().to_vec();
        instrs.extend([RUN_COMPUTE, wait(1)]);
        instrs.extend(count());
        bench.insert(owner, 0, &instrs);
    }
    let mut suspended = [false; 6];
    for _round in 0..3 {
        for owner in 0..6 {
            bench.program_group(2, owner, 1);
            let state = if suspended[owner as usize] {
                RESUME
            } else {
                START
            };
            assert!(bench.state(2, state));
            bench.run();
            bench.pass(RUN_TIME);
            assert!(bench.state(2, SUSPEND));
            suspended[owner as usize] = true;
        }
    }
    for owner in 0..6 {
        assert!(bench.is_through(owner, 0));
        assert_eq!(bench.get32(owner as u8 + 1, DATA), 2);
    }
    bench.clean();
}
