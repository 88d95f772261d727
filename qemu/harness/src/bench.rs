// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Measures Magni beside the C driver, on the same emulated GPU and in the same boot.
//!
//! The guest's program `bench` runs the scenarios, with the drivers in turn: A B B A, and again.
//! Counts come from a boot with four processors, in which the kernel records its events; times
//! from one with two, in which it does not; instructions from one with a single processor, whose
//! time is the number of instructions that it has executed. What the emulated GPU has seen is in its trace, whose
//! clock is brought in line with the guest's.

mod boots;
mod chart;
mod gate;
mod instructions;
mod model;
mod results;
mod rounds;
mod table;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use self::results::Results;
use crate::boot;
use crate::settings::Settings;
use crate::ui::Ui;

/// What is measured, and how often.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// A few rounds of a few scenarios; fails only on counts that cannot be noise.
    #[arg(long)]
    quick: bool,
    /// Rounds with each driver.
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// Only scenarios whose name contains this.
    #[arg(long, default_value = "")]
    filter: String,
    /// Folder for the results.
    #[arg(long, default_value = "build/bench")]
    out: PathBuf,
}

/// Whether the emulated GPU's complaint is of what C panthor of 7.3.4 does now and then in a reset: it rings the
/// doorbell of the firmware that it has stopped. Magni is watched for that in the tests of resets.
fn is_c_drivers_own(step: &str, problem: &str) -> bool {
    let words = "MISUSE: doorbell 0 rung while the microcontroller does not run";
    step == "recovery" && problem.contains(words) && problem.matches("MISUSE").count() == 1
}

/// Measures, prints a table, and writes `results.json`, `noise.json` and charts.
///
/// # Errors
///
/// When a boot cannot be set up, or results cannot be written.
pub(crate) fn run(settings: &Settings, args: &Args) -> Result<bool> {
    fs::create_dir_all(&args.out)
        .with_context(|| format!("creating the folder {}", args.out.display()))?;
    let mut results = Results::default();
    let mut all_well = true;
    let mut profiles = Vec::new();
    for bench in boots::all(settings, args)? {
        let ui = Ui::new(&bench.plan.name, false);
        let outcome = boot::run(settings, &bench.plan, &ui)?;
        ui.clear();
        for problem in &outcome.problems {
            println!("PROBLEM: {problem}");
        }
        let rounds = rounds::of(&bench.plan, &outcome)?;
        all_well &= outcome.problems.is_empty();
        for (name, step) in &outcome.steps {
            all_well &=
                step.status == Some(0) && !step.problems.iter().any(|p| !is_c_drivers_own(name, p));
            if !step.passed() {
                println!("PROBLEM in {name}: exit status {:?}", step.status);
                let said = step
                    .output
                    .iter()
                    .filter(|line| !line.starts_with("@bench"));
                for line in said.chain(&step.problems) {
                    println!("    {line}");
                }
            }
        }
        let timed = rounds.iter().any(|round| round.window.is_some());
        let seen = match &bench.model_trace {
            Some(path) if timed => Some(model::Seen::load(path, &rounds)?),
            _ => None,
        };
        for round in &rounds {
            results.add(round);
            if let Some(seen) = &seen {
                seen.add_to(&mut results, round);
            }
        }
        if let Some(seen) = &seen {
            println!("{}: {seen}", bench.plan.name);
        }
        if let Some(path) = &bench.instructions {
            let symbols = boots::symbols(&outcome)?;
            profiles = instructions::add_to(&mut results, path, &rounds, &symbols, &args.out)?;
        }
    }
    results.derive();
    results.write(&args.out)?;
    table::print(&results);
    for profile in &profiles {
        println!("{profile}");
    }
    chart::write(&results, &args.out)?;
    println!("results and charts: {}", args.out.display());
    Ok(gate::check(&results) && all_well)
}

/// `text` as a part of a file's name.
fn file_name(text: &str) -> String {
    let mut name = String::new();
    for char in text.chars() {
        match char {
            'a'..='z' | 'A'..='Z' | '0'..='9' => name.push(char),
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    name.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_of_files_are_plain() {
        let name = super::file_name("storm, all resident a / b (c)");
        assert_eq!(name, "storm-all-resident-a-b-c");
    }
}
