// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How long a queue's oldest job may still take.
//!
//! The clock runs while the group is on the hardware (and while the job waits there for something
//! outside the group), and starts anew when a job completes, and by nothing else: so every job
//! ends in bounded time, and no job pays for the time that others had.
//!
//! On the hardware a queue may have to wait for cores that more urgent groups keep for as long as
//! they have jobs. The firmware tells no time, only, when it is asked, whether that is so at the
//! moment, and asking costs a round trip. So it is asked when the time is up: a job that runs
//! then, or waits for anything else, ends at once. One that waits for cores is from there on
//! looked at in [steps](step_ms), and ends when it was seen not to wait for cores for as long as a
//! job may take. It so may take twice its time beside what it was starved for, at most.

use kernel::prelude::*;

/// What a job may take, in milliseconds.
pub(crate) fn limit_ms() -> u32 {
    crate::params::JOB_TIMEOUT_MS.get()
}

/// How often a queue is looked at that was found waiting for cores, in milliseconds.
fn step_ms() -> u32 {
    (limit_ms() / 8).max(1)
}

/// A clock. Times are milliseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// It does not run; so much is left.
    Stopped { left: u32 },
    /// It runs until then.
    Running { ends: u64 },
}

/// The clock of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JobTimer {
    clock: Clock,
    /// The oldest job was found waiting for cores: so much it may still take, beyond what the clock
    /// says. Else zero.
    owed: u32,
}

impl JobTimer {
    /// A queue without jobs.
    pub(crate) fn new() -> Self {
        Self {
            clock: Clock::Stopped { left: limit_ms() },
            owed: 0,
        }
    }

    /// The oldest job is on the hardware from now on.
    pub(crate) fn run(&mut self, now: u64) {
        if let Clock::Stopped { left } = self.clock {
            self.run_for(now, left);
        }
    }

    fn run_for(&mut self, now: u64, left: u32) {
        self.clock = Clock::Running {
            ends: now.saturating_add(left.into()),
        };
    }

    /// The oldest job is off the hardware from now on.
    pub(crate) fn stop(&mut self, now: u64) {
        if let Some(left) = self.left(now) {
            self.clock = Clock::Stopped { left };
        }
    }

    /// A job has completed, and there are more.
    pub(crate) fn progress(&mut self, now: u64) {
        let runs = self.left(now).is_some();
        *self = Self::new();
        if runs {
            self.run(now);
        }
    }

    /// No job is left.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// The clock said that the oldest job had its time, the last of it `starved` of cores or not.
    /// Returns whether it gets more, or needs no more: it may have completed since.
    pub(crate) fn extend(&mut self, now: u64, starved: bool) -> bool {
        if self.left(now) != Some(0) {
            return true;
        }
        let step = step_ms();
        self.owed = match (starved, self.owed) {
            (true, 0) => limit_ms(),
            (true, owed) => owed,
            (false, owed) => owed.saturating_sub(step),
        };
        if self.owed != 0 {
            self.run_for(now, step);
        }
        self.owed != 0
    }

    /// Milliseconds until the oldest job has to be ended: zero if that is now, [`None`] if the
    /// clock stands.
    pub(crate) fn left(&self, now: u64) -> Option<u32> {
        match self.clock {
            Clock::Stopped { .. } => None,
            Clock::Running { ends } => Some(ends.saturating_sub(now).min(limit_ms().into()) as u32),
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
        assert_eq!(timer.clock, Clock::Stopped { left: 0 });
        timer.run(7);
        assert_eq!(timer.left(7), Some(0));
    }

    #[test]
    fn time_without_cores_does_not_count() {
        let limit = u64::from(limit_ms());
        let mut timer = JobTimer::new();
        let mut now = 1000;
        timer.run(now);
        now += limit;
        // For ten times what a job may take.
        for _ in 0..80 {
            assert_eq!(timer.left(now), Some(0));
            assert!(timer.extend(now, true));
            assert_eq!(timer.left(now), Some(step_ms()));
            now += u64::from(step_ms());
        }
        // From here on it has all of its time, and no more.
        let begun = now;
        while timer.extend(now, false) {
            now += u64::from(step_ms());
            assert!(now - begun <= limit);
        }
        assert!(now - begun + u64::from(step_ms()) >= limit);
    }

    #[test]
    fn whoever_runs_gets_no_more_time() {
        let mut timer = JobTimer::new();
        timer.run(0);
        assert!(!timer.extend(limit_ms().into(), false));
        // What one job was starved of is not for the next.
        assert!(timer.extend(limit_ms().into(), true));
        timer.progress(limit_ms().into());
        assert_eq!(timer.left(limit_ms().into()), Some(limit_ms()));
        assert!(!timer.extend((2 * limit_ms()).into(), false));
    }

    #[test]
    fn whoever_completes_while_the_firmware_is_asked_is_not_to_end() {
        let limit = u64::from(limit_ms());
        let mut timer = JobTimer::new();
        timer.run(0);
        assert_eq!(timer.left(limit), Some(0));
        // It was the last job.
        timer.clear();
        assert!(timer.extend(limit, false));
        assert_eq!(timer, JobTimer::new());
        // There is another one, which has all of its time.
        timer.run(0);
        timer.progress(limit);
        assert!(timer.extend(limit + 1, true));
        assert_eq!(timer.left(limit + 1), Some(limit_ms() - 1));
        assert!(!timer.extend(2 * limit, false));
    }
}
