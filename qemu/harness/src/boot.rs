// SPDX-License-Identifier: GPL-2.0 OR MIT

//! One boot: files, processes, and the judgement of what they said.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use rustix::fs::{flock, FlockOperation};
use rustix::io::Errno;

use crate::device_tree;
use crate::guest;
use crate::machine::{self, Event, Process, Source};
use crate::plan::Plan;
use crate::report::{Outcome, Recorder};
use crate::settings::Settings;
use crate::ui::Ui;

/// The guest reaches its init within this time even on a loaded machine.
const BOOT_LIMIT: Duration = Duration::from_secs(300);
/// What a step may take beyond its own limit, which the guest itself enforces.
const GRACE: Duration = Duration::from_secs(60);
/// QEMU's end after the guest's last word.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(60);
/// Name of the socket at which the model takes the orders of tests.
const CONTROL: &str = "control";
/// The model serves its socket within this time.
const MODEL_LIMIT: Duration = Duration::from_secs(20);

/// Boots the machine, runs the plan and says what came out.
///
/// # Errors
///
/// When the boot could not be set up: a file is missing or a program does not
/// start. What goes wrong in the guest is in the outcome.
pub(crate) fn run(settings: &Settings, plan: &Plan, ui: &Ui) -> Result<Outcome> {
    let (logs, _lock) = log_folder(&settings.logs, &plan.name)?;
    // A short path: a socket's name has at most 107 bytes.
    let work = tempfile::Builder::new()
        .prefix("magni-")
        .tempdir_in("/tmp")
        .context("creating a temporary folder in /tmp")?;
    let initramfs = logs.join("initramfs");
    let blob = logs.join("guest.dtb");
    ui.doing("preparing the guest's files");
    guest::write_initramfs(settings, plan, &initramfs)?;
    device_tree::write(plan.device_tree, &plan.machine, &blob)?;

    let (sender, events) = mpsc::channel();
    let mut recorder = Recorder::new(plan, &logs)?;
    let socket = work.path().join("gpu");
    let model = if settings.no_gpu {
        None
    } else {
        ui.doing("starting the emulated GPU");
        Some(start_model(
            settings,
            plan,
            &socket,
            &sender,
            &events,
            &mut recorder,
        )?)
    };
    ui.doing("booting Linux");
    let mut boot = Boot {
        plan,
        ui,
        recorder,
        model,
        qemu: start_qemu(settings, plan, work.path(), &initramfs, &blob, &sender)?,
    };
    drop(sender);
    let followed = boot.follow(&events);
    // Large, and made anew by the next boot.
    fs::remove_file(&initramfs).with_context(|| format!("removing {}", initramfs.display()))?;
    followed?;
    Ok(boot.recorder.finish())
}

/// A folder for the boot's files and logs, locked while the boot runs.
///
/// Where another boot of the same name runs, the folder gets a number.
fn log_folder(parent: &Path, name: &str) -> Result<(PathBuf, File)> {
    for number in 1.. {
        let folder = match number {
            1 => parent.join(name),
            _ => parent.join(format!("{name}.{number}")),
        };
        fs::create_dir_all(&folder)
            .with_context(|| format!("creating the log folder {}", folder.display()))?;
        let lock = folder.join("lock");
        let file = File::create(&lock).with_context(|| format!("creating {}", lock.display()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok((folder, file)),
            Err(Errno::WOULDBLOCK) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("locking {}", lock.display()));
            }
        }
    }
    bail!("no log folder is free in {}", parent.display())
}

/// Starts the model and waits until it serves `socket`.
fn start_model(
    settings: &Settings,
    plan: &Plan,
    socket: &Path,
    sender: &Sender<Event>,
    events: &Receiver<Event>,
    recorder: &mut Recorder,
) -> Result<Process> {
    let program = settings.model();
    ensure!(
        program.exists(),
        "{} is missing: build it with make",
        program.display()
    );
    let mut command = Command::new(&program);
    command
        .arg("--socket")
        .arg(socket)
        .arg("--control")
        .arg(socket.with_file_name(CONTROL))
        .args(settings.model_args.split_whitespace())
        .args(&plan.model_args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut model = Process::spawn(&mut command)?;
    if let Some(stream) = model.child().stderr.take() {
        machine::read_lines(Source::Model, stream, sender.clone());
    }
    let deadline = Instant::now() + MODEL_LIMIT;
    while !socket.exists() {
        if let Some(status) = model.ended()? {
            while let Ok(event) = events.try_recv() {
                recorder.event(&event)?;
            }
            bail!(
                "the emulated GPU ended at once ({status}): {}",
                recorder.last_of(Source::Model)
            );
        }
        ensure!(
            Instant::now() < deadline,
            "the emulated GPU does not serve its socket after {} s",
            MODEL_LIMIT.as_secs()
        );
        if let Ok(event) = events.recv_timeout(Duration::from_millis(20)) {
            recorder.event(&event)?;
        }
    }
    Ok(model)
}

/// Starts QEMU with its serial ports connected to the event channel.
fn start_qemu(
    settings: &Settings,
    plan: &Plan,
    work: &Path,
    initramfs: &Path,
    blob: &Path,
    sender: &Sender<Event>,
) -> Result<Process> {
    let kernel = settings.image(plan.kernel)?;
    ensure!(
        kernel.exists(),
        "{} is missing: run make setup",
        kernel.display()
    );
    let port = work.join("port");
    let listener = UnixListener::bind(&port).context("creating the guest port's socket")?;
    let mut command = Command::new(machine::QEMU);
    command
        .args(machine::arguments(&plan.machine))
        .args(&plan.machine.extra)
        .arg("-kernel")
        .arg(&kernel)
        .arg("-initrd")
        .arg(initramfs)
        .arg("-dtb")
        .arg(blob)
        .args(["-append", &plan.command_line()])
        .arg("-chardev")
        .arg(format!("socket,id=guest,path={}", port.display()));
    if plan.interactive {
        command.args(["-serial", "mon:stdio"]);
    } else {
        command
            .args(["-serial", "stdio"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }
    command.args(["-serial", "chardev:guest"]);
    if !settings.no_gpu {
        command
            .arg("-device")
            .arg(machine::gpu_device(&work.join("gpu")))
            .args(machine::control_port(&work.join(CONTROL)));
    }
    let mut qemu = Process::spawn(&mut command)?;
    if let Some(stream) = qemu.child().stdout.take() {
        machine::read_lines(Source::Console, stream, sender.clone());
    }
    if let Some(stream) = qemu.child().stderr.take() {
        machine::read_lines(Source::Qemu, stream, sender.clone());
    }
    let sender = sender.clone();
    std::thread::spawn(move || {
        // Fails only when QEMU ends before it connects, which its exit shows.
        if let Ok((stream, _)) = listener.accept() {
            machine::read_lines(Source::Guest, stream, sender);
        }
    });
    Ok(qemu)
}

/// A running boot.
struct Boot<'a> {
    plan: &'a Plan,
    ui: &'a Ui,
    recorder: Recorder,
    model: Option<Process>,
    qemu: Process,
}

impl Boot<'_> {
    /// Takes events until the guest has powered off, died or used up its time.
    fn follow(&mut self, events: &Receiver<Event>) -> Result<()> {
        let mut deadline = Instant::now() + BOOT_LIMIT;
        loop {
            let wait = if self.plan.interactive {
                Duration::from_secs(3600)
            } else {
                deadline.saturating_duration_since(Instant::now())
            };
            match events.recv_timeout(wait) {
                Ok(Event::End(Source::Console | Source::Guest)) => break,
                Ok(event) => {
                    if self.recorder.event(&event)? {
                        deadline = Instant::now() + self.limit();
                    }
                    self.ui.event(&event, &self.recorder);
                }
                Err(RecvTimeoutError::Timeout) if self.plan.interactive => {}
                Err(RecvTimeoutError::Timeout) => {
                    self.recorder.timed_out();
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.qemu.finish(POWER_OFF_LIMIT)?;
        let model_died = match &mut self.model {
            // It ends by itself when QEMU goes away, with success.
            Some(model) => model
                .finish(Duration::from_secs(5))?
                .filter(|status| !status.success()),
            None => None,
        };
        // The last lines, of the console too, which ends with QEMU.
        while let Ok(event) = events.recv_timeout(Duration::from_millis(200)) {
            self.recorder.event(&event)?;
            self.ui.event(&event, &self.recorder);
        }
        self.recorder.ended(status, model_died);
        self.ui.clear();
        Ok(())
    }

    /// How long the phase that has just begun may take.
    fn limit(&self) -> Duration {
        match self.recorder.current() {
            Some(step) => step.limit + GRACE,
            None => GRACE,
        }
    }
}

/// Writes text to a log file.
pub(crate) struct Log {
    file: File,
    path: PathBuf,
}

impl Log {
    /// Starts the log `name` in the folder `dir`.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(crate) fn create(dir: &Path, name: &str) -> Result<Self> {
        let path = dir.join(name);
        let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self { file, path })
    }

    /// Adds a line.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(crate) fn line(&mut self, line: &str) -> Result<()> {
        writeln!(self.file, "{line}").with_context(|| format!("writing {}", self.path.display()))
    }
}
