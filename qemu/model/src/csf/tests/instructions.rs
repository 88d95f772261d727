// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Moves, arithmetic, memory, state and heap instructions.

use super::asm::*;
use super::bench::*;

/// `CS_BUS_FAULT`.
const BUS_FAULT: u32 = 0x48;
/// `ADDR_RANGE_FAULT`.
const ADDRESS_FAULT: u32 = 0x5a;

/// Registers from 8 on that tests store, so that their values can be compared.
fn store_all(count: u64) -> [u64; 2] {
    [move48(90, DATA + 0x1000), store(8, (1 << count) - 1, 90, 0)]
}

/// Runs instructions and returns what registers 8 to 8 + `N` hold then.
#[track_caller]
fn results<const N: usize>(bench: &mut Bench, instrs: &[u64]) -> [u32; N] {
    let mut all = instrs.to_vec();
    all.extend(store_all(N as u64));
    bench.exec(&all);
    std::array::from_fn(|i| bench.data(0x1000 + 4 * i as u64))
}

#[test]
fn nop_ignores_its_payload() {
    let mut bench = Bench::with_group(1);
    bench.exec(&[NOP, 0x00ff_ffff_ffff_ffff, NOP]);
}

#[test]
fn fresh_registers_are_zero() {
    let mut bench = Bench::with_group(1);
    assert_eq!(results(&mut bench, &[]), [0; 16]);
}

#[test]
fn move48_writes_both_words() {
    let mut bench = Bench::with_group(1);
    let instrs = [
        move32(8, !0),
        move32(9, !0),
        move32(10, 7),
        move48(8, 0x1234_5678_9abc),
    ];
    assert_eq!(results(&mut bench, &instrs), [0x5678_9abc, 0x1234, 7]);
}

#[test]
fn move32_writes_one_word() {
    let mut bench = Bench::with_group(1);
    let instrs = [move48(8, !0 >> 16), move32(9, 0xdead_beef), move32(95, 1)];
    assert_eq!(results(&mut bench, &instrs), [!0, 0xdead_beef, 0]);
}

#[test]
fn add32_wraps_and_takes_negative_immediates() {
    let mut bench = Bench::with_group(1);
    let instrs = [
        move32(20, 5),
        add32(8, 20, -7),
        add32(9, 20, i32::MAX),
        add32(10, 8, 3),
    ];
    assert_eq!(results(&mut bench, &instrs), [!0 - 1, 0x8000_0004, 1]);
}

#[test]
fn add64_carries_and_sign_extends() {
    let mut bench = Bench::with_group(1);
    let instrs = [
        move48(20, 0xffff_ffff),
        add64(8, 20, 1),
        add64(10, 8, -1),
        move48(22, 0),
        add64(12, 22, -1),
    ];
    assert_eq!(results(&mut bench, &instrs), [0, 1, !0, 0, !0, !0]);
}

#[test]
fn umin32_is_unsigned() {
    let mut bench = Bench::with_group(1);
    let instrs = [
        move32(20, 0x8000_0000),
        move32(21, 3),
        umin32(8, 20, 21),
        umin32(9, 21, 20),
        umin32(10, 20, 20),
    ];
    assert_eq!(results(&mut bench, &instrs), [3, 3, 0x8000_0000]);
}

#[test]
fn load_takes_masked_words_at_a_signed_offset() {
    let mut bench = Bench::with_group(1);
    for i in 0..16 {
        bench.set_data(4 * i, 0x100 + i);
    }
    let instrs = [
        move48(30, DATA + 0x10),
        move32(9, 77),
        load(8, 0b1101, 30, -8),
    ];
    // Words 2, 4 and 5 of the data; register 9 is not in the mask.
    assert_eq!(results(&mut bench, &instrs), [0x102, 77, 0x104, 0x105]);
}

#[test]
fn load_may_overwrite_its_address() {
    let mut bench = Bench::with_group(1);
    bench.set_data(0, 0x1111_2222_3333_4444);
    let instrs = [move48(8, DATA), load(8, 3, 8, 0)];
    assert_eq!(results(&mut bench, &instrs), [0x3333_4444, 0x1111_2222]);
}

#[test]
fn store_writes_masked_words_only() {
    let mut bench = Bench::with_group(1);
    for i in 0..4 {
        bench.set_data(8 * i, !0);
    }
    let instrs = [
        move48(30, DATA + 0x20),
        move32(40, 1),
        move32(41, 2),
        move32(42, 3),
        move32(43, 4),
        store(40, 0b1011, 30, -0x20),
    ];
    bench.exec(&instrs);
    assert_eq!([0, 4, 8, 12].map(|at| bench.data(at)), [1, 2, !0, 4]);
}

#[test]
fn all_sixteen_registers_go_through_memory() {
    let mut bench = Bench::with_group(1);
    let mut instrs: Vec<_> = (0..16).map(|i| move32(40 + i, 5 * i as u32)).collect();
    instrs.extend([
        move48(30, DATA),
        store(40, 0xffff, 30, 0),
        load(8, 0xffff, 30, 0),
    ]);
    let expected: [u32; 16] = std::array::from_fn(|i| 5 * i as u32);
    assert_eq!(results(&mut bench, &instrs), expected);
}

#[test]
fn unaligned_address_is_a_fault_that_the_stream_survives() {
    for instr in [load(8, 1, 30, 2), store(8, 1, 30, 2)] {
        let mut bench = Bench::with_group(1);
        bench.submit(
            0,
            0,
            &[move48(30, DATA), instr, store_all(1)[0], move32(8, 9)],
        );
        bench.run();
        let exception = bench.exception(CS_FAULT);
        assert_eq!(exception, (ADDRESS_FAULT, DATA + 2));
        bench.exec(&store_all(1));
        assert_eq!(bench.data(0x1000), 9);
    }
}

#[test]
fn unmapped_address_is_fatal_and_raises_an_mmu_fault() {
    let nowhere = 0x7777_0000_0000;
    let instrs = [
        load(8, 1, 30, 0),
        store(8, 1, 30, 0),
        sync_add32(30, 8),
        sync_set64(30, 8),
        sync_wait32(LE, 30, 8),
        store_state(0, 30, 0),
    ];
    for instr in instrs {
        let mut bench = Bench::with_group(1);
        bench.submit(0, 0, &[move48(30, nowhere), instr, NOP]);
        bench.run();
        assert_eq!(bench.exception(CS_FATAL), (BUS_FAULT, nowhere));
        let fault = bench.bus.mmu_faults.pop().expect("an MMU fault");
        assert_eq!((fault.as_nr, fault.va), (1, nowhere));
        // The stream stays where it is.
        assert_eq!(bench.extract(0, 0), 8);
        bench.submit(0, 0, &[NOP]);
        bench.run();
        assert_eq!(bench.extract(0, 0), 8);
        bench.clean();
    }
}

#[test]
fn flush_moves_the_flush_id() {
    let mut bench = Bench::with_group(1);
    bench.exec(&[move32(8, 0), flush_cache(8)]);
    assert_eq!(bench.bus.flushes, 1);
}

#[test]
fn store_state_stores_each_state() {
    let mut bench = Bench::with_group(1);
    bench.bus.timestamp = 0x1_0000_0001;
    bench.bus.cycles = 0x2_0000_0002;
    bench.set_data(16, !0);
    bench.set_data(24, !0);
    bench.exec(&[
        move48(30, DATA + 8),
        store_state(0, 30, -8),
        store_state(1, 30, 0),
        store_state(2, 30, 8),
        store_state(3, 30, 16),
    ]);
    let value = |bench: &mut Bench, at| bench.get64(1, DATA + at);
    assert_eq!(value(&mut bench, 0), 0x1_0000_0001);
    assert_eq!(value(&mut bench, 8), 0x2_0000_0002);
    assert_eq!(value(&mut bench, 16), 0, "never resumed");
    assert_eq!(value(&mut bench, 24), 0, "no error");
}

#[test]
fn error_state_is_stored_until_the_barrier() {
    let mut bench = Bench::with_group(1);
    let unaligned = move48(30, DATA + 2);
    bench.submit(0, 0, &[unaligned, load(8, 1, 30, 0)]);
    bench.run();
    bench.exception(CS_FAULT);
    bench.exec(&[
        move48(30, DATA),
        store_state(3, 30, 0),
        ERROR_BARRIER,
        store_state(3, 30, 8),
    ]);
    assert_eq!((bench.data(0), bench.data(8)), (1, 0));
}

#[test]
fn accepted_instructions_have_no_visible_effect() {
    let mut bench = Bench::with_group(1);
    bench.exec(&[
        req_resource(0b1111),
        prot_region(2),
        trace_point(0, 4),
        move48(30, CODE),
        move32(32, 64),
        set_exception_handler(2, 30, 32),
    ]);
    let output = bench.status();
    assert_eq!(
        bench.get32(0, output + 76),
        0b1111,
        "status of REQ_RESOURCE"
    );
}

#[test]
fn heap_counters_are_kept_in_the_heap_context() {
    let mut bench = Bench::with_group(1);
    bench.exec(&[
        move48(30, DATA + 0x100),
        heap_set(30),
        heap_operation(0),
        heap_operation(0),
        heap_operation(0),
        heap_operation(1),
        heap_operation(1),
        heap_operation(3),
        finish_fragment(false, 30, 30),
        finish_fragment(true, 30, 30),
    ]);
    let output = bench.status();
    let word = |bench: &mut Bench, at| bench.get32(0, output + at);
    assert_eq!(word(&mut bench, 192), 3, "tiling started");
    assert_eq!(word(&mut bench, 196), 2, "tiling completed");
    assert_eq!(word(&mut bench, 204), 2, "fragment completed");
    assert_eq!(bench.get64(0, output + 208), DATA + 0x100);
}

#[test]
fn heap_operation_without_a_heap_is_a_fault() {
    let mut bench = Bench::with_group(1);
    bench.submit(0, 0, &[heap_operation(0)]);
    bench.run();
    assert_eq!(bench.exception(CS_FAULT), (ADDRESS_FAULT, 0));
}

#[test]
fn progress_is_counted_stored_and_loaded() {
    let mut bench = Bench::with_group(1);
    let instrs = [
        move48(30, 40),
        progress_store(30),
        progress(wait(0)),
        progress(FINISH_TILING),
        wait(0),
        progress_load(8),
    ];
    assert_eq!(results(&mut bench, &instrs), [42, 0]);
}

#[test]
fn progress_wait_waits_for_another_stream() {
    let mut bench = Bench::with_group(2);
    bench.submit(0, 0, &[move48(30, 2), progress_wait(1, 30)]);
    bench.run();
    assert_eq!(bench.blocked_reason(), 2);
    bench.submit(0, 1, &[progress(wait(0))]);
    bench.run();
    assert!(!bench.is_through(0, 0));
    bench.submit(0, 1, &[progress(wait(0))]);
    bench.run();
    assert!(bench.is_through(0, 0));
    bench.clean();
}

#[test]
fn illegal_instruction_is_fatal() {
    for word in [
        10 << 56,
        0xff << 56,
        move32(96, 1),
        branch(7, 0, 0),
        progress_wait(31, 0),
    ] {
        let mut bench = Bench::with_group(1);
        bench.submit(0, 0, &[NOP, NOP, word]);
        bench.run();
        assert_eq!(bench.exception(CS_FATAL), (0x49, word));
        assert_eq!(bench.extract(0, 0), 16);
        assert!(bench.bus.mmu_faults.is_empty());
    }
}
