// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Endpoint jobs, scoreboard slots and deferred instructions.

use std::time::Duration;

use super::asm::*;
use super::bench::*;
use crate::bus::Bus;
use crate::csf::Next;

const JUST_BEFORE: Duration = Duration::from_micros(49);

#[test]
fn every_job_takes_its_time_and_wait_waits() {
    for job in [
        RUN_COMPUTE,
        RUN_TILING,
        RUN_IDVS,
        RUN_FRAGMENT,
        RUN_FULLSCREEN,
        RUN_COMPUTE_INDIRECT,
    ] {
        let mut bench = Bench::with_group(1);
        bench.submit(0, 0, &[set_sb_entry(3, 0), job, wait(1 << 3)]);
        let start = bench.bus.now();
        assert_eq!(bench.run(), Next::At(start + RUN_TIME));
        assert_eq!(bench.scoreboards(), 1 << 3);
        assert_eq!(bench.blocked_reason(), 1);
        let output = bench.status();
        assert_eq!(bench.get32(0, output + 72), (8 << 16) | (1 << 3));
        bench.pass(JUST_BEFORE);
        assert!(!bench.is_through(0, 0));
        bench.pass(RUN_TIME - JUST_BEFORE);
        assert!(bench.is_through(0, 0));
        assert_eq!((bench.scoreboards(), bench.blocked_reason()), (0, 0));
        bench.clean();
    }
}

#[test]
fn wait_for_other_slots_does_not_block() {
    let mut bench = Bench::with_group(1);
    bench.submit(0, 0, &[set_sb_entry(3, 0), RUN_COMPUTE, wait(0xf7)]);
    bench.run();
    assert!(bench.is_through(0, 0));
}

#[test]
fn run_time_can_be_set() {
    let mut bench = Bench::with_group(1);
    bench.csf.set_run_time(Duration::from_secs(1));
    bench.submit(0, 0, &[RUN_COMPUTE, wait(1)]);
    bench.run();
    bench.pass(Duration::from_millis(999));
    assert!(!bench.is_through(0, 0));
    bench.pass(Duration::from_millis(1));
    assert!(bench.is_through(0, 0));
}

#[test]
fn jobs_run_side_by_side() {
    let mut bench = Bench::with_group(1);
    bench.submit(
        0,
        0,
        &[
            set_sb_entry(1, 0),
            RUN_COMPUTE,
            set_sb_entry(2, 0),
            RUN_FRAGMENT,
            wait(6),
        ],
    );
    bench.run();
    assert_eq!(bench.scoreboards(), 6);
    bench.pass(RUN_TIME);
    assert!(bench.is_through(0, 0));
}

#[test]
fn job_counts_as_progress_when_it_ends() {
    let mut bench = Bench::with_group(1);
    bench.submit(0, 0, &[progress(RUN_COMPUTE), progress_load(8), wait(1)]);
    bench.run();
    bench.pass(RUN_TIME);
    bench.exec(&[progress_load(10), move48(30, DATA), store(8, 0b0101, 30, 0)]);
    assert_eq!((bench.data(0), bench.data(8)), (0, 1));
}

#[test]
fn more_jobs_than_the_hardware_holds_block_the_stream() {
    let mut bench = Bench::with_group(1);
    bench.submit(0, 0, &[RUN_COMPUTE; 40]);
    bench.run();
    assert_eq!(bench.blocked_reason(), 4);
    for _ in 0..3 {
        bench.pass(RUN_TIME);
    }
    assert!(bench.is_through(0, 0));
    assert_eq!(bench.scoreboards(), 0);
}

#[test]
fn job_without_endpoints_blocks_until_there_are_some() {
    for (job, shift) in [(RUN_COMPUTE, 0), (RUN_FRAGMENT, 8), (RUN_IDVS, 16)] {
        let mut bench = Bench::with_group(1);
        let csg = bench.csg(0);
        let endpoints = bench.get32(0, csg.input + 52);
        bench.set32(csg.input + 52, endpoints & !(0xf << shift));
        bench.toggle(csg, ENDPOINT_CONFIG);
        bench.ring_glb(1);
        bench.submit(0, 0, &[job, wait(1)]);
        bench.run();
        assert_eq!(bench.blocked_reason(), 5);
        bench.set32(csg.input + 52, endpoints);
        bench.toggle(csg, ENDPOINT_CONFIG);
        bench.ring_glb(1);
        bench.run();
        bench.pass(RUN_TIME);
        assert!(bench.is_through(0, 0));
        bench.clean();
    }
}

#[test]
fn job_on_cores_that_the_host_disabled_blocks() {
    let mut bench = Bench::with_group(1);
    let glb = bench.glb();
    bench.set64(glb.input + 24, 0);
    bench.toggle(glb, CFG_ALLOC_EN);
    bench.ring_glb(0);
    bench.submit(0, 0, &[RUN_COMPUTE]);
    bench.run();
    assert_eq!(bench.blocked_reason(), 5);
}

#[test]
fn job_on_endpoints_without_power_is_misuse() {
    for (job, part) in [
        (RUN_FRAGMENT, "RUN Fragment while all shader cores"),
        (RUN_IDVS, "RUN Idvs while all tilers"),
    ] {
        let mut bench = Bench::with_group(1);
        bench.submit(0, 0, &[job]);
        bench.run();
        // The host takes them away under the firmware.
        bench.bus.cores = (0, 0);
        bench.submit(0, 0, &[job]);
        bench.run();
        bench.misused(part);
    }
}

#[test]
fn job_may_take_for_ever() {
    let mut bench = Bench::with_group(1);
    bench.csf.set_run_time(Duration::MAX);
    bench.submit(0, 0, &[RUN_COMPUTE]);
    bench.run();
    bench.pass(Duration::from_secs(1_000_000));
    assert_eq!(bench.scoreboards(), 1);
}

#[test]
fn job_is_skipped_in_the_error_state() {
    let mut bench = Bench::with_group(1);
    bench.submit(
        0,
        0,
        &[move48(30, DATA + 1), load(8, 1, 30, 0), RUN_COMPUTE],
    );
    bench.run();
    bench.exception(CS_FAULT);
    bench.run();
    assert!(bench.is_through(0, 0));
    assert_eq!(bench.scoreboards(), 0);
    bench.submit(0, 0, &[ERROR_BARRIER, RUN_COMPUTE]);
    bench.run();
    assert_eq!(bench.scoreboards(), 1);
}

#[test]
fn deferred_instruction_waits_for_its_slots() {
    let mut bench = Bench::with_group(1);
    bench.bus.timestamp = 1;
    bench.submit(
        0,
        0,
        &[
            set_sb_entry(2, 0),
            RUN_COMPUTE,
            move48(30, DATA),
            move48(32, 5),
            deferred(sync_add64(30, 32), 1 << 2, 4),
            deferred(store_state(0, 30, 16), 1 << 2, 5),
            deferred(flush_cache(32), 1 << 2, 6),
            // The operands were read when the instructions were issued.
            move48(30, 0),
            move48(32, 0),
            wait(1 << 4),
        ],
    );
    bench.run();
    assert_eq!(bench.scoreboards(), 0b111_0100);
    assert_eq!((bench.data(0), bench.data(16)), (0, 0));
    assert_eq!(bench.irq() & (1 << 0), 1, "status update only");
    let csg = bench.csg(0);
    assert_eq!(bench.pending(csg, SYNC_UPDATE), 0);
    bench.bus.timestamp = 2;
    bench.pass(RUN_TIME);
    assert_eq!((bench.data(0), bench.data(16)), (5, 2));
    assert_eq!(bench.bus.flushes, 1);
    assert_eq!(bench.pending(csg, SYNC_UPDATE), SYNC_UPDATE);
    assert!(bench.is_through(0, 0));
    assert_eq!(bench.scoreboards(), 0);
    bench.clean();
}

#[test]
fn every_deferrable_instruction_is_deferred() {
    let mut bench = Bench::with_group(1);
    let instrs = [
        heap_operation(0),
        finish_fragment(true, 30, 30),
        trace_point(0, 1),
        sync_set32(34, 32),
        sync_add32(36, 32),
        sync_set64(38, 32),
    ];
    let mut all = vec![
        move48(30, DATA + 0x100),
        heap_set(30),
        move48(32, 7),
        move48(34, DATA),
        move48(36, DATA + 0x10),
        move48(38, DATA + 0x20),
        RUN_COMPUTE,
    ];
    all.extend(instrs.map(|instr| deferred(instr, 1, 1)));
    bench.submit(0, 0, &all);
    bench.run();
    assert!(
        bench.is_through(0, 0),
        "nothing waits but the deferred ones"
    );
    assert_eq!(bench.scoreboards(), 3);
    let places = [0x100, 0x108, 0, 0x10, 0x20];
    assert_eq!(places.map(|at| bench.data(at)), [0; 5]);
    bench.pass(RUN_TIME);
    assert_eq!(places.map(|at| bench.data(at)), [1, 1, 7, 7, 7]);
    assert_eq!(bench.scoreboards(), 0);
}

#[test]
fn empty_mask_means_now() {
    let mut bench = Bench::with_group(1);
    bench.submit(
        0,
        0,
        &[
            RUN_COMPUTE,
            move48(30, DATA),
            move48(32, 5),
            deferred(sync_add64(30, 32), 0, 3),
        ],
    );
    bench.run();
    assert_eq!(bench.data(0), 5);
    assert_eq!(bench.scoreboards(), 1);
}

#[test]
fn more_deferred_than_the_hardware_holds_block_the_stream() {
    let mut bench = Bench::with_group(1);
    let mut all = vec![move48(30, DATA), move48(32, 1), RUN_COMPUTE];
    all.extend([deferred(sync_add64(30, 32), 1, 1); 20]);
    bench.submit(0, 0, &all);
    bench.run();
    assert_eq!(bench.blocked_reason(), 4);
    bench.pass(RUN_TIME);
    assert!(bench.is_through(0, 0));
    assert_eq!(bench.data(0), 20);
}

#[test]
fn failing_deferred_instruction_is_fatal() {
    let mut bench = Bench::with_group(1);
    bench.submit(
        0,
        0,
        &[
            RUN_COMPUTE,
            move48(30, 0x7000_0000_0000),
            deferred(sync_add64(30, 32), 1, 1),
            wait(2),
        ],
    );
    bench.run();
    bench.pass(RUN_TIME);
    assert_eq!(bench.exception(CS_FATAL), (0x48, 0x7000_0000_0000));
}
