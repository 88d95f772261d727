// SPDX-License-Identifier: GPL-2.0 OR MIT

//! RCU: the installed kernel's abstractions, and what they lack.

use crate::bindings;

pub use rk::sync::rcu::*;

/// Waits for one RCU grace period, as [`synchronize_rcu`] does, but in a hurry.
///
/// It takes microseconds instead of milliseconds, for which it disturbs all CPUs: for rare events
/// that somebody waits for.
#[inline]
pub fn synchronize_rcu_expedited() {
    // SAFETY: It may be called from any process context.
    unsafe { bindings::synchronize_rcu_expedited() };
}
