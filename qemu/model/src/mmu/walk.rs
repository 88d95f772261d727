// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Walks the translation tables of an address space.
//!
//! The tables are AArch64 stage-1 ones with a 4 KiB granule, as the Mali MMU reads
//! them in that mode: at most four levels of 512 entries; levels 1 and 2 may hold
//! blocks of 1 GiB and 2 MiB, level 3 holds pages.

use crate::bus::{exception, Access};
use crate::ram::PhysMemory;
use crate::regs::mmu::transcfg;

/// Bytes of the smallest page.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// log2 of the smallest page.
pub const PAGE_SHIFT: u32 = 12;

const INDEX_BITS: u32 = 9;
const VALID: u64 = 1 << 0;
/// A table at levels 0 to 2, a page at level 3.
const TABLE_OR_PAGE: u64 = 1 << 1;
const ATTR_SHIFT: u32 = 2;
/// Access permission bit 1 of the architecture; the GPU accesses as unprivileged.
const AP_GPU: u64 = 1 << 6;
const AP_READ_ONLY: u64 = 1 << 7;
const ACCESS_FLAG: u64 = 1 << 10;
const EXECUTE_NEVER: u64 = 1 << 54;
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
/// Exception of a table or page that lies where there is no memory (driver fact:
/// `panthor_device.h`).
pub const BUS_FAULT: u8 = 0x80;
/// Memory attribute that says "fault", in bits 7:6 of its byte.
const ATTR_FAULT: u8 = 3;

/// An address space's configuration, as UPDATE took it over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// TRANSTAB.
    pub transtab: u64,
    /// MEMATTR.
    pub memattr: u64,
    /// TRANSCFG.
    pub transcfg: u64,
    /// Physical address bits of the GPU.
    pub pa_bits: u32,
    /// Virtual address bits of the GPU.
    pub max_va_bits: u32,
}

impl Config {
    /// TRANSCFG's address mode.
    pub fn mode(&self) -> u64 {
        self.transcfg & transcfg::MODE_MASK
    }

    /// Number of virtual address bits that are translated.
    pub fn va_bits(&self) -> u32 {
        55u32.saturating_sub(((self.transcfg >> transcfg::INA_BITS_SHIFT) & 0x1f) as u32)
    }

    /// What is wrong with the configuration itself.
    pub fn faults(&self) -> Vec<String> {
        match self.mode() {
            transcfg::MODE_UNMAPPED | transcfg::MODE_IDENTITY => return Vec::new(),
            transcfg::MODE_AARCH64_4K => {}
            mode => return vec![format!("TRANSCFG has the undefined address mode {mode}")],
        }
        let mut faults = Vec::new();
        if self.transtab & (PAGE_SIZE - 1) != 0 {
            faults.push(format!("TRANSTAB {:#x} is not page aligned", self.transtab));
        }
        if self.pa_bits < 64 && self.transtab >> self.pa_bits != 0 {
            faults.push(format!(
                "TRANSTAB {:#x} is beyond {} physical address bits",
                self.transtab, self.pa_bits
            ));
        }
        if self.va_bits() > self.max_va_bits {
            faults.push(format!(
                "TRANSCFG asks for {} virtual address bits of {}",
                self.va_bits(),
                self.max_va_bits
            ));
        }
        let attr = (self.transcfg >> transcfg::PTW_MEMATTR_SHIFT) & 3;
        if !matches!(attr, transcfg::PTW_MEMATTR_NC | transcfg::PTW_MEMATTR_WB) {
            faults.push(format!("TRANSCFG has the undefined walk attribute {attr}"));
        }
        if (self.transcfg >> transcfg::PTW_SH_SHIFT) & 3 == transcfg::PTW_SH_RESERVED {
            faults.push("TRANSCFG has the reserved walk shareability".to_owned());
        }
        faults
    }
}

/// Where a page of virtual addresses leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Physical address of the 4 KiB page.
    pub page: u64,
    /// log2 of the size of the mapping that it is part of.
    pub shift: u32,
    /// Level that the entry was found at.
    pub level: u8,
    /// Stores are allowed.
    pub writable: bool,
    /// Instruction fetches are allowed.
    pub executable: bool,
}

impl Leaf {
    /// The exception that `access` meets, if any.
    pub fn check(&self, access: Access) -> Result<(), u8> {
        let allowed = match access {
            Access::Read => true,
            Access::Write => self.writable,
            Access::Execute => self.executable,
        };
        if allowed {
            Ok(())
        } else {
            Err(exception::PERM_FAULT_0 + self.level)
        }
    }
}

/// Finds where `va` leads.
///
/// # Errors
///
/// The exception type for `AS_FAULTSTATUS`.
pub fn walk(memory: &impl PhysMemory, config: &Config, va: u64) -> Result<Leaf, u8> {
    match config.mode() {
        transcfg::MODE_IDENTITY => {
            return Ok(Leaf {
                page: va & !(PAGE_SIZE - 1),
                shift: PAGE_SHIFT,
                level: 3,
                writable: true,
                executable: true,
            })
        }
        transcfg::MODE_AARCH64_4K => {}
        _ => return Err(exception::TRANSLATION_FAULT_UNMAPPED),
    }
    let va_bits = config.va_bits();
    if va_bits < 64 && va >> va_bits != 0 {
        return Err(exception::ADDR_SIZE_FAULT_IN);
    }

    let mut level = start_level(va_bits);
    let mut table = config.transtab & ADDRESS;
    loop {
        let shift = PAGE_SHIFT + INDEX_BITS * (3 - u32::from(level));
        let index = (va >> shift) & ((1 << INDEX_BITS) - 1);
        let entry = memory.read_u64(table + index * 8).ok_or(BUS_FAULT)?;
        if entry & VALID == 0 {
            return Err(exception::TRANSLATION_FAULT_0 + level);
        }
        let address = entry & ADDRESS;
        if config.pa_bits < 64 && address >> config.pa_bits != 0 {
            return Err(exception::ADDR_SIZE_FAULT_OUT_0 + level);
        }
        match (level, entry & TABLE_OR_PAGE != 0) {
            (0..=2, true) => {
                table = address;
                level += 1;
            }
            (1 | 2, false) | (3, true) => return leaf(config, entry, va, shift, level),
            // A block at level 0, or the reserved type at level 3.
            _ => return Err(exception::TRANSLATION_FAULT_0 + level),
        }
    }
}

/// First level of a walk of `va_bits` address bits.
fn start_level(va_bits: u32) -> u8 {
    match va_bits {
        40.. => 0,
        31..=39 => 1,
        22..=30 => 2,
        _ => 3,
    }
}

fn leaf(config: &Config, entry: u64, va: u64, shift: u32, level: u8) -> Result<Leaf, u8> {
    let attr = (config.memattr >> (8 * ((entry >> ATTR_SHIFT) & 7))) as u8;
    if attr >> 6 == ATTR_FAULT {
        return Err(exception::MEM_ATTR_FAULT_0 + level);
    }
    if entry & ACCESS_FLAG == 0 && config.transcfg & transcfg::DISABLE_AF_FAULT == 0 {
        return Err(exception::ACCESS_FLAG_0 + level);
    }
    if entry & AP_GPU == 0 {
        return Err(exception::PERM_FAULT_0 + level);
    }
    let inside = (1u64 << shift) - PAGE_SIZE;
    let base = entry & ADDRESS & !((1u64 << shift) - 1);
    Ok(Leaf {
        page: base | va & inside,
        shift,
        level,
        writable: entry & AP_READ_ONLY == 0,
        executable: entry & EXECUTE_NEVER == 0,
    })
}
