// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Exception types that a command stream reports (driver fact: `panthor_device.h`).

/// The ring, the group or the stream is configured in a way that cannot work.
pub(super) const CS_CONFIG_FAULT: u8 = 0x40;
/// A memory access of the stream failed.
pub(super) const CS_BUS_FAULT: u8 = 0x48;
/// An instruction, or where it takes the stream, is invalid.
pub(super) const CS_INSTR_INVALID: u8 = 0x49;
/// CALL is nested too deeply.
pub(super) const CS_CALL_STACK_OVERFLOW: u8 = 0x4a;
/// A sync object that was waited for carries an error.
pub(super) const CS_INHERIT_FAULT: u8 = 0x4b;
/// An address is not aligned as its use demands.
pub(super) const ADDR_RANGE_FAULT: u8 = 0x5a;
/// The tiler heap is exhausted, and the host had nothing to add.
pub(super) const OOM: u8 = 0x60;
