// SPDX-License-Identifier: GPL-2.0 OR MIT

//! BRANCH, CALL and JUMP, and the fair sharing of time.

use super::asm::*;
use super::bench::*;

const INSTR_INVALID: u32 = 0x49;
const STACK_OVERFLOW: u32 = 0x4a;

/// CALL of a buffer with the given instructions at `at`.
fn call_of(bench: &mut Bench, at: u64, instrs: &[u64]) -> [u64; 3] {
    let size = bench.code(0, at, instrs);
    [move48(92, at), move32(94, size), call(92, 94)]
}

#[test]
fn branch_follows_its_condition() {
    let minus_one = !0;
    // Condition, and for which of -1, 0 and 1 it holds.
    let table = [
        (0, [true, true, false]),
        (1, [false, false, true]),
        (2, [false, true, false]),
        (3, [true, false, true]),
        (4, [true, false, false]),
        (5, [false, true, true]),
        (6, [true, true, true]),
    ];
    for (condition, expected) in table {
        for (value, expected) in [minus_one, 0, 1].into_iter().zip(expected) {
            let mut bench = Bench::with_group(1);
            bench.exec(&[
                move48(30, DATA),
                move32(8, value),
                move32(9, 1),
                branch(condition, 8, 1),
                move32(9, 0),
                store(9, 1, 30, 0),
            ]);
            let taken = bench.data(0) == 1;
            assert_eq!(taken, expected, "condition {condition}, value {value:#x}");
        }
    }
}

#[test]
fn loop_runs_as_often_as_it_says() {
    let mut bench = Bench::with_group(1);
    let call = call_of(
        &mut bench,
        CODE,
        &[
            move48(30, DATA),
            move32(8, 1000),
            move32(9, 0),
            add32(9, 9, 3),
            add32(8, 8, -1),
            branch(3, 8, -3),
            store(9, 1, 30, 0),
        ],
    );
    bench.exec(&call);
    assert_eq!(bench.data(0), 3000);
}

#[test]
fn branch_to_the_end_returns() {
    let mut bench = Bench::with_group(1);
    let mut instrs = call_of(&mut bench, CODE, &[branch(6, 0, 1), (0xff << 56)]).to_vec();
    instrs.extend([move48(30, DATA), move32(8, 5), store(8, 1, 30, 0)]);
    bench.exec(&instrs);
    assert_eq!(bench.data(0), 5);
}

#[test]
fn branch_out_of_the_buffer_is_fatal() {
    for ring in [true, false] {
        let mut bench = Bench::with_group(1);
        let out = [branch(6, 0, 100)];
        if ring {
            bench.submit(0, 0, &out);
        } else {
            let call = call_of(&mut bench, CODE, &out);
            bench.submit(0, 0, &call);
        }
        bench.run();
        assert_eq!(bench.exception(CS_FATAL), (INSTR_INVALID, out[0]));
    }
}

#[test]
fn call_returns_behind_itself() {
    let mut bench = Bench::with_group(1);
    let mut instrs = vec![move48(30, DATA), move32(8, 1)];
    instrs.extend(call_of(&mut bench, CODE, &[add32(8, 8, 10)]));
    instrs.extend([add32(8, 8, 100), store(8, 1, 30, 0)]);
    bench.exec(&instrs);
    assert_eq!(bench.data(0), 111);
}

#[test]
fn call_of_nothing_returns_at_once() {
    let mut bench = Bench::with_group(1);
    let call = call_of(&mut bench, CODE, &[]);
    bench.exec(&call);
    // Also as the last thing in the ring.
    let mut last = vec![NOP; 5];
    last.extend(call);
    bench.exec(&last);
}

/// Code at `CODE` + 0x100 * n that calls the code behind it, `depth` deep.
fn nested_calls(bench: &mut Bench, depth: u64) -> [u64; 3] {
    let mut next = vec![add32(8, 8, 1)];
    for level in (0..depth).rev() {
        next = call_of(bench, CODE + 0x100 * level, &next).to_vec();
        next.push(add32(8, 8, 1));
    }
    [next[0], next[1], next[2]]
}

#[test]
fn calls_nest_as_deep_as_the_hardware_has_frames() {
    let mut bench = Bench::with_group(1);
    let mut instrs = nested_calls(&mut bench, 7).to_vec();
    instrs.extend([move48(30, DATA), store(8, 1, 30, 0)]);
    bench.exec(&instrs);
    assert_eq!(bench.data(0), 7);
}

#[test]
fn one_call_more_overflows_the_stack() {
    let mut bench = Bench::with_group(1);
    let instrs = nested_calls(&mut bench, 8);
    bench.submit(0, 0, &instrs);
    bench.run();
    let (exception, info) = bench.exception(CS_FATAL);
    assert_eq!((exception, info), (STACK_OVERFLOW, call(92, 94)));
}

#[test]
fn jump_replaces_the_called_buffer() {
    let mut bench = Bench::with_group(1);
    let second = bench.code(0, CODE + 0x100, &[add32(8, 8, 10)]);
    let first = [
        move48(92, CODE + 0x100),
        move32(94, second),
        jump(92, 94),
        0xff << 56,
    ];
    let mut instrs = call_of(&mut bench, CODE, &first).to_vec();
    instrs.extend([move48(30, DATA), store(8, 1, 30, 0)]);
    bench.exec(&instrs);
    assert_eq!(bench.data(0), 10);
}

#[test]
fn jump_does_not_nest() {
    let mut bench = Bench::with_group(1);
    // Each of 20 buffers jumps to the next.
    for n in 0..20 {
        let next = CODE + 0x40 * (n + 1);
        let size = if n == 19 { 0 } else { 32 };
        let instrs = [
            add32(8, 8, 1),
            move48(92, next),
            move32(94, size),
            jump(92, 94),
        ];
        bench.code(0, CODE + 0x40 * n, &instrs);
    }
    bench.exec(&[
        move48(92, CODE),
        move32(94, 32),
        call(92, 94),
        move48(30, DATA),
        store(8, 1, 30, 0),
    ]);
    assert_eq!(bench.data(0), 20);
}

#[test]
fn jump_out_of_the_ring_is_fatal() {
    let mut bench = Bench::with_group(1);
    bench.submit(0, 0, &[move48(92, CODE), move32(94, 8), jump(92, 94)]);
    bench.run();
    assert_eq!(bench.exception(CS_FATAL), (INSTR_INVALID, jump(92, 94)));
}

#[test]
fn call_has_to_be_aligned() {
    for (at, size) in [(CODE + 4, 8), (CODE, 12), ((!0 >> 16) & !7, 8)] {
        let mut bench = Bench::with_group(1);
        bench.submit(0, 0, &[move48(92, at), move32(94, size), call(92, 94)]);
        bench.run();
        let aligned = at % 8 == 0 && size % 8 == 0;
        let expected = if aligned { 0x48 } else { INSTR_INVALID };
        assert_eq!(bench.exception(CS_FATAL).0, expected, "{at:#x} {size}");
    }
}

#[test]
fn call_of_unmapped_memory_is_an_mmu_fault() {
    let mut bench = Bench::with_group(1);
    let nowhere = 0x7fff_0000_0000;
    bench.submit(0, 0, &[move48(92, nowhere), move32(94, 8), call(92, 94)]);
    bench.run();
    assert_eq!(bench.exception(CS_FATAL), (0x48, nowhere));
    assert_eq!(bench.bus.mmu_faults.len(), 1);
    // The job whose CALL it was is still the one at the extract offset.
    assert_eq!(bench.extract(0, 0), 16);
}

#[test]
fn ring_wraps_around() {
    let mut bench = Bench::with_group(1);
    for _ in 0..3 * RING_SIZE / 64 {
        bench.exec(&[
            move48(30, DATA),
            load(8, 1, 30, 0),
            add32(8, 8, 1),
            store(8, 1, 30, 0),
        ]);
    }
    assert_eq!(u64::from(bench.data(0)), 3 * RING_SIZE / 64);
}

#[test]
fn endless_streams_share_the_time_fairly() {
    let mut bench = Bench::with_group(3);
    bench.start_group(1, 1);
    // Streams 0 to 2 count at DATA + 0, 4, 8 of their group; so does the other group's.
    let endless = |n: u64| {
        [
            move48(30, DATA + 4 * n),
            add32(8, 8, 1),
            store(8, 1, 30, 0),
            branch(6, 0, -3),
        ]
    };
    for n in 0..3 {
        bench.submit(0, n, &endless(n.into()));
    }
    bench.submit(1, 0, &endless(0));
    for _ in 0..100 {
        bench.csf.run(333, &mut bench.bus);
    }
    let mut counts: Vec<u32> = (0..3).map(|n| bench.data(4 * n)).collect();
    counts.push(bench.get32(2, DATA));
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(most - least <= 16, "{counts:?}");
    assert!(*least > 2000, "{counts:?}");
}
