// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Requests of the global interface and of streams.

use std::time::Duration;

use super::asm::*;
use super::bench::*;
use crate::csf::McuState;

#[test]
fn every_toggled_request_is_acknowledged() {
    for request in [PING, CFG_PROGRESS_TIMER, CFG_ALLOC_EN, CFG_POWEROFF_TIMER] {
        let mut bench = Bench::new();
        let glb = bench.glb();
        // Both directions of the toggle.
        for _ in 0..2 {
            bench.toggle(glb, request);
            assert_eq!(bench.pending(glb, !0), request);
            bench.csf.doorbell(0, &mut bench.bus);
            assert_eq!(bench.pending(glb, !0), 0);
            assert_eq!(bench.irq(), GLOBAL);
        }
        bench.clean();
    }
}

#[test]
fn nothing_is_served_without_a_doorbell() {
    let mut bench = Bench::new();
    let glb = bench.glb();
    bench.toggle(glb, PING);
    bench.run();
    assert_eq!(bench.pending(glb, PING), PING);
}

#[test]
fn acknowledgement_interrupts_only_if_the_mask_says_so() {
    let mut bench = Bench::new();
    let glb = bench.glb();
    bench.set32(glb.input + 4, !PING);
    bench.toggle(glb, PING);
    bench.csf.doorbell(0, &mut bench.bus);
    assert_eq!(bench.pending(glb, PING), 0);
    assert_eq!(bench.irq(), 0);
}

#[test]
fn levels_are_copied() {
    let mut bench = Bench::new();
    let glb = bench.glb();
    for level in [0, COUNTER_EN, IDLE_EN, COUNTER_EN | IDLE_EN] {
        bench.set_bits(glb, level, COUNTER_EN | IDLE_EN);
        bench.csf.doorbell(0, &mut bench.bus);
        assert_eq!(bench.ack(glb) & (COUNTER_EN | IDLE_EN), level);
    }
    bench.clean();
}

#[test]
fn the_cycle_counter_runs_while_the_host_asks_for_it() {
    let mut bench = Bench::new();
    let glb = bench.glb();
    assert!(bench.bus.counting);
    bench.set_bits(glb, 0, COUNTER_EN);
    assert!(bench.bus.counting, "no doorbell was rung");
    bench.ring_glb(0);
    assert!(!bench.bus.counting);
}

#[test]
fn unknown_requests_are_misuse() {
    let mut bench = Bench::with_group(1);
    let (glb, csg, cs) = (bench.glb(), bench.csg(0), bench.cs(0, 0));
    bench.toggle(glb, 1 << 4);
    bench.ring_glb(0);
    bench.misused("0x00000010 that this firmware does not know");
    bench.toggle(glb, 1 << 4);
    bench.set_bits(glb, 0, 1 << 4);
    bench.toggle(csg, 1 << 9);
    bench.ring_glb(1);
    bench.misused("csg0: requests 0x00000200");
    bench.set_bits(csg, 0, 1 << 9);
    bench.toggle(cs, 1 << 13);
    bench.ring_csg(0, 1);
    bench.misused("csg0.cs0: requests 0x00002000");
}

#[test]
fn doorbells_of_groups_and_streams_that_do_not_exist_are_misuse() {
    let mut bench = Bench::with_group(1);
    bench.ring_glb(1 << 8);
    bench.misused("there are 8");
    bench.ring_csg(0, 1 << 8);
    bench.misused("there are 8");
}

#[test]
fn cores_that_are_not_present_are_misuse() {
    let mut bench = Bench::new();
    let glb = bench.glb();
    bench.set64(glb.input + 24, 0x5_0007);
    bench.toggle(glb, CFG_ALLOC_EN);
    bench.csf.doorbell(0, &mut bench.bus);
    bench.misused("core mask 0x50007");
}

#[test]
fn halt_ends_the_service() {
    let mut bench = Bench::new();
    let glb = bench.glb();
    bench.set_bits(glb, HALT, HALT);
    bench.csf.doorbell(0, &mut bench.bus);
    assert_eq!(bench.csf.state(), McuState::Halted);
    bench.clean();
    bench.toggle(glb, PING);
    bench.csf.doorbell(0, &mut bench.bus);
    assert_eq!(bench.pending(glb, PING), PING);
    bench.misused("while the MCU is Halted");
}

#[test]
fn halt_with_a_group_on_a_slot_is_misuse() {
    let mut bench = Bench::with_group(1);
    let glb = bench.glb();
    bench.set_bits(glb, HALT, HALT);
    bench.csf.doorbell(0, &mut bench.bus);
    bench.misused("HALT while a group is on slot 0");
}

#[test]
fn doorbell_without_firmware_is_misuse() {
    let mut bench = Bench::unbooted();
    bench.csf.doorbell(1, &mut bench.bus);
    bench.misused("while the MCU is Disabled");
}

#[test]
fn host_must_not_write_acknowledgements() {
    let mut bench = Bench::new();
    let glb = bench.glb();
    let ack = bench.ack(glb);
    bench.set32(glb.output, ack ^ PING);
    bench.csf.doorbell(0, &mut bench.bus);
    bench.misused("only the firmware writes it");
    assert_eq!(bench.ack(glb), ack);
}

#[test]
fn firmware_crashes_when_the_host_unmaps_its_memory() {
    let mut bench = Bench::with_group(1);
    bench.bus.unmap(0, Bench::ring_blocks(0, 0), 0x2000);
    bench.csf.doorbell(1, &mut bench.bus);
    assert_eq!(bench.csf.state(), McuState::Fatal);
    assert_eq!(bench.bus.mmu_faults.len(), 1);
    assert_eq!(bench.bus.mmu_faults[0].as_nr, 0);
    bench.misused("the firmware crashed");
}

#[test]
fn stream_is_stopped_and_started_on_a_running_group() {
    let mut bench = Bench::with_group(2);
    let cs = bench.cs(0, 0);
    let count = [
        move48(30, DATA),
        load(8, 1, 30, 0),
        add32(8, 8, 1),
        store(8, 1, 30, 0),
    ];
    bench.exec(&count);
    bench.set_bits(cs, 0, 7);
    bench.ring_csg(0, 1);
    assert_eq!(bench.pending(cs, 7), 0);
    bench.submit(0, 0, &count);
    bench.run();
    assert_eq!(bench.data(0), 1, "the stream is stopped");
    // The other one is not.
    bench.submit(0, 1, &count);
    bench.run();
    assert_eq!(bench.data(0), 2);

    let blocks = Bench::ring_blocks(0, 0);
    let extract = bench.extract(0, 0);
    bench.set64(blocks + 8, extract);
    bench.set_bits(cs, CS_START, 7);
    bench.ring_csg(0, 1);
    bench.run();
    assert_eq!(bench.data(0), 3, "a fresh stream goes on in the ring");
    bench.clean();
}

#[test]
fn stream_states_that_do_not_exist_are_misuse() {
    let mut bench = Bench::with_group(1);
    let cs = bench.cs(0, 0);
    bench.set_bits(cs, 2, 7);
    bench.ring_csg(0, 1);
    bench.misused("state 2 does not exist");
}

#[test]
fn started_stream_begins_at_the_given_extract_offset() {
    let mut bench = Bench::new();
    bench.create_group(0, 1);
    bench.program_group(0, 0, 1);
    bench.insert(0, 0, &[(0xff << 56); 8]);
    bench.insert(0, 0, &[NOP; 8]);
    bench.set64(Bench::ring_blocks(0, 0) + 8, 64);
    assert!(bench.state(0, START));
    bench.run();
    assert_eq!(bench.extract(0, 0), 128);
    bench.clean();
}

#[test]
fn ring_has_to_make_sense() {
    let cases: [(u64, u64, &str); 5] = [
        (16, 0x1_0000_0040, "not page-aligned"),
        (16, 0, "not page-aligned"),
        (24, 0x1800, "not a power of two"),
        (48, 0, "not aligned"),
        (56, 8, "not aligned"),
    ];
    for (field, value, part) in cases {
        let mut bench = Bench::new();
        bench.create_group(0, 1);
        bench.program_group(0, 0, 1);
        let cs = bench.cs(0, 0);
        if field == 24 {
            bench.set32(cs.input + field, value as u32);
        } else {
            bench.set64(cs.input + field, value);
        }
        assert!(bench.state(0, START));
        bench.run();
        bench.misused(part);
        assert_eq!(bench.exception(CS_FATAL).0, 0x40);
    }
}

#[test]
fn insert_offset_has_to_make_sense() {
    for (insert, part) in [
        (0x1000 + 0x40 + 0x40, "overruns the ring"),
        (0x50, "not a multiple of 64"),
        (0, "went back from 0x40 to 0x0"),
    ] {
        let mut bench = Bench::with_group(1);
        bench.exec(&[NOP]);
        bench.set64(Bench::ring_blocks(0, 0), insert);
        bench.csf.doorbell(1, &mut bench.bus);
        bench.misused(part);
        assert_eq!(bench.exception(CS_FATAL).0, 0x40);
    }
    // A full ring is none too many.
    let mut bench = Bench::with_group(1);
    bench.exec(&[NOP]);
    bench.set64(Bench::ring_blocks(0, 0), 0x1040);
    bench.csf.doorbell(1, &mut bench.bus);
    bench.run();
    bench.clean();
}

#[test]
fn ring_is_looked_at_only_when_the_doorbell_rings() {
    let mut bench = Bench::with_group(1);
    bench.insert(0, 0, &[NOP]);
    bench.run();
    assert_eq!(bench.extract(0, 0), 0);
    // Another group's page is not heard.
    bench.csf.doorbell(2, &mut bench.bus);
    bench.run();
    assert_eq!(bench.extract(0, 0), 0);
    bench.csf.doorbell(1, &mut bench.bus);
    bench.run();
    assert_eq!(bench.extract(0, 0), 64);
    // The group's doorbell request does it too.
    bench.insert(0, 0, &[NOP]);
    bench.ring_csg(0, 1);
    bench.run();
    assert_eq!(bench.extract(0, 0), 128);
}

#[test]
fn active_word_tells_whether_there_is_work() {
    let mut bench = Bench::with_group(1);
    let active = Bench::ring_blocks(0, 0) + 0x1008;
    bench.submit(0, 0, &[RUN_COMPUTE]);
    bench.run();
    assert_eq!(bench.get32(0, active), 1);
    bench.pass(RUN_TIME);
    assert_eq!(bench.get32(0, active), 0);
}

#[test]
fn extract_event_is_raised_when_the_stream_moved() {
    let mut bench = Bench::with_group(1);
    let (csg, cs) = (bench.csg(0), bench.cs(0, 0));
    bench.toggle(cs, CS_EXTRACT_EVENT);
    bench.ring_csg(0, 1);
    bench.run();
    assert_eq!(bench.pending(cs, CS_EXTRACT_EVENT), CS_EXTRACT_EVENT);
    bench.irq();
    bench.submit(0, 0, &[NOP]);
    bench.run();
    assert_eq!(bench.pending(cs, CS_EXTRACT_EVENT), 0);
    assert_eq!(bench.irq(), 1);
    assert_eq!(bench.get32(0, csg.output + 12), 1);
    // Once only.
    bench.submit(0, 0, &[NOP]);
    bench.run();
    assert_eq!(bench.irq(), 0);
}

#[test]
fn progress_timer_ends_the_patience_with_a_job() {
    let mut bench = Bench::with_group(1);
    let (glb, csg) = (bench.glb(), bench.csg(0));
    // 10 ms of the 1 GHz cycle counter.
    bench.set32(glb.input + 16, 10_000_000 / 1024 + 1);
    bench.toggle(glb, CFG_PROGRESS_TIMER);
    bench.csf.doorbell(0, &mut bench.bus);
    bench.irq();
    bench.csf.set_run_time(Duration::from_millis(8));
    bench.submit(0, 0, &[RUN_COMPUTE, wait(1), RUN_COMPUTE, wait(1)]);
    bench.run();
    bench.pass(Duration::from_millis(8));
    bench.pass(Duration::from_millis(8));
    assert_eq!(bench.pending(csg, PROGRESS_TIMER), 0, "jobs make progress");

    bench.csf.set_run_time(Duration::from_secs(3600));
    bench.submit(0, 0, &[RUN_COMPUTE, wait(1)]);
    bench.run();
    bench.pass(Duration::from_millis(9));
    assert_eq!(bench.pending(csg, PROGRESS_TIMER), 0);
    bench.irq();
    bench.pass(Duration::from_millis(2));
    assert_eq!(bench.answer(csg, PROGRESS_TIMER), PROGRESS_TIMER);
    assert_eq!(bench.irq(), 1);
    bench.pass(Duration::from_millis(100));
    assert_eq!(bench.pending(csg, PROGRESS_TIMER), 0, "reported once");
    bench.clean();
}

#[test]
fn streams_that_wait_without_jobs_do_not_trip_the_progress_timer() {
    let mut bench = Bench::with_group(1);
    let (glb, csg) = (bench.glb(), bench.csg(0));
    bench.set32(glb.input + 16, 1000);
    bench.toggle(glb, CFG_PROGRESS_TIMER);
    bench.csf.doorbell(0, &mut bench.bus);
    bench.submit(0, 0, &[move48(30, DATA), sync_wait64(GT, 30, 32)]);
    bench.run();
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.pending(csg, PROGRESS_TIMER), 0);
}

#[test]
fn cores_are_powered_while_there_is_work_and_a_while_longer() {
    let mut bench = Bench::new();
    let glb = bench.glb();
    // 10 ms of the 62.5 MHz timestamp.
    bench.set32(glb.input + 20, 625_000 / 1024 + 1);
    bench.toggle(glb, CFG_POWEROFF_TIMER);
    bench.csf.doorbell(0, &mut bench.bus);
    bench.run();
    assert_eq!(bench.bus.cores, (0, 0));
    bench.start_group(0, 1);
    bench.run();
    assert_eq!(bench.bus.cores, (0, 0), "a group without work");
    bench.submit(
        0,
        0,
        &[RUN_COMPUTE, move48(30, DATA), sync_wait64(GT, 30, 32)],
    );
    bench.run();
    assert_eq!(bench.bus.cores, (0x5_0005, 1));
    bench.pass(RUN_TIME);
    bench.pass(Duration::from_millis(9));
    assert_eq!(bench.bus.cores, (0x5_0005, 1));
    bench.pass(Duration::from_millis(2));
    assert_eq!(bench.bus.cores, (0, 0), "blocked is idle");
    bench.set_data(0, 1);
    bench.csf.doorbell(1, &mut bench.bus);
    bench.submit(0, 0, &[RUN_FRAGMENT, RUN_IDVS]);
    bench.run();
    assert_eq!(bench.bus.cores, (0x5_0005, 1));
    bench.clean();
}

#[test]
fn only_cores_that_the_host_enabled_are_powered() {
    let mut bench = Bench::with_group(1);
    let glb = bench.glb();
    bench.csf.set_run_time(Duration::from_secs(1));
    bench.submit(0, 0, &[RUN_COMPUTE]);
    bench.run();
    assert_eq!(bench.bus.cores.0, 0x5_0005);
    bench.set64(glb.input + 24, 0x4_0001);
    bench.toggle(glb, CFG_ALLOC_EN);
    bench.csf.doorbell(0, &mut bench.bus);
    bench.run();
    assert_eq!(bench.bus.cores.0, 0x4_0001);
}
