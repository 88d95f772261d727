// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The program as a helper process of its own tests: `conformance --role NAME [ARGUMENT]`.
//!
//! A helper says what it has to say on its standard output, line by line, and ends when its standard input does.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use anyhow::{bail, ensure, Context, Result};
use guest::cs::{d, r, Condition, Scope};
use guest::ioctl::Errno;
use guest::{Device, Syncobj};

use crate::cx::{Gpu, TIMEOUT};
use crate::{group, later};

/// Checks which groups a process without privileges may create.
pub(crate) const UNPRIVILEGED_GROUPS: &str = "unprivileged-groups";
/// Checks what the driver tells a process without privileges that it may do.
pub(crate) const UNPRIVILEGED_QUERY: &str = "unprivileged-query";
/// Runs as many jobs as each line of its input says.
const RUNNER: &str = "runner";
/// Leaves a job running that waits for ever.
pub(crate) const BLOCKED: &str = "blocked";
/// Leaves a job running that loops for ever.
pub(crate) const LOOPING: &str = "looping";

/// The user id of nobody.
const NOBODY: u32 = 65534;

/// Plays a role if the command line asks for one.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let args: Vec<String> = env::args().collect();
    let [_, flag, role, rest @ ..] = &args[..] else {
        return None;
    };
    if flag != "--role" {
        return None;
    }
    let result = match role.as_str() {
        UNPRIVILEGED_GROUPS => unprivileged(group::unprivileged_role),
        UNPRIVILEGED_QUERY => unprivileged(later::unprivileged_role),
        RUNNER => runner(),
        BLOCKED | LOOPING => holder(role, rest),
        _ => Err(anyhow::anyhow!("there is no role {role}")),
    };
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            println!("{role}: {e:#}");
            ExitCode::FAILURE
        }
    })
}

fn spawn(role: &str, arguments: &[String]) -> Result<Child> {
    Command::new(env::current_exe()?)
        .args(["--role", role])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start a process for the role {role}"))
}

/// Runs a role that ends by itself.
pub(crate) fn run_to_end(role: &str) -> Result<()> {
    let output = spawn(role, &[])?.wait_with_output()?;
    ensure!(
        output.status.success(),
        "the other process ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout).trim()
    );
    Ok(())
}

/// Opens the device, becomes nobody, and goes on with `check`.
fn unprivileged(check: fn(Device) -> Result<()>) -> Result<()> {
    let device = Device::open()?;
    // SAFETY: these change the credentials of this process only.
    let dropped = unsafe { libc::setgid(NOBODY) == 0 && libc::setuid(NOBODY) == 0 };
    ensure!(dropped, "cannot drop privileges: {}", Errno::last());
    check(device)
}

/// A process that runs jobs when told to, and must not notice what happens to others.
pub(crate) struct Runner {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Drop for Runner {
    fn drop(&mut self) {
        // Without input it ends by itself, unless the GPU is stuck: then it must not outlive the test.
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Runner {
    /// Starts it.
    pub(crate) fn start() -> Result<Self> {
        let mut child = spawn(RUNNER, &[])?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("the process has no output")?;
        Ok(Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        })
    }

    /// Tells it to run `jobs` jobs, and does not wait.
    pub(crate) fn begin(&mut self, jobs: u32) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the process has no input")?;
        writeln!(stdin, "{jobs}").context("tell the other process")
    }

    /// Waits until it has run the `jobs` jobs it was last told to run.
    pub(crate) fn end(&mut self, jobs: u32) -> Result<()> {
        let line = read_line(&mut self.stdout)?;
        ensure!(
            line == format!("ran {jobs}"),
            "the other process did not go on: {line:?}"
        );
        Ok(())
    }

    /// Has it run `jobs` jobs.
    pub(crate) fn run(&mut self, jobs: u32) -> Result<()> {
        self.begin(jobs)?;
        self.end(jobs)
    }
}

fn read_line(from: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)
        .context("read from the other process")?;
    Ok(line.trim_end().to_owned())
}

fn runner() -> Result<()> {
    let mut gpu = Gpu::new(2)?;
    // Adds one to a counter, by a chain through both queues.
    let add = gpu.stream(|cs, va| {
        cs.move48(d(0), va)
            .load32(r(2), d(0), 0)
            .wait(crate::cx::LS_MASK)
            .add_imm32(r(2), r(2), 1)
            .store32(r(2), d(0), 0)
            .wait(crate::cx::LS_MASK);
    });
    let mut total = 0;
    for line in io::stdin().lines() {
        let jobs: u32 = line?.parse().context("how many jobs?")?;
        for n in 0..jobs {
            gpu.run_ok(add.on(n % 2))?;
        }
        total += jobs;
        let counter: u32 = gpu.data.read(0);
        if counter != total {
            bail!("the counter is {counter} after {total} jobs");
        }
        println!("ran {jobs}");
    }
    Ok(())
}

/// A process with a job that does not end.
pub(crate) struct Holder {
    child: Child,
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Holder {
    /// Starts one in the given role; its endless job, which is on the GPU, signals `done`.
    pub(crate) fn start(role: &str, done: &Syncobj) -> Result<Self> {
        let fd = done.export().context("export a sync object")?;
        inherit(&fd)?;
        let mut child = spawn(role, &[fd.as_raw_fd().to_string()])?;
        let stdout = child.stdout.take().context("the process has no output")?;
        let holder = Self { child };
        let line = read_line(&mut BufReader::new(stdout))?;
        ensure!(line == "ready", "the other process is not ready: {line:?}");
        Ok(holder)
    }

    /// Kills it at once.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill().context("kill the other process")?;
        self.child.wait().context("wait for the other process")?;
        Ok(())
    }
}

/// Lets child processes inherit a file descriptor.
fn inherit(fd: &OwnedFd) -> Result<()> {
    // SAFETY: this changes a flag of a descriptor that we own.
    let ret = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) };
    ensure!(ret == 0, "clear FD_CLOEXEC: {}", Errno::last());
    Ok(())
}

fn holder(role: &str, rest: &[String]) -> Result<()> {
    const STARTED: u64 = 0;
    const NEVER: u64 = 64;

    let [fd] = rest else {
        bail!("the role {role} needs a file descriptor");
    };
    // SAFETY: whoever started this role made the descriptor for it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd.parse()?) };
    let mut gpu = Gpu::new(2)?;
    let ended = Syncobj::import(&gpu.cx.device, &fd).context("import the sync object")?;

    let looping = role == LOOPING;
    let endless = gpu.stream(|cs, va| {
        cs.move48(d(0), va + STARTED)
            .move48(d(2), 1)
            .sync_set64(d(0), d(2), Scope::System);
        if looping {
            let top = cs.here();
            cs.branch(Condition::Always, r(0), top);
        } else {
            cs.move48(d(0), va + NEVER)
                .move48(d(2), 0)
                .sync_wait64_gt(d(0), d(2));
        }
    });
    let witness = gpu.wait_for(STARTED);
    let started = gpu.cx.syncobj()?;
    gpu.group.submit(&[
        endless.on(0).sync(ended.signal_op()),
        witness.on(1).sync(started.signal_op()),
    ])?;
    started
        .wait(TIMEOUT)
        .context("wait for the endless job to begin")?;
    println!("ready");
    // Until killed, or until the parent is gone.
    for line in io::stdin().lines() {
        line?;
    }
    Ok(())
}
