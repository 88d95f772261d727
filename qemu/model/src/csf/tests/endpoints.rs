// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Groups of different priorities that want the same endpoints.

use std::time::Duration;

use super::asm::*;
use super::bench::*;

/// Groups on the slots from 0 on with these priorities, one stream each.
fn groups(priorities: &[u32]) -> Bench {
    let mut bench = Bench::new();
    for (slot, &priority) in (0..).zip(priorities) {
        bench.start_group(slot, 1);
        let csg = bench.csg(slot);
        let request = bench.get32(0, csg.input + 52) & !(15 << 28);
        bench.set32(csg.input + 52, request | (priority << 28));
        bench.toggle(csg, ENDPOINT_CONFIG);
        bench.ring_glb(1 << slot);
    }
    bench
}

/// Submits jobs of which each is through before the next one starts; each adds 1.
fn jobs(bench: &mut Bench, slot: u32, count: u32) {
    for _ in 0..count {
        let job = [
            RUN_COMPUTE,
            wait(1),
            move48(30, DATA),
            load(8, 1, 30, 0),
            add32(8, 8, 1),
            store(8, 1, 30, 0),
        ];
        bench.submit(slot, 0, &job);
    }
}

fn done(bench: &mut Bench, slots: u32) -> Vec<u32> {
    (0..slots)
        .map(|slot| bench.get32(slot as u8 + 1, DATA))
        .collect()
}

/// Why stream 0 of a slot is blocked, and which streams wait for resources.
fn blocked(bench: &mut Bench, slot: u32) -> (u32, u32) {
    let csg = bench.csg(slot);
    bench.toggle(csg, STATUS_UPDATE);
    bench.ring_glb(1 << slot);
    let cs = bench.cs(slot, 0);
    (
        bench.get32(0, cs.output + 96),
        bench.get32(0, csg.output + 28),
    )
}

#[test]
fn the_higher_priority_goes_first_and_the_lower_one_starves() {
    let mut bench = groups(&[3, 9]);
    jobs(&mut bench, 0, 3);
    bench.run();
    jobs(&mut bench, 1, 3);
    bench.run();
    assert_eq!(
        blocked(&mut bench, 1),
        (5, 1),
        "the first job is not cut short"
    );
    for round in 1..=3 {
        bench.pass(RUN_TIME);
        assert_eq!(done(&mut bench, 2), [1, round - 1], "the high group's turn");
        assert_eq!(blocked(&mut bench, 0), (5, 1));
    }
    for round in 1..=3 {
        bench.pass(RUN_TIME);
        assert_eq!(done(&mut bench, 2), [round.min(3), 3]);
    }
    bench.clean();
}

#[test]
fn a_high_group_that_is_idle_or_blocked_holds_nobody_up() {
    let mut bench = groups(&[15, 0, 14]);
    bench.submit(0, 0, &[move48(30, DATA), sync_wait64(GT, 30, 32)]);
    jobs(&mut bench, 1, 2);
    bench.run();
    bench.pass(RUN_TIME);
    bench.pass(RUN_TIME);
    assert_eq!(bench.get32(2, DATA), 2);
    bench.clean();
}

#[test]
fn a_high_group_that_leaves_lets_the_others_through() {
    let mut bench = groups(&[15, 0]);
    bench.csf.set_run_time(Duration::from_secs(1));
    jobs(&mut bench, 0, 1);
    bench.run();
    bench.csf.set_run_time(RUN_TIME);
    jobs(&mut bench, 1, 1);
    bench.pass(RUN_TIME);
    assert_eq!(blocked(&mut bench, 1), (5, 1));
    assert!(bench.state(0, TERMINATE));
    bench.run();
    assert_eq!(blocked(&mut bench, 1).0, 1, "its job runs");
    bench.pass(RUN_TIME);
    assert_eq!(bench.get32(2, DATA), 1);
    bench.clean();
}

#[test]
fn groups_of_a_priority_take_turns() {
    let mut bench = groups(&[7; 3]);
    for slot in 0..3 {
        jobs(&mut bench, slot, 4);
    }
    bench.run();
    for round in 1..=4 {
        for _ in 0..3 {
            bench.pass(RUN_TIME);
        }
        assert_eq!(done(&mut bench, 3), [round; 3]);
    }
    bench.clean();
}

#[test]
fn groups_that_share_the_cores_run_side_by_side() {
    let mut bench = groups(&[9, 3]);
    for slot in 0..2 {
        let csg = bench.csg(slot);
        let request = bench.get32(0, csg.input + 52) & !0xff;
        bench.set32(csg.input + 52, request | 2);
        bench.toggle(csg, ENDPOINT_CONFIG);
        bench.ring_glb(1 << slot);
        jobs(&mut bench, slot, 1);
    }
    bench.run();
    assert_eq!(blocked(&mut bench, 0).0, 1);
    assert_eq!(blocked(&mut bench, 1).0, 1);
    bench.pass(RUN_TIME);
    assert_eq!(done(&mut bench, 2), [1, 1]);
    bench.clean();
}
