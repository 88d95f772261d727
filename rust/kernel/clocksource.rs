// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Clock sources.

use crate::bindings;

/// The frequency of Arm's system counter in Hz, or 0 where there is none.
pub fn arch_timer_rate() -> u32 {
    // SAFETY: Always safe to call.
    unsafe { bindings::arch_timer_rate() }
}
