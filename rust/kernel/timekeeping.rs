// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Reading clocks together.
//!
//! C header: [`include/linux/timekeeping.h`](srctree/include/linux/timekeeping.h)

use crate::bindings;
use core::mem::MaybeUninit;

/// A clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Time since boot, adjusted (`CLOCK_MONOTONIC`).
    Monotonic,
    /// Time since boot, not adjusted (`CLOCK_MONOTONIC_RAW`).
    MonotonicRaw,
}

/// A point in time.
#[derive(Clone, Copy)]
pub struct Timespec(bindings::timespec64);

impl Clock {
    /// The time now. May be called in any context.
    pub fn now(self) -> Timespec {
        let mut time = MaybeUninit::uninit();

        // SAFETY: `time` is valid for writes, and is initialised by either function.
        unsafe {
            match self {
                Self::Monotonic => bindings::ktime_get_ts64(time.as_mut_ptr()),
                Self::MonotonicRaw => bindings::ktime_get_raw_ts64(time.as_mut_ptr()),
            }
            Timespec(time.assume_init())
        }
    }
}

impl Timespec {
    /// The same point in time as the current task's time namespace counts it.
    pub fn in_time_namespace(mut self) -> Self {
        // SAFETY: The time is valid; the current task has a time namespace.
        unsafe { bindings::timens_add_monotonic(&mut self.0) };

        self
    }

    /// Whole seconds.
    pub fn seconds(&self) -> i64 {
        self.0.tv_sec
    }

    /// The rest, in nanoseconds.
    pub fn nanoseconds(&self) -> i64 {
        self.0.tv_nsec as i64
    }
}

/// A fast clock in nanoseconds, good for differences on one CPU.
pub fn local_clock() -> u64 {
    // SAFETY: Always safe to call.
    unsafe { bindings::local_clock() }
}

/// Runs `f` without interrupts, and so without preemption.
pub fn uninterrupted<R>(f: impl FnOnce() -> R) -> R {
    struct Disabled;

    impl Drop for Disabled {
        fn drop(&mut self) {
            // SAFETY: Interrupts were disabled below, and calls nest.
            unsafe { bindings::local_interrupt_enable() };
        }
    }

    // SAFETY: They are enabled again when the guard is dropped, on the same CPU.
    unsafe { bindings::local_interrupt_disable() };
    let _guard = Disabled;

    f()
}
