// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A job that waits for a foreign fence outlives its process, and the device.

use std::time::Instant;

use anyhow::{bail, ensure, Context, Result};
use guest::ioctl::Errno;
use guest::kernel::Binding;
use guest::rig::Gpu;
use guest::sync::{sync_file_status, FenceStatus};
use guest::{Device, Syncobj};

use crate::baseline::Baseline;
use crate::device::{not_for_c, Back};
use crate::frame::{ends, so_far, works, Line};
use crate::killed::{inherited, ready, start};
use crate::times::Times;
use crate::vgem::Fence;
use crate::Tests;

/// Name of the victim's role.
pub(crate) const ROLE: &str = "foreign";

pub(crate) fn tests(t: &mut Tests) {
    t.add("foreign_fence_outlives_process_and_device", || {
        outlives(true)
    });
    t.add("foreign_fence_outlives_process", || outlives(false));
}

fn outlives(unbind: bool) -> Result<Line> {
    let device = Device::open()?;
    if unbind {
        not_for_c(&device, "it does not survive an unbind with jobs")?;
    }
    works(&device)?;
    let times = Times::of(&device);
    let binding = Binding::of(&device)?;
    let _back = Back(&binding);
    let module = device.module_name();
    // The first fence loads the module that makes them.
    drop(Fence::new()?);
    drop(device);
    let before = Baseline::take(module.as_deref(), None)?;

    let (fence, foreign) = Fence::new()?;
    let device = Device::open()?;
    let end = Syncobj::new(&device)?;
    let fd = end.export()?;
    let mut child = start(&[ROLE], &[&foreign, &fd])?;
    let end_file = end.export_sync_file()?;
    ensure!(
        sync_file_status(&end_file)? == FenceStatus::Active,
        "the job did not wait for the foreign fence"
    );
    child.kill().context("kill the victim")?;
    child.wait().context("wait for the victim")?;
    drop((end, fd, device));
    let mut since = Instant::now();
    if unbind {
        binding.unbind().context("unbind while a job waits")?;
        ensure!(!binding.is_bound(), "unbind did nothing");
        ensure!(
            since.elapsed() <= times.reset(),
            "unbind took {:?}, as if it waited for the foreign fence",
            since.elapsed()
        );
        since = Instant::now();
    }
    fence.signal()?;
    let done = guest::kernel::poll(times.patience(), || {
        Ok(sync_file_status(&end_file)? != FenceStatus::Active)
    })?;
    let status = sync_file_status(&end_file)?;
    let line = Line {
        errors: ends(&[status]),
        bound: times.at_once(),
        measured: since.elapsed(),
        state: "gone".to_owned(),
        bystander: "-".to_owned(),
    };
    so_far(&line);
    ensure!(
        done && status == FenceStatus::Failed(Errno::ECANCELED),
        "the dead process's job ended with {status:?}"
    );
    ensure!(line.measured <= line.bound, "its end came late");
    drop((fence, foreign, end_file));
    if unbind {
        binding.bind().context("bind again")?;
    }
    works(&Device::open()?).context("in the end")?;
    before.is_back(None)?;
    Ok(line)
}

/// What the victim does: `FENCE END`, descriptors of a sync file to wait for and of a sync object to signal.
pub(crate) fn play(rest: &[String]) -> Result<()> {
    let [fence, end] = rest else {
        bail!("the role {ROLE} needs two descriptors");
    };
    let mut gpu = Gpu::new(1)?;
    let wait = gpu.cx.syncobj()?;
    wait.import_sync_file(&inherited(fence)?)
        .context("import the foreign fence")?;
    let end = Syncobj::import(&gpu.cx.device, &inherited(end)?)?;
    let store = gpu.store(0, 1);
    for _ in 0..20 {
        let job = store.on(0).sync(wait.wait_op());
        gpu.group.submit(&[job.sync(end.signal_op())])?;
    }
    ready()
}
