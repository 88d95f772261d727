// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `mali-csf`: serves an emulated Mali CSF GPU to QEMU over vfio-user.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use mali_csf::bus::TraceKind;
use mali_csf::control::{Control, Script};
use mali_csf::flush_id::FlushId;
use mali_csf::hardware::Hardware;
use mali_csf::machine::{Machine, Shared};
use mali_csf::profile::Profile;
use mali_csf::server::{serve, EventFds};
use mali_csf::strict::Strict;
use mali_csf::trace::{Kinds, Trace};

/// Exit status when the driver misused the hardware.
const MISUSED: u8 = 3;

/// Serve an emulated Mali CSF GPU to QEMU over vfio-user.
///
/// Serves one client and ends when it hangs up: with status 0 if all was well, 3 if the
/// driver did what real hardware would not forgive (each time is reported on standard
/// error, in a line that starts with "mali-csf: MISUSE:"), 1 if the model itself failed.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Socket to listen on; must not exist yet.
    #[arg(long)]
    socket: PathBuf,
    /// GPU to emulate.
    #[arg(long, default_value = "g610", value_parser = profile)]
    profile: Profile,
    /// Change a value of the profile, or publish a wrong word in the firmware's interface.
    ///
    /// KEY is a field of the profile, such as gpu_id or run_time_us, or one of the
    /// firmware's control words, such as wrong.group_num. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<(String, u64)>,
    /// Listen on this socket for the orders of tests; must not exist yet.
    ///
    /// A client sends commands, one a line, and gets a line for each. "help" lists them.
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Obey the commands in this file, as if a client had sent them.
    ///
    /// "after MS" before a command obeys it that long after the one before.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Write a trace to this file; "-" is standard error.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// What the trace shows.
    #[arg(long, value_enum, value_delimiter = ',', requires = "trace",
          default_values = ["registers", "requests", "instructions", "interrupts"])]
    trace_kinds: Vec<Kind>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Registers,
    Requests,
    Instructions,
    Interrupts,
}

fn profile(name: &str) -> Result<Profile, String> {
    Profile::named(name).ok_or_else(|| format!("known profiles: {}", Profile::NAMES.join(", ")))
}

fn setting(text: &str) -> Result<(String, u64), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    let parsed = match value.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => value.parse(),
    };
    let value = parsed.map_err(|error| format!("{value:?} is not a number: {error}"))?;
    Ok((key.to_owned(), value))
}

fn trace(options: &Options) -> anyhow::Result<Trace> {
    let Some(path) = &options.trace else {
        return Ok(Trace::off());
    };
    let sink: Box<dyn Write + Send> = if path.as_os_str() == "-" {
        Box::new(std::io::stderr())
    } else {
        let file = File::create(path)
            .with_context(|| format!("could not create the trace file {}", path.display()))?;
        Box::new(BufWriter::new(file))
    };
    let kinds = options
        .trace_kinds
        .iter()
        .fold(Kinds::default(), |kinds, kind| {
            kinds.with(match kind {
                Kind::Registers => TraceKind::Reg,
                Kind::Requests => TraceKind::Request,
                Kind::Instructions => TraceKind::Instr,
                Kind::Interrupts => TraceKind::Irq,
            })
        });
    Ok(Trace::new(sink, kinds))
}

fn run(options: Options) -> anyhow::Result<u64> {
    let mut profile = options.profile.clone();
    for (key, value) in &options.settings {
        profile.set(key, *value).with_context(|| {
            format!("--set {key}={value:#x}: the keys are the fields of `profile.rs`")
        })?;
    }
    let script = options.script.as_deref().map(Script::read).transpose()?;
    let vectors = EventFds::default();
    let flush_id = FlushId::shared().context("could not make the page of the flush id")?;
    let flush_page = flush_id
        .file()
        .map(File::try_clone)
        .transpose()
        .context("could not share the page of the flush id")?;
    let hardware = Hardware::new(
        profile.clone(),
        Box::new(vectors.clone()),
        flush_id,
        trace(&options)?,
        Strict::new(Box::new(std::io::stderr())),
    );
    let machine = Shared::new(Machine::new(hardware, &profile));
    let worker = machine
        .start()
        .context("could not start the GPU's thread")?;
    watch(worker, machine.clone());
    let control = Control::new(machine.clone());
    if let Some(path) = &options.control {
        // Before the socket that says that the GPU is there.
        control.listen(path)?;
    }
    if let Some(script) = script {
        script
            .play(control)
            .context("could not start the script's thread")?;
    }

    let served = serve(
        &options.socket,
        machine.clone(),
        vectors,
        flush_page.as_ref(),
    );
    machine.quit();
    let misuses = machine.with(|machine| {
        machine.hardware.flush_trace();
        machine.hardware.misuses()
    });
    served.map(|()| misuses)
}

/// Ends the process when the GPU's thread dies of an error in the model: a GPU that
/// silently stands still would only look like a hang of the driver.
fn watch(worker: std::thread::JoinHandle<()>, machine: Shared) {
    std::thread::spawn(move || {
        if worker.join().is_err() {
            machine.with(|machine| machine.hardware.flush_trace());
            eprintln!("mali-csf: the GPU's thread died, see the panic above");
            std::process::exit(1);
        }
    });
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(misuses) => {
            eprintln!("mali-csf: the driver misused the hardware {misuses} times");
            ExitCode::from(MISUSED)
        }
        Err(error) => {
            eprintln!("mali-csf: {error:#}");
            ExitCode::FAILURE
        }
    }
}
