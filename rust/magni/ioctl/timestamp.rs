// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The query for timestamps of the GPU and the CPU, taken together.

use crate::device::Device;
use kernel::{
    clocksource::arch_timer_rate,
    prelude::*,
    timekeeping::{
        local_clock,
        uninterrupted,
        Clock, //
    },
    uapi, //
};

const GPU: u32 = uapi::drm_panthor_timestamp_info_flags_DRM_PANTHOR_TIMESTAMP_GPU;
const CPU_TYPE_MASK: u32 =
    uapi::drm_panthor_timestamp_info_flags_DRM_PANTHOR_TIMESTAMP_CPU_TYPE_MASK;
const CPU_NONE: u32 = uapi::drm_panthor_timestamp_info_flags_DRM_PANTHOR_TIMESTAMP_CPU_NONE;
const CPU_MONOTONIC: u32 =
    uapi::drm_panthor_timestamp_info_flags_DRM_PANTHOR_TIMESTAMP_CPU_MONOTONIC;
const CPU_MONOTONIC_RAW: u32 =
    uapi::drm_panthor_timestamp_info_flags_DRM_PANTHOR_TIMESTAMP_CPU_MONOTONIC_RAW;
const GPU_OFFSET: u32 = uapi::drm_panthor_timestamp_info_flags_DRM_PANTHOR_TIMESTAMP_GPU_OFFSET;
const GPU_CYCLE_COUNT: u32 =
    uapi::drm_panthor_timestamp_info_flags_DRM_PANTHOR_TIMESTAMP_GPU_CYCLE_COUNT;
const FREQ: u32 = uapi::drm_panthor_timestamp_info_flags_DRM_PANTHOR_TIMESTAMP_FREQ;
const DURATION: u32 = uapi::drm_panthor_timestamp_info_flags_DRM_PANTHOR_TIMESTAMP_DURATION;

const KNOWN: u32 = GPU | CPU_TYPE_MASK | GPU_OFFSET | GPU_CYCLE_COUNT | FREQ | DURATION;

/// What is asked for without flags: what there was before there were any.
const DEFAULT: u32 = GPU | GPU_OFFSET | FREQ;

/// What the flags ask for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    flags: u32,
    cpu: Option<Clock>,
}

impl Wanted {
    /// # Errors
    ///
    /// `EINVAL` for a flag or a clock that is not known.
    fn new(flags: u32) -> Result<Self> {
        let flags = if flags == 0 { DEFAULT } else { flags };

        let cpu = match flags & CPU_TYPE_MASK {
            CPU_NONE => None,
            CPU_MONOTONIC => Some(Clock::Monotonic),
            CPU_MONOTONIC_RAW => Some(Clock::MonotonicRaw),
            _ => return Err(EINVAL),
        };
        if flags & !KNOWN != 0 {
            return Err(EINVAL);
        }

        Ok(Self { flags, cpu })
    }

    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Whether nothing may come in between: clocks are compared, or the time it takes matters.
    fn together(&self) -> bool {
        let sources = [self.has(GPU), self.has(GPU_CYCLE_COUNT), self.cpu.is_some()];

        self.has(DURATION) || sources.into_iter().filter(|source| *source).count() >= 2
    }
}

/// `value()` if it is wanted, 0 otherwise.
fn when(wanted: bool, value: impl FnOnce() -> Result<u64>) -> Result<u64> {
    if wanted {
        value()
    } else {
        Ok(0)
    }
}

/// Takes the timestamps that `asked` names.
///
/// # Errors
///
/// `EINVAL` for a flag that is not known; those of [`Device::power_get`].
pub(super) fn read(
    device: &Device,
    asked: &uapi::drm_panthor_timestamp_info,
) -> Result<uapi::drm_panthor_timestamp_info> {
    let wanted = Wanted::new(asked.flags)?;
    let _power = device.power_get()?;
    let gpu = &device.gpu;

    let sample = || -> Result<_> {
        let start = local_clock();
        let timestamp = when(wanted.has(GPU), || gpu.timestamp())?;
        let cpu = wanted.cpu.map(Clock::now);
        let cycles = when(wanted.has(GPU_CYCLE_COUNT), || gpu.cycle_count())?;

        Ok((timestamp, cpu, cycles, local_clock().saturating_sub(start)))
    };
    let (timestamp, cpu, cycles, duration) = if wanted.together() {
        uninterrupted(sample)?
    } else {
        sample()?
    };
    let cpu = cpu.map(|time| time.in_time_namespace());

    Ok(uapi::drm_panthor_timestamp_info {
        timestamp_frequency: when(wanted.has(FREQ), || Ok(arch_timer_rate().into()))?,
        current_timestamp: timestamp,
        timestamp_offset: when(wanted.has(GPU_OFFSET), || gpu.timestamp_offset())?,
        flags: asked.flags,
        duration_nsec: if wanted.has(DURATION) {
            duration as u32
        } else {
            0
        },
        cycle_count: cycles,
        cpu_timestamp_sec: cpu.map_or(0, |time| time.seconds() as u64),
        cpu_timestamp_nsec: cpu.map_or(0, |time| time.nanoseconds() as u64),
    })
}

#[kunit_tests(magni_ioctl_timestamp)]
mod tests {
    use super::*;

    #[test]
    fn flags() -> Result {
        assert_eq!(Wanted::new(0)?.flags, DEFAULT);
        assert_eq!(Wanted::new(CPU_MONOTONIC)?.cpu, Some(Clock::Monotonic));
        assert!(Wanted::new(CPU_TYPE_MASK).is_err());
        assert!(Wanted::new(1 << 31).is_err());
        assert!(!Wanted::new(0)?.together());
        assert!(Wanted::new(GPU | CPU_MONOTONIC_RAW)?.together());
        assert!(Wanted::new(GPU | DURATION)?.together());
        Ok(())
    }
}
