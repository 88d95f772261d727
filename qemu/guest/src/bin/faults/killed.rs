// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Processes that are killed with a hundred jobs in flight, in every phase that a job goes through.

use std::env;
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{bail, ensure, Context, Result};
use guest::cs::{r, Condition};
use guest::ioctl::Errno;
use guest::rig::{Gpu, TIMEOUT};
use guest::sync::FenceStatus;
use guest::{Buffer, Job, Syncobj};

use crate::bystander::Fate;
use crate::frame::{ends, so_far, wait_for, Frame, Line};
use crate::Tests;

/// Name of the victim's role.
pub(crate) const ROLE: &str = "killed";
/// Jobs in flight.
const JOBS: u32 = 100;
/// Byte offset of a sync object that nobody releases.
const NEVER: u64 = 64;

/// Where the jobs are when the process is killed.
const PHASES: &[(&str, &str)] = &[
    ("killed_with_jobs_behind_a_fence", "fence"),
    ("killed_with_jobs_in_the_ring", "ring"),
    ("killed_with_jobs_without_a_slot", "slots"),
    ("killed_with_jobs_running", "running"),
    ("killed_while_submitting", "submitting"),
    ("killed_while_binding", "binding"),
];

pub(crate) fn tests(t: &mut Tests) {
    for (name, phase) in PHASES {
        t.add(name, || killed(phase));
    }
}

/// Starts this program in a role, with a descriptor to inherit as its last argument; it is ready when this returns.
pub(crate) fn start(role: &[&str], fds: &[&OwnedFd]) -> Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("--role").args(role);
    for fd in fds {
        // SAFETY: this changes a flag of a descriptor that we own.
        let ret = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) };
        ensure!(ret == 0, "clear FD_CLOEXEC: {}", Errno::last());
        command.arg(fd.as_raw_fd().to_string());
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start the role {role:?}"))?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    if line.trim_end() != "ready" {
        // It has ended, or has to.
        let _ = child.kill();
        let _ = child.wait();
        bail!("the role {role:?} is not ready: {:?}", line.trim_end());
    }
    Ok(child)
}

/// A descriptor that was inherited.
pub(crate) fn inherited(text: &str) -> Result<OwnedFd> {
    let fd = text.parse().context("a descriptor's number")?;
    // SAFETY: whoever started this role made the descriptor for it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Tells the parent that all is set up, and waits until it is gone.
pub(crate) fn ready() -> Result<()> {
    println!("ready");
    for line in io::stdin().lines() {
        line?;
    }
    Ok(())
}

fn killed(phase: &str) -> Result<Line> {
    let frame = Frame::new()?;
    let fences = (0..2)
        .map(|_| Ok(Syncobj::new(&frame.device)?))
        .collect::<Result<Vec<_>>>()?;
    let fds = fences
        .iter()
        .map(|fence| Ok(fence.export()?))
        .collect::<Result<Vec<_>>>()?;
    let all: Vec<&OwnedFd> = fds.iter().collect();
    let mut child = start(&[ROLE, phase], &all)?;
    let struck = Instant::now();
    child.kill().context("kill the victim")?;
    child.wait().context("wait for the victim")?;
    drop(fds);
    let statuses = wait_for(&frame.device, &fences, frame.times.patience())?;
    let mut line = Line {
        errors: ends(&statuses),
        bound: frame.times.at_once(),
        measured: struck.elapsed(),
        state: "gone".to_owned(),
        ..Line::default()
    };
    so_far(&line);
    ensure!(
        statuses.iter().all(|status| *status != FenceStatus::Active),
        "the dead process's jobs are {statuses:?}"
    );
    ensure!(
        line.measured <= line.bound,
        "it took {:?} to signal the fences; the bound is {:?}",
        line.measured,
        line.bound
    );
    drop(fences);
    frame.end(&mut line, Fate::Unharmed)?;
    Ok(line)
}

/// What the victim does: `PHASE FIRST LAST`, the latter two descriptors of sync objects for these jobs' fences.
pub(crate) fn play(rest: &[String]) -> Result<()> {
    let [phase, first, last] = rest else {
        bail!("the role {ROLE} needs a phase and two descriptors");
    };
    let mut gpu = Gpu::new(4)?;
    let first = Syncobj::import(&gpu.cx.device, &inherited(first)?)?;
    let last = Syncobj::import(&gpu.cx.device, &inherited(last)?)?;
    let wait = gpu.wait_for(NEVER);
    let store = gpu.store(0, 1);
    let head = wait.on(0).sync(first.signal_op());
    match phase.as_str() {
        "fence" => {
            gpu.group.submit(&[head])?;
            let mut jobs: Vec<Job> = (1..JOBS)
                .map(|n| store.on(1 + n % 2).sync(first.wait_op()))
                .collect();
            jobs.push(store.on(3).sync(first.wait_op()).sync(last.signal_op()));
            gpu.group.submit(&jobs)?;
            ready()
        }
        "ring" => {
            let mut jobs = vec![head];
            jobs.extend((2..JOBS).map(|_| store.on(0)));
            jobs.push(store.on(0).sync(last.signal_op()));
            gpu.group.submit(&jobs)?;
            // The head is on the GPU when a job on another queue has been there.
            gpu.run_ok(store.on(1))?;
            ready()
        }
        "slots" => {
            let endless = gpu.stream(|cs, _| {
                let top = cs.here();
                cs.branch(Condition::Always, r(0), top);
            });
            let mut groups = Vec::new();
            for n in 0..JOBS / 5 {
                let group = gpu.another_group(1)?;
                let mut jobs = vec![endless.on(0)];
                jobs.extend((0..3).map(|_| store.on(0)));
                jobs.push(store.on(0));
                let end = if n == 0 { &first } else { &last };
                jobs[4].syncs.push(end.signal_op());
                group.submit(&jobs)?;
                groups.push(group);
            }
            ready()
        }
        "running" => {
            let jobs: Vec<Job> = (0..JOBS)
                .map(|n| store.on(n % 4).sync(last.signal_op()))
                .collect();
            gpu.group.submit(&[store.on(0).sync(first.signal_op())])?;
            gpu.group.submit(&jobs)?;
            println!("ready");
            loop {
                gpu.group.submit(&jobs)?;
                last.wait(TIMEOUT)?;
            }
        }
        "submitting" => {
            gpu.group
                .submit(&[head, store.on(1).sync(last.signal_op())])?;
            println!("ready");
            let jobs: Vec<Job> = (0..JOBS)
                .map(|n| store.on(1 + n % 3).sync(last.signal_op()))
                .collect();
            // Faster than they run: the ioctl itself is where it is killed.
            loop {
                gpu.group.submit(&jobs)?;
            }
        }
        "binding" => {
            let mut jobs = vec![head];
            jobs.extend((2..JOBS).map(|_| store.on(0)));
            jobs.push(store.on(0).sync(last.signal_op()));
            gpu.group.submit(&jobs)?;
            println!("ready");
            loop {
                drop(Buffer::new(&gpu.cx.vm, 1 << 20, 0)?);
            }
        }
        other => bail!("there is no phase {other}"),
    }
}
