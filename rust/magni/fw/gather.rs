// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Interrupts that come soon after each other are served together.
//!
//! An interrupt costs about the same whatever it reports. Where several groups end short jobs at
//! the same time, each would have interrupts of its own; so one that comes soon after the one
//! before waits for a moment, in which others join it. What is soon, and how long a moment, goes
//! by what it costs to serve one: only where interrupts take a good part of a processor's time are
//! they put off. That is for when nobody is in a hurry, nor waits for the firmware: see
//! [`Scheduler::has_time`](crate::sched::Scheduler::has_time).

use kernel::{
    prelude::*,
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
};

/// What comes within so many times the cost of one comes soon.
const SOON: i64 = 8;

/// What an interrupt and the start of its thread cost beside, about, in microseconds.
const BESIDE_US: i64 = 10;

/// The shortest and the longest that one is put off, in microseconds: to sleep costs something, too.
const SHORTEST_US: i64 = 50;
const LONGEST_US: i64 = 1000;

/// What interrupts have cost so far.
pub(super) struct Gather {
    /// When the last one had been served.
    served: Instant<Monotonic>,
    cost: Cost,
}

impl Gather {
    /// None was served.
    pub(super) fn new() -> Self {
        Self {
            served: Instant::now(),
            cost: Cost { us: 0 },
        }
    }

    /// One has been served since `begun`.
    pub(super) fn note(&mut self, begun: Instant<Monotonic>) {
        self.cost.note(begun.elapsed().as_micros_ceil());
        self.served = Instant::now();
    }

    /// How long to wait for others before one is served; [`None`] if it is served at once.
    pub(super) fn moment(&self) -> Option<Delta> {
        let moment = self.cost.moment(self.served.elapsed().as_micros_ceil());
        moment.map(Delta::from_micros)
    }
}

/// What it costs to serve one interrupt, on average.
struct Cost {
    us: i64,
}

impl Cost {
    /// One took `us` microseconds.
    fn note(&mut self, us: i64) {
        // One that was interrupted itself for long says little.
        self.us = (3 * self.us + us.clamp(0, 4 * LONGEST_US)) / 4;
    }

    /// How many microseconds to put off what comes `since` microseconds after the last one was
    /// served.
    fn moment(&self, since: i64) -> Option<i64> {
        let cost = self.us + BESIDE_US;
        (since <= SOON * cost).then_some(cost.clamp(SHORTEST_US, LONGEST_US))
    }
}

#[kunit_tests(magni_fw_gather)]
mod tests {
    use super::*;

    fn after(costs: &[i64]) -> Cost {
        let mut cost = Cost { us: 0 };
        costs.iter().for_each(|us| cost.note(*us));
        cost
    }

    #[test]
    fn who_comes_alone_is_served_at_once() {
        let cost = after(&[90; 40]);
        assert!(cost.moment(SOON * (90 + BESIDE_US) + 1).is_none());
        assert!(cost.moment(i64::MAX).is_none());
        assert!(after(&[]).moment(SOON * BESIDE_US + 1).is_none());
    }

    #[test]
    fn who_comes_soon_waits_for_as_long_as_it_would_take() {
        let us = after(&[90; 40]).moment(120);
        assert!(us.is_some_and(|us| (95..=100).contains(&us)));
        assert_eq!(after(&[1; 40]).moment(1), Some(SHORTEST_US));
    }

    #[test]
    fn nobody_waits_for_long() {
        let slow = after(&[i64::MAX; 40]);
        assert_eq!(slow.moment(0), Some(LONGEST_US));
        assert!(slow.moment(1_000_000).is_none());
        assert!(after(&[i64::MIN; 40]).moment(1000).is_none());
    }
}
