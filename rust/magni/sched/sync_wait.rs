// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a stream waits for that the firmware has suspended in a SYNC_WAIT.
//!
//! The firmware reports where the sync object is and which values end the wait. As long as the
//! stream is off the hardware it is the kernel's task to look.

use crate::{
    fw::{
        layout::cs,
        CsInterface, //
    },
    mmu::Vm, //
};
use kernel::{
    drm::gem_peek::Width,
    prelude::*, //
};

/// A sync object, and the values that end the wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SyncWait {
    /// In the group's VM.
    address: u64,
    value: u64,
    /// Until the object is more than the value; else until it is at most that.
    greater: bool,
    /// The object has 64 bits, else 32.
    wide: bool,
}

fn reason(cs: &CsInterface) -> u32 {
    cs.output.status_blocked_reason() & cs::BLOCKED_MASK
}

/// Whether the stream waits for nothing.
pub(super) fn is_unblocked(cs: &CsInterface) -> bool {
    reason(cs) == cs::BLOCKED_NOT
}

/// Whether work that the stream has started goes on.
pub(super) fn is_busy(cs: &CsInterface) -> bool {
    cs.output.status_scoreboards() != 0
}

/// Whether the stream has nothing on the GPU, and waits until others give up what it needs.
pub(super) fn is_starved(cs: &CsInterface) -> bool {
    reason(cs) == cs::BLOCKED_RESOURCE && !is_busy(cs)
}

impl SyncWait {
    /// What the stream of `cs` waits for, if that is a sync object, and nothing else.
    pub(super) fn of(cs: &CsInterface) -> Option<Self> {
        if reason(cs) != cs::BLOCKED_SYNC_WAIT || is_busy(cs) {
            return None;
        }
        let output = &cs.output;
        let low = output.status_wait_sync_value();
        let high = output.status_wait_sync_value_hi();
        Some(Self::new(
            output.status_wait(),
            output.status_wait_sync_ptr(),
            low,
            high,
        ))
    }

    fn new(status: u32, address: u64, low: u32, high: u32) -> Self {
        let wide = status & cs::WAIT_SYNC_64 != 0;
        Self {
            address,
            value: u64::from(low) | if wide { u64::from(high) << 32 } else { 0 },
            greater: status & cs::WAIT_SYNC_CONDITION_MASK == cs::WAIT_SYNC_GT,
            wide,
        }
    }

    /// Whether the wait is over, as far as that can be known.
    ///
    /// # Errors
    ///
    /// Those of [`Vm::peek`].
    pub(super) fn is_over(&self, vm: &Vm) -> Result<bool> {
        let width = match self.wide {
            true => Width::Long,
            false => Width::Word,
        };
        Ok(self.is_met_by(vm.peek(self.address, width)?))
    }

    /// Whether an object of this value ends the wait.
    fn is_met_by(&self, object: u64) -> bool {
        if self.greater {
            object > self.value
        } else {
            object <= self.value
        }
    }
}

#[kunit_tests(magni_sched_sync_wait)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let more = SyncWait::new(cs::WAIT_SYNC | cs::WAIT_SYNC_GT, 0, 5, 0);
        assert!(!more.is_met_by(5));
        assert!(more.is_met_by(6));
        let at_most = SyncWait::new(cs::WAIT_SYNC | cs::WAIT_SYNC_LE, 0, 5, 0);
        assert!(at_most.is_met_by(5));
        assert!(!at_most.is_met_by(6));
    }

    #[test]
    fn the_high_half_counts_for_wide_objects_only() {
        let wide = cs::WAIT_SYNC | cs::WAIT_SYNC_GT | cs::WAIT_SYNC_64;
        let wait = SyncWait::new(wide, 0x1000, 5, 1);
        assert!(!wait.is_met_by(6));
        assert!(wait.is_met_by(1 << 32 | 6));
        let wait = SyncWait::new(cs::WAIT_SYNC | cs::WAIT_SYNC_GT, 0x1000, 5, 1);
        assert!(wait.is_met_by(6));
    }
}
