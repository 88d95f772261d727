// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Whether a group is on the hardware: one atomic word.
//!
//! Two sides meet here without a common lock. A job that is put in a ring (`run_job`) has to know
//! whether the firmware watches that ring. The scheduler puts groups on the hardware and takes
//! them off. Each writes first and reads the other's word after a full barrier:
//!
//! | job | taking off | putting on |
//! | --- | --- | --- |
//! | instructions, write barrier, INSERT | word := absent | word := resident |
//! | full barrier | full barrier | full barrier |
//! | read the word | suspend, ack; read INSERT | INSERT moved since asked: doorbell |
//! | resident: doorbell; absent: ask the scheduler | it moved: the group is runnable | |
//!
//! So a job either sees the new word, and does what that asks for, or is seen. Of two that pass
//! each other both happen, which does no harm: a doorbell without news, a request for a group that
//! is there, which is dropped. The tables of `residency.litmus` and `residency-enter.litmus` beside
//! this file say the same to herd7.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        barrier::{
            smp_mb,
            Full, //
        },
    },
};

const RESIDENT: u32 = 1 << 31;
const SLOT_MASK: u32 = 0xff;
const GENERATION_SHIFT: u32 = 8;
const GENERATION_MASK: u32 = 0x7f_ffff;

/// The word of one group.
pub(crate) struct Residency(Atomic<u32>);

impl Residency {
    /// A group that was never on the hardware.
    pub(crate) fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// The group's slot, if it has one.
    ///
    /// The job's side: after INSERT was written.
    pub(crate) fn after_insert(&self) -> Option<u32> {
        smp_mb(Full);
        self.slot()
    }

    /// The group's slot, if it has one. A hint: without lock it may change at any time.
    pub(crate) fn slot(&self) -> Option<u32> {
        let word = self.0.load(Acquire);
        (word & RESIDENT != 0).then_some(word & SLOT_MASK)
    }

    /// The group is on slot `slot`, and the firmware has acknowledged it.
    ///
    /// The scheduler's side, under its lock; the rings' INSERT is to be read next, and the doorbell
    /// to be rung if one has moved since the firmware was asked.
    pub(crate) fn enter(&self, slot: u8) {
        self.0
            .store(next(self.0.load(Acquire), Some(slot)), Release);
        smp_mb(Full);
    }

    /// The group is about to be taken off the hardware.
    ///
    /// The scheduler's side, under its lock; the rings' INSERT is to be read after the firmware
    /// has acknowledged.
    pub(crate) fn leave(&self) {
        self.0.store(next(self.0.load(Acquire), None), Release);
        smp_mb(Full);
    }
}

/// The word after `word`, for the slot `slot` or none.
fn next(word: u32, slot: Option<u8>) -> u32 {
    let generation = ((word >> GENERATION_SHIFT).wrapping_add(1)) & GENERATION_MASK;
    let place = slot.map_or(0, |slot| RESIDENT | u32::from(slot));
    place | generation << GENERATION_SHIFT
}

#[kunit_tests(magni_sched_residency)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_and_go() {
        let residency = Residency::new();
        assert_eq!(residency.slot(), None);
        residency.enter(7);
        assert_eq!(residency.after_insert(), Some(7));
        residency.leave();
        assert_eq!(residency.slot(), None);
    }

    #[test]
    fn every_change_is_a_new_generation() {
        assert_eq!(next(0, Some(3)), RESIDENT | 1 << 8 | 3);
        assert_eq!(next(RESIDENT | 1 << 8 | 3, None), 2 << 8);
        assert_eq!(next(GENERATION_MASK << 8, Some(0)), RESIDENT);
    }
}
