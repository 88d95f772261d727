// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Boots the stock kernel on the emulated GPU, runs programs in it and judges the outcome.
//!
//! A boot consists of the model (`mali-csf`), QEMU with the stock kernel, a device
//! tree with the GPU, and an initramfs with the driver under test and a plan: a
//! list of steps that the guest runs one after the other. The guest marks each
//! step's begin and end on its second serial port and in the kernel's log, so
//! that output, kernel messages and model reports can be laid to a step.

mod bench;
mod boot;
mod device_tree;
mod guest;
mod initramfs;
mod kmod;
mod kunit;
mod machine;
mod plan;
mod report;
mod settings;
mod splat;
mod suite;
mod ui;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::plan::{Plan, Step};
use crate::report::Outcome;
use crate::settings::{Driver, Kernel, Settings};
use crate::suite::Extent;
use crate::ui::Ui;

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Boot, load the driver, run a program and power off.
    Run {
        /// The driver to load.
        #[arg(long, env = "DRIVER", default_value = "magni")]
        driver: Driver,
        /// The kernel to boot.
        #[arg(long, env = "KERNEL", default_value = "stock")]
        kernel: Kernel,
        /// The device tree.
        #[arg(long, value_enum, default_value_t)]
        device_tree: device_tree::Variant,
        /// Time for the program, in seconds.
        #[arg(long, default_value_t = 300)]
        limit: u64,
        /// Shell command to run in the guest.
        #[arg(default_value = "smoke")]
        program: String,
    },
    /// Boot, load the driver and give the console to a person.
    Shell {
        /// The driver to load.
        #[arg(long, env = "DRIVER", default_value = "magni")]
        driver: Driver,
        /// The kernel to boot.
        #[arg(long, env = "KERNEL", default_value = "stock")]
        kernel: Kernel,
    },
    /// Measure Magni beside the C driver.
    Bench(bench::Args),
    /// Run the test suite.
    Test {
        /// Only tests whose name contains one of these words.
        filters: Vec<String>,
        /// Only print the names of the tests.
        #[arg(long)]
        list: bool,
        /// Everything, which takes much longer.
        #[arg(long)]
        full: bool,
        /// How many boots run at a time.
        #[arg(long, default_value_t = 1)]
        lanes: usize,
    },
    /// Run jobs while the firmware writes garbage.
    Soak {
        /// The kernel to boot.
        #[arg(long, env = "KERNEL", default_value = "debug")]
        kernel: Kernel,
        /// How long, in seconds.
        #[arg(default_value_t = 600)]
        seconds: u64,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("magni: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<bool> {
    let settings = arguments.settings;
    match arguments.command {
        Command::Run {
            driver,
            kernel,
            device_tree,
            limit,
            program,
        } => {
            let plan = Plan::new(boot_name("run", driver, kernel), driver, kernel);
            let mut plan = if settings.no_gpu {
                plan
            } else {
                plan.with_driver()
            };
            plan.device_tree = device_tree;
            let mut plan = plan.then([Step::new("program", &program, limit)]);
            if !settings.no_gpu {
                plan = plan.without_leaks();
            }
            let ui = Ui::new(&format!("{driver}"), true);
            let outcome = boot::run(&settings, &plan, &ui)?;
            summarise(&plan, &outcome);
            Ok(outcome.passed())
        }
        Command::Shell { driver, kernel } => {
            let mut plan = Plan::new(boot_name("shell", driver, kernel), driver, kernel);
            if !settings.no_gpu {
                plan = plan.with_driver();
            }
            plan.interactive = true;
            let outcome = boot::run(&settings, &plan, &Ui::hidden())?;
            for problem in &outcome.problems {
                eprintln!("{problem}");
            }
            Ok(true)
        }
        Command::Bench(args) => bench::run(&settings, &args),
        Command::Soak { kernel, seconds } => {
            suite::run(&settings, vec![suite::soak(kernel, seconds)], &[], 1)
        }
        Command::Test {
            filters,
            list,
            full,
            lanes,
        } => {
            let extent = if full { Extent::Full } else { Extent::Short };
            let groups = suite::all(&settings, extent)?;
            if list {
                suite::list(groups, &filters)?;
                Ok(true)
            } else {
                suite::run(&settings, groups, &filters, lanes)
            }
        }
    }
}

/// Name of a boot by hand, and of its folder of logs.
fn boot_name(what: &str, driver: Driver, kernel: Kernel) -> String {
    match kernel {
        Kernel::Stock => format!("{what}-{driver}"),
        Kernel::Debug => format!("{what}-debug-{driver}"),
    }
}

/// Prints what went wrong, or that nothing did.
fn summarise(plan: &Plan, outcome: &Outcome) {
    for problem in &outcome.problems {
        println!("PROBLEM: {problem}");
    }
    for step in &plan.steps {
        let Some(result) = outcome.steps.get(&step.name) else {
            continue;
        };
        for problem in &result.problems {
            println!("PROBLEM in {}: {problem}", step.name);
        }
        match result.status {
            Some(0) => {}
            Some(status) => println!("{}: exit status {status}", step.name),
            None => println!("{}: did not run to its end", step.name),
        }
    }
    println!(
        "{} with {} (logs: {})",
        if outcome.passed() { "passed" } else { "FAILED" },
        plan.driver,
        outcome.logs.display()
    );
}
