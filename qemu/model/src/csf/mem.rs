// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Words and double words on the [`Bus`].

use crate::bus::{Bus, Fault};

/// Address space of the microcontroller.
pub(super) const MCU: u8 = 0;

/// Reads a little-endian word.
pub(super) fn read32(bus: &mut dyn Bus, as_nr: u8, va: u64) -> Result<u32, Fault> {
    let mut buf = [0; 4];
    bus.read(as_nr, va, &mut buf)?;
    Ok(u32::from_le_bytes(buf))
}

/// Reads a little-endian double word.
pub(super) fn read64(bus: &mut dyn Bus, as_nr: u8, va: u64) -> Result<u64, Fault> {
    let mut buf = [0; 8];
    bus.read(as_nr, va, &mut buf)?;
    Ok(u64::from_le_bytes(buf))
}

/// Writes a little-endian word.
pub(super) fn write32(bus: &mut dyn Bus, as_nr: u8, va: u64, value: u32) -> Result<(), Fault> {
    bus.write(as_nr, va, &value.to_le_bytes())
}

/// Writes a little-endian double word.
pub(super) fn write64(bus: &mut dyn Bus, as_nr: u8, va: u64, value: u64) -> Result<(), Fault> {
    bus.write(as_nr, va, &value.to_le_bytes())
}
