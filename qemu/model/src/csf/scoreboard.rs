// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Scoreboards of a stream, and the work that they count.
//!
//! A slot counts endpoint jobs that run and instructions that are deferred. A deferred
//! instruction is executed once the slots it waits for are clear of everything that
//! was issued before it.

use std::collections::VecDeque;
use std::time::Instant;

use super::endpoints::Endpoint;
use super::instr::{Defer, HeapOperation, Scope, State};

/// Most instructions that a stream can have deferred at a time.
pub(super) const MAX_DEFERRED: usize = 8;
/// Most endpoint jobs that a stream can have running at a time.
pub(super) const MAX_JOBS: usize = 16;

/// What a deferred instruction does, its operands read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// FLUSH_CACHE2.
    Flush,
    /// SYNC_ADD or SYNC_SET.
    Sync {
        address: u64,
        value: u64,
        add: bool,
        wide: bool,
        propagate: bool,
        scope: Scope,
    },
    /// STORE_STATE.
    StoreState { state: State, address: u64 },
    /// HEAP_OPERATION, or the counting of FINISH_FRAGMENT, on the heap context at `heap`.
    Heap { operation: HeapOperation, heap: u64 },
    /// An instruction without a visible effect.
    Nothing,
}

/// A deferred instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deferred {
    pub(super) defer: Defer,
    pub(super) operation: Operation,
}

/// A job that runs on an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndpointJob {
    /// Where it runs.
    pub(super) endpoint: Endpoint,
    /// Scoreboard slot that it keeps busy.
    pub(super) slot: u8,
    /// Whether its end counts as progress of the stream.
    pub(super) progress: bool,
    /// When it is done.
    pub(super) until: Instant,
}

/// The scoreboard of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scoreboard {
    /// In the order of issue.
    pub(super) deferred: VecDeque<Deferred>,
    /// In the order of issue.
    pub(super) jobs: Vec<EndpointJob>,
}

impl Scoreboard {
    /// One bit per slot that is busy.
    pub(super) fn busy(&self) -> u16 {
        self.busy_before(self.deferred.len())
    }

    /// One bit per slot that endpoint jobs or the first `count` deferred instructions hold.
    fn busy_before(&self, count: usize) -> u16 {
        let jobs = self.jobs.iter().map(|job| job.slot);
        let deferred = self.deferred.iter().take(count).map(|d| d.defer.signal);
        jobs.chain(deferred)
            .fold(0, |busy, slot| busy | (1 << slot))
    }

    /// Whether a slot of `mask` is busy.
    pub(super) fn blocks(&self, mask: u16) -> bool {
        self.busy() & mask != 0
    }

    /// Whether another instruction can be deferred.
    pub(super) fn can_defer(&self) -> bool {
        self.deferred.len() < MAX_DEFERRED
    }

    /// Whether another endpoint job can be started.
    pub(super) fn can_run(&self) -> bool {
        self.jobs.len() < MAX_JOBS
    }

    /// The first deferred instruction whose turn it is; its slot stays busy until
    /// [`Scoreboard::retire`].
    pub(super) fn ready(&self) -> Option<(usize, Operation)> {
        (0..self.deferred.len())
            .find(|&i| self.busy_before(i) & self.deferred[i].defer.wait == 0)
            .map(|i| (i, self.deferred[i].operation))
    }

    /// Takes a deferred instruction that was executed off its slot.
    pub(super) fn retire(&mut self, index: usize) {
        self.deferred.remove(index);
    }

    /// Ends the jobs whose time has come; returns how many ended, and how many of these
    /// count as progress.
    pub(super) fn finish_jobs(&mut self, now: Instant) -> (usize, usize) {
        let before = self.jobs.len();
        let mut progress = 0;
        self.jobs.retain(|job| {
            let done = job.until <= now;
            progress += usize::from(done && job.progress);
            !done
        });
        (before - self.jobs.len(), progress)
    }

    /// Whether a job runs on an endpoint of this kind.
    pub(super) fn runs_on(&self, endpoint: Endpoint) -> bool {
        self.jobs.iter().any(|job| job.endpoint == endpoint)
    }

    /// When the next job ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.jobs.iter().map(|job| job.until).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn deferred(wait: u16, signal: u8) -> Deferred {
        Deferred {
            defer: Defer { wait, signal },
            operation: Operation::Nothing,
        }
    }

    #[test]
    fn waits_only_for_what_was_issued_before() {
        let mut board = Scoreboard::default();
        let now = Instant::now();
        board.jobs.push(EndpointJob {
            endpoint: Endpoint::Compute,
            slot: 2,
            progress: false,
            until: now + Duration::from_secs(1),
        });
        // Both signal slot 3 and wait for it: the first must not wait for the second.
        board.deferred.push_back(deferred(0b1100, 3));
        board.deferred.push_back(deferred(0b1000, 3));
        assert_eq!(board.busy(), 0b1100);
        assert!(board.ready().is_none());
        assert_eq!(board.finish_jobs(now + Duration::from_secs(1)), (1, 0));
        assert_eq!(board.ready().map(|(i, _)| i), Some(0));
        board.retire(0);
        assert_eq!(board.ready().map(|(i, _)| i), Some(0));
        board.retire(0);
        assert_eq!(board.busy(), 0);
    }

    #[test]
    fn later_instruction_overtakes_one_that_waits_for_other_slots() {
        let mut board = Scoreboard::default();
        board.jobs.push(EndpointJob {
            endpoint: Endpoint::Compute,
            slot: 1,
            progress: true,
            until: Instant::now(),
        });
        board.deferred.push_back(deferred(0b0010, 4));
        board.deferred.push_back(deferred(0b0001, 5));
        assert_eq!(board.ready().map(|(i, _)| i), Some(1));
    }
}
