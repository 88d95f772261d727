// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The guest's clock, and how the GPU's clock relates to it.

use anyhow::{Context, Result};
use guest::uapi::panthor::TIMESTAMP_GPU;
use guest::Device;
use serde::Serialize;

/// CLOCK_MONOTONIC in ns.
pub(crate) fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writing; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// ns as ms.
pub(crate) fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// ns as µs.
pub(crate) fn us(ns: u64) -> f64 {
    ns as f64 / 1e3
}

/// The GPU's timestamp was `ticks` at some time from `before` to `after` (CLOCK_MONOTONIC, ns).
///
/// Reading it also shows in the emulated GPU's trace, which so gets on the guest's clock, too.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Sample {
    before: u64,
    after: u64,
    ticks: u64,
}

/// Compares the clocks a few times. Wakes the GPU.
pub(crate) fn compare(device: &Device) -> Result<Vec<Sample>> {
    (0..8)
        .map(|_| {
            let before = now();
            let info = device
                .timestamp_info(TIMESTAMP_GPU)
                .context("TIMESTAMP_INFO")?;
            Ok(Sample {
                before,
                after: now(),
                ticks: info.current_timestamp,
            })
        })
        .collect()
}
