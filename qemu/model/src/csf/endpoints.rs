// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Which group may start jobs on which endpoints, when several want the same ones.
//!
//! A group that starts a job takes as many endpoints of that kind as it asked for and as
//! are free, and keeps them until its last job on them ended. A group that waits for
//! endpoints keeps every group of a lower priority from starting anything on these, so
//! that it is served as soon as what runs is through; groups of the same priority take
//! turns. A group that does not want to start anything, because it is idle or blocked
//! elsewhere, holds nobody up.
//!
//! Compute, fragment and tiler jobs have endpoints of their own: a shader core can work
//! on a compute and on a fragment job at a time.

use super::instr::Job;

/// The kinds of endpoint, in the order of their fields in the endpoint request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Compute,
    Fragment,
    Tiler,
}

impl Endpoint {
    pub(super) const ALL: [Self; 3] = [Self::Compute, Self::Fragment, Self::Tiler];

    /// Where a job runs.
    pub(super) fn of(job: Job) -> Self {
        match job {
            Job::Compute | Job::ComputeIndirect => Self::Compute,
            Job::Fragment => Self::Fragment,
            Job::Tiling | Job::Idvs | Job::Fullscreen => Self::Tiler,
        }
    }

    /// How many endpoints of this kind a request asks for.
    pub(super) fn count(self, request: u32) -> u32 {
        match self {
            Self::Compute => request & 0xff,
            Self::Fragment => (request >> 8) & 0xff,
            Self::Tiler => (request >> 16) & 0xf,
        }
    }
}

/// The priority in an endpoint request; larger comes first.
pub(super) fn priority(request: u32) -> u32 {
    request >> 28
}

/// What a group has, may have and waits for, by kind of endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) priority: u32,
    /// Endpoints that the group may use; none if it asks for none.
    pub(super) usable: [u64; 3],
    /// How many of them it asks for.
    pub(super) count: [u32; 3],
    /// Endpoints on which its jobs run.
    pub(super) held: [u64; 3],
    /// Since when a stream of it waits for endpoints, in the order of waiting.
    pub(super) waiting: [Option<u64>; 3],
}

impl Claim {
    /// The endpoints that a job of the group could run on now, beside the `others`;
    /// none if it has to wait.
    pub(super) fn grant(&self, kind: Endpoint, others: &[Claim]) -> u64 {
        let k = kind as usize;
        let rivals = || {
            let others = others.iter();
            others.filter(|other| other.usable[k] & self.usable[k] != 0)
        };
        let before = |other: &Claim| match (other.waiting[k], self.waiting[k]) {
            (None, _) => false,
            (Some(_), _) if other.priority != self.priority => other.priority > self.priority,
            // Who waits already has the next turn.
            (Some(_), None) => true,
            (Some(theirs), Some(own)) => theirs < own,
        };
        if rivals().any(before) {
            return 0;
        }
        if self.held[k] != 0 {
            return self.held[k];
        }
        let taken = rivals().fold(0, |taken, other| taken | other.held[k]);
        lowest(self.usable[k] & !taken, self.count[k])
    }
}

/// The `count` lowest bits of `mask` that are set.
fn lowest(mask: u64, count: u32) -> u64 {
    let mut rest = mask;
    for _ in 0..count {
        rest &= rest.wrapping_sub(1);
    }
    mask & !rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORES: u64 = 0x5_0005;

    fn claim(priority: u32) -> Claim {
        Claim {
            priority,
            usable: [CORES, CORES, 1],
            count: [4, 4, 1],
            ..Claim::default()
        }
    }

    fn grant(own: Claim, others: &[Claim]) -> u64 {
        own.grant(Endpoint::Compute, others)
    }

    #[test]
    fn bits_are_taken_from_below() {
        assert_eq!(lowest(CORES, 0), 0);
        assert_eq!(lowest(CORES, 3), 0x1_0005);
        assert_eq!(lowest(CORES, 9), CORES);
    }

    #[test]
    fn a_group_alone_has_all_it_asks_for() {
        let mut own = claim(3);
        assert_eq!(grant(own, &[claim(9)]), CORES);
        own.count[0] = 2;
        assert_eq!(grant(own, &[]), 5);
        own.usable[0] = 0;
        assert_eq!(grant(own, &[]), 0);
    }

    #[test]
    fn what_others_hold_is_not_there() {
        let mut other = claim(1);
        other.held[0] = 5;
        assert_eq!(grant(claim(9), &[other]), 0x5_0000);
        other.held[0] = CORES;
        assert_eq!(grant(claim(9), &[other]), 0);
        let fragment = claim(9).grant(Endpoint::Fragment, &[other]);
        assert_eq!(fragment, CORES, "another kind");
    }

    #[test]
    fn who_waits_is_served_before_lower_priorities() {
        let mut high = claim(9);
        let mut low = claim(1);
        assert_eq!(grant(low, &[high]), CORES, "nobody waits");
        high.waiting[0] = Some(7);
        low.waiting[0] = Some(1);
        assert_eq!(grant(low, &[high]), 0);
        assert_eq!(grant(high, &[low]), CORES);
        low.held[0] = CORES;
        assert_eq!(grant(low, &[high]), 0, "it starts nothing more");
        // What the two want does not overlap.
        high.usable[0] = 5;
        low.usable[0] = 0x5_0000;
        low.held[0] = 0;
        assert_eq!(grant(low, &[high]), 0x5_0000);
    }

    #[test]
    fn equals_take_turns() {
        let (mut one, mut two) = (claim(4), claim(4));
        one.held[0] = CORES;
        assert_eq!(grant(one, &[two]), CORES);
        two.waiting[0] = Some(5);
        assert_eq!(grant(one, &[two]), 0);
        one.waiting[0] = Some(6);
        one.held[0] = 0;
        assert_eq!(grant(one, &[two]), 0);
        assert_eq!(grant(two, &[one]), CORES);
    }
}
