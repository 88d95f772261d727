// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Which words are instructions, and which are not.

use super::asm::*;
use crate::csf::instr::{Decoder, Invalid};

const G610: Decoder = Decoder {
    registers: 96,
    scoreboards: 8,
};

fn invalid(word: u64) -> Invalid {
    match G610.decode(word) {
        Err(invalid) => invalid,
        Ok(instr) => panic!("{word:#018x} was decoded as {instr}"),
    }
}

#[test]
fn only_listed_opcodes_exist() {
    let listed = [
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 16, 17, 18, 20, 21, 22, 23, 24, 25, 32, 33, 34, 36, 37,
        38, 39, 40, 41, 42, 43, 44, 47, 48, 49, 50, 51, 52, 53,
    ];
    for opcode in 0..=255 {
        let decoded = G610.decode(u64::from(opcode) << 56);
        let exists = decoded != Err(Invalid::Opcode(opcode));
        assert_eq!(exists, listed.contains(&opcode), "opcode {opcode}");
    }
}

#[test]
fn registers_have_to_exist() {
    assert!(G610.decode(move32(95, 0)).is_ok());
    assert_eq!(invalid(move32(96, 0)), Invalid::Register(96));
    assert!(G610.decode(move48(94, 0)).is_ok());
    assert_eq!(invalid(move48(96, 0)), Invalid::Register(96));
    assert_eq!(invalid(move48(93, 0)), Invalid::OddPair(93));
    assert_eq!(invalid(add32(0, 200, 0)), Invalid::Register(200));
    assert_eq!(invalid(add64(0, 3, 0)), Invalid::OddPair(3));
    assert_eq!(invalid(umin32(0, 1, 96)), Invalid::Register(96));
    assert_eq!(invalid(call(1, 0)), Invalid::OddPair(1));
    assert_eq!(invalid(sync_add64(0, 3)), Invalid::OddPair(3));
    assert!(G610.decode(sync_add32(0, 3)).is_ok());
}

#[test]
fn load_and_store_masks_have_to_stay_in_the_register_file() {
    for instr in [load, store] {
        assert!(G610.decode(instr(80, 0xffff, 0, 0)).is_ok());
        assert_eq!(invalid(instr(81, 0xffff, 0, 0)), Invalid::Register(96));
        assert!(G610.decode(instr(95, 1, 0, 0)).is_ok());
        assert!(G610.decode(instr(95, 0, 0, 0)).is_ok());
    }
}

#[test]
fn scoreboard_slots_have_to_exist() {
    assert!(G610.decode(set_sb_entry(7, 7)).is_ok());
    assert_eq!(invalid(set_sb_entry(8, 0)), Invalid::Scoreboard(8));
    assert_eq!(invalid(set_sb_entry(0, 9)), Invalid::Scoreboard(9));
    let instr = sync_add32(0, 2);
    assert!(G610.decode(deferred(instr, 0xff, 7)).is_ok());
    assert_eq!(
        invalid(deferred(instr, 0x100, 7)),
        Invalid::Scoreboard(0x100)
    );
    assert_eq!(invalid(deferred(instr, 1, 8)), Invalid::Scoreboard(8));
    // Without a mask the slot has no meaning.
    assert!(G610.decode(deferred(instr, 0, 15)).is_ok());
}

#[test]
fn fields_have_to_mean_something() {
    for condition in 0..7 {
        assert!(G610.decode(branch(condition, 0, 0)).is_ok());
    }
    assert_eq!(invalid(branch(7, 0, 0)), Invalid::Field("condition", 7));
    for condition in 2..16 {
        let expected = Invalid::Field("condition of a sync wait", condition);
        assert_eq!(invalid(sync_wait32(condition.into(), 0, 0)), expected);
        assert_eq!(invalid(sync_wait64(condition.into(), 0, 0)), expected);
    }
    assert_eq!(
        invalid(heap_operation(2)),
        Invalid::Field("heap operation", 2)
    );
    for scope in [1, 3] {
        let expected = Invalid::Field("sync scope", scope);
        assert_eq!(
            invalid(sync_set32(0, 2) | (u64::from(scope) << 1)),
            expected
        );
    }
    assert!(G610.decode(flush_cache(0)).is_ok());
    assert_eq!(invalid((36 << 56) | 2), Invalid::Field("flush mode", 2));
    assert_eq!(
        invalid((36 << 56) | (2 << 4)),
        Invalid::Field("flush mode", 2)
    );
    let other = Invalid::Field("flush mode of the other caches", 1);
    assert_eq!(invalid((36 << 56) | (1 << 8)), other);
}

#[test]
fn instructions_print_their_operands() {
    let text = |word| G610.decode(word).unwrap().to_string();
    assert_eq!(text(move48(4, 0x1234)), "MOVE48 d4, 0x1234");
    assert_eq!(text(add32(1, 2, -3)), "ADD32 r1, r2, -3");
    assert_eq!(text(load(8, 3, 2, -4)), "LOAD r8 & 0x3, [d2 + -4]");
    assert_eq!(text(branch(3, 7, -2)), "BRANCH NotEqual r7, -2");
    assert_eq!(
        text(deferred(with_error(sync_add64(2, 4)), 0xff, 1)),
        "SYNC_ADD64 [d2], r4 System propagate defer(wait 0xff, signal 1)"
    );
    assert_eq!(text(sync_wait32(GT, 2, 5)), "SYNC_WAIT32 Greater [d2], r5");
}
