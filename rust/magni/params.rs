// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Module parameters: for tests only.
//!
//! They shorten what a test would otherwise have to wait for, on hardware that is slow or broken
//! on purpose. Nobody should need them on a real system: the defaults are what the driver is made
//! for, and what the C driver has. They are read when the module is loaded and do not change.

use crate::module_parameters;
use core::ops::RangeInclusive;
use kernel::{
    module_param::ModuleParamAccess,
    prelude::*, //
};

/// A number that may be given when the module is loaded.
pub(crate) struct Param {
    name: &'static str,
    given: &'static ModuleParamAccess<u32>,
    default: u32,
    /// What makes sense. Anything else counts as not given.
    range: RangeInclusive<u32>,
}

impl Param {
    /// The value to use. May be called in any context.
    pub(crate) fn get(&self) -> u32 {
        in_range(self.given.value(), &self.range).unwrap_or(self.default)
    }

    /// Complains about a value that is not used.
    fn check(&self) {
        let given = self.given.value();
        if in_range(given, &self.range).is_none() {
            pr_warn!(
                "{}={given} is not from {} to {}: {} is used\n",
                self.name,
                self.range.start(),
                self.range.end(),
                self.default
            );
        }
    }
}

/// `value`, if it lies in `range`.
fn in_range(value: u32, range: &RangeInclusive<u32>) -> Option<u32> {
    range.contains(&value).then_some(value)
}

macro_rules! params {
    ($($(#[$doc:meta])* $upper:ident, $lower:ident, $default:literal, $range:expr;)*) => {
        $(
            $(#[$doc])*
            pub(crate) static $upper: Param = Param {
                name: stringify!($lower),
                given: &module_parameters::$lower,
                default: $default,
                range: $range,
            };
        )*

        /// The defaults, for [`module!`].
        pub(crate) mod default {
            $(pub(crate) const $upper: u32 = $default;)*
        }

        /// Says which of the values given are not used.
        pub(crate) fn check() {
            $($upper.check();)*
        }
    };
}

params! {
    /// How long a job may be on the hardware, in milliseconds.
    JOB_TIMEOUT_MS, job_timeout_ms, 5000, 10..=3_600_000;
    /// How long the firmware may take to acknowledge a request, in milliseconds.
    ///
    /// It takes microseconds. The limit is far from that, so that nobody mistakes a busy machine,
    /// a virtual one above all, for a stuck GPU.
    ACK_TIMEOUT_MS, ack_timeout_ms, 500, 1..=60_000;
    /// How often the firmware is asked whether it is alive while the GPU is awake, in
    /// milliseconds.
    PING_PERIOD_MS, ping_period_ms, 12_000, 10..=3_600_000;
    /// How long the GPU stays awake when nobody needs it any more, in milliseconds.
    AUTOSUSPEND_DELAY_MS, autosuspend_delay_ms, 50, 1..=3_600_000;
    /// How long a group may keep its slot when others of its priority wait for one, in
    /// milliseconds.
    TICK_PERIOD_MS, tick_period_ms, 10, 1..=60_000;
}

#[kunit_tests(magni_params)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_range_are_in_it() {
        assert_eq!(in_range(1, &(1..=3)), Some(1));
        assert_eq!(in_range(3, &(1..=3)), Some(3));
    }

    #[test]
    fn the_absurd_is_as_if_not_given() {
        assert_eq!(in_range(0, &(1..=3)), None);
        assert_eq!(in_range(u32::MAX, &(1..=3)), None);
    }

    #[test]
    fn defaults_make_sense() {
        for param in [
            &JOB_TIMEOUT_MS,
            &ACK_TIMEOUT_MS,
            &PING_PERIOD_MS,
            &AUTOSUSPEND_DELAY_MS,
            &TICK_PERIOD_MS,
        ] {
            assert_eq!(in_range(param.default, &param.range), Some(param.default));
        }
    }
}
