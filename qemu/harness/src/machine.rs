// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The emulated machine: QEMU's arguments, and child processes that end with the harness.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

/// The emulator's program.
pub(crate) const QEMU: &str = "qemu-system-aarch64";

/// Guest memory. The model sees all of it, so that device DMA works.
const MEMORY: &str = "2G";

/// What boots may want otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Processors.
    pub(crate) cpus: u32,
    /// The emulator executes one instruction per nanosecond of the guest's time, one processor
    /// after the other.
    pub(crate) counts_instructions: bool,
    /// Further arguments for a boot.
    pub(crate) extra: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cpus: 2,
            counts_instructions: false,
            extra: Vec::new(),
        }
    }
}

/// What describes the machine itself, without kernel, device tree and serial ports.
///
/// The same for a boot and for `dumpdtb`, so that both have the same devices.
pub(crate) fn arguments(options: &Options) -> Vec<String> {
    let memory = format!("memory-backend-memfd,id=mem,size={MEMORY},share=on");
    let cpus = options.cpus.to_string();
    let mut arguments: Vec<String> = [
        "-object",
        &memory,
        "-machine",
        "virt,gic-version=3,msi=gicv2m,dtb-randomness=off,memory-backend=mem",
        "-cpu",
        "cortex-a76",
        "-smp",
        &cpus,
        "-m",
        MEMORY,
        "-accel",
        if options.counts_instructions {
            "tcg,thread=single"
        } else {
            "tcg,thread=multi"
        },
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
    ]
    .map(str::to_owned)
    .into();
    if options.counts_instructions {
        arguments.extend(["-icount", "shift=0,sleep=on"].map(str::to_owned));
    }
    arguments
}

/// The GPU as a PCI function whose registers are served on the socket `path`.
///
/// Writes are not posted: a posted write may pass an interrupt that it should have masked.
pub(crate) fn gpu_device(path: &Path) -> String {
    format!(
        r#"{{"driver":"vfio-user-pci","addr":"01.0","x-no-posted-writes":true,"socket":{{"type":"unix","path":"{}"}}}}"#,
        path.display()
    )
}

/// The port through which tests in the guest order faults at the model's control socket `path`.
///
/// It comes after the GPU, which has to stay the first PCI function.
pub(crate) fn control_port(path: &Path) -> Vec<String> {
    let socket = format!("socket,id=control,path={}", path.display());
    [
        "-chardev",
        &socket,
        "-device",
        "virtio-serial-pci,addr=02.0,max_ports=2",
        "-device",
        "virtserialport,chardev=control,name=magni.control",
    ]
    .map(str::to_owned)
    .into()
}

/// Kernel command line of a boot.
///
/// `printk.devkmsg` lets all marks of the guest through; a kernel that has panicked stops at once.
pub(crate) const COMMAND_LINE: &str =
    "console=ttyAMA0 panic=-1 oops=panic printk.devkmsg=on printk.time=1";

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The kernel's console.
    Console,
    /// Programs in the guest.
    Guest,
    /// The emulated GPU.
    Model,
    /// QEMU's own messages.
    Qemu,
}

/// What a reader thread sends.
pub(crate) enum Event {
    /// One line, without its end.
    Line(Source, String),
    /// The stream has ended.
    End(Source),
}

/// Sends each line of `stream` to `sender` until the stream ends.
pub(crate) fn read_lines(
    source: Source,
    stream: impl Read + Send + 'static,
    sender: Sender<Event>,
) {
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        // A read error is the end: the other side has gone.
        while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\n', '\r']).to_owned();
            // The receiver goes first only when the boot is over.
            if sender.send(Event::Line(source, text)).is_err() {
                return;
            }
            line.clear();
        }
        let _ = sender.send(Event::End(source));
    });
}

/// A child process that is killed when this is dropped, or when the harness dies.
pub(crate) struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts `command`.
    ///
    /// # Errors
    ///
    /// When the program cannot be started.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        // SAFETY: The closure makes one system call, which is safe between fork and exec.
        unsafe {
            command.pre_exec(|| {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                Ok(())
            });
        }
        let child = command
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { name, child })
    }

    /// The child's streams and state.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The child's exit status, when it has ended.
    ///
    /// # Errors
    ///
    /// When the child cannot be waited for.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("waiting for {}", self.name))
    }

    /// Waits for the child's end, at most about `limit`; then kills it.
    ///
    /// # Errors
    ///
    /// When the child cannot be waited for.
    pub(crate) fn finish(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        const STEP: Duration = Duration::from_millis(20);
        let mut left = limit;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            let Some(rest) = left.checked_sub(STEP) else {
                return Ok(None);
            };
            left = rest;
            std::thread::sleep(STEP);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the child is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
