// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The command-stream frontend: microcontroller, job interrupt, flush id, doorbells.

/// Starts and stops the microcontroller.
pub const MCU_CONTROL: u32 = 0x700;
/// State of the microcontroller.
pub const MCU_STATUS: u32 = 0x704;
/// The job interrupt block: bit n is group slot n, bit 31 the global interface.
pub const JOB_INT_BASE: u32 = 0x1000;
/// Identifies the last cache flush; a page of its own, so that userspace can map it.
pub const LATEST_FLUSH: u32 = 0x1_0000;
/// Size of the page of [`LATEST_FLUSH`], in bytes.
pub const LATEST_FLUSH_SIZE: u32 = 0x1000;
/// First doorbell page: the global one, followed by one for each group slot.
pub const DOORBELL_BASE: u32 = 0x8_0000;
/// Distance between doorbell pages, in bytes.
pub const DOORBELL_STRIDE: u32 = 0x1_0000;

/// Values of `MCU_CONTROL`.
pub mod control {
    /// Stop.
    pub const DISABLE: u32 = 0;
    /// Start.
    pub const ENABLE: u32 = 1;
    /// Start, and start again after a reset of its own.
    pub const AUTO: u32 = 2;
}

/// Values of `MCU_STATUS`.
pub mod status {
    /// Stopped.
    pub const DISABLED: u32 = 0;
    /// Running.
    pub const ENABLED: u32 = 1;
    /// Halted on the host's request.
    pub const HALT: u32 = 2;
    /// Stopped by an error.
    pub const FATAL: u32 = 3;
}

/// The register's name, if it is one of this block.
pub fn name(offset: u32) -> Option<&'static str> {
    match offset {
        MCU_CONTROL => Some("MCU_CONTROL"),
        MCU_STATUS => Some("MCU_STATUS"),
        LATEST_FLUSH => Some("LATEST_FLUSH"),
        _ => None,
    }
}
