// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The part of QEMU's plugin interface that is used, version 7.
//!
//! QEMU itself supplies these functions when it loads the plugin.

use std::ffi::{c_char, c_int, c_uint, c_void};

/// The version of the interface.
pub(crate) const VERSION: c_int = 7;

/// A translated block, while it is being translated.
#[repr(C)]
pub(crate) struct Block {
    _opaque: [u8; 0],
}

/// An instruction of a block.
#[repr(C)]
pub(crate) struct Insn {
    _opaque: [u8; 0],
}

/// Memory with a part for each processor.
#[repr(C)]
pub(crate) struct Scoreboard {
    _opaque: [u8; 0],
}

/// A physical address.
#[repr(C)]
pub(crate) struct HwAddr {
    _opaque: [u8; 0],
}

/// A number in each part of a scoreboard.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) score: *mut Scoreboard,
    pub(crate) offset: usize,
}

/// Add a number.
pub(crate) const INLINE_ADD_U64: c_uint = 0;
/// The callback reads no registers.
pub(crate) const CB_NO_REGS: c_uint = 0;
/// Stores.
pub(crate) const MEM_W: c_uint = 2;

/// Called when an instruction is executed: processor, and what was registered with it.
pub(crate) type ExecCallback = extern "C" fn(c_uint, *mut c_void);
/// Called when an instruction accesses memory: processor, access, virtual address, the same.
pub(crate) type MemCallback = extern "C" fn(c_uint, u32, u64, *mut c_void);
/// Called when a block is translated.
pub(crate) type BlockCallback = extern "C" fn(*mut Block, *mut c_void);

unsafe extern "C" {
    pub(crate) fn qemu_plugin_register_vcpu_tb_trans_cb(
        id: u64,
        callback: BlockCallback,
        data: *mut c_void,
    );
    pub(crate) fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    pub(crate) fn qemu_plugin_tb_get_insn(block: *const Block, index: usize) -> *mut Insn;
    pub(crate) fn qemu_plugin_insn_data(insn: *const Insn, to: *mut c_void, len: usize) -> usize;
    pub(crate) fn qemu_plugin_insn_vaddr(insn: *const Insn) -> u64;
    pub(crate) fn qemu_plugin_register_vcpu_insn_exec_cb(
        insn: *mut Insn,
        callback: ExecCallback,
        flags: c_uint,
        data: *mut c_void,
    );
    pub(crate) fn qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
        insn: *mut Insn,
        operation: c_uint,
        entry: Entry,
        value: u64,
    );
    pub(crate) fn qemu_plugin_register_vcpu_mem_cb(
        insn: *mut Insn,
        callback: MemCallback,
        flags: c_uint,
        which: c_uint,
        data: *mut c_void,
    );
    pub(crate) fn qemu_plugin_get_hwaddr(info: u32, va: u64) -> *mut HwAddr;
    pub(crate) fn qemu_plugin_hwaddr_phys_addr(address: *const HwAddr) -> u64;
    pub(crate) fn qemu_plugin_scoreboard_new(element: usize) -> *mut Scoreboard;
    pub(crate) fn qemu_plugin_scoreboard_find(score: *mut Scoreboard, vcpu: c_uint) -> *mut c_void;
    pub(crate) fn qemu_plugin_outs(text: *const c_char);
}
