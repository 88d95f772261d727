// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How long a queue's oldest job may still take.
//!
//! The clock runs while the group is on the hardware (and while the job waits there for something
//! outside the group), and starts anew when a job completes, and by nothing else: so every job
//! ends in bounded time, and no job pays for the time that others had.

use kernel::prelude::*;

/// What a job may take, in milliseconds.
pub(crate) const LIMIT_MS: u32 = 5000;

/// The clock of one queue. Times are milliseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobTimer {
    /// It does not run; so much is left.
    Stopped { left: u32 },
    /// It runs until then.
    Running { ends: u64 },
}

impl JobTimer {
    /// A queue without jobs.
    pub(crate) const NEW: Self = Self::Stopped { left: LIMIT_MS };

    /// The oldest job is on the hardware from now on.
    pub(crate) fn run(&mut self, now: u64) {
        if let Self::Stopped { left } = *self {
            *self = Self::Running {
                ends: now.saturating_add(left.into()),
            };
        }
    }

    /// The oldest job is off the hardware from now on.
    pub(crate) fn stop(&mut self, now: u64) {
        if let Self::Running { ends } = *self {
            let left = ends.saturating_sub(now).min(LIMIT_MS.into());
            *self = Self::Stopped { left: left as u32 };
        }
    }

    /// A job has completed, and there are more.
    pub(crate) fn progress(&mut self, now: u64) {
        *self = match *self {
            Self::Stopped { .. } => Self::NEW,
            Self::Running { .. } => Self::Running {
                ends: now.saturating_add(LIMIT_MS.into()),
            },
        };
    }

    /// No job is left.
    pub(crate) fn clear(&mut self) {
        *self = Self::NEW;
    }

    /// Milliseconds until the oldest job has to be ended: zero if that is now, [`None`] if the
    /// clock stands.
    pub(crate) fn left(&self, now: u64) -> Option<u32> {
        match *self {
            Self::Stopped { .. } => None,
            Self::Running { ends } => Some(ends.saturating_sub(now).min(LIMIT_MS.into()) as u32),
        }
    }
}

#[kunit_tests(magni_sched_timer)]
mod tests {
    use super::*;

    #[test]
    fn only_time_on_the_hardware_counts() {
        let mut timer = JobTimer::NEW;
        timer.run(1000);
        timer.stop(3000);
        assert_eq!(timer.left(100_000), None);
        timer.run(100_000);
        assert_eq!(timer.left(100_000), Some(LIMIT_MS - 2000));
        assert_eq!(timer.left(103_000), Some(0));
    }

    #[test]
    fn running_twice_gives_no_more_time() {
        let mut timer = JobTimer::NEW;
        timer.run(0);
        timer.run(4000);
        assert_eq!(timer.left(4000), Some(1000));
    }

    #[test]
    fn progress_starts_anew() {
        let mut timer = JobTimer::NEW;
        timer.run(0);
        timer.progress(4000);
        assert_eq!(timer.left(4000), Some(LIMIT_MS));
        timer.stop(5000);
        timer.progress(5000);
        timer.run(6000);
        assert_eq!(timer.left(6000), Some(LIMIT_MS));
    }

    #[test]
    fn late_is_not_negative() {
        let mut timer = JobTimer::NEW;
        timer.run(0);
        timer.stop(u64::MAX);
        assert_eq!(timer, JobTimer::Stopped { left: 0 });
        timer.run(7);
        assert_eq!(timer.left(7), Some(0));
    }
}
