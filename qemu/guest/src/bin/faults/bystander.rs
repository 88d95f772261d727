// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A process that runs jobs all along, has all their results checked, and must not notice what happens to others.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use guest::cs::{d, r};
use guest::group::Stream;
use guest::rig::{Gpu, LS_MASK};
use guest::sync::{wait_all, FenceStatus};
use guest::{Device, Errno, GroupConfig};

use crate::times::Times;

/// Name of its role.
pub(crate) const ROLE: &str = "bystander";
/// Jobs in each round.
const ROUND: u32 = 8;

/// What has to become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It notices nothing.
    Unharmed,
    /// Its group may be lost with everything else on the GPU, but never a result that was said to be there.
    MayLose,
}

/// What it says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word(String);

impl Word {
    /// Whether it lost a group.
    fn lost(&self) -> bool {
        !self.0.starts_with("lost=0 ")
    }

    /// For the test's line.
    pub(crate) fn short(&self) -> String {
        self.0.trim().replace(' ', ",")
    }
}

/// The process, seen from its parent.
pub(crate) struct Bystander {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Drop for Bystander {
    fn drop(&mut self) {
        // Without input it ends by itself, unless the GPU is stuck: then it must not outlive the test.
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bystander {
    /// Starts it; its jobs run when this returns.
    pub(crate) fn start() -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(["--role", ROLE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the bystander")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("it has no output")?;
        let mut bystander = Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        };
        let word = bystander.ask(2).context("before the fault")?;
        ensure!(!word.lost(), "before the fault: {}", word.0);
        Ok(bystander)
    }

    /// Has it run `rounds` more rounds, and say how it fares.
    pub(crate) fn ask(&mut self, rounds: u32) -> Result<Word> {
        let stdin = self.stdin.as_mut().context("it has no input")?;
        writeln!(stdin, "{rounds}").context("ask the bystander")?;
        let mut line = String::new();
        self.stdout
            .read_line(&mut line)
            .context("hear the bystander")?;
        match line.trim_end().strip_prefix("well ") {
            Some(word) => Ok(Word(word.to_owned())),
            None => bail!("the bystander: {:?}", line.trim_end()),
        }
    }

    /// Its last word; it must have had this fate, and works still.
    pub(crate) fn end(mut self, fate: Fate) -> Result<Word> {
        let word = self.ask(4)?;
        ensure!(
            fate == Fate::MayLose || !word.lost(),
            "the bystander lost its group: {}",
            word.0
        );
        Ok(word)
    }
}

/// Its group and what it adds up.
struct Adder {
    gpu: Gpu,
    add: Stream,
}

impl Adder {
    fn new(device: &Device) -> Result<Self> {
        let mut gpu = Gpu::on(device, &GroupConfig::queues(2))?;
        let add = gpu.stream(|cs, va| {
            cs.move48(d(0), va)
                .load32(r(2), d(0), 0)
                .wait(LS_MASK)
                .add_imm32(r(2), r(2), 1)
                .store32(r(2), d(0), 0)
                .wait(LS_MASK);
        });
        Ok(Self { gpu, add })
    }

    /// Adds one with each job, each on the other queue than the one before; `None` if the group was lost.
    fn round(&self, patience: Duration) -> Result<Option<()>> {
        let before: u32 = self.gpu.data.read(0);
        let link = self.gpu.cx.syncobj()?;
        let ends = (0..ROUND)
            .map(|_| self.gpu.cx.syncobj())
            .collect::<Result<Vec<_>>>()?;
        let jobs: Vec<_> = (0..ROUND)
            .zip(&ends)
            .map(|(n, end)| {
                let job = self.add.on(n % 2).sync(end.signal_op());
                let job = job.sync(link.signal_op());
                match n {
                    0 => job,
                    _ => job.sync(link.wait_op()),
                }
            })
            .collect();
        match self.gpu.group.submit(&jobs) {
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ECANCELED) => return Ok(None),
            Err(e) => return Err(e).context("submit"),
        }
        let all: Vec<_> = ends.iter().collect();
        wait_all(&self.gpu.cx.device, &all, patience).context("wait for its jobs")?;
        for end in &ends {
            if end.status()? != FenceStatus::Signaled {
                return Ok(None);
            }
        }
        let after: u32 = self.gpu.data.read(0);
        ensure!(
            after == before + ROUND,
            "{ROUND} jobs ended well, but took its counter from {before} to {after}"
        );
        Ok(Some(()))
    }
}

/// What the process does.
pub(crate) fn play() -> Result<()> {
    let device = Device::open()?;
    let patience = Times::of(&device).patience();
    let mut adder = Adder::new(&device)?;
    let (mut rounds, mut lost, mut states) = (0u64, 0, Vec::new());
    let mut input = Input::default();
    let mut owed = 0;
    loop {
        match adder.round(patience)? {
            Some(()) => {
                rounds += 1;
                if owed > 0 {
                    owed -= 1;
                    if owed == 0 {
                        println!(
                            "well lost={lost} jobs={} states={}",
                            rounds * u64::from(ROUND),
                            states.join("+")
                        );
                    }
                }
            }
            None => {
                lost += 1;
                states.push(format!("{:#x}", adder.gpu.group.state()?.state));
                adder = again(&device, patience)?;
            }
        }
        match input.line()? {
            Some(line) if line.is_empty() => return Ok(()),
            Some(line) => owed = line.trim().parse().context("how many rounds?")?,
            None => {}
        }
    }
}

/// A new group; while the GPU is being reset there may be none.
fn again(device: &Device, patience: Duration) -> Result<Adder> {
    let start = Instant::now();
    loop {
        match Adder::new(device) {
            Ok(adder) => return Ok(adder),
            Err(e) if start.elapsed() > patience => return Err(e).context("a new group"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// The standard input, looked at without waiting.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
}

impl Input {
    /// A line if there is one; an empty one at the end.
    fn line(&mut self) -> Result<Option<String>> {
        let mut poll = libc::pollfd {
            fd: io::stdin().as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: `poll` is one element, valid for reading and writing.
        if unsafe { libc::poll(&mut poll, 1, 0) } <= 0 {
            return Ok(None);
        }
        self.bytes.clear();
        io::stdin()
            .lock()
            .read_until(b'\n', &mut self.bytes)
            .context("read the orders")?;
        Ok(Some(String::from_utf8_lossy(&self.bytes).into_owned()))
    }
}
