// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The MMU: interrupts, and one set of registers for each address space.

/// The MMU's interrupt block: bit n a fault of, bit 16 + n a finished command of address space n.
pub const INT_BASE: u32 = 0x2000;
/// First address space's registers.
pub const AS_BASE: u32 = 0x2400;
/// Distance between two address spaces' registers, in bytes.
pub const AS_STRIDE: u32 = 0x40;

/// Offsets within an address space's registers.
pub mod reg {
    /// Root of the translation table, low word.
    pub const TRANSTAB_LO: u32 = 0x00;
    /// Root of the translation table, high word.
    pub const TRANSTAB_HI: u32 = 0x04;
    /// Memory attributes 0 to 3.
    pub const MEMATTR_LO: u32 = 0x08;
    /// Memory attributes 4 to 7.
    pub const MEMATTR_HI: u32 = 0x0c;
    /// Region for LOCK: base, and log2 of the size minus 1 in 5:0; low word.
    pub const LOCKADDR_LO: u32 = 0x10;
    /// Region for LOCK, high word.
    pub const LOCKADDR_HI: u32 = 0x14;
    /// Command, see [`super::command`].
    pub const COMMAND: u32 = 0x18;
    /// Latched fault: exception in 7:0, access in 9:8, source in 31:16.
    pub const FAULTSTATUS: u32 = 0x1c;
    /// Faulting address, low word.
    pub const FAULTADDRESS_LO: u32 = 0x20;
    /// Faulting address, high word.
    pub const FAULTADDRESS_HI: u32 = 0x24;
    /// Bit 0: a command is being executed.
    pub const STATUS: u32 = 0x28;
    /// Configuration, low word.
    pub const TRANSCFG_LO: u32 = 0x30;
    /// Configuration, high word.
    pub const TRANSCFG_HI: u32 = 0x34;
    /// More about the fault, low word.
    pub const FAULTEXTRA_LO: u32 = 0x38;
    /// More about the fault, high word.
    pub const FAULTEXTRA_HI: u32 = 0x3c;
}

/// Commands of an address space.
pub mod command {
    /// Does nothing.
    pub const NOP: u32 = 0;
    /// Takes over TRANSTAB, MEMATTR and TRANSCFG.
    pub const UPDATE: u32 = 1;
    /// Holds accesses to the region back.
    pub const LOCK: u32 = 2;
    /// Drops cached translations of the locked region and lets accesses go on.
    pub const UNLOCK: u32 = 3;
    /// Drops cached translations of the region.
    pub const FLUSH_PT: u32 = 4;
    /// Flushes the L2 and drops cached translations of the region.
    pub const FLUSH_MEM: u32 = 5;
}

/// Fields of TRANSCFG.
pub mod transcfg {
    /// Address mode, in 3:0.
    pub const MODE_MASK: u64 = 0xf;
    /// Every access faults.
    pub const MODE_UNMAPPED: u64 = 1;
    /// Virtual is physical.
    pub const MODE_IDENTITY: u64 = 2;
    /// AArch64 tables with a 4 KiB granule.
    pub const MODE_AARCH64_4K: u64 = 6;
    /// 55 minus the number of virtual address bits, in 10:6.
    pub const INA_BITS_SHIFT: u32 = 6;
    /// Memory attribute of table walks, in 25:24; see the constants that follow.
    pub const PTW_MEMATTR_SHIFT: u32 = 24;
    /// Table walks are not cached.
    pub const PTW_MEMATTR_NC: u64 = 1;
    /// Table walks are cached.
    pub const PTW_MEMATTR_WB: u64 = 2;
    /// Shareability of table walks, in 29:28; 1 is reserved.
    pub const PTW_SH_SHIFT: u32 = 28;
    /// The reserved shareability.
    pub const PTW_SH_RESERVED: u64 = 1;
    /// Ignore clear access flags.
    pub const DISABLE_AF_FAULT: u64 = 1 << 34;
}

/// Smallest region that LOCK takes, in bytes.
pub const LOCK_MIN_SIZE: u64 = 1 << 15;

/// The register's name from its offset within the address space.
pub fn name(offset: u32) -> &'static str {
    match offset {
        reg::TRANSTAB_LO => "TRANSTAB_LO",
        reg::TRANSTAB_HI => "TRANSTAB_HI",
        reg::MEMATTR_LO => "MEMATTR_LO",
        reg::MEMATTR_HI => "MEMATTR_HI",
        reg::LOCKADDR_LO => "LOCKADDR_LO",
        reg::LOCKADDR_HI => "LOCKADDR_HI",
        reg::COMMAND => "COMMAND",
        reg::FAULTSTATUS => "FAULTSTATUS",
        reg::FAULTADDRESS_LO => "FAULTADDRESS_LO",
        reg::FAULTADDRESS_HI => "FAULTADDRESS_HI",
        reg::STATUS => "STATUS",
        reg::TRANSCFG_LO => "TRANSCFG_LO",
        reg::TRANSCFG_HI => "TRANSCFG_HI",
        reg::FAULTEXTRA_LO => "FAULTEXTRA_LO",
        reg::FAULTEXTRA_HI => "FAULTEXTRA_HI",
        _ => "UNDEFINED",
    }
}
