// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The MMU: address spaces, each with 64 bytes of registers.

use super::{
    IrqRegs,
    Reg64, //
};
use kernel::register;

/// The most address spaces that a GPU can have.
pub(crate) const MAX_AS: usize = 16;

register! {
    /// Commands to an address space; writing executes.
    pub(crate) AS_COMMAND(u32)[16, stride = 0x40] @ 0x2418 {
        /// See [`Command`].
        7:0     command;
    }

    /// Cause of a fault.
    pub(crate) AS_FAULTSTATUS(u32)[16, stride = 0x40] @ 0x241c {
        /// Exception type.
        7:0     exception;
        /// Access that faulted: atomic, execute, read, write.
        9:8     access;
        /// Set for a fault of the decoder rather than of the bus.
        10:10   decoder => bool;
        /// Who made the access.
        31:16   source;
    }

    /// What an address space does.
    pub(crate) AS_STATUS(u32)[16, stride = 0x40] @ 0x2428 {
        /// A command is being executed.
        0:0     active => bool;
    }
}

/// Commands of [`AS_COMMAND`].
#[derive(Clone, Copy)]
pub(crate) enum Command {
    /// Make a new configuration effective.
    Update = 1,
    /// Hold off accesses to the region in [`lock_address`].
    Lock = 2,
    /// Let them go on, with what the page table says now.
    Unlock = 3,
}

impl From<Command> for AS_COMMAND {
    fn from(command: Command) -> Self {
        Self::from_raw(command as u32)
    }
}

/// Interrupt line "mmu".
pub(crate) const IRQ: IrqRegs = IrqRegs(0x2000);

/// Fault events of [`IRQ`], an address space each; the upper half means completed commands.
pub(crate) const IRQ_FAULTS: u32 = 0xffff;

const fn as_reg(nr: usize, offset: usize) -> Reg64 {
    Reg64(0x2400 + nr * 0x40 + offset)
}

/// Address of the root page table of address space `nr`.
pub(crate) const fn translation_table(nr: usize) -> Reg64 {
    as_reg(nr, 0x0)
}

/// Memory attributes that page table entries of address space `nr` index.
pub(crate) const fn memory_attributes(nr: usize) -> Reg64 {
    as_reg(nr, 0x8)
}

/// Region to lock in address space `nr`: its base, and the logarithm of its size minus one.
pub(crate) const fn lock_address(nr: usize) -> Reg64 {
    as_reg(nr, 0x10)
}

/// Address of a fault in address space `nr`.
pub(crate) const fn fault_address(nr: usize) -> Reg64 {
    as_reg(nr, 0x20)
}

/// Translation configuration of address space `nr`: see [`config`].
pub(crate) const fn translation_config(nr: usize) -> Reg64 {
    as_reg(nr, 0x30)
}

/// Fields of [`translation_config`].
pub(crate) mod config {
    /// Every access faults.
    pub(crate) const MODE_UNMAPPED: u64 = 1;
    /// AArch64 format with a granule of 4 KiB.
    pub(crate) const MODE_AARCH64_4K: u64 = 6;
    /// The walker allocates in the caches when it reads.
    pub(crate) const WALK_READ_ALLOCATE: u64 = 1 << 30;
    /// The walker's accesses are write-back cached.
    pub(crate) const WALK_WRITE_BACK: u64 = 2 << 24;
    /// The walker's accesses are outer shareable.
    pub(crate) const WALK_OUTER_SHAREABLE: u64 = 2 << 28;

    /// Input addresses of `bits` bits: the field holds what they are short of 55.
    pub(crate) const fn input_bits(bits: u32) -> u64 {
        (55u64.saturating_sub(bits as u64)) << 6
    }
}

/// Memory attributes: one byte for each index.
pub(crate) mod attributes {
    /// Not cached, no allocation hints.
    pub(crate) const NON_CACHEABLE: u8 = 1 << 6 | 3 << 2;
    /// Cached, write-back.
    pub(crate) const WRITE_BACK: u8 = 2 << 6 | 3 << 2;
    /// With [`WRITE_BACK`]: allocate on a write.
    pub(crate) const WRITE_ALLOCATE: u8 = 1 << 0;
    /// With [`WRITE_BACK`]: allocate on a read.
    pub(crate) const READ_ALLOCATE: u8 = 1 << 1;
    /// Inner shareable means: within the system, instead of within the GPU.
    pub(crate) const SHARED_WITH_CPU: u8 = 1 << 4;
}
