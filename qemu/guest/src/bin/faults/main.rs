// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a driver does under faults: one named test per fault.
//!
//! Each test has a victim and a bystander. The victim meets the fault; all its fences have to be signalled, with the
//! right error, within a stated bound, and a new group of the same process has to work. The bystander, another process,
//! runs jobs all along and checks all their results. In the end the kernel's memory, threads and counters have to be
//! what they were. Splats are for whoever reads the kernel's log to find.
//!
//! Each test leaves a line `FAULT name=… …` in the kernel's log at once and on the standard output at the end.
//!
//! * `--record`: only write down what happens; a driver that does otherwise than expected fails no test.
//! * `--soak SECONDS`: instead of tests, run jobs in several processes while the firmware writes garbage.
//!
//! The variables `MAGNI_JOB_TIMEOUT_MS` and `MAGNI_PING_PERIOD_MS` stand in for the module parameters of these names,
//! and `MAGNI_SLOWER` is the factor by which the machine is slower than the stock kernel on an idle host.

mod alloc;
mod baseline;
mod bystander;
mod cases;
mod cores;
mod device;
mod foreign;
mod frame;
mod killed;
mod model;
mod soak;
mod streams;
mod times;
mod vgem;
mod victim;

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Failed, Trial};

/// The list of tests under construction.
pub(crate) struct Tests {
    record: bool,
    trials: Vec<Trial>,
}

impl Tests {
    /// Adds a test; `name` is also the fault's name in its line.
    pub(crate) fn add(
        &mut self,
        name: &'static str,
        test: impl FnOnce() -> Result<frame::Line> + Send + 'static,
    ) {
        let record = self.record;
        let run = move || {
            let result = test();
            frame::note(name, &result);
            match result {
                Err(error) if !record => Err(Failed::from(format!("{error:#}"))),
                _ => Ok(()),
            }
        };
        self.trials.push(Trial::test(name, run));
    }
}

fn main() -> ExitCode {
    let mut args: Vec<String> = env::args().collect();
    if let Some(code) = role(&args) {
        return code;
    }
    if let Some(at) = args.iter().position(|arg| arg == "--soak") {
        return said("soak", soak::run_for(args.get(at + 1)));
    }
    let before = args.len();
    args.retain(|arg| arg != "--record");
    let mut tests = Tests {
        record: args.len() < before,
        trials: Vec::new(),
    };
    let mut args = Arguments::from_iter(args);
    // A fault is the whole GPU's.
    args.test_threads = Some(1);

    streams::tests(&mut tests);
    cores::tests(&mut tests);
    model::tests(&mut tests);
    killed::tests(&mut tests);
    device::tests(&mut tests);
    foreign::tests(&mut tests);
    alloc::tests(&mut tests);
    soak::tests(&mut tests);
    let conclusion = libtest_mimic::run(&args, tests.trials);
    frame::print_notes();
    conclusion.exit_code()
}

/// Plays a role for another process of this program: `faults --role NAME [ARGUMENT...]`.
fn role(args: &[String]) -> Option<ExitCode> {
    let [_, flag, role, rest @ ..] = args else {
        return None;
    };
    if flag != "--role" {
        return None;
    }
    let result = match role.as_str() {
        bystander::ROLE => bystander::play(),
        killed::ROLE => killed::play(rest),
        foreign::ROLE => foreign::play(rest),
        soak::ROLE => soak::play(),
        alloc::ROLE => alloc::play(rest),
        _ => Err(anyhow::anyhow!("there is no such role")),
    };
    Some(said(role, result.context("this process")))
}

fn said(what: &str, result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{what}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
