// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Runs groups and prints what came out.

use std::fmt::Write as _;
use std::fs;
use std::time::Instant;

use anyhow::{ensure, Context, Result};

use super::faults::Table;
use super::{Case, Group};
use crate::boot;
use crate::plan::LEAKS;
use crate::report::Outcome;
use crate::settings::Settings;
use crate::ui::Ui;

/// Keeps the cases whose name contains one of `filters`; all of them without a filter.
fn select(groups: Vec<Group>, filters: &[String]) -> Vec<Group> {
    let wanted = |case: &Case| {
        filters.is_empty()
            || filters
                .iter()
                .any(|filter| case.name.contains(filter.as_str()))
    };
    groups
        .into_iter()
        .filter_map(|mut group| {
            // Whatever runs on the debug kernel, leaks are looked for at its end.
            let any = group.cases.iter().any(wanted);
            group
                .cases
                .retain(|case| wanted(case) || any && case.step == LEAKS);
            let cases = &group.cases;
            group
                .plan
                .steps
                .retain(|step| step.required || cases.iter().any(|case| case.step == step.name));
            any.then_some(group)
        })
        .collect()
}

/// Prints the names of the cases.
///
/// # Errors
///
/// When the filters leave no case.
pub(crate) fn list(groups: Vec<Group>, filters: &[String]) -> Result<()> {
    let groups = select(groups, filters);
    ensure!(!groups.is_empty(), "no test's name contains {filters:?}");
    for case in groups.iter().flat_map(|group| &group.cases) {
        println!("{}", case.name);
    }
    Ok(())
}

/// Runs the selected cases, prints each with its outcome, and writes a summary to the logs.
///
/// # Errors
///
/// When the filters leave no case, or the summary cannot be written.
pub(crate) fn run(settings: &Settings, groups: Vec<Group>, filters: &[String]) -> Result<bool> {
    let groups = select(groups, filters);
    ensure!(!groups.is_empty(), "no test's name contains {filters:?}");
    let (mut passed, mut failed) = (0_usize, 0_usize);
    let mut summary = String::new();
    let mut table = Table::default();
    for group in &groups {
        let start = Instant::now();
        let ui = Ui::new(&group.plan.name, false);
        let outcome = boot::run(settings, &group.plan, &ui);
        match &outcome {
            Ok(outcome) => {
                for step in outcome.steps.values() {
                    table.add(group, step);
                }
                if let Some(problem) = outcome.problems.first() {
                    table.add_end(group, problem.lines().next().unwrap_or_default());
                }
            }
            Err(error) => table.add_end(group, &format!("{error:#}")),
        }
        ui.clear();
        println!(
            "{}: {:.1} s",
            group.plan.name,
            start.elapsed().as_secs_f64()
        );
        for case in &group.cases {
            for (name, reason) in judge(group, case, &outcome) {
                match reason {
                    _ if group.informative => {
                        let how = if reason.is_none() { "ok" } else { "failed" };
                        println!("  (info)  {name}: {how}");
                        writeln!(summary, "info {name}: {how}")?;
                    }
                    None => {
                        passed += 1;
                        println!("  ok      {name}");
                        writeln!(summary, "ok {name}")?;
                    }
                    Some(reason) => {
                        failed += 1;
                        println!("  FAILED  {name}");
                        print_reason(&reason);
                        writeln!(summary, "FAILED {name}")?;
                    }
                }
            }
        }
        if let Ok(outcome) = &outcome {
            if !outcome.passed() {
                println!("  logs: {}", outcome.logs.display());
            }
        }
    }
    let path = settings.logs.join("boots.summary");
    fs::write(&path, summary).with_context(|| format!("writing {}", path.display()))?;
    if let Some(text) = table.text() {
        let path = settings.logs.join("faults.md");
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    println!("boot tests: {passed} passed; {failed} failed");
    Ok(failed == 0)
}

/// Prints the beginning of a reason, which is all of it but for storms of misuse.
fn print_reason(reason: &str) {
    const SHOWN: usize = 60;
    for line in reason.lines().take(SHOWN) {
        println!("          {line}");
    }
    let more = reason.lines().count().saturating_sub(SHOWN);
    if more > 0 {
        println!("          ({more} more lines in the logs)");
    }
}

/// The tests that a case stands for, each with the reason why it fails.
fn judge(group: &Group, case: &Case, outcome: &Result<Outcome>) -> Vec<(String, Option<String>)> {
    match outcome {
        Ok(outcome) => case.verdicts(group, outcome),
        Err(error) => vec![(case.name.clone(), Some(format!("{error:#}")))],
    }
}
