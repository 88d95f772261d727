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
use guest::sync::wait_all;
use guest::{Buffer, Job, Syncobj};

use crate::bystander::Fate;
use crate::frame::{ends, so_far, wait_for, Frame, Line};
use crate::victim::End;
use crate::Tests;

/// Name of the victim's role.
pub(crate) const ROLE: &str = "killed";
/// Jobs in flight.
const JOBS: u32 = 100;
/// Byte offset of a sync object that nobody releases.
const NEVER: u64 = 64;

/// How a job ends that was in flight. Its memory goes with its process, which it may meet before its group is gone.
const CUT_SHORT: &[End] = &[End::With(Errno::ECANCELED), End::With(Errno::EINVAL)];
/// The same for one that may have been through already.
const MAYBE_CUT_SHORT: &[End] = &[
    End::Well,
    End::With(Errno::ECANCELED),
    End::With(Errno::EINVAL),
];

/// Where the jobs are when the process is killed, and how they may end.
const PHASES: &[(&str, &str, &[End])] = &[
    ("killed_with_jobs_behind_a_fence", "fence", CUT_SHORT),
    ("killed_with_jobs_in_the_ring", "ring", CUT_SHORT),
    ("killed_with_jobs_without_a_slot", "slots", CUT_SHORT),
    ("killed_with_jobs_running", "running", MAYBE_CUT_SHORT),
    ("killed_while_submitting", "submitting", MAYBE_CUT_SHORT),
    ("killed_while_binding", "binding", CUT_SHORT),
];

pub(crate) fn tests(t: &mut Tests) {
    for (name, phase, ends) in PHASES {
        t.add(name, || killed(phase, ends));
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

fn killed(phase: &str, may: &[End]) -> Result<Line> {
    let frame = Frame::new()?;
    let fences = (0..JOBS)
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
    for (n, status) in statuses.iter().enumerate() {
        ensure!(
            may.iter().any(|end| end.is(*status)),
            "job {n} of the dead process ended with {status:?}, which is none of {may:?}"
        );
    }
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

/// What the victim does: `PHASE END...`, the latter descriptors of a sync object for each job's fence.
pub(crate) fn play(rest: &[String]) -> Result<()> {
    let (phase, rest) = rest.split_first().context("the role needs a phase")?;
    let mut gpu = Gpu::new(4)?;
    let ends = rest
        .iter()
        .map(|fd| Ok(Syncobj::import(&gpu.cx.device, &inherited(fd)?)?))
        .collect::<Result<Vec<_>>>()?;
    let (first, others) = ends.split_first().context("the role needs descriptors")?;
    let wait = gpu.wait_for(NEVER);
    let store = gpu.store(0, 1);
    let head = wait.on(0).sync(first.signal_op());
    // Jobs behind the first one, on these queues.
    let behind = |queue: fn(u32) -> u32| -> Vec<Job> {
        (0..)
            .zip(others)
            .map(|(n, end)| store.on(queue(n)).sync(end.signal_op()))
            .collect()
    };
    match phase.as_str() {
        "fence" => {
            gpu.group.submit(&[head])?;
            let jobs: Vec<Job> = behind(|n| 1 + n % 3)
                .into_iter()
                .map(|job| job.sync(first.wait_op()))
                .collect();
            gpu.group.submit(&jobs)?;
            ready()
        }
        "ring" => {
            gpu.group.submit(&[head])?;
            gpu.group.submit(&behind(|_| 0))?;
            // The head is on the GPU when a job on another queue has been there.
            gpu.run_ok(store.on(1))?;
            ready()
        }
        "slots" => {
            let endless = gpu.stream(|cs, _| {
                let top = cs.here();
                cs.branch(Condition::Always, r(0), top);
            });
            // All groups before the first job: the endless ones' time runs from there on.
            let groups = ends
                .chunks(5)
                .map(|ends| Ok((gpu.another_group(1)?, ends)))
                .collect::<Result<Vec<_>>>()?;
            for (group, ends) in &groups {
                let jobs: Vec<Job> = (0..)
                    .zip(*ends)
                    .map(|(n, end)| {
                        let stream = if n == 0 { &endless } else { &store };
                        stream.on(0).sync(end.signal_op())
                    })
                    .collect();
                group.submit(&jobs)?;
            }
            ready()
        }
        "running" => {
            let mut jobs = vec![store.on(0).sync(first.signal_op())];
            jobs.extend(behind(|n| n % 4));
            gpu.group.submit(&jobs)?;
            println!("ready");
            let all: Vec<&Syncobj> = ends.iter().collect();
            loop {
                gpu.group.submit(&jobs)?;
                wait_all(&gpu.cx.device, &all, TIMEOUT)?;
            }
        }
        "submitting" => {
            let jobs = behind(|n| 1 + n % 3);
            gpu.group.submit(&[head])?;
            gpu.group.submit(&jobs)?;
            println!("ready");
            // Faster than they run: the ioctl itself is where it is killed.
            loop {
                gpu.group.submit(&jobs)?;
            }
        }
        "binding" => {
            gpu.group.submit(&[head])?;
            gpu.group.submit(&behind(|_| 0))?;
            println!("ready");
            loop {
                drop(Buffer::new(&gpu.cx.vm, 1 << 20, 0)?);
            }
        }
        other => bail!("there is no phase {other}"),
    }
}
