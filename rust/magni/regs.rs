// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The GPU's registers, by block.
//!
//! Names are Arm's, as the C driver has them. 64-bit registers are pairs of 32-bit words, low word
//! first, and are accessed as such: see [`Reg64`].

pub(crate) mod gpu;
pub(crate) mod mcu;
pub(crate) mod mmu;

/// The offset of a 64-bit register, in bytes from the start of the register window.
#[derive(Clone, Copy)]
pub(crate) struct Reg64(pub(crate) usize);

/// The four registers of an interrupt line, by the offset of the first one.
///
/// Their order is the same for all lines: RAWSTAT, CLEAR, MASK, STATUS.
#[derive(Clone, Copy)]
pub(crate) struct IrqRegs(pub(crate) usize);

impl IrqRegs {
    /// Events that happened, masked or not.
    pub(crate) const fn rawstat(self) -> usize {
        self.0
    }

    /// Writing a bit forgets its event.
    pub(crate) const fn clear(self) -> usize {
        self.0 + 0x4
    }

    /// Events that raise the interrupt.
    pub(crate) const fn mask(self) -> usize {
        self.0 + 0x8
    }

    /// Events that happened and raise the interrupt.
    pub(crate) const fn status(self) -> usize {
        self.0 + 0xc
    }
}
