// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The device goes: taken away with jobs in flight, or given up since it cannot be reset.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use guest::ioctl::Errno;
use guest::kernel::{poll, wait_for_sleep, Binding};
use guest::sync::FenceStatus;
use guest::{Device, Vm};

use crate::baseline::Baseline;
use crate::frame::{ends, files, so_far, wait_for_files, works, works_within, Line};
use crate::model::Faults;
use crate::times::Times;
use crate::victim::{End, Victim};
use crate::Tests;

pub(crate) fn tests(t: &mut Tests) {
    t.add("unbind_with_jobs_in_flight", || unbind(None));
    t.add("unbind_while_the_firmware_is_silent", || {
        unbind(Some("arm mcu-silent"))
    });
    t.add("unbind_after_a_crash", || unbind(Some("do mcu-fatal")));
    t.add("reset_never_completes", reset_stuck);
    t.add("l2_not_ready_once", || l2_stuck(1, &[End::Well], "kept"));
    t.add("l2_never_ready", || l2_stuck(0, GIVEN_UP, "given_up"));
    t.add("mcu_does_not_boot_after_a_reset", no_boot);
}

/// What the C driver of Linux 7.3 does not survive.
pub(crate) fn not_for_c(device: &Device, why: &str) -> Result<()> {
    if device.module_name().as_deref() == Some("panthor") {
        bail!("not run on the C driver: {why}");
    }
    Ok(())
}

/// Sees to it that the tests after this one find a device, however this one ends.
pub(crate) struct Back<'a>(pub(crate) &'a Binding);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        if Device::open().is_err() {
            // The faults go when their channel does; what cannot be put right here shows in the tests that follow.
            if let Ok(faults) = Faults::open() {
                drop(faults);
            }
            if self.0.is_bound() {
                let _ = self.0.unbind();
            }
            let _ = self.0.bind();
        }
    }
}

/// How jobs end whose device is taken away: cancelled, unless the GPU had been reset under them before.
const TAKEN_AWAY: &[End] = &[End::With(Errno::ECANCELED), End::With(Errno::ETIMEDOUT)];
/// How jobs end whose GPU nobody gets to work again.
const GIVEN_UP: &[End] = &[End::With(Errno::ENODEV)];

/// Waits for the ends of jobs whose device may be gone; all must have ended in one of these ways.
fn all_fail(
    fences: &[OwnedFd],
    may: &[End],
    since: Instant,
    bound: Duration,
    patience: Duration,
) -> Result<Line> {
    let statuses = wait_for_files(fences, patience)?;
    let line = Line {
        errors: ends(&statuses),
        bound,
        measured: since.elapsed(),
        state: "gone".to_owned(),
        bystander: "-".to_owned(),
    };
    so_far(&line);
    for (n, status) in statuses.iter().enumerate() {
        ensure!(
            may.iter().any(|end| end.is(*status)),
            "job {n} ended with {status:?}, which is none of {may:?}"
        );
    }
    ensure!(
        line.measured <= line.bound,
        "it took {:?} to signal all fences; the bound is {:?}",
        line.measured,
        line.bound
    );
    Ok(line)
}

/// Takes the device away under a busy process, gives it back, and sees what is left.
fn unbind(fault: Option<&str>) -> Result<Line> {
    let mut faults = fault.map(|_| Faults::open()).transpose()?;
    let device = Device::open()?;
    not_for_c(
        &device,
        "it rings doorbells of a halted microcontroller then",
    )?;
    works(&device)?;
    let times = Times::of(&device);
    let binding = Binding::of(&device)?;
    let module = device.module_name();
    drop(device);
    let before = Baseline::take(module.as_deref(), None)?;

    let device = Device::open()?;
    let mut victim = Victim::new(&device)?;
    victim.endless()?;
    victim.crowd(victim.gpu.cx.csif.csg_slot_count)?;
    if let (Some(faults), Some(order)) = (&mut faults, fault) {
        faults.order(order)?;
    }
    let fences = files(&victim.fences)?;
    let _back = Back(&binding);
    let since = Instant::now();
    binding.unbind().context("unbind")?;
    ensure!(!binding.is_bound(), "unbind says nothing and does nothing");
    let line = all_fail(&fences, TAKEN_AWAY, since, times.reset(), times.patience())?;
    // Whoever has the device open finds it gone, and nothing else.
    let gone = Vm::new(&device).map(drop);
    ensure!(
        gone == Err(Errno::ENODEV),
        "a VM of the device that is gone: {gone:?}"
    );
    drop((fences, victim));
    drop(device);
    if let Some(faults) = &mut faults {
        faults.order("reset")?;
    }
    binding.bind().context("bind again")?;
    works(&Device::open()?).context("after bind")?;
    before.is_back(None)?;
    Ok(line)
}

/// After a fault that the driver may give the device up for: works again, with the device bound again if it must be.
fn comes_back(binding: &Binding, patience: Duration) -> Result<&'static str> {
    let mut how = "kept";
    let came = poll(patience, || {
        Ok(match Device::open() {
            Ok(device) => works(&device).is_ok(),
            Err(_) => true,
        })
    })?;
    if !came || Device::open().is_err() {
        how = "given_up";
        if binding.is_bound() {
            binding.unbind().context("unbind what was given up")?;
        }
        binding.bind().context("bind what was given up")?;
    }
    works_within(&Device::open()?, patience).context("in the end")?;
    Ok(how)
}

/// What tests of such faults do: an endless job, then the orders.
fn lost_for_good(orders: &[&str], strikes: &str) -> Result<Line> {
    let mut faults = Faults::open()?;
    let device = Device::open()?;
    works(&device)?;
    let times = Times::of(&device);
    let binding = Binding::of(&device)?;
    let module = device.module_name();
    drop(device);
    let before = Baseline::take(module.as_deref(), None)?;
    let device = Device::open()?;
    let mut victim = Victim::new(&device)?;
    victim.endless()?;
    let fences = files(&victim.fences)?;
    let _back = Back(&binding);
    let since = Instant::now();
    for order in orders {
        faults.order(order)?;
    }
    let bound = times.timeout_and_reset() + times.reset();
    let mut line = all_fail(&fences, GIVEN_UP, since, bound, times.patience())?;
    ensure!(
        faults.0.count(strikes)? > 0,
        "the fault {strikes} did not come to be"
    );
    drop((fences, victim));
    drop(device);
    faults.order("reset")?;
    line.state = comes_back(&binding, times.reset())?.to_owned();
    before.is_back(None)?;
    Ok(line)
}

fn reset_stuck() -> Result<Line> {
    lost_for_good(
        &["arm soft-reset-stuck times=0", "do mcu-fatal"],
        "soft-reset-stuck",
    )
}

fn no_boot() -> Result<Line> {
    lost_for_good(&["arm no-boot times=0", "do mcu-fatal"], "no-boot")
}

/// The GPU sleeps, and its L2 does not come up when a job wakes it, so often.
fn l2_stuck(times_stuck: u32, may: &[End], device_is: &str) -> Result<Line> {
    let mut faults = Faults::open()?;
    let device = Device::open()?;
    works(&device)?;
    let times = Times::of(&device);
    let binding = Binding::of(&device)?;
    let module = device.module_name();
    drop(device);
    let before = Baseline::take(module.as_deref(), None)?;
    let device = Device::open()?;
    let mut victim = Victim::new(&device)?;
    wait_for_sleep(&device, times.patience())?;
    let _back = Back(&binding);
    faults.order(&format!("arm l2-stuck times={times_stuck}"))?;
    let since = Instant::now();
    let submitted = victim.short(0);
    let fences = files(&victim.fences)?;
    let statuses = wait_for_files(&fences, times.patience())?;
    let mut line = Line {
        errors: match &submitted {
            Ok(()) => ends(&statuses),
            Err(error) => format!("submit:{error:#}").replace(' ', "_"),
        },
        bound: times.reset() * 2,
        measured: since.elapsed(),
        state: String::new(),
        bystander: "-".to_owned(),
    };
    so_far(&line);
    ensure!(
        faults.0.count("l2-stuck")? > 0,
        "the fault did not come to be"
    );
    // Nobody can wait for a job that was never taken.
    let refused = submitted
        .err()
        .and_then(|error| error.downcast_ref::<Errno>().copied())
        .map(FenceStatus::Failed);
    for status in statuses.iter().chain(&refused) {
        ensure!(
            may.iter().any(|end| end.is(*status)),
            "the job ended with {status:?}, which is none of {may:?}"
        );
    }
    ensure!(
        !statuses.is_empty() || refused.is_some(),
        "the job was neither taken nor refused"
    );
    ensure!(
        line.measured <= line.bound,
        "it took {:?}; the bound is {:?}",
        line.measured,
        line.bound
    );
    drop((fences, victim));
    drop(device);
    faults.order("reset")?;
    line.state = comes_back(&binding, times.reset())?.to_owned();
    ensure!(
        line.state == device_is,
        "the device was {}, not {device_is}",
        line.state
    );
    before.is_back(None)?;
    Ok(line)
}
