// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Measuring jobs, for people who watch the GPU.
//!
//! Root decides for the device what is measured: GPU cycles, time, or nothing, which is the
//! default, for measuring takes instructions ([`Mask`]). What a job is measured for is decided when
//! it is made. Its stream then stores counters in a [`Sample`] before and after; once it has
//! completed, the difference is added to its file's [`Usage`], which fdinfo shows.

use kernel::{
    clocksource::arch_timer_rate,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    sysfs::Number, //
};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mask(u8);

impl Mask {
    /// Nothing.
    pub(crate) const NONE: Self = Self(0);
    /// GPU cycles.
    pub(crate) const CYCLES: Self = Self(1 << 0);
    /// Time, in ticks of the system counter.
    pub(crate) const TIMESTAMP: Self = Self(1 << 1);
    /// Both.
    pub(crate) const ALL: Self = Self(Self::CYCLES.0 | Self::TIMESTAMP.0);

    /// # Errors
    ///
    /// `EINVAL` for bits that mean nothing.
    fn from_bits(bits: u32) -> Result<Self> {
        u8::try_from(bits)
            .ok()
            .filter(|bits| bits & !Self::ALL.0 == 0)
            .map(Self)
            .ok_or(EINVAL)
    }

    /// Whether something in `other` is measured.
    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What the device measures, and how fast it runs.
pub(crate) struct Profiling {
    /// A [`Mask`].
    mask: Atomic<u32>,
    /// In Hz.
    core_rate: u64,
}

impl Profiling {
    /// Nothing is measured. `core_rate` is the clock's rate, in Hz.
    pub(crate) fn new(core_rate: u64) -> Result<Arc<Self>> {
        let this = Self {
            mask: Atomic::new(Mask::NONE.0.into()),
            core_rate,
        };
        Ok(Arc::new(this, GFP_KERNEL)?)
    }

    /// What jobs that are made from now on are measured for.
    pub(crate) fn mask(&self) -> Mask {
        Mask(self.mask.load(Relaxed) as u8)
    }

    /// The clock's rate, in Hz.
    pub(crate) fn core_rate(&self) -> u64 {
        self.core_rate
    }
}

/// The file `profiling` of the device, as the C driver has it.
pub(crate) struct ProfilingFile(pub(crate) Arc<Profiling>);

impl Number for ProfilingFile {
    const NAME: &'static CStr = c"profiling";

    fn show(&self) -> u32 {
        self.0.mask().0.into()
    }

    fn store(&self, value: u32) -> Result {
        self.0.mask.store(Mask::from_bits(value)?.0.into(), Relaxed);
        Ok(())
    }
}

/// What a job's stream has stored. Untrusted: the GPU writes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Cycles, before and after the job.
    pub(crate) cycles: (u64, u64),
    /// Ticks of the system counter, before and after the job.
    pub(crate) ticks: (u64, u64),
}

impl Sample {
    /// Bytes that a sample takes in memory.
    pub(crate) const BYTES: u64 = 32;
    /// Where the four values are in it, in bytes.
    pub(crate) const CYCLES_BEFORE: u64 = 0;
    pub(crate) const CYCLES_AFTER: u64 = 8;
    pub(crate) const TICKS_BEFORE: u64 = 16;
    pub(crate) const TICKS_AFTER: u64 = 24;
}

/// What the jobs of one file have used. Shared by its groups, so that nothing gets lost with one.
pub(crate) struct Usage {
    cycles: Atomic<u64>,
    ticks: Atomic<u64>,
}

impl Usage {
    /// Nothing so far.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let this = Self {
            cycles: Atomic::new(0),
            ticks: Atomic::new(0),
        };
        Ok(Arc::new(this, GFP_KERNEL)?)
    }

    /// Adds a job that was measured for what is in `mask`. Any context.
    pub(crate) fn add(&self, mask: Mask, sample: &Sample) {
        // A job that was cut short has stored nothing after it.
        if mask.has(Mask::CYCLES) {
            let (before, after) = sample.cycles;
            self.cycles.fetch_add(after.saturating_sub(before), Relaxed);
        }
        if mask.has(Mask::TIMESTAMP) {
            let (before, after) = sample.ticks;
            self.ticks.fetch_add(after.saturating_sub(before), Relaxed);
        }
    }

    /// GPU cycles.
    pub(crate) fn cycles(&self) -> u64 {
        self.cycles.load(Relaxed)
    }

    /// Nanoseconds, if the system counter's frequency is known.
    pub(crate) fn nanos(&self) -> Option<u64> {
        ticks_to_nanos(self.ticks.load(Relaxed), arch_timer_rate().into())
    }
}

/// `ticks` of a counter with `rate` ticks a second, in nanoseconds, rounded up; wraps after 584
/// years.
fn ticks_to_nanos(ticks: u64, rate: u64) -> Option<u64> {
    const SECOND: u64 = 1_000_000_000;

    let seconds = ticks.checked_div(rate)?;
    let rest = ticks % rate;
    // The rate has 32 bits, and so has the rest.
    let nanos = (rest * SECOND).div_ceil(rate);
    Some(seconds.wrapping_mul(SECOND).wrapping_add(nanos))
}

#[kunit_tests(magni_profiling)]
mod tests {
    use super::*;

    #[test]
    fn two_bits_mean_something() {
        assert_eq!(Mask::from_bits(0), Ok(Mask::NONE));
        assert_eq!(Mask::from_bits(3), Ok(Mask::ALL));
        assert_eq!(Mask::from_bits(4), Err(EINVAL));
        assert_eq!(Mask::from_bits(u32::MAX), Err(EINVAL));
    }

    #[test]
    fn ticks_are_rounded_up() {
        assert_eq!(ticks_to_nanos(0, 24_000_000), Some(0));
        assert_eq!(ticks_to_nanos(1, 24_000_000), Some(42));
        assert_eq!(ticks_to_nanos(24_000_000, 24_000_000), Some(1_000_000_000));
        assert_eq!(ticks_to_nanos(1, 0), None);
    }

    #[test]
    fn years_do_not_overflow() {
        let year = 365 * 86_400 * 1_000_000_000;
        assert_eq!(ticks_to_nanos(year, 1_000_000_000), Some(year));
    }

    #[test]
    fn only_what_was_measured_counts() -> Result {
        let usage = Usage::new()?;
        let sample = Sample {
            cycles: (100, 300),
            ticks: (5, 1000),
        };
        usage.add(Mask::NONE, &sample);
        usage.add(Mask::CYCLES, &sample);
        usage.add(Mask::CYCLES, &sample);
        assert_eq!(usage.cycles(), 400);
        assert_eq!(usage.ticks.load(Relaxed), 0);
        usage.add(Mask::ALL, &sample);
        assert_eq!(usage.cycles(), 600);
        assert_eq!(usage.ticks.load(Relaxed), 995);
        Ok(())
    }

    #[test]
    fn half_a_sample_counts_for_nothing() -> Result {
        let usage = Usage::new()?;
        let sample = Sample {
            cycles: (u64::MAX, 0),
            ticks: (7, 0),
        };
        usage.add(Mask::ALL, &sample);
        assert_eq!(usage.cycles(), 0);
        assert_eq!(usage.ticks.load(Relaxed), 0);
        Ok(())
    }
}
