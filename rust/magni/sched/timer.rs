// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How long a queue's oldest job may still take.
//!
//! The clock runs while the group is on the hardware (and while the job waits there for something
//! outside the group), and starts anew when a job completes, and by nothing else: so every job
//! ends in bounded time, and no job pays for the time that others had.

use kernel::prelude::*;

/// What a job may take, in milliseconds.
pub(crate) fn limit_ms() -> u32 {
    crate::params::JOB_TIMEOUT_MS.get()
}

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
    pub(crate) fn new() -> Self {
        Self::Stopped { left: limit_ms() }
    }

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
            let left = ends.saturating_sub(now).min(limit_ms().into());
            *self = Self::Stopped { left: left as u32 };
        }
    }

    /// A job has completed, and there are more.
    pub(crate) fn progress(&mut self, now: u64) {
        *self = match *self {
            Self::Stopped { .. } => Self::new(),
            Self::Running { .. } => Self::Running {
                ends: now.saturating_add(limit_ms().into()),
            },
        };
    }

    /// No job is left.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Milliseconds until the oldest job has to be ended: zero if that is now, [`None`] if the
    /// clock stands.
    pub(crate) fn left(&self, now: u64) -> Option<u32> {
        match *self {
            Self::Stopped { .. } => None,
            Self::Running { ends } => Some(ends.saturating_sub(now).min(limit_ms().into()) as u32),
        }
    }
}

/// When the work that looks at a clock is due, if it is scheduled.
#[derive(Debug)]
pub(crate) struct Alarm {
    due: Option<u64>,
}

impl Alarm {
    /// Nothing is scheduled.
    pub(crate) fn new() -> Self {
        Self { due: None }
    }

    /// The work is wanted within `delay` milliseconds; returns whether it has to be scheduled for
    /// that, because it is not, or comes later.
    ///
    /// It is never put off: it comes early when jobs have completed, and asks again.
    pub(crate) fn set(&mut self, now: u64, delay: u32) -> bool {
        let due = now.saturating_add(delay.into());
        if self.due.is_some_and(|before| before <= due) {
            return false;
        }
        self.due = Some(due);
        true
    }

    /// The work has begun.
    pub(crate) fn fired(&mut self) {
        self.due = None;
    }
}

#[kunit_tests(magni_sched_timer)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_only_moves_forward() {
        let mut alarm = Alarm::new();
        assert!(alarm.set(1000, 500));
        assert!(!alarm.set(1000, 500));
        assert!(!alarm.set(1200, 500));
        // A group has got its slot with little time left.
        assert!(alarm.set(1200, 50));
        assert!(!alarm.set(1210, 500));
        alarm.fired();
        assert!(alarm.set(1250, 500));
    }

    /// Half the limit: tests may shorten it.
    fn half() -> u32 {
        limit_ms() / 2
    }

    #[test]
    fn only_time_on_the_hardware_counts() {
        let mut timer = JobTimer::new();
        timer.run(1000);
        timer.stop(1000 + u64::from(half()));
        assert_eq!(timer.left(100_000_000), None);
        timer.run(100_000_000);
        assert_eq!(timer.left(100_000_000), Some(limit_ms() - half()));
        assert_eq!(timer.left(200_000_000), Some(0));
    }

    #[test]
    fn running_twice_gives_no_more_time() {
        let mut timer = JobTimer::new();
        timer.run(0);
        timer.run(half().into());
        assert_eq!(timer.left(half().into()), Some(limit_ms() - half()));
    }

    #[test]
    fn progress_starts_anew() {
        let mut timer = JobTimer::new();
        timer.run(0);
        timer.progress(half().into());
        assert_eq!(timer.left(half().into()), Some(limit_ms()));
        timer.stop(limit_ms().into());
        timer.progress(limit_ms().into());
        timer.run(100_000_000);
        assert_eq!(timer.left(100_000_000), Some(limit_ms()));
    }

    #[test]
    fn late_is_not_negative() {
        let mut timer = JobTimer::new();
        timer.run(0);
        timer.stop(u64::MAX);
        assert_eq!(timer, JobTimer::Stopped { left: 0 });
        timer.run(7);
        assert_eq!(timer.left(7), Some(0));
    }
}
