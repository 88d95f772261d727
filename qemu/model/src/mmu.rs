// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The MMU: address spaces, their registers and commands, and accesses through them.

pub mod tlb;
pub mod walk;

#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

use crate::bus::{exception, Access, Fault};
use crate::profile::Profile;
use crate::ram::PhysMemory;
use crate::regs::mmu::{command, reg, transcfg, AS_STRIDE, LOCK_MIN_SIZE};
use tlb::Tlb;
use walk::{Config, Leaf, PAGE_SIZE};

/// What a register write or an access did that others have to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Bits to set in the MMU's RAWSTAT.
    Raise(u32),
    /// The driver did what real hardware would not forgive.
    Misuse(String),
}

/// All address spaces.
pub struct Mmu {
    spaces: Vec<AddressSpace>,
    present: u32,
    pa_bits: u32,
    va_bits: u32,
    notices: Vec<Notice>,
}

#[derive(Clone, Debug, Default)]
struct AddressSpace {
    transtab: u64,
    memattr: u64,
    transcfg: u64,
    lockaddr: u64,
    fault_status: u32,
    fault_address: u64,
    active: Config,
    locked: Option<RangeInclusive<u64>>,
    /// A fault holds the address space until the driver has dealt with it.
    stuck: Option<Fault>,
    /// A command was given and nobody has looked at STATUS since.
    unpolled: bool,
    /// Written through since the last cache flush.
    dirty: bool,
    /// A test ordered that commands do not finish, until a reset.
    hung: bool,
    tlb: Tlb,
}

impl Mmu {
    /// An MMU as after a reset.
    pub fn new(profile: &Profile) -> Self {
        Self {
            spaces: (0..32).map(|_| AddressSpace::default()).collect(),
            present: profile.as_present,
            pa_bits: (profile.mmu_features >> 8) & 0xff,
            va_bits: profile.mmu_features & 0xff,
            notices: Vec::new(),
        }
    }

    /// What happened since the last call.
    pub fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Puts every register back to its value after a reset.
    pub fn reset(&mut self) {
        self.spaces.fill(AddressSpace::default());
    }

    /// Commands of address space `as_nr` do what they do, but stay active until a reset.
    pub fn hang(&mut self, as_nr: u8) {
        if self.is_present(as_nr) {
            self.spaces[usize::from(as_nr)].hung = true;
        }
    }

    /// The caches were cleaned: nothing is left to be written back.
    pub fn flushed(&mut self) {
        for space in &mut self.spaces {
            space.dirty = false;
        }
    }

    /// Whether some address space is held by a fault.
    pub fn faulted(&self) -> bool {
        self.spaces.iter().any(|space| space.stuck.is_some())
    }

    /// Whether address space `as_nr` is set up to translate.
    pub fn enabled(&self, as_nr: u8) -> bool {
        self.is_present(as_nr)
            && matches!(
                self.spaces[usize::from(as_nr)].active.mode(),
                transcfg::MODE_AARCH64_4K | transcfg::MODE_IDENTITY
            )
    }

    /// Reads the register at `offset` from the first address space's.
    pub fn read(&mut self, offset: u32) -> u32 {
        let Some((_, space)) = self.space(offset) else {
            return 0;
        };
        let (low, high) = (|v: u64| v as u32, |v: u64| (v >> 32) as u32);
        match offset % AS_STRIDE {
            reg::TRANSTAB_LO => low(space.transtab),
            reg::TRANSTAB_HI => high(space.transtab),
            reg::MEMATTR_LO => low(space.memattr),
            reg::MEMATTR_HI => high(space.memattr),
            reg::LOCKADDR_LO => low(space.lockaddr),
            reg::LOCKADDR_HI => high(space.lockaddr),
            reg::TRANSCFG_LO => low(space.transcfg),
            reg::TRANSCFG_HI => high(space.transcfg),
            reg::FAULTSTATUS => space.fault_status,
            reg::FAULTADDRESS_LO => low(space.fault_address),
            reg::FAULTADDRESS_HI => high(space.fault_address),
            reg::STATUS => {
                // Commands finish at once, but a driver has to have looked.
                space.unpolled &= space.hung;
                space.hung.into()
            }
            // COMMAND is write-only; there is nothing more to say about a fault.
            reg::COMMAND | reg::FAULTEXTRA_LO | reg::FAULTEXTRA_HI => 0,
            other => {
                self.misuse(format!(
                    "read of undefined address-space register {other:#x}"
                ));
                0
            }
        }
    }

    /// Writes the register at `offset` from the first address space's.
    ///
    /// `raw` is the MMU's RAWSTAT.
    pub fn write(&mut self, offset: u32, value: u32, raw: u32) {
        let Some((as_nr, space)) = self.space(offset) else {
            return;
        };
        let low = |v: &mut u64| *v = *v & !0xffff_ffff | u64::from(value);
        let high = |v: &mut u64| *v = *v & 0xffff_ffff | (u64::from(value) << 32);
        match offset % AS_STRIDE {
            reg::TRANSTAB_LO => low(&mut space.transtab),
            reg::TRANSTAB_HI => high(&mut space.transtab),
            reg::MEMATTR_LO => low(&mut space.memattr),
            reg::MEMATTR_HI => high(&mut space.memattr),
            reg::LOCKADDR_LO => low(&mut space.lockaddr),
            reg::LOCKADDR_HI => high(&mut space.lockaddr),
            reg::TRANSCFG_LO => low(&mut space.transcfg),
            reg::TRANSCFG_HI => high(&mut space.transcfg),
            reg::COMMAND => self.command(as_nr, value, raw),
            other => self.misuse(format!(
                "write of {value:#x} to address-space register {other:#x}, which is read-only or undefined"
            )),
        }
    }

    fn space(&mut self, offset: u32) -> Option<(u8, &mut AddressSpace)> {
        let as_nr = (offset / AS_STRIDE) as u8;
        if !self.is_present(as_nr) {
            self.misuse(format!(
                "access to the registers of address space {as_nr}, which this GPU does not have"
            ));
            return None;
        }
        Some((as_nr, &mut self.spaces[usize::from(as_nr)]))
    }

    fn is_present(&self, as_nr: u8) -> bool {
        self.present & 1u32.checked_shl(as_nr.into()).unwrap_or(0) != 0
    }

    fn misuse(&mut self, what: String) {
        self.notices.push(Notice::Misuse(what));
    }

    fn command(&mut self, as_nr: u8, command: u32, raw: u32) {
        let (pa_bits, max_va_bits) = (self.pa_bits, self.va_bits);
        let space = &mut self.spaces[usize::from(as_nr)];
        let mut wrong = Vec::new();
        if std::mem::replace(&mut space.unpolled, true) {
            wrong.push("without having seen AS_ACTIVE clear since the last command".to_owned());
        }
        match command {
            command::NOP => {}
            command::UPDATE => {
                let new = Config {
                    transtab: space.transtab,
                    memattr: space.memattr,
                    transcfg: space.transcfg,
                    pa_bits,
                    max_va_bits,
                };
                wrong.extend(space.update(new, (raw >> as_nr) & 1 != 0));
            }
            command::LOCK => match locked_region(space.lockaddr) {
                Ok(region) => space.locked = Some(region),
                Err(why) => wrong.push(why),
            },
            command::UNLOCK | command::FLUSH_PT | command::FLUSH_MEM => {
                match space.locked.clone() {
                    Some(region) => space.tlb.invalidate(region),
                    // Harmless where nothing is translated: when a fault makes the C driver
                    // disable an address space that a VM_BIND has locked, it unlocks there
                    // and the VM_BIND unlocks in its turn.
                    None if space.active.mode() == transcfg::MODE_UNMAPPED => {}
                    None => wrong.push("without a locked region".to_owned()),
                }
                if command == command::FLUSH_MEM {
                    space.dirty = false;
                } else if command == command::UNLOCK {
                    space.locked = None;
                    space.stuck = None;
                }
            }
            other => wrong.push(format!("{other} is not a command")),
        }
        if !space.hung {
            self.notices.push(Notice::Raise(1 << (16 + as_nr)));
        }
        let name = match command {
            command::UPDATE => "UPDATE",
            command::LOCK => "LOCK",
            command::UNLOCK => "UNLOCK",
            command::FLUSH_PT => "FLUSH_PT",
            command::FLUSH_MEM => "FLUSH_MEM",
            _ => "a command",
        };
        for why in wrong {
            self.misuse(format!("{name} of address space {as_nr}: {why}"));
        }
    }

    /// Finds the pages under `len` bytes at `va`, checks them for `access`, and calls
    /// `each` with the physical address and the part of the range for every page.
    ///
    /// # Errors
    ///
    /// The first fault; `each` has not been called then.
    pub fn translate(
        &mut self,
        memory: &impl PhysMemory,
        as_nr: u8,
        va: u64,
        len: usize,
        access: Access,
        mut each: impl FnMut(u64, std::ops::Range<usize>),
    ) -> Result<(), Fault> {
        let fault = |va, exception| Fault {
            as_nr,
            va,
            access,
            exception,
        };
        if !self.is_present(as_nr) {
            self.misuse(format!(
                "access to {va:#x} through address space {as_nr}, which this GPU does not have"
            ));
            return Err(fault(va, exception::TRANSLATION_FAULT_UNMAPPED));
        }
        let space = &mut self.spaces[usize::from(as_nr)];
        if let Some(held) = space.stuck {
            return Err(fault(va, held.exception));
        }
        if len == 0 {
            return Ok(());
        }
        let Some(last) = va.checked_add(len as u64 - 1) else {
            return Err(fault(va, exception::ADDR_SIZE_FAULT_IN));
        };
        let in_page = |va: u64| va & (PAGE_SIZE - 1);
        let mut pages: [(u64, u64); 2] = [(0, 0); 2];
        let mut more = Vec::new();
        for (n, page) in (va - in_page(va)..=last)
            .step_by(PAGE_SIZE as usize)
            .enumerate()
        {
            let at = page.max(va);
            let leaf = walk::walk(memory, &space.active, at).and_then(|leaf| {
                leaf.check(access)?;
                Ok(leaf)
            });
            if let Some(why) = space.stale(at, leaf) {
                self.notices.push(Notice::Misuse(format!(
                    "address space {as_nr}: {why}, without a LOCK and UNLOCK around it"
                )));
            }
            match leaf {
                Ok(leaf) => match pages.get_mut(n) {
                    Some(slot) => *slot = (at, leaf.page),
                    None => more.push((at, leaf.page)),
                },
                Err(exception) => {
                    if exception == walk::BUS_FAULT {
                        self.notices.push(Notice::Misuse(format!(
                            "the tables of address space {as_nr} for {at:#x} lead where there is no memory"
                        )));
                    }
                    return Err(fault(at, exception));
                }
            }
        }
        space.dirty |= access == Access::Write;
        let count = ((last >> walk::PAGE_SHIFT) - (va >> walk::PAGE_SHIFT)) as usize + 1;
        for (at, page) in pages.into_iter().chain(more).take(count) {
            let from = (at - va) as usize;
            let to = len.min(from + (PAGE_SIZE - in_page(at)) as usize);
            each(page + in_page(at), from..to);
        }
        Ok(())
    }

    /// Latches `fault` in its address space's registers, unless an older one holds it.
    pub fn latch(&mut self, fault: &Fault) {
        if !self.is_present(fault.as_nr) {
            return;
        }
        let space = &mut self.spaces[usize::from(fault.as_nr)];
        if space.stuck.is_some() {
            return;
        }
        let access = match fault.access {
            Access::Execute => 1,
            Access::Read => 2,
            Access::Write => 3,
        };
        space.stuck = Some(*fault);
        space.fault_status = u32::from(fault.exception) | (access << 8) | (SOURCE_CSF << 16);
        space.fault_address = fault.va;
        self.notices.push(Notice::Raise(1 << fault.as_nr));
    }
}

/// Source field of FAULTSTATUS: the command-stream frontend.
const SOURCE_CSF: u32 = 0x0001;

impl AddressSpace {
    /// Takes a configuration over; says what is wrong with that.
    ///
    /// `uncleared` is whether the address space's fault is still set in RAWSTAT.
    fn update(&mut self, new: Config, uncleared: bool) -> Vec<String> {
        let mut wrong = new.faults();
        if new.mode() == transcfg::MODE_AARCH64_4K && uncleared {
            wrong.push("while its fault is not cleared in RAWSTAT".to_owned());
        }
        if self.dirty && new != self.active {
            wrong.push("changed while written data is not flushed from the caches".to_owned());
        }
        if self.locked.is_some() && new != self.active {
            wrong.push("changed while a region of it is locked".to_owned());
        }
        self.active = new;
        self.locked = None;
        self.stuck = None;
        self.tlb.clear();
        wrong
    }

    /// Compares a new translation of `va` with the one that hardware would still know.
    fn stale(&mut self, va: u64, now: Result<Leaf, u8>) -> Option<String> {
        if self.locked.as_ref().is_some_and(|r| r.contains(&va)) {
            // Hardware would hold the access back until UNLOCK; nothing is cached.
            return None;
        }
        let old = self.tlb.find(va);
        match now {
            Ok(leaf) => self.tlb.insert(va, leaf),
            Err(_) => self.tlb.forget(va),
        }
        let old = old?;
        match now {
            Ok(leaf) if leaf == old => None,
            // Only what a mapping loses can be seen by using the old translation.
            Ok(leaf) if leaf.page == old.page => None,
            Ok(leaf) => Some(format!(
                "va {va:#x} led to {:#x} and now leads to {:#x}",
                old.page, leaf.page
            )),
            Err(exception) if exception & 0xf8 == exception::PERM_FAULT_0 => None,
            Err(_) => Some(format!(
                "va {va:#x} led to {:#x} and is not mapped any more",
                old.page
            )),
        }
    }
}

/// The region in LOCKADDR.
fn locked_region(lockaddr: u64) -> Result<RangeInclusive<u64>, String> {
    let bits = (lockaddr & 0x3f) as u32 + 1;
    let size = 1u64.checked_shl(bits).unwrap_or(0);
    if size != 0 && size < LOCK_MIN_SIZE {
        return Err(format!(
            "LOCKADDR {lockaddr:#x} asks for {size:#x} bytes, fewer than {LOCK_MIN_SIZE:#x}"
        ));
    }
    // Hardware ignores the base's bits below the size.
    let base = lockaddr & !0x3f & !size.wrapping_sub(1);
    Ok(base..=base + size.wrapping_sub(1))
}
