// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Events: idleness, coalescing, masks, and the host's part.

use std::time::Duration;

use super::asm::*;
use super::bench::*;
use crate::csf::Next;

fn signal() -> [u64; 3] {
    [move48(30, DATA), move48(32, 1), sync_add64(30, 32)]
}

#[test]
fn sync_updates_coalesce_until_the_host_answers() {
    let mut bench = Bench::with_group(1);
    let csg = bench.csg(0);
    bench.exec(&signal());
    assert_eq!(bench.irq(), 1);
    let ack = bench.ack(csg);
    bench.exec(&signal());
    assert_eq!(bench.ack(csg), ack, "a second flip would cancel the first");
    assert_eq!(bench.irq(), 0);
    assert_eq!(bench.answer(csg, SYNC_UPDATE), SYNC_UPDATE);
    bench.exec(&signal());
    assert_eq!(bench.irq(), 1);
    assert_eq!(bench.answer(csg, SYNC_UPDATE), SYNC_UPDATE);
    bench.ring_glb(1);
    bench.clean();
}

#[test]
fn event_interrupts_only_if_the_mask_says_so() {
    let mut bench = Bench::with_group(1);
    let csg = bench.csg(0);
    bench.set32(csg.input + 4, !SYNC_UPDATE);
    bench.exec(&signal());
    assert_eq!(bench.irq(), 0);
    assert_eq!(bench.pending(csg, SYNC_UPDATE), SYNC_UPDATE);

    let cs = bench.cs(0, 0);
    bench.set32(cs.input + 12, !CS_FATAL);
    bench.submit(0, 0, &[(0xff << 56)]);
    bench.run();
    assert_eq!(bench.irq(), 0);
    assert_eq!(bench.pending(cs, CS_FATAL), CS_FATAL);
}

#[test]
fn host_must_not_invent_events() {
    let mut bench = Bench::with_group(1);
    let (csg, cs) = (bench.csg(0), bench.cs(0, 0));
    bench.toggle(csg, IDLE);
    bench.ring_glb(1);
    bench.misused("csg0: the host flipped event bits 0x20000000");
    bench.toggle(cs, CS_FAULT);
    bench.ring_csg(0, 1);
    bench.misused("csg0.cs0: the host flipped event bits 0x80000000");
}

#[test]
fn faulted_stream_waits_for_the_host() {
    let mut bench = Bench::with_group(1);
    let (csg, cs) = (bench.csg(0), bench.cs(0, 0));
    let fault = [move48(30, DATA + 1), load(8, 1, 30, 0)];
    bench.submit(0, 0, &fault);
    bench.submit(0, 0, &signal());
    bench.run();
    assert_eq!(bench.pending(cs, CS_FAULT), CS_FAULT);
    assert_eq!(
        bench.extract(0, 0),
        16,
        "the job is still at the extract offset"
    );
    assert_eq!(bench.pending(csg, SYNC_UPDATE), 0);
    // A doorbell alone does not do.
    bench.csf.doorbell(1, &mut bench.bus);
    bench.ring_csg(0, 1);
    bench.run();
    assert_eq!(bench.extract(0, 0), 16);
    bench.exception(CS_FAULT);
    bench.run();
    assert!(bench.is_through(0, 0));
    assert_eq!(bench.pending(csg, SYNC_UPDATE), SYNC_UPDATE);
    bench.clean();
}

#[test]
fn fatal_event_waits_for_the_answer_to_the_one_before() {
    let mut bench = Bench::with_group(1);
    let (csg, cs) = (bench.csg(0), bench.cs(0, 0));
    bench.submit(0, 0, &[(0xfe << 56)]);
    bench.run();
    assert!(bench.state(0, TERMINATE));
    // The next group on the slot is as bad, and the host has not looked yet.
    let insert = bench.get64(0, Bench::ring_blocks(0, 0));
    bench.set64(Bench::ring_blocks(0, 0) + 0x1000, insert);
    bench.program_group(0, 0, 1);
    assert!(bench.state(0, START));
    bench.submit(0, 0, &[(0xff << 56)]);
    bench.run();
    assert_eq!(bench.get64(0, cs.output + 144), 0xfe << 56);
    assert_eq!(bench.exception(CS_FATAL), (0x49, 0xfe << 56));
    // The doorbell that answers lets the next one through.
    assert_eq!(bench.pending(cs, CS_FATAL), CS_FATAL);
    assert_eq!(bench.get64(0, cs.output + 144), 0xff << 56);
    assert_eq!(bench.get32(0, csg.output + 12), 0, "flagged again");
}

#[test]
fn idleness_is_reported_once_per_transition() {
    let mut bench = Bench::with_group(2);
    let (glb, csg) = (bench.glb(), bench.csg(0));
    bench.exec(&signal());
    bench.irq();
    assert!(matches!(bench.run(), Next::At(_)));
    assert_eq!(bench.pending(csg, IDLE), 0);
    bench.pass(IDLE_TIME / 2);
    assert_eq!(bench.pending(csg, IDLE), 0);
    bench.pass(IDLE_TIME);
    assert_eq!(bench.answer(csg, IDLE), IDLE);
    assert_eq!(bench.answer(glb, GLB_IDLE), GLB_IDLE);
    assert_eq!(bench.irq(), 1 | GLOBAL);
    assert_eq!(bench.get32(0, csg.output + 24), 1, "status");

    bench.pass(100 * IDLE_TIME);
    bench.ring_csg(0, 3);
    bench.csf.doorbell(1, &mut bench.bus);
    assert_eq!(bench.run(), Next::Idle);
    assert_eq!(bench.pending(csg, IDLE), 0, "nothing changed");
    bench.submit(0, 1, &[RUN_COMPUTE]);
    bench.run();
    bench.pass(RUN_TIME);
    bench.pass(2 * IDLE_TIME);
    assert_eq!(bench.pending(csg, IDLE), IDLE);
    assert_eq!(bench.pending(glb, GLB_IDLE), GLB_IDLE);
    bench.clean();
}

#[test]
fn blocked_group_is_idle_if_its_streams_say_so() {
    for levels in [true, false] {
        let mut bench = Bench::with_group(1);
        let (csg, cs) = (bench.csg(0), bench.cs(0, 0));
        if !levels {
            bench.set_bits(cs, 0, 1 << 8);
            bench.ring_csg(0, 1);
        }
        bench.submit(0, 0, &[move48(30, DATA), sync_wait64(GT, 30, 32)]);
        bench.run();
        bench.pass(2 * IDLE_TIME);
        assert_eq!(bench.pending(csg, IDLE) != 0, levels);
        // Also when it is resumed blocked.
        bench.answer(csg, IDLE);
        assert!(bench.state(0, SUSPEND));
        bench.program_group(0, 0, 1);
        if !levels {
            bench.set_bits(cs, 0, 1 << 8);
        }
        assert!(bench.state(0, RESUME));
        bench.run();
        bench.pass(2 * IDLE_TIME);
        assert_eq!(bench.pending(csg, IDLE) != 0, levels);
    }
}

#[test]
fn blocked_stream_with_work_in_flight_is_not_idle() {
    let mut bench = Bench::with_group(1);
    let csg = bench.csg(0);
    bench.csf.set_run_time(Duration::from_secs(1));
    bench.submit(
        0,
        0,
        &[RUN_COMPUTE, move48(30, DATA), sync_wait64(GT, 30, 32)],
    );
    bench.run();
    bench.pass(2 * IDLE_TIME);
    assert_eq!(bench.pending(csg, IDLE), 0);
    bench.pass(Duration::from_secs(1));
    bench.pass(2 * IDLE_TIME);
    assert_eq!(bench.pending(csg, IDLE), IDLE);
}

#[test]
fn gpu_is_idle_when_all_groups_are() {
    let mut bench = Bench::with_group(1);
    bench.start_group(1, 1);
    let glb = bench.glb();
    bench.csf.set_run_time(Duration::from_secs(1));
    bench.submit(1, 0, &[RUN_COMPUTE]);
    bench.run();
    bench.pass(2 * IDLE_TIME);
    let csg = bench.csg(0);
    assert_eq!(bench.pending(csg, IDLE), IDLE);
    assert_eq!(bench.pending(glb, GLB_IDLE), 0);
    bench.pass(Duration::from_secs(1));
    bench.pass(2 * IDLE_TIME);
    assert_eq!(bench.pending(glb, GLB_IDLE), GLB_IDLE);
}

#[test]
fn gpu_idleness_is_reported_only_when_enabled() {
    let mut bench = Bench::with_group(1);
    let glb = bench.glb();
    bench.set_bits(glb, 0, IDLE_EN);
    bench.ring_glb(0);
    bench.exec(&signal());
    bench.pass(2 * IDLE_TIME);
    assert_eq!(bench.pending(glb, GLB_IDLE), 0);
}
