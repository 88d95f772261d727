// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Encodings of the instructions of arch 10.
//!
//! Each function gives one instruction word. Source of the bit positions: the v10 instruction table (`v10.xml`)
//! of Mesa's genxml and the sequences that the kernel puts in its ring buffers.

use super::{Axis, Condition, Defer, FlushMode, HeapOperation, Reg, Reg64, Scope, Selects, State};

/// Operation codes, bits 63:56 of each instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are those of the architecture")]
pub enum Opcode {
    Nop = 0,
    Move = 1,
    Move32 = 2,
    Wait = 3,
    RunCompute = 4,
    RunTiling = 5,
    RunIdvs = 6,
    RunFragment = 7,
    RunFullscreen = 8,
    FinishTiling = 9,
    FinishFragment = 11,
    AddImm32 = 16,
    AddImm64 = 17,
    Umin32 = 18,
    LoadMultiple = 20,
    StoreMultiple = 21,
    Branch = 22,
    SetSbEntry = 23,
    ProgressWait = 24,
    SetExceptionHandler = 25,
    Call = 32,
    Jump = 33,
    ReqResource = 34,
    FlushCache2 = 36,
    SyncAdd32 = 37,
    SyncSet32 = 38,
    SyncWait32 = 39,
    StoreState = 40,
    ProtRegion = 41,
    ProgressStore = 42,
    ProgressLoad = 43,
    RunComputeIndirect = 44,
    ErrorBarrier = 47,
    HeapSet = 48,
    HeapOperation = 49,
    TracePoint = 50,
    SyncAdd64 = 51,
    SyncSet64 = 52,
    SyncWait64 = 53,
}

/// Puts `value` at bit `shift`, checking that it fits into `width` bits.
const fn field(value: u64, shift: u32, width: u32) -> u64 {
    assert!(value < 1 << width, "value does not fit into its field");
    value << shift
}

const fn op(opcode: Opcode) -> u64 {
    (opcode as u64) << 56
}

const fn dst(index: u8) -> u64 {
    (index as u64) << 48
}

const fn addr(reg: Reg64) -> u64 {
    (reg.index() as u64) << 40
}

const fn progress(increment: bool) -> u64 {
    (increment as u64) << 32
}

const fn imm16(value: i16) -> u64 {
    value as u16 as u64
}

const fn imm32(value: i32) -> u64 {
    value as u32 as u64
}

const fn defer(when: Defer) -> u64 {
    match when {
        Defer::No => 0,
        Defer::Until { wait, signal } => {
            assert!(wait != 0, "a deferred instruction waits for something");
            field(wait as u64, 16, 16) | field(signal as u64, 48, 4)
        }
    }
}

const fn selects(s: Selects) -> u64 {
    field(s.srt as u64, 40, 2)
        | field(s.spd as u64, 42, 2)
        | field(s.tsd as u64, 44, 2)
        | field(s.fau as u64, 46, 2)
}

/// Does nothing.
pub const fn nop() -> u64 {
    op(Opcode::Nop)
}

/// `dst = value`, 48 bits, the upper 16 cleared.
pub const fn move48(dst_reg: Reg64, value: u64) -> u64 {
    op(Opcode::Move) | dst(dst_reg.index()) | field(value, 0, 48)
}

/// `dst = value`.
pub const fn move32(dst_reg: Reg, value: u32) -> u64 {
    op(Opcode::Move32) | dst(dst_reg.index()) | value as u64
}

/// Waits until all scoreboard slots in `slots` are idle.
pub const fn wait(slots: u8, progress_increment: bool) -> u64 {
    op(Opcode::Wait) | field(slots as u64, 16, 8) | progress(progress_increment)
}

/// `dst = src + value`, 32 bits.
pub const fn add_imm32(dst_reg: Reg, src: Reg, value: i32) -> u64 {
    op(Opcode::AddImm32) | dst(dst_reg.index()) | field(src.index() as u64, 40, 8) | imm32(value)
}

/// `dst = src + value`, 64 bits, `value` sign-extended.
pub const fn add_imm64(dst_reg: Reg64, src: Reg64, value: i32) -> u64 {
    op(Opcode::AddImm64) | dst(dst_reg.index()) | field(src.index() as u64, 40, 8) | imm32(value)
}

/// `dst = min(a, b)`, unsigned.
pub const fn umin32(dst_reg: Reg, a: Reg, b: Reg) -> u64 {
    op(Opcode::Umin32)
        | dst(dst_reg.index())
        | field(b.index() as u64, 40, 8)
        | field(a.index() as u64, 32, 8)
}

/// Loads the registers `base + i`, for each bit i of `mask`, from `address + offset + 4 * i`.
pub const fn load_multiple(base: Reg, mask: u16, address: Reg64, offset: i16) -> u64 {
    op(Opcode::LoadMultiple)
        | dst(base.index())
        | addr(address)
        | field(mask as u64, 16, 16)
        | imm16(offset)
}

/// Stores the registers `base + i`, for each bit i of `mask`, to `address + offset + 4 * i`.
pub const fn store_multiple(base: Reg, mask: u16, address: Reg64, offset: i16) -> u64 {
    op(Opcode::StoreMultiple)
        | dst(base.index())
        | addr(address)
        | field(mask as u64, 16, 16)
        | imm16(offset)
}

/// Branches by `offset` instructions, counted from the next one, if `value` compares so with 0 (signed).
pub const fn branch(condition: Condition, value: Reg, offset: i16) -> u64 {
    op(Opcode::Branch)
        | field(value.index() as u64, 40, 8)
        | field(condition as u64, 28, 3)
        | imm16(offset)
}

/// Chooses the scoreboard slots (0 to 15) for endpoint jobs and for everything else.
pub const fn set_sb_entry(endpoint: u8, other: u8) -> u64 {
    op(Opcode::SetSbEntry) | field(endpoint as u64, 0, 4) | field(other as u64, 4, 4)
}

/// Waits until `queue`'s progress counter reaches `src`.
pub const fn progress_wait(queue: u8, src: Reg64) -> u64 {
    op(Opcode::ProgressWait) | addr(src) | field(queue as u64, 0, 5)
}

/// Sets the handler for an exception type (2: tiler out of memory) to the stream at `address`, `length` bytes.
pub const fn set_exception_handler(exception: u8, address: Reg64, length: Reg) -> u64 {
    op(Opcode::SetExceptionHandler)
        | addr(address)
        | field(length.index() as u64, 32, 8)
        | exception as u64
}

/// Calls the stream at `address`, `length` bytes.
pub const fn call(address: Reg64, length: Reg) -> u64 {
    op(Opcode::Call) | addr(address) | field(length.index() as u64, 32, 8)
}

/// Goes on in the stream at `address`, `length` bytes, and returns from there to this one's caller.
pub const fn jump(address: Reg64, length: Reg) -> u64 {
    op(Opcode::Jump) | addr(address) | field(length.index() as u64, 32, 8)
}

/// Declares which endpoints the stream uses: compute 1, fragment 2, tiler 4, IDVS 8.
pub const fn req_resource(mask: u8) -> u64 {
    op(Opcode::ReqResource) | field(mask as u64, 0, 4)
}

/// Flushes caches, unless they were flushed since the flush id in `flush_id` was read (0: always flush).
pub const fn flush_cache2(
    l2: FlushMode,
    lsc: FlushMode,
    invalidate_other: bool,
    flush_id: Reg,
    when: Defer,
) -> u64 {
    op(Opcode::FlushCache2)
        | field(flush_id.index() as u64, 40, 8)
        | field(l2 as u64, 0, 4)
        | field(lsc as u64, 4, 4)
        | field(invalidate_other as u64, 9, 1)
        | defer(when)
}

/// The part that SYNC_ADD and SYNC_SET share.
const fn sync_write(address: Reg64, data: u8, scope: Scope, propagate: bool, when: Defer) -> u64 {
    addr(address)
        | field(data as u64, 32, 8)
        | field(scope as u64, 1, 2)
        | propagate as u64
        | defer(when)
}

/// Adds `data` to the 32-bit sync object at `address`; `propagate` also writes the queue's error state to it.
pub const fn sync_add32(
    address: Reg64,
    data: Reg,
    scope: Scope,
    propagate: bool,
    when: Defer,
) -> u64 {
    op(Opcode::SyncAdd32) | sync_write(address, data.index(), scope, propagate, when)
}

/// Sets the 32-bit sync object at `address` to `data`.
pub const fn sync_set32(
    address: Reg64,
    data: Reg,
    scope: Scope,
    propagate: bool,
    when: Defer,
) -> u64 {
    op(Opcode::SyncSet32) | sync_write(address, data.index(), scope, propagate, when)
}

/// Adds `data` to the 64-bit sync object at `address`.
pub const fn sync_add64(
    address: Reg64,
    data: Reg64,
    scope: Scope,
    propagate: bool,
    when: Defer,
) -> u64 {
    op(Opcode::SyncAdd64) | sync_write(address, data.index(), scope, propagate, when)
}

/// Sets the 64-bit sync object at `address` to `data`.
pub const fn sync_set64(
    address: Reg64,
    data: Reg64,
    scope: Scope,
    propagate: bool,
    when: Defer,
) -> u64 {
    op(Opcode::SyncSet64) | sync_write(address, data.index(), scope, propagate, when)
}

/// Waits until the 32-bit sync object at `address` compares so with `data` (only LessEqual and Greater exist).
pub const fn sync_wait32(condition: Condition, address: Reg64, data: Reg, reject: bool) -> u64 {
    op(Opcode::SyncWait32)
        | addr(address)
        | field(data.index() as u64, 32, 8)
        | field(condition as u64, 28, 4)
        | reject as u64
}

/// Waits until the 64-bit sync object at `address` compares so with `data` (only LessEqual and Greater exist).
pub const fn sync_wait64(condition: Condition, address: Reg64, data: Reg64, reject: bool) -> u64 {
    op(Opcode::SyncWait64)
        | addr(address)
        | field(data.index() as u64, 32, 8)
        | field(condition as u64, 28, 4)
        | reject as u64
}

/// Stores a 64-bit state at `address + offset`.
pub const fn store_state(address: Reg64, offset: i16, state: State, when: Defer) -> u64 {
    op(Opcode::StoreState)
        | addr(address)
        | field(state as u64, 32, 2)
        | imm16(offset)
        | defer(when)
}

/// Marks the next `bytes` (a multiple of 8) of the stream as protected-mode.
pub const fn prot_region(bytes: u32) -> u64 {
    assert!(bytes % 8 == 0, "the size is counted in instructions");
    op(Opcode::ProtRegion) | field(bytes as u64 / 8, 0, 16)
}

/// Sets the queue's progress counter to `src`.
pub const fn progress_store(src: Reg64) -> u64 {
    op(Opcode::ProgressStore) | addr(src)
}

/// Reads the queue's progress counter into `dst`.
pub const fn progress_load(dst_reg: Reg64) -> u64 {
    op(Opcode::ProgressLoad) | dst(dst_reg.index())
}

/// Clears the queue's error state: a fault in the next job is that job's own.
pub const fn error_barrier() -> u64 {
    op(Opcode::ErrorBarrier)
}

/// Names the tiler heap's context for this queue.
pub const fn heap_set(address: Reg64) -> u64 {
    op(Opcode::HeapSet) | addr(address)
}

/// Counts a step of a render pass in the tiler heap.
pub const fn heap_operation(operation: HeapOperation, when: Defer) -> u64 {
    op(Opcode::HeapOperation) | field(operation as u64, 32, 2) | defer(when)
}

/// Writes `count` registers from `base` to the trace buffer.
pub const fn trace_point(base: Reg, count: u8, when: Defer) -> u64 {
    op(Opcode::TracePoint)
        | field(base.index() as u64, 32, 8)
        | field(count as u64, 40, 8)
        | defer(when)
}

/// Runs a compute job described by the registers, `tasks` tasks per step along `axis`.
pub const fn run_compute(tasks: u16, axis: Axis, sel: Selects, progress_increment: bool) -> u64 {
    op(Opcode::RunCompute)
        | field(tasks as u64, 0, 14)
        | field(axis as u64, 14, 2)
        | progress(progress_increment)
        | selects(sel)
}

/// Runs a compute job whose size is in memory.
pub const fn run_compute_indirect(
    workgroups_per_task: u16,
    sel: Selects,
    progress_increment: bool,
) -> u64 {
    op(Opcode::RunComputeIndirect)
        | workgroups_per_task as u64
        | progress(progress_increment)
        | selects(sel)
}

/// Runs a tiling job.
pub const fn run_tiling(flags_override: u32, sel: Selects, progress_increment: bool) -> u64 {
    op(Opcode::RunTiling) | flags_override as u64 | progress(progress_increment) | selects(sel)
}

/// Runs an index-driven vertex shading job; `malloc_enable` lets it take tiler heap chunks.
pub const fn run_idvs(flags_override: u32, malloc_enable: bool, progress_increment: bool) -> u64 {
    op(Opcode::RunIdvs)
        | flags_override as u64
        | progress(progress_increment)
        | field(malloc_enable as u64, 33, 1)
}

/// Runs a fragment job over the frame that the registers describe.
pub const fn run_fragment(enable_tem: bool, tile_order: u8, progress_increment: bool) -> u64 {
    op(Opcode::RunFragment)
        | enable_tem as u64
        | field(tile_order as u64, 4, 4)
        | progress(progress_increment)
}

/// Runs a full-screen draw with the descriptor at `dcd`.
pub const fn run_fullscreen(flags_override: u32, dcd: Reg64, progress_increment: bool) -> u64 {
    op(Opcode::RunFullscreen) | flags_override as u64 | progress(progress_increment) | addr(dcd)
}

/// Ends tiling.
pub const fn finish_tiling(progress_increment: bool) -> u64 {
    op(Opcode::FinishTiling) | progress(progress_increment)
}

/// Ends a fragment pass: gives the heap chunks from `first` to `last` back and may count the pass.
pub const fn finish_fragment(count_completed: bool, first: Reg64, last: Reg64, when: Defer) -> u64 {
    op(Opcode::FinishFragment)
        | count_completed as u64
        | field(last.index() as u64, 32, 8)
        | field(first.index() as u64, 40, 8)
        | defer(when)
}

#[cfg(test)]
mod tests {
    use super::super::{d, r};
    use super::*;

    #[test]
    fn moves_and_arithmetic() {
        assert_eq!(nop(), 0);
        assert_eq!(move48(d(92), 0x1234_5678_9abc), 0x015c_1234_5678_9abc);
        assert_eq!(move32(r(94), 0xdead_beef), 0x025e_0000_dead_beef);
        assert_eq!(add_imm32(r(1), r(2), -1), 0x1001_0200_ffff_ffff);
        assert_eq!(add_imm64(d(4), d(6), 0x40), 0x1104_0600_0000_0040);
        assert_eq!(umin32(r(3), r(1), r(2)), 0x1203_0201_0000_0000);
    }

    #[test]
    fn memory() {
        assert_eq!(load_multiple(r(2), 0b11, d(0), -8), 0x1402_0000_0003_fff8);
        assert_eq!(
            store_multiple(r(10), 0xffff, d(8), 16),
            0x150a_0800_ffff_0010
        );
        assert_eq!(
            store_state(d(92), 8, State::CycleCount, Defer::No),
            0x2800_5c01_0000_0008
        );
    }

    #[test]
    fn control_flow() {
        assert_eq!(wait(0xff, false), 0x0300_0000_00ff_0000);
        assert_eq!(wait(1, true), 0x0300_0001_0001_0000);
        assert_eq!(branch(Condition::NotEqual, r(3), -3), 0x1600_0300_3000_fffd);
        assert_eq!(branch(Condition::Always, r(0), 2), 0x1600_0000_6000_0002);
        assert_eq!(set_sb_entry(2, 0), 0x1700_0000_0000_0002);
        assert_eq!(set_sb_entry(0, 5), 0x1700_0000_0000_0050);
        assert_eq!(call(d(92), r(94)), 0x2000_5c5e_0000_0000);
        assert_eq!(jump(d(92), r(94)), 0x2100_5c5e_0000_0000);
        assert_eq!(
            set_exception_handler(2, d(10), r(12)),
            0x1900_0a0c_0000_0002
        );
    }

    #[test]
    fn synchronisation_as_the_kernel_encodes_it() {
        // FLUSH_CACHE2, SYNC_ADD64 and ERROR_BARRIER as they stand in every job's ring entry.
        let flush = flush_cache2(
            FlushMode::CleanInvalidate,
            FlushMode::CleanInvalidate,
            true,
            r(94),
            Defer::No,
        );
        assert_eq!(flush, (36 << 56) | (94 << 40) | 0x233);
        let add = sync_add64(d(92), d(94), Scope::System, true, Defer::No);
        assert_eq!(add, (51 << 56) | (92 << 40) | (94 << 32) | 1);
        assert_eq!(error_barrier(), 47 << 56);
    }

    #[test]
    fn synchronisation() {
        assert_eq!(
            sync_wait64(Condition::Greater, d(2), d(4), false),
            0x3500_0204_1000_0000
        );
        assert_eq!(
            sync_wait32(Condition::LessEqual, d(2), r(5), true),
            0x2700_0205_0000_0001
        );
        let deferred = Defer::Until {
            wait: 0x81,
            signal: 3,
        };
        assert_eq!(
            sync_set32(d(2), r(5), Scope::Group, false, deferred),
            0x2603_0205_0081_0004
        );
        assert_eq!(
            sync_set64(d(2), d(4), Scope::System, false, Defer::No),
            0x3400_0204_0000_0000
        );
        assert_eq!(
            sync_add32(d(2), r(5), Scope::System, true, Defer::No),
            0x2500_0205_0000_0001
        );
        assert_eq!(progress_wait(3, d(6)), 0x1800_0600_0000_0003);
        assert_eq!(progress_store(d(6)), 0x2a00_0600_0000_0000);
        assert_eq!(progress_load(d(6)), 0x2b06_0000_0000_0000);
        assert_eq!(prot_region(64), 0x2900_0000_0000_0008);
    }

    #[test]
    fn endpoint_jobs() {
        let sel = Selects {
            srt: 1,
            spd: 2,
            tsd: 3,
            fau: 1,
        };
        assert_eq!(run_compute(1, Axis::Y, sel, false), 0x0400_7900_0000_4001);
        assert_eq!(
            run_compute_indirect(64, Selects::default(), true),
            0x2c00_0001_0000_0040
        );
        assert_eq!(
            run_tiling(7, Selects::default(), false),
            0x0500_0000_0000_0007
        );
        assert_eq!(run_idvs(0x10, true, false), 0x0600_0002_0000_0010);
        assert_eq!(run_fragment(true, 1, false), 0x0700_0000_0000_0011);
        assert_eq!(run_fullscreen(0, d(16), false), 0x0800_1000_0000_0000);
        assert_eq!(finish_tiling(true), 0x0900_0001_0000_0000);
        assert_eq!(
            finish_fragment(true, d(10), d(12), Defer::No),
            0x0b00_0a0c_0000_0001
        );
        assert_eq!(heap_set(d(92)), 0x3000_5c00_0000_0000);
        assert_eq!(
            heap_operation(HeapOperation::FragmentCompleted, Defer::No),
            0x3100_0003_0000_0000
        );
        assert_eq!(req_resource(0b1001), 0x2200_0000_0000_0009);
        assert_eq!(trace_point(r(5), 4, Defer::No), 0x3200_0405_0000_0000);
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn too_wide_value_is_refused() {
        move48(d(0), 1 << 48);
    }
}
