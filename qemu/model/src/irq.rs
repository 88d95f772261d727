// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Interrupt blocks and the edges they send.

use crate::regs::int;

/// The three interrupt lines, in the order of their message vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// The job interrupt.
    Job = 0,
    /// The MMU's interrupt.
    Mmu = 1,
    /// The GPU's own interrupt.
    Gpu = 2,
}

/// Where edges go: message-signalled interrupts in the end, a counter in tests.
pub trait Vectors: Send {
    /// Sends one edge on `line`.
    fn signal(&mut self, line: Line);
}

/// One RAWSTAT/CLEAR/MASK/STAT block.
///
/// Silicon has level-triggered lines; the guest sees edges. An edge is therefore due
/// when the level rises, and again when a write to CLEAR or MASK leaves it high: a
/// level-triggered interrupt would fire again there.
#[derive(Clone, Debug, Default)]
pub struct IrqBlock {
    raw: u32,
    mask: u32,
}

impl IrqBlock {
    /// RAWSTAT.
    pub fn raw(&self) -> u32 {
        self.raw
    }

    /// Whether the line is high.
    pub fn level(&self) -> bool {
        self.raw & self.mask != 0
    }

    /// Sets bits of RAWSTAT; true if an edge is due.
    #[must_use]
    pub fn raise(&mut self, bits: u32) -> bool {
        let before = self.level();
        self.raw |= bits;
        self.level() && !before
    }

    /// Sets bits of RAWSTAT for an interrupt that is sent in any case.
    pub fn disturb(&mut self, bits: u32) {
        self.raw |= bits;
    }

    /// Clears RAWSTAT, as a reset does; the mask survives (driver fact: it is written
    /// before a soft reset and relied on after it).
    pub fn reset(&mut self) {
        self.raw = 0;
    }

    /// Reads the register at `offset` in the block.
    pub fn read(&self, offset: u32) -> u32 {
        match offset {
            int::RAWSTAT => self.raw,
            int::MASK => self.mask,
            int::STAT => self.raw & self.mask,
            // CLEAR is write-only.
            _ => 0,
        }
    }

    /// Writes the register at `offset` in the block.
    ///
    /// # Errors
    ///
    /// If the register is read-only; nothing is changed then.
    pub fn write(&mut self, offset: u32, value: u32) -> Result<bool, ReadOnly> {
        match offset {
            int::CLEAR => self.raw &= !value,
            int::MASK => self.mask = value,
            _ => return Err(ReadOnly),
        }
        Ok(self.level())
    }
}

/// A write to a read-only register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOnly;

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(mask: u32) -> IrqBlock {
        let mut block = IrqBlock::default();
        assert_eq!(block.write(int::MASK, mask), Ok(false));
        block
    }

    #[test]
    fn an_edge_is_sent_when_the_level_rises_and_not_while_it_is_high() {
        let mut block = masked(0x3);
        assert!(block.raise(0x1));
        assert!(!block.raise(0x2));
        assert_eq!(block.read(int::STAT), 0x3);
    }

    #[test]
    fn masked_bits_send_nothing_until_the_mask_is_rewritten() {
        let mut block = masked(0);
        assert!(!block.raise(0x8000_0000));
        assert_eq!(block.read(int::RAWSTAT), 0x8000_0000);
        assert_eq!(block.read(int::STAT), 0);
        assert_eq!(block.write(int::MASK, u32::MAX), Ok(true));
    }

    #[test]
    fn a_clear_that_leaves_another_bit_sends_again() {
        let mut block = masked(0x3);
        assert!(block.raise(0x3));
        assert_eq!(block.write(int::CLEAR, 0x1), Ok(true));
        assert_eq!(block.write(int::CLEAR, 0x2), Ok(false));
        assert!(block.raise(0x1));
    }

    #[test]
    fn reset_keeps_the_mask_and_status_is_read_only() {
        let mut block = masked(0x100);
        assert!(block.raise(0x100));
        block.reset();
        assert_eq!((block.raw(), block.read(int::MASK)), (0, 0x100));
        assert_eq!(block.write(int::STAT, 1), Err(ReadOnly));
        assert_eq!(block.write(int::RAWSTAT, 1), Err(ReadOnly));
    }
}
