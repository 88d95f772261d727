// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What an open file says about itself in `/proc/self/fdinfo`, and the device's file `profiling` in sysfs, which
//! decides what is measured.
//!
//! Measuring is decided for the whole device, so these tests must not meet others that do so.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::linux::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{bail, ensure, Context, Result};
use guest::cs::{d, r, Condition, State};
use guest::group::Stream;
use guest::kernel::{poll, wait_for_sleep};
use guest::uapi::panthor::{BO_NO_MMAP, VM_BIND_OP_MAP_NOEXEC};
use guest::{Bo, Device, Group, GroupConfig, Job};

use crate::cx::{run_ok_on, Cx, Gpu, Tests, LS_MASK, TIMEOUT};

/// Bits of `profiling`.
const CYCLES: u32 = 1;
const TIMESTAMP: u32 = 2;

pub(crate) fn tests(t: &mut Tests) {
    t.add("fdinfo::driver_and_client", driver_and_client);
    t.add("fdinfo::frequencies", frequencies);
    t.add("fdinfo::memory_of_buffers", buffers);
    t.add("fdinfo::memory_of_groups", groups);
    t.add("fdinfo::memory_of_groups_at_work", groups_at_work);
    t.add("fdinfo::nothing_is_measured_unless_asked", not_measured);
    t.add("fdinfo::cycles_and_time_of_jobs", measured);
    t.add("fdinfo::time_covers_the_job", covers);
    t.add("fdinfo::jobs_of_all_lengths_in_a_ring", lengths);
    t.add_not_for_c("c_forgets::usage_outlives_its_group", outlives);
    t.add("profiling::reads_what_was_written", file);
    t.add("profiling::refuses_what_makes_no_sense", file_refuses);
}

/// The lines of a file's entry, by key.
struct FdInfo(BTreeMap<String, String>);

impl FdInfo {
    fn of(device: &Device) -> Result<Self> {
        let path = format!("/proc/self/fdinfo/{}", device.as_raw_fd());
        let text = fs::read_to_string(&path).context("read fdinfo")?;
        let mut lines = BTreeMap::new();
        for line in text.lines() {
            let (key, value) = line
                .split_once(":\t")
                .with_context(|| format!("fdinfo line {line:?} has no colon and tab"))?;
            let old = lines.insert(key.to_owned(), value.to_owned());
            ensure!(old.is_none(), "fdinfo has {key} twice");
        }
        Ok(Self(lines))
    }

    fn get(&self, key: &str) -> Result<&str> {
        let value = self.0.get(key);
        Ok(value.with_context(|| format!("fdinfo has no {key}: {:?}", self.0))?)
    }

    fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// A number with a unit, which must be `unit`.
    fn number(&self, key: &str, unit: &str) -> Result<u64> {
        let value = self.get(key)?;
        let digits = value
            .strip_suffix(unit)
            .with_context(|| format!("{key} is {value:?}, not in {unit:?}"))?;
        digits
            .parse()
            .with_context(|| format!("{key} is {value:?}"))
    }

    /// A size, in bytes.
    fn size(&self, key: &str) -> Result<u64> {
        let value = self.get(key)?;
        let (digits, unit) = value.split_once(' ').unwrap_or((value, ""));
        let scale = match unit {
            "" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            _ => bail!("{key} is {value:?}"),
        };
        let number: u64 = digits
            .parse()
            .with_context(|| format!("{key} is {value:?}"))?;
        Ok(number * scale)
    }

    fn cycles(&self) -> Result<u64> {
        self.number("drm-cycles-panthor", "")
    }

    fn nanos(&self) -> Result<u64> {
        self.number("drm-engine-panthor", " ns")
    }
}

/// The file `profiling`; nothing is measured any more when this is dropped.
struct Profiling(PathBuf);

impl Profiling {
    fn of(device: &Device) -> Result<Self> {
        let node = fs::metadata(device.path())?.st_rdev();
        let path = format!(
            "/sys/dev/char/{}:{}/device/profiling",
            libc::major(node),
            libc::minor(node)
        );
        Ok(Self(path.into()))
    }

    fn set(&self, text: &str) -> io::Result<()> {
        fs::write(&self.0, text)
    }

    fn get(&self) -> Result<String> {
        fs::read_to_string(&self.0).context("read profiling")
    }

    fn measure(&self, bits: u32) -> Result<()> {
        self.set(&bits.to_string()).context("write profiling")
    }
}

impl Drop for Profiling {
    fn drop(&mut self) {
        let _ = self.set("0");
    }
}

fn driver_and_client() -> Result<()> {
    let first = Device::open()?;
    let second = first.reopen()?;
    let (one, two) = (FdInfo::of(&first)?, FdInfo::of(&second)?);
    ensure!(one.get("drm-driver")? == "panthor", "the driver differs");
    ensure!(
        one.get("drm-client-id")? != two.get("drm-client-id")?,
        "two files have one client id"
    );
    ensure!(!one.has("drm-pdev"), "a platform device has a PCI address");
    Ok(())
}

fn frequencies() -> Result<()> {
    let info = FdInfo::of(&Device::open()?)?;
    let max = info.number("drm-maxfreq-panthor", " Hz")?;
    let now = info.number("drm-curfreq-panthor", " Hz")?;
    ensure!(max > 0 && now > 0, "the GPU runs at {now} of {max} Hz");
    ensure!(now <= max, "the GPU runs at {now} of {max} Hz");
    Ok(())
}

fn buffers() -> Result<()> {
    const SIZE: u64 = 3 << 12;

    let cx = Cx::new()?;
    let total = |device| FdInfo::of(device)?.size("drm-total-memory");
    let before = total(&cx.device)?;
    let bo = Bo::new(&cx.device, SIZE, 0)?;
    let hidden = Bo::exclusive(&cx.vm, SIZE, BO_NO_MMAP)?;
    let info = FdInfo::of(&cx.device)?;
    ensure!(
        info.size("drm-total-memory")? == before + 2 * SIZE,
        "two buffers made {before} bytes {}",
        info.get("drm-total-memory")?
    );
    ensure!(info.size("drm-shared-memory")? == 0, "nothing is shared");
    ensure!(
        !info.has("drm-active-memory"),
        "buffers are active that the GPU does not have"
    );

    let va = cx.vm.reserve(SIZE);
    cx.vm.map(&hidden, 0, va, SIZE, VM_BIND_OP_MAP_NOEXEC)?;
    let info = FdInfo::of(&cx.device)?;
    ensure!(
        info.size("drm-resident-memory")? == SIZE,
        "{SIZE} bytes are mapped, {} are resident",
        info.get("drm-resident-memory")?
    );

    let exported = cx.device.export_dma_buf(bo.handle())?;
    let info = FdInfo::of(&cx.device)?;
    ensure!(
        info.size("drm-shared-memory")? == SIZE,
        "an exported buffer of {SIZE} bytes makes {} shared",
        info.get("drm-shared-memory")?
    );
    drop(exported);
    drop((bo, hidden));
    ensure!(
        total(&cx.device)? == before,
        "memory of buffers that are gone"
    );
    Ok(())
}

fn groups() -> Result<()> {
    let cx = Cx::new()?;
    let resident = || FdInfo::of(&cx.device)?.size("panthor-resident-memory");
    let active = || FdInfo::of(&cx.device)?.size("panthor-active-memory");
    ensure!(resident()? == 0 && active()? == 0, "memory without groups");

    let one = Group::new(&cx.vm, &GroupConfig::queues(1))?;
    let small = resident()?;
    let ring = u64::from(GroupConfig::queues(1).queues[0].ringbuf_size);
    ensure!(small > ring, "a group with a ring of {ring} takes {small}");
    ensure!(small % 4096 == 0, "a group takes {small} bytes");
    ensure!(active()? == 0, "a group without jobs is on the hardware");

    let two = Group::new(&cx.vm, &GroupConfig::queues(2))?;
    let both = resident()?;
    ensure!(
        both - small > small + ring,
        "a second queue takes {} bytes, with a ring of {ring}",
        both - 2 * small
    );
    ensure!(
        FdInfo::of(&cx.device.reopen()?)?.size("panthor-resident-memory")? == 0,
        "another file has this one's groups"
    );
    two.destroy()?;
    ensure!(resident()? == small, "memory of a group that is gone");
    one.destroy()?;
    ensure!(resident()? == 0, "memory of groups that are gone");
    Ok(())
}

/// The memory of a group counts as active from when it is on the hardware until it is not any more.
fn groups_at_work() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let (waits, release) = (gpu.wait_for(0), gpu.release(0));
    let size = |key: &str| FdInfo::of(&gpu.cx.device)?.size(key);
    let one = size("panthor-resident-memory")?;
    let other = gpu.another_group(1)?;
    ensure!(size("panthor-active-memory")? == 0, "active without a job");

    let done = gpu.cx.syncobj()?;
    gpu.group.submit(&[waits.on(0).sync(done.signal_op())])?;
    let active = poll(TIMEOUT, || Ok(size("panthor-active-memory")? == one))?;
    ensure!(
        active,
        "a group of {one} bytes is at work, and {} are active",
        size("panthor-active-memory")?
    );
    run_ok_on(&gpu.cx, &other, release.on(0))?;
    done.wait(TIMEOUT)?;
    wait_for_sleep(&gpu.cx.device, TIMEOUT)?;
    let left = size("panthor-active-memory")?;
    ensure!(left == 0, "{left} bytes are active while the GPU sleeps");
    Ok(())
}

fn not_measured() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let profiling = Profiling::of(&gpu.cx.device)?;
    ensure!(profiling.get()? == "0\n", "measured by default");
    let stream = gpu.store(0, 1);
    gpu.run_ok(stream.on(0))?;
    let info = FdInfo::of(&gpu.cx.device)?;
    for key in ["drm-engine-panthor", "drm-cycles-panthor"] {
        ensure!(!info.has(key), "{key} though nothing is measured");
    }
    Ok(())
}

/// A stream that loops `count` times between two looks at the clock.
fn spin(gpu: &mut Gpu, count: u32) -> Stream {
    gpu.stream(|cs, va| {
        cs.move48(d(0), va)
            .move32(r(4), count)
            .store_state(d(0), 0, State::Timestamp);
        let again = cs.here();
        cs.add_imm32(r(4), r(4), -1)
            .branch(Condition::Greater, r(4), again)
            .store_state(d(0), 8, State::Timestamp)
            .wait(LS_MASK);
    })
}

/// Runs a job, and another: jobs are counted in order, so the first one is when the second has ended.
fn run_counted(gpu: &Gpu, stream: Stream) -> Result<()> {
    gpu.run_ok(stream.on(0))?;
    gpu.run_ok(stream.on(0))
}

fn measured() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let profiling = Profiling::of(&gpu.cx.device)?;
    let stream = spin(&mut gpu, 1000);
    let idle = gpu.cx.device.reopen()?;

    profiling.measure(CYCLES)?;
    run_counted(&gpu, stream)?;
    let info = FdInfo::of(&gpu.cx.device)?;
    ensure!(info.cycles()? > 0, "jobs take no cycles");
    ensure!(!info.has("drm-engine-panthor"), "time is measured as well");

    profiling.measure(TIMESTAMP)?;
    run_counted(&gpu, stream)?;
    let info = FdInfo::of(&gpu.cx.device)?;
    ensure!(info.nanos()? > 0, "jobs take no time");
    ensure!(!info.has("drm-cycles-panthor"), "cycles are still shown");

    profiling.measure(CYCLES | TIMESTAMP)?;
    let before = FdInfo::of(&gpu.cx.device)?;
    run_counted(&gpu, stream)?;
    let after = FdInfo::of(&gpu.cx.device)?;
    ensure!(
        after.cycles()? > before.cycles()? && after.nanos()? > before.nanos()?,
        "a job adds nothing"
    );
    let idle = FdInfo::of(&idle)?;
    ensure!(
        idle.cycles()? == 0 && idle.nanos()? == 0,
        "a file without jobs has used the GPU"
    );

    profiling.measure(0)?;
    ensure!(
        !FdInfo::of(&gpu.cx.device)?.has("drm-cycles-panthor"),
        "cycles are still shown"
    );
    Ok(())
}

fn covers() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let profiling = Profiling::of(&gpu.cx.device)?;
    profiling.measure(TIMESTAMP)?;
    let stream = spin(&mut gpu, 20_000);
    let frequency = gpu.cx.device.timestamp_info(0)?.timestamp_frequency;

    let mut own = 0;
    for _ in 0..3 {
        gpu.run_ok(stream.on(0))?;
        own += gpu.data.read::<u64>(8) - gpu.data.read::<u64>(0);
    }
    let least = u128::from(own) * 1_000_000_000 / u128::from(frequency);
    // Once more, since the last one may not be counted yet.
    gpu.run_ok(stream.on(0))?;
    let nanos = FdInfo::of(&gpu.cx.device)?.nanos()?;
    ensure!(
        u128::from(nanos) >= least,
        "by the GPU's own clock jobs took {least} ns, fdinfo says {nanos}"
    );
    Ok(())
}

/// Jobs with more and with fewer instructions around them, many times around the ring.
fn lengths() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let profiling = Profiling::of(&gpu.cx.device)?;
    let stream = gpu.stream(|cs, va| {
        cs.move48(d(0), va)
            .load32(r(2), d(0), 0)
            .wait(LS_MASK)
            .add_imm32(r(2), r(2), 1)
            .store32(r(2), d(0), 0)
            .wait(LS_MASK);
    });
    let mut count = 0;
    let mut last = 0;
    for round in 0..32 {
        for bits in [CYCLES | TIMESTAMP, 0, CYCLES, CYCLES | TIMESTAMP, TIMESTAMP] {
            profiling.measure(bits)?;
            let number = 5 + round % 3;
            let done = gpu.cx.syncobj()?;
            let mut jobs: Vec<Job> = vec![stream.on(0); number];
            jobs[number - 1].syncs.push(done.signal_op());
            gpu.group.submit(&jobs)?;
            done.wait(TIMEOUT)?;
            count += number as u32;
            let seen: u32 = gpu.data.read(0);
            ensure!(seen == count, "{seen} jobs of {count} ran");
        }
        profiling.measure(CYCLES)?;
        let cycles = FdInfo::of(&gpu.cx.device)?.cycles()?;
        ensure!(cycles > last, "round {round} took no cycles");
        // Nothing here takes this long; a sample that was not written would.
        ensure!(cycles < 1 << 50, "round {round} took {cycles} cycles");
        last = cycles;
    }
    Ok(())
}

/// The C driver forgets what a group has used that goes before somebody has looked.
fn outlives() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let profiling = Profiling::of(&gpu.cx.device)?;
    profiling.measure(CYCLES)?;
    let stream = spin(&mut gpu, 1000);
    let group = gpu.another_group(1)?;
    run_ok_on(&gpu.cx, &group, stream.on(0))?;
    group.destroy()?;
    let cycles = FdInfo::of(&gpu.cx.device)?.cycles()?;
    ensure!(cycles > 0, "what the group has used is forgotten");
    Ok(())
}

fn file() -> Result<()> {
    let profiling = Profiling::of(&Device::open()?)?;
    for (written, read) in [
        ("1", "1\n"),
        ("0x2", "2\n"),
        ("03\n", "3\n"),
        ("+1\n", "1\n"),
        ("0", "0\n"),
    ] {
        profiling
            .set(written)
            .with_context(|| format!("write {written:?}"))?;
        let got = profiling.get()?;
        ensure!(got == read, "{written:?} reads as {got:?}");
    }
    let mode = fs::metadata(&profiling.0)?.st_mode() & 0o777;
    ensure!(mode == 0o644, "the file's mode is {mode:o}");
    Ok(())
}

fn file_refuses() -> Result<()> {
    let profiling = Profiling::of(&Device::open()?)?;
    profiling.measure(TIMESTAMP)?;
    for (written, errno) in [
        ("4", libc::EINVAL),
        ("0xffffffff", libc::EINVAL),
        ("1 2", libc::EINVAL),
        ("-1", libc::EINVAL),
        ("on", libc::EINVAL),
        ("\n", libc::EINVAL),
        ("4294967296", libc::ERANGE),
    ] {
        match profiling.set(written) {
            Ok(()) => bail!("{written:?} is taken"),
            Err(error) => ensure!(
                error.raw_os_error() == Some(errno),
                "{written:?} fails with {error}"
            ),
        }
        let got = profiling.get()?;
        ensure!(got == "2\n", "{written:?} is refused, but changes {got:?}");
    }
    Ok(())
}
