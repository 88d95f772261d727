// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The PCI function that carries the register window and the interrupts.
//!
//! The guest's driver never sees it: the device tree puts a platform device over the
//! window. Only the guest's set-up script programs it, through sysfs.

use crate::regs::WINDOW_SIZE;

/// Size of the configuration space, in bytes.
pub const SIZE: usize = 256;
/// Where the MSI capability is: 32-bit address, no per-vector mask.
pub const MSI_CAP: usize = 0x40;
/// Number of message vectors; the job, MMU and GPU interrupts use the first three.
pub const VECTORS: u32 = 4;

const VENDOR_ARM: u16 = 0x13b5;
const DEVICE: u16 = 0x0610;
/// "Does not fit any class", so that no PCI driver feels concerned.
const CLASS_NONE: u8 = 0xff;
const MSI_ID: u8 = 0x05;
const STATUS_CAP_LIST: u16 = 1 << 4;

/// The configuration space's bytes, and which bits of them can be written.
pub struct ConfigSpace {
    bytes: [u8; SIZE],
    writable: [u8; SIZE],
}

impl Default for ConfigSpace {
    fn default() -> Self {
        let mut space = Self {
            bytes: [0; SIZE],
            writable: [0; SIZE],
        };
        space.put(0x00, &VENDOR_ARM.to_le_bytes(), 0);
        space.put(0x02, &DEVICE.to_le_bytes(), 0);
        // Memory space, bus master, and no INTx.
        space.put(0x04, &[0, 0], 0);
        space.writable[0x04] = 0x06;
        space.writable[0x05] = 0x04;
        space.put(0x06, &STATUS_CAP_LIST.to_le_bytes(), 0);
        space.put(0x0b, &[CLASS_NONE], 0);
        let bar = !(WINDOW_SIZE as u32 - 1);
        space.writable[0x10..0x14].copy_from_slice(&bar.to_le_bytes());
        space.put(0x2c, &VENDOR_ARM.to_le_bytes(), 0);
        space.put(0x2e, &DEVICE.to_le_bytes(), 0);
        space.put(0x34, &[MSI_CAP as u8], 0);
        space.writable[0x3c] = 0xff;

        let vectors_log2 = VECTORS.trailing_zeros() as u8;
        space.put(MSI_CAP, &[MSI_ID, 0, vectors_log2 << 1, 0], 0);
        // Enable, and the number of vectors in use.
        space.writable[MSI_CAP + 2] = 0x71;
        space.writable[MSI_CAP + 4..MSI_CAP + 8].copy_from_slice(&[0xfc, 0xff, 0xff, 0xff]);
        space.writable[MSI_CAP + 8..MSI_CAP + 10].copy_from_slice(&[0xff, 0xff]);
        space
    }
}

impl ConfigSpace {
    fn put(&mut self, at: usize, bytes: &[u8], writable: u8) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.writable[at..at + bytes.len()].fill(writable);
    }

    /// Fills `data` from `offset` on; what is beyond the space reads as 0.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        for (byte, at) in data.iter_mut().zip(offset..) {
            *byte = usize::try_from(at)
                .ok()
                .and_then(|at| self.bytes.get(at).copied())
                .unwrap_or(0);
        }
    }

    /// Stores `data` from `offset` on, as far as its bits can be written.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        for (value, at) in data.iter().zip(offset..) {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            if let (Some(byte), Some(mask)) = (self.bytes.get_mut(at), self.writable.get(at)) {
                *byte = *byte & !mask | value & mask;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(space: &ConfigSpace, at: u64) -> u32 {
        let mut bytes = [0; 4];
        space.read(at, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    #[test]
    fn the_bar_shows_its_size() {
        let mut space = ConfigSpace::default();
        space.write(0x10, &[0xff; 4]);
        assert_eq!(!word(&space, 0x10) + 1, 0x20_0000);
        space.write(0x14, &[0xff; 4]);
        assert_eq!(word(&space, 0x14), 0, "there is one BAR only");
    }

    #[test]
    fn the_msi_capability_takes_what_the_guest_writes() {
        let mut space = ConfigSpace::default();
        let cap = MSI_CAP as u64;
        assert_eq!(word(&space, 0x34) as u64 & 0xff, cap);
        assert_eq!(word(&space, cap), 0x0004_0005, "4 vectors");
        space.write(cap + 4, &0x0802_0040u32.to_le_bytes());
        space.write(cap + 8, &140u16.to_le_bytes());
        space.write(cap + 2, &[0x25, 0]);
        assert_eq!(
            word(&space, cap),
            0x0025_0005 & (!0x4 << 16) | (0x4 << 16) | 0x5
        );
        assert_eq!(word(&space, cap + 4), 0x0802_0040);
        assert_eq!(word(&space, cap + 8), 140);
    }

    #[test]
    fn identity_cannot_be_written_and_the_end_is_the_end() {
        let mut space = ConfigSpace::default();
        space.write(0, &[0; 4]);
        assert_eq!(word(&space, 0), 0x0610_13b5);
        space.write(SIZE as u64 - 2, &[0xff; 4]);
        assert_eq!(word(&space, SIZE as u64), 0);
    }
}
