// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The firmware writes garbage into everything it may write, while several processes run jobs.
//!
//! Whatever becomes of the jobs: each fence is signalled in the end, and when the garbage stops the GPU works again.

use std::env;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use guest::kernel::{poll, Binding};
use guest::rig::Gpu;
use guest::sync::{wait_all, FenceStatus};
use guest::{Device, GroupConfig};

use crate::baseline::Baseline;
use crate::frame::{works, works_within, Line};
use crate::model::Faults;
use crate::times::Times;
use crate::Tests;

/// Name of the role of the processes with the jobs.
pub(crate) const ROLE: &str = "soak";
/// How many there are.
const PROCESSES: usize = 3;
/// Words of garbage in a second.
const PER_S: u32 = 200;
/// How long each test writes.
const SHORT: Duration = Duration::from_secs(4);

pub(crate) fn tests(t: &mut Tests) {
    for (name, place) in [
        ("garbage_in_the_global_block", "glb"),
        ("garbage_in_group_blocks", "csg"),
        ("garbage_in_stream_blocks", "cs"),
        ("garbage_in_ring_pointers", "ring"),
        ("garbage_in_event_bits", "events"),
    ] {
        t.add(name, move || garbage(place, SHORT, 1));
    }
}

/// `faults --soak SECONDS`.
pub(crate) fn run_for(seconds: Option<&String>) -> Result<()> {
    let seconds: u64 = seconds
        .context("--soak needs a number of seconds")?
        .parse()
        .context("--soak needs a number of seconds")?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut round = 0;
    while Instant::now() < end {
        round += 1;
        let left = end.saturating_duration_since(Instant::now());
        let line = garbage("any", left.min(Duration::from_secs(20)), round)
            .with_context(|| format!("round {round}"))?;
        println!("FAULT name=soak_{round} {line} outcome=ok");
    }
    println!("soak: passed: {round} rounds");
    Ok(())
}

/// Ends with the process that has the jobs.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Worker {
    fn start() -> Result<Self> {
        let child = Command::new(env::current_exe()?)
            .args(["--role", ROLE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a process")?;
        Ok(Self(child))
    }

    /// Tells it to stop; gives its last word.
    fn stop(mut self) -> Result<String> {
        drop(self.0.stdin.take());
        let mut word = String::new();
        if let Some(stdout) = self.0.stdout.take() {
            BufReader::new(stdout).read_line(&mut word)?;
        }
        let status = self.0.wait().context("wait for a process")?;
        ensure!(status.success(), "{}", word.trim());
        Ok(word.trim().to_owned())
    }
}

fn garbage(place: &str, time: Duration, seed: u64) -> Result<Line> {
    let mut faults = Faults::open()?;
    let device = Device::open()?;
    let times = Times::of(&device);
    let binding = Binding::of(&device)?;
    works(&device)?;
    let module = device.module_name();
    drop(device);
    let before = Baseline::take(module.as_deref(), None)?;
    let workers = (0..PROCESSES)
        .map(|_| Worker::start())
        .collect::<Result<Vec<_>>>()?;
    let order = format!(
        "arm garbage where={place} seed={seed} per_s={PER_S} for_ms={}",
        time.as_millis()
    );
    faults.order(&order)?;
    // Time has to pass: it is what the test is about.
    thread::sleep(time);
    let words = faults.0.count("garbage")?;
    faults.order("disarm all")?;
    let since = Instant::now();
    // The driver may have given up a GPU that cannot be reset; that is for whoever looks at it to put right.
    let bound = times.patience();
    let mut kept = "kept";
    if !poll(Duration::ZERO, || Ok(Device::open().is_ok()))? {
        kept = "given_up";
        binding.bind().context("bind the device again")?;
    }
    works_within(&Device::open()?, bound).context("after the garbage has stopped")?;
    let measured = since.elapsed();
    let said = workers
        .into_iter()
        .map(Worker::stop)
        .collect::<Result<Vec<_>>>()?;
    faults.order("reset")?;
    ensure!(words > 0, "no garbage was written");
    before.is_back(None)?;
    Ok(Line {
        errors: said.join("+").replace(' ', ","),
        bound,
        measured,
        state: kept.to_owned(),
        bystander: format!("words={words}"),
    })
}

/// What each process does: jobs, whatever becomes of them, until it is told to stop.
pub(crate) fn play() -> Result<()> {
    let device = Device::open()?;
    let patience = Times::of(&device).patience();
    let (mut well, mut failed, mut groups) = (0u64, 0u64, 0u64);
    while !told_to_stop() {
        match group(&device, patience, &mut well, &mut failed) {
            Ok(()) => groups += 1,
            Err(error) if error.is::<Stuck>() => return Err(error),
            // No group, no memory mapped, a dead group: that is what garbage does.
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
    println!("well={well} failed={failed} groups={groups}");
    Ok(())
}

/// A fence that is not signalled.
#[derive(Debug, thiserror::Error)]
#[error("{0} fences are not signalled")]
struct Stuck(usize);

/// Jobs in one group, until they fail or there were enough.
fn group(device: &Device, patience: Duration, well: &mut u64, failed: &mut u64) -> Result<()> {
    let mut gpu = Gpu::on(device, &GroupConfig::queues(2))?;
    let stores: Vec<_> = (0..8).map(|n| gpu.store(4 * u64::from(n), n)).collect();
    for _ in 0..20 {
        let ends = (0..8)
            .map(|_| gpu.cx.syncobj())
            .collect::<Result<Vec<_>>>()?;
        let jobs: Vec<_> = (0u32..)
            .zip(&stores)
            .zip(&ends)
            .map(|((n, store), end)| store.on(n % 2).sync(end.signal_op()))
            .collect();
        gpu.group.submit(&jobs)?;
        let all: Vec<_> = ends.iter().collect();
        // Who is late is counted below.
        let _ = wait_all(device, &all, patience);
        let mut stuck = 0;
        for end in &ends {
            match end.status()? {
                FenceStatus::Active => stuck += 1,
                FenceStatus::Signaled => *well += 1,
                FenceStatus::Failed(_) => *failed += 1,
            }
        }
        if stuck > 0 {
            bail!(Stuck(stuck));
        }
        if told_to_stop() {
            break;
        }
    }
    Ok(())
}

/// Whether the standard input has ended.
fn told_to_stop() -> bool {
    let mut poll = libc::pollfd {
        fd: io::stdin().as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: `poll` is one element, valid for reading and writing.
    unsafe { libc::poll(&mut poll, 1, 0) > 0 }
}
