// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Encodings of instructions, written from the field table and not from the decoder.

/// The opcode's field.
const fn op(opcode: u64) -> u64 {
    at(56, opcode)
}

/// A value in the field that starts at a bit.
const fn at(bit: u32, value: u64) -> u64 {
    value << bit
}

pub(super) const NOP: u64 = 0;
pub(super) const ERROR_BARRIER: u64 = op(47);

/// `LessOrEqual` of SYNC_WAIT.
pub(super) const LE: u64 = 0;
/// `Greater` of SYNC_WAIT.
pub(super) const GT: u64 = 1;

pub(super) fn move48(to: u64, value: u64) -> u64 {
    op(1) | at(48, to) | value
}

pub(super) fn move32(to: u64, value: u32) -> u64 {
    op(2) | at(48, to) | u64::from(value)
}

pub(super) fn wait(mask: u64) -> u64 {
    op(3) | at(16, mask)
}

/// Sets the bit that makes WAIT, RUN and FINISH_TILING count as progress.
pub(super) fn progress(instr: u64) -> u64 {
    instr | at(32, 1)
}

pub(super) const RUN_COMPUTE: u64 = op(4);
pub(super) const RUN_TILING: u64 = op(5);
pub(super) const RUN_IDVS: u64 = op(6);
pub(super) const RUN_FRAGMENT: u64 = op(7);
pub(super) const RUN_FULLSCREEN: u64 = op(8);
pub(super) const RUN_COMPUTE_INDIRECT: u64 = op(44);
pub(super) const FINISH_TILING: u64 = op(9);

pub(super) fn finish_fragment(count: bool, first: u64, last: u64) -> u64 {
    op(11) | u64::from(count) | at(40, first) | at(32, last)
}

pub(super) fn add32(to: u64, from: u64, value: i32) -> u64 {
    op(16) | at(48, to) | at(40, from) | u64::from(value as u32)
}

pub(super) fn add64(to: u64, from: u64, value: i32) -> u64 {
    op(17) | at(48, to) | at(40, from) | u64::from(value as u32)
}

pub(super) fn umin32(to: u64, left: u64, right: u64) -> u64 {
    op(18) | at(48, to) | at(40, right) | at(32, left)
}

pub(super) fn load(base: u64, mask: u64, address: u64, offset: i16) -> u64 {
    op(20) | at(48, base) | at(40, address) | at(16, mask) | u64::from(offset as u16)
}

pub(super) fn store(base: u64, mask: u64, address: u64, offset: i16) -> u64 {
    op(21) | at(48, base) | at(40, address) | at(16, mask) | u64::from(offset as u16)
}

pub(super) fn branch(condition: u64, value: u64, offset: i16) -> u64 {
    op(22) | at(40, value) | at(28, condition) | u64::from(offset as u16)
}

pub(super) fn set_sb_entry(endpoint: u64, other: u64) -> u64 {
    op(23) | at(4, other) | endpoint
}

pub(super) fn progress_wait(stream: u64, value: u64) -> u64 {
    op(24) | at(40, value) | stream
}

pub(super) fn set_exception_handler(exception: u64, address: u64, length: u64) -> u64 {
    op(25) | at(40, address) | at(32, length) | exception
}

pub(super) fn call(address: u64, length: u64) -> u64 {
    op(32) | at(40, address) | at(32, length)
}

pub(super) fn jump(address: u64, length: u64) -> u64 {
    op(33) | at(40, address) | at(32, length)
}

pub(super) fn req_resource(resources: u64) -> u64 {
    op(34) | resources
}

/// The flush that kernels put before a job.
pub(super) fn flush_cache(id: u64) -> u64 {
    op(36) | at(40, id) | 0x233
}

pub(super) fn sync_add32(address: u64, data: u64) -> u64 {
    op(37) | at(40, address) | at(32, data)
}

pub(super) fn sync_set32(address: u64, data: u64) -> u64 {
    op(38) | at(40, address) | at(32, data)
}

pub(super) fn sync_wait32(condition: u64, address: u64, data: u64) -> u64 {
    op(39) | at(40, address) | at(32, data) | at(28, condition)
}

pub(super) fn store_state(state: u64, address: u64, offset: i16) -> u64 {
    op(40) | at(40, address) | at(32, state) | u64::from(offset as u16)
}

pub(super) fn prot_region(size: u64) -> u64 {
    op(41) | size
}

pub(super) fn progress_store(from: u64) -> u64 {
    op(42) | at(40, from)
}

pub(super) fn progress_load(to: u64) -> u64 {
    op(43) | at(48, to)
}

pub(super) fn heap_set(address: u64) -> u64 {
    op(48) | at(40, address)
}

pub(super) fn heap_operation(operation: u64) -> u64 {
    op(49) | at(32, operation)
}

pub(super) fn trace_point(base: u64, count: u64) -> u64 {
    op(50) | at(40, count) | at(32, base)
}

pub(super) fn sync_add64(address: u64, data: u64) -> u64 {
    op(51) | at(40, address) | at(32, data)
}

pub(super) fn sync_set64(address: u64, data: u64) -> u64 {
    op(52) | at(40, address) | at(32, data)
}

pub(super) fn sync_wait64(condition: u64, address: u64, data: u64) -> u64 {
    op(53) | at(40, address) | at(32, data) | at(28, condition)
}

/// SYNC_ADD and SYNC_SET: store the error state; SYNC_WAIT: take over the object's.
pub(super) fn with_error(instr: u64) -> u64 {
    instr | 1
}

/// SYNC_ADD and SYNC_SET: tell the other streams of the group only.
pub(super) fn in_group(instr: u64) -> u64 {
    instr | at(1, 2)
}

/// Execute once the slots in `wait` are clear, and keep `signal` busy until then.
pub(super) fn deferred(instr: u64, wait: u64, signal: u64) -> u64 {
    instr | at(48, signal) | at(16, wait)
}
