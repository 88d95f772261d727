// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DEV_QUERY beyond GPU_INFO and CSIF_INFO.

use anyhow::{ensure, Result};
use guest::ioctl::Errno;
use guest::uapi::panthor::{
    GroupPrioritiesInfo, MmuInfo, TimestampInfo, DEV_QUERY_GROUP_PRIORITIES_INFO,
    DEV_QUERY_MMU_INFO, DEV_QUERY_TIMESTAMP_INFO, GROUP_PRIORITY_LOW, GROUP_PRIORITY_MEDIUM,
    TIMESTAMP_CPU_MONOTONIC, TIMESTAMP_CPU_MONOTONIC_RAW, TIMESTAMP_DURATION, TIMESTAMP_FREQ,
    TIMESTAMP_GPU, TIMESTAMP_GPU_CYCLE_COUNT, TIMESTAMP_GPU_OFFSET,
};
use guest::Device;

use crate::cx::{refused, Tests};
use crate::roles;

/// Bytes of TIMESTAMP_INFO in the first version of the uAPI: up to `current_timestamp`.
const TIMESTAMP_MIN: usize = 16;

pub(crate) fn tests(t: &mut Tests) {
    t.add("later::dev_query::sizes", sizes);
    t.add(
        "later::dev_query::refuses_size_under_the_minimum",
        too_small,
    );
    t.add("later::dev_query::mmu_info", mmu_info);
    t.add("later::dev_query::group_priorities_of_root", priorities);
    t.add("later::dev_query::group_priorities_of_others", || {
        roles::run_to_end(roles::UNPRIVILEGED_QUERY)
    });
    t.add("later::timestamp::default_set", default_set);
    t.add("later::timestamp::grows", grows);
    t.add("later::timestamp::only_what_was_asked", only_asked);
    t.add("later::timestamp::cpu_clocks", cpu_clocks);
    t.add(
        "later::timestamp::first_version_of_the_struct",
        first_version,
    );
    t.add("later::timestamp::refuses_unknown_flags", bad_flags);
    t.add(
        "later::timestamp::refuses_unknown_field_that_is_set",
        set_tail,
    );
}

fn sizes() -> Result<()> {
    let device = Device::open()?;
    for (kind, want) in [
        (DEV_QUERY_TIMESTAMP_INFO, size_of::<TimestampInfo>()),
        (
            DEV_QUERY_GROUP_PRIORITIES_INFO,
            size_of::<GroupPrioritiesInfo>(),
        ),
        (DEV_QUERY_MMU_INFO, size_of::<MmuInfo>()),
    ] {
        let got = device.query_size(kind)?;
        ensure!(
            got as usize == want,
            "query {kind}: {got} bytes instead of {want}"
        );
    }
    Ok(())
}

fn too_small() -> Result<()> {
    let device = Device::open()?;
    for (kind, min) in [
        (DEV_QUERY_TIMESTAMP_INFO, TIMESTAMP_MIN),
        (
            DEV_QUERY_GROUP_PRIORITIES_INFO,
            size_of::<GroupPrioritiesInfo>(),
        ),
        (DEV_QUERY_MMU_INFO, size_of::<MmuInfo>()),
    ] {
        for size in [1, min - 1] {
            refused(device.query_bytes(kind, &mut vec![0; size]), Errno::EINVAL)?;
        }
    }
    Ok(())
}

fn mmu_info() -> Result<()> {
    let info = Device::open()?.mmu_info()?;
    let want = (4 << 10) | (2 << 20);
    ensure!(
        info.page_size_bitmap == want,
        "page sizes are {:#x}",
        info.page_size_bitmap
    );
    Ok(())
}

fn priorities() -> Result<()> {
    let info = Device::open()?.group_priorities_info()?;
    ensure!(info.allowed_mask == 0b1111, "{info:?}");
    ensure!(info.pad == [0; 3], "{info:?}");
    Ok(())
}

/// Runs in a process without privileges.
pub(crate) fn unprivileged_role(device: Device) -> Result<()> {
    let info = device.group_priorities_info()?;
    let want = (1 << GROUP_PRIORITY_LOW) | (1 << GROUP_PRIORITY_MEDIUM);
    ensure!(info.allowed_mask == want, "{info:?}");
    Ok(())
}

fn default_set() -> Result<()> {
    let info = Device::open()?.timestamp_info(0)?;
    ensure!(info.timestamp_frequency != 0, "{info:?}");
    ensure!(info.current_timestamp != 0, "{info:?}");
    ensure!(
        info.cycle_count == 0 && info.cpu_timestamp_sec == 0 && info.duration_nsec == 0,
        "{info:?}"
    );
    Ok(())
}

fn grows() -> Result<()> {
    let device = Device::open()?;
    let mut last = 0;
    for _ in 0..10 {
        let now = device.timestamp_info(TIMESTAMP_GPU)?.current_timestamp;
        ensure!(now > last, "time went from {last} to {now}");
        last = now;
    }
    Ok(())
}

fn only_asked() -> Result<()> {
    let device = Device::open()?;
    let info = device.timestamp_info(TIMESTAMP_FREQ)?;
    ensure!(
        info.timestamp_frequency != 0 && info.current_timestamp == 0,
        "{info:?}"
    );
    let info = device.timestamp_info(TIMESTAMP_GPU)?;
    ensure!(
        info.timestamp_frequency == 0 && info.current_timestamp != 0,
        "{info:?}"
    );
    device.timestamp_info(TIMESTAMP_GPU_OFFSET)?;
    let info = device.timestamp_info(TIMESTAMP_GPU_CYCLE_COUNT | TIMESTAMP_DURATION)?;
    ensure!(
        info.current_timestamp == 0 && info.timestamp_frequency == 0,
        "{info:?}"
    );
    Ok(())
}

fn now(clock: libc::clockid_t) -> (u64, u64) {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writing.
    unsafe { libc::clock_gettime(clock, &mut time) };
    (time.tv_sec as u64, time.tv_nsec as u64)
}

fn cpu_clocks() -> Result<()> {
    let device = Device::open()?;
    for (flag, clock) in [
        (TIMESTAMP_CPU_MONOTONIC, libc::CLOCK_MONOTONIC),
        (TIMESTAMP_CPU_MONOTONIC_RAW, libc::CLOCK_MONOTONIC_RAW),
    ] {
        let before = now(clock);
        let info = device.timestamp_info(flag | TIMESTAMP_GPU)?;
        let after = now(clock);
        let got = (info.cpu_timestamp_sec, info.cpu_timestamp_nsec);
        ensure!(
            before <= got && got <= after,
            "clock {clock}: {got:?} is not between {before:?} and {after:?}"
        );
    }
    Ok(())
}

fn first_version() -> Result<()> {
    let device = Device::open()?;
    let mut buffer = [0u8; 64];
    device.query_bytes(DEV_QUERY_TIMESTAMP_INFO, &mut buffer[..TIMESTAMP_MIN])?;
    ensure!(buffer[..8] != [0; 8], "no frequency");
    ensure!(buffer[8..16] != [0; 8], "no time");
    ensure!(buffer[16..] == [0; 48], "the kernel wrote too much");
    Ok(())
}

fn bad_flags() -> Result<()> {
    let device = Device::open()?;
    let both_clocks = TIMESTAMP_CPU_MONOTONIC | TIMESTAMP_CPU_MONOTONIC_RAW;
    for flags in [1 << 8, 1 << 31, both_clocks, 4 << 1, 7 << 1] {
        refused(device.timestamp_info(flags), Errno::EINVAL)?;
    }
    Ok(())
}

fn set_tail() -> Result<()> {
    let device = Device::open()?;
    let mut buffer = [0u8; size_of::<TimestampInfo>() + 8];
    device.query_bytes(DEV_QUERY_TIMESTAMP_INFO, &mut buffer)?;
    buffer[size_of::<TimestampInfo>() + 7] = 1;
    refused(
        device.query_bytes(DEV_QUERY_TIMESTAMP_INFO, &mut buffer),
        Errno::E2BIG,
    )
}
