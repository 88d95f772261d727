// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Sync objects: changes, waits, wake-ups and errors.

use super::asm::*;
use super::bench::*;

/// Address in d30 and value in d32.
fn operands(value: u64) -> [u64; 2] {
    [move48(30, DATA), move48(32, value)]
}

fn with_operands(value: u64, instr: u64) -> [u64; 3] {
    let [address, value] = operands(value);
    [address, value, instr]
}

#[test]
fn values_are_added_or_set() {
    let mut bench = Bench::with_group(1);
    bench.set_data(0, 0xaaaa_0000_ffff_fffe);
    bench.exec(&with_operands(3, sync_add64(30, 32)));
    assert_eq!(bench.get64(1, DATA), 0xaaaa_0001_0000_0001);
    bench.exec(&with_operands(7, sync_set64(30, 32)));
    assert_eq!(bench.get64(1, DATA), 7);
    bench.set_data(0, 0x1111_1111_ffff_fffe);
    bench.exec(&with_operands(3, sync_add32(30, 32)));
    assert_eq!(bench.get64(1, DATA), 0x1111_1111_0000_0001);
    bench.exec(&with_operands(9, sync_set32(30, 32)));
    assert_eq!(bench.get64(1, DATA), 0x1111_1111_0000_0009);
}

#[test]
fn system_scope_tells_the_host() {
    for instr in [sync_add32, sync_set32, sync_add64, sync_set64] {
        for group in [false, true] {
            let mut bench = Bench::with_group(1);
            let csg = bench.csg(0);
            let instr = instr(30, 32);
            let instr = if group { in_group(instr) } else { instr };
            bench.exec(&with_operands(1, instr));
            let expected = if group { 0 } else { SYNC_UPDATE };
            assert_eq!(bench.pending(csg, SYNC_UPDATE), expected);
            assert_eq!(bench.irq(), u32::from(!group));
        }
    }
}

#[test]
fn error_state_is_propagated_on_request() {
    let mut bench = Bench::with_group(1);
    bench.set_data(8, 0x55);
    bench.exec(&with_operands(1, sync_add64(30, 32)));
    assert_eq!(bench.data(8), 0x55, "status is left alone");
    bench.exec(&with_operands(1, with_error(sync_add64(30, 32))));
    assert_eq!(bench.data(8), 0, "no error");

    bench.submit(0, 0, &[move48(40, DATA + 1), load(8, 1, 40, 0)]);
    bench.run();
    bench.exception(CS_FAULT);
    bench.exec(&with_operands(1, with_error(sync_add64(30, 32))));
    assert_eq!(bench.data(8), 1);
    bench.exec(&with_operands(1, with_error(sync_set32(30, 32))));
    assert_eq!(bench.data(4), 1);
    bench.exec(&[ERROR_BARRIER]);
    bench.exec(&with_operands(1, with_error(sync_set32(30, 32))));
    assert_eq!(bench.data(4), 0);
}

#[test]
fn waits_compare_unsigned() {
    let big = 0x8000_0000_0000;
    // Object, operand, whether LE and GT hold.
    for (object, value, le, gt) in [
        (0, 0, true, false),
        (1, 0, false, true),
        (0, 1, true, false),
        (big, 1, false, true),
        (1, big, true, false),
    ] {
        for (condition, passes) in [(LE, le), (GT, gt)] {
            let mut bench = Bench::with_group(1);
            bench.set_data(0, object);
            bench.submit(0, 0, &with_operands(value, sync_wait64(condition, 30, 32)));
            bench.run();
            assert_eq!(bench.is_through(0, 0), passes, "{object:#x} {value:#x}");
            // The low words alone, where the high ones do not matter.
            if object >> 32 == 0 && value >> 32 == 0 {
                let mut bench = Bench::with_group(1);
                bench.set_data(0, object);
                bench.submit(0, 0, &with_operands(value, sync_wait32(condition, 30, 32)));
                bench.run();
                assert_eq!(bench.is_through(0, 0), passes);
            }
        }
    }
}

#[test]
fn blocked_stream_reports_what_it_waits_for() {
    let mut bench = Bench::with_group(1);
    let wide = with_operands(0x12_3456_789a, sync_wait64(GT, 30, 32));
    bench.submit(0, 0, &wide);
    bench.run();
    let output = bench.status();
    assert_eq!(bench.get32(0, output + 96), 3, "reason");
    assert_eq!(
        bench.get32(0, output + 72),
        (1 << 31) | (1 << 30) | (1 << 24)
    );
    assert_eq!(bench.get64(0, output + 80), DATA);
    assert_eq!(bench.get32(0, output + 88), 0x3456_789a);
    assert_eq!(bench.get32(0, output + 100), 0x12);
    assert_eq!(bench.get64(0, output + 64), Bench::ring_base(0) + 16);

    let mut bench = Bench::with_group(1);
    bench.set_data(0, 9);
    let narrow = with_operands(8, sync_wait32(LE, 30, 32));
    bench.submit(0, 0, &narrow);
    bench.run();
    let output = bench.status();
    assert_eq!(bench.get32(0, output + 72), 1 << 31);
    assert_eq!(bench.get32(0, output + 88), 8);
}

#[test]
fn stream_of_the_same_group_is_woken() {
    for scope in [false, true] {
        let mut bench = Bench::with_group(2);
        bench.submit(0, 0, &with_operands(0, sync_wait64(GT, 30, 32)));
        bench.run();
        assert!(!bench.is_through(0, 0));
        let add = sync_add64(30, 32);
        let add = if scope { in_group(add) } else { add };
        bench.submit(0, 1, &with_operands(1, add));
        bench.run();
        assert!(bench.is_through(0, 0));
        bench.clean();
    }
}

#[test]
fn stream_of_another_group_is_woken_by_system_scope_only() {
    for (scope, woken) in [(false, true), (true, false)] {
        // Two groups in address space 1; the second one's ring is that of stream 1.
        let mut bench = Bench::new();
        bench.create_group(0, 2);
        bench.program_group(0, 0, 1);
        assert!(bench.state(0, START));
        bench.program_group(1, 0, 1);
        let (csg, cs) = (bench.csg(1), bench.cs(1, 0));
        bench.set32(csg.input + 80, 1);
        bench.set64(cs.input + 16, Bench::ring_base(1));
        bench.set64(cs.input + 48, Bench::ring_blocks(0, 1));
        bench.set64(cs.input + 56, Bench::ring_blocks(0, 1) + 0x1000);
        assert!(bench.state(1, START));

        bench.submit(0, 0, &with_operands(0, sync_wait64(GT, 30, 32)));
        bench.run();
        let add = sync_add64(30, 32);
        let add = if scope { in_group(add) } else { add };
        bench.insert(0, 1, &with_operands(1, add));
        bench.csf.doorbell(2, &mut bench.bus);
        bench.run();
        assert!(bench.is_through(0, 1));
        bench.clean();
        assert_eq!(bench.is_through(0, 0), woken);
    }
}

#[test]
fn host_wakes_with_a_doorbell() {
    // Through the global page, and through the group's own.
    for page in [0, 1] {
        let mut bench = Bench::with_group(1);
        bench.submit(0, 0, &with_operands(0, sync_wait32(GT, 30, 32)));
        bench.run();
        bench.set_data(0, 1);
        bench.run();
        assert!(!bench.is_through(0, 0), "nobody said that it changed");
        bench.csf.doorbell(page, &mut bench.bus);
        bench.run();
        assert!(bench.is_through(0, 0));
        bench.clean();
    }
}

#[test]
fn wait_that_is_woken_in_vain_goes_on_waiting() {
    let mut bench = Bench::with_group(2);
    bench.submit(0, 0, &with_operands(1, sync_wait64(GT, 30, 32)));
    bench.run();
    let add = with_operands(1, sync_add64(30, 32));
    bench.submit(0, 1, &add);
    bench.run();
    assert!(!bench.is_through(0, 0));
    bench.submit(0, 1, &add);
    bench.run();
    assert!(bench.is_through(0, 0));
}

#[test]
fn error_of_an_object_is_taken_over_on_request() {
    for (wait, status) in [(sync_wait64(GT, 30, 32), 8), (sync_wait32(GT, 30, 32), 4)] {
        let mut bench = Bench::with_group(1);
        bench.set_data(0, 1);
        bench.set_data(status, 1);
        let plain = with_operands(0, wait);
        if status == 8 {
            bench.exec(&plain);
        }
        bench.submit(0, 0, &with_operands(0, with_error(wait)));
        bench.run();
        assert_eq!(bench.exception(CS_FAULT), (0x4b, DATA));
        bench.exec(&[move48(30, DATA + 0x20), store_state(3, 30, 0)]);
        assert_eq!(bench.data(0x20), 1);
    }
}

#[test]
fn unaligned_object_is_a_fault() {
    for (instr, offset) in [
        (sync_add32(30, 32), 2),
        (sync_set64(30, 32), 4),
        (sync_wait32(LE, 30, 32), 1),
        (sync_wait64(LE, 30, 32), 4),
    ] {
        let mut bench = Bench::with_group(1);
        bench.submit(0, 0, &[move48(30, DATA + offset), instr]);
        bench.run();
        assert_eq!(bench.exception(CS_FAULT), (0x5a, DATA + offset));
    }
}
