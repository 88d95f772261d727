// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The microcontroller that runs the firmware, and what the host uses to talk to it.

use super::IrqRegs;
use kernel::register;

register! {
    /// Starts and stops the microcontroller.
    pub(crate) MCU_CONTROL(u32) @ 0x700 {
        /// See [`Control`].
        1:0     request;
    }

    /// What the microcontroller does.
    pub(crate) MCU_STATUS(u32) @ 0x704 {
        /// See [`Status`].
        1:0     value => Status;
    }

    /// The number of the last cache flush; user space may read it, too.
    pub(crate) LATEST_FLUSH(u32) @ 0x10000 {
        31:0    id;
    }

    /// Doorbells, a page each; writing 1 rings.
    ///
    /// Number 0 is the global one, number n + 1 that of group slot n.
    pub(crate) DOORBELL(u32)[DOORBELLS, stride = 0x10000] @ 0x80000 {
        0:0     ring => bool;
    }
}

/// How many doorbells the register window has.
pub(crate) const DOORBELLS: usize = 24;

/// Requests of [`MCU_CONTROL`].
#[derive(Clone, Copy)]
pub(crate) enum Control {
    /// Stop.
    Disable = 0,
    /// Run, and start again after a reset of the firmware's own.
    Auto = 2,
}

impl From<Control> for MCU_CONTROL {
    fn from(control: Control) -> Self {
        Self::from_raw(control as u32)
    }
}

/// States of [`MCU_STATUS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Stopped.
    Disabled,
    /// Running.
    Enabled,
    /// Stopped by the firmware, on the host's request.
    Halted,
    /// Stopped by an error.
    Fatal,
}

impl From<kernel::num::Bounded<u32, 2>> for Status {
    fn from(value: kernel::num::Bounded<u32, 2>) -> Self {
        match value.get() {
            0 => Self::Disabled,
            1 => Self::Enabled,
            2 => Self::Halted,
            _ => Self::Fatal,
        }
    }
}

impl From<Status> for kernel::num::Bounded<u32, 2> {
    fn from(status: Status) -> Self {
        match status {
            Status::Disabled => Self::new::<0>(),
            Status::Enabled => Self::new::<1>(),
            Status::Halted => Self::new::<2>(),
            Status::Fatal => Self::new::<3>(),
        }
    }
}

/// Interrupt line "job".
pub(crate) const IRQ: IrqRegs = IrqRegs(0x1000);

/// Event of [`IRQ`]: something in the global interface. The other bits are group slots.
pub(crate) const IRQ_GLOBAL: u32 = 1 << 31;

/// Offset of the page with [`LATEST_FLUSH`] in the register window, in bytes.
pub(crate) const LATEST_FLUSH_PAGE: u64 = 0x10000;
