// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Measures the driver that is bound to the GPU, one scenario and one round at a time.
//!
//! Every round prints one line, `@bench` and a JSON object ([`record::Round`]), which the harness
//! collects. `rounds` runs another scenario again and again, with two drivers in turn.

mod clock;
mod cpu;
mod events;
mod gate;
mod latency;
mod memory;
mod priority;
mod procfs;
mod record;
mod recovery;
mod rounds;
mod storm;
mod throughput;
mod tracefs;
mod work;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures the driver that is bound to the GPU.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs another scenario with two drivers in turn.
    Rounds(rounds::Args),
    /// Jobs on many queues are released at once.
    Storm(storm::Args),
    /// One job at a time.
    Latency(latency::Args),
    /// Jobs back to back.
    Throughput(throughput::Args),
    /// A realtime group beside a storm of others.
    Priority(priority::Args),
    /// A group hangs while others run.
    Recovery(recovery::Args),
    /// Memory per group, queue and job.
    Memory(memory::Args),
    /// Jobs between marks for the counting of instructions.
    Cpu(cpu::Args),
}

fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Rounds(args) => rounds::run(&args),
        Command::Storm(args) => storm::run(&args),
        Command::Latency(args) => latency::run(&args),
        Command::Throughput(args) => throughput::run(&args),
        Command::Priority(args) => priority::run(&args),
        Command::Recovery(args) => recovery::run(&args),
        Command::Memory(args) => memory::run(&args),
        Command::Cpu(args) => cpu::run(&args),
    }
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("bench: FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}
