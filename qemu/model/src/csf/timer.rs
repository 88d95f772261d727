// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Timers of the firmware.

use std::time::{Duration, Instant};

use crate::profile::Profile;

/// The length of a timer field: units of 1024 cycles in 30:0, of the GPU's counter if bit
/// 31 is set, else of the system timestamp. 0 switches the timer off.
pub(super) fn field(value: u32, profile: &Profile) -> Option<Duration> {
    let hz = if value >> 31 != 0 {
        profile.core_hz
    } else {
        profile.timestamp_hz
    };
    cycles(value & !(1 << 31), hz)
}

/// The length of the progress timer's field: units of 1024 GPU cycles, 0 for none.
pub(super) fn progress(value: u32, profile: &Profile) -> Option<Duration> {
    cycles(value, profile.core_hz)
}

fn cycles(value: u32, hz: u64) -> Option<Duration> {
    let nanos = u128::from(value) * 1024 * 1_000_000_000 / u128::from(hz);
    (value != 0).then(|| Duration::from_nanos(nanos as u64))
}

/// Watches for something to be idle for a while, and says so once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct IdleWatch {
    since: Option<Instant>,
    reported: bool,
}

impl IdleWatch {
    /// A watch that reports only after something was busy.
    pub(super) fn after_busy() -> Self {
        Self {
            since: None,
            reported: true,
        }
    }

    /// Notes whether the thing is idle now; says whether to report it.
    pub(super) fn update(&mut self, idle: bool, now: Instant, hold: Duration) -> bool {
        if !idle {
            *self = Self::default();
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let report = !self.reported && now >= since + hold;
        self.reported |= report;
        report
    }

    /// When [`IdleWatch::update`] has to be asked again if nothing else happens.
    pub(super) fn deadline(&self, hold: Duration) -> Option<Instant> {
        self.since
            .filter(|_| !self.reported)
            .map(|since| since + hold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_name_their_clock() {
        let profile = Profile::g610();
        let units = 62_500_000 / 1024;
        assert_eq!(field(0, &profile), None);
        let second = field(units, &profile).unwrap();
        assert!(second.abs_diff(Duration::from_secs(1)) < Duration::from_millis(1));
        let on_gpu_clock = field(units | (1 << 31), &profile).unwrap();
        assert!(on_gpu_clock.abs_diff(Duration::from_micros(62_500)) < Duration::from_micros(20));
    }

    #[test]
    fn idleness_is_reported_once_per_transition() {
        let (mut watch, now) = (IdleWatch::default(), Instant::now());
        let hold = Duration::from_millis(1);
        assert!(!watch.update(true, now, hold));
        assert_eq!(watch.deadline(hold), Some(now + hold));
        assert!(watch.update(true, now + hold, hold));
        assert_eq!(watch.deadline(hold), None);
        assert!(!watch.update(true, now + 9 * hold, hold));
        assert!(!watch.update(false, now + 10 * hold, hold));
        assert!(!watch.update(true, now + 10 * hold, hold));
        assert!(watch.update(true, now + 11 * hold, hold));

        let mut watch = IdleWatch::after_busy();
        assert!(!watch.update(true, now + hold, Duration::ZERO));
        assert!(!watch.update(false, now + hold, Duration::ZERO));
        assert!(watch.update(true, now + hold, Duration::ZERO));
    }
}
