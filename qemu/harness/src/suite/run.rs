// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Runs groups and prints what came out.

use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

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

/// Runs the selected cases, prints each with its outcome, and writes a summary to the logs. `lanes`
/// boots run at a time.
///
/// # Errors
///
/// When the filters leave no case, or the summary cannot be written.
pub(crate) fn run(
    settings: &Settings,
    groups: Vec<Group>,
    filters: &[String],
    lanes: usize,
) -> Result<bool> {
    let groups = select(groups, filters);
    ensure!(!groups.is_empty(), "no test's name contains {filters:?}");
    let mut results = Results::default();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (sender, done) = mpsc::channel();
        for _ in 0..lanes.clamp(1, groups.len()) {
            let (sender, next, groups) = (sender.clone(), &next, &groups);
            // The machine's processes end with the thread that started them.
            scope.spawn(move || {
                while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = Instant::now();
                    let ui = Ui::new(&group.plan.name, false);
                    let outcome = boot::run(settings, &group.plan, &ui);
                    ui.clear();
                    // The receiver goes first only when the summary cannot be written.
                    if sender.send((group, outcome, start.elapsed())).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        // Written down each time: a long run may be ended before its end.
        done.iter().try_for_each(|(group, outcome, took)| {
            results.add(group, &outcome, took)?;
            results.write(settings)
        })
    })?;
    let Results { passed, failed, .. } = &results;
    println!("boot tests: {passed} passed; {failed} failed");
    Ok(results.failed == 0)
}

/// What came of the groups that have run.
#[derive(Default)]
struct Results {
    passed: usize,
    failed: usize,
    summary: String,
    table: Table,
}

impl Results {
    /// Judges a boot and prints what came of it.
    fn add(&mut self, group: &Group, outcome: &Result<Outcome>, took: Duration) -> Result<()> {
        match outcome {
            Ok(outcome) => {
                for step in outcome.steps.values() {
                    self.table.add(group, step);
                }
                if let Some(problem) = outcome.problems.first() {
                    let line = problem.lines().next().unwrap_or_default();
                    self.table.add_end(group, line);
                }
            }
            Err(error) => self.table.add_end(group, &format!("{error:#}")),
        }
        println!("{}: {:.1} s", group.plan.name, took.as_secs_f64());
        for case in &group.cases {
            for (name, reason) in judge(group, case, outcome) {
                self.verdict(group, &name, reason)?;
            }
        }
        if let Ok(outcome) = &outcome {
            if !outcome.passed() {
                println!("  logs: {}", outcome.logs.display());
            }
        }
        Ok(())
    }

    /// Counts and prints one test, with the reason why it failed.
    fn verdict(&mut self, group: &Group, name: &str, reason: Option<String>) -> Result<()> {
        match reason {
            _ if group.informative => {
                let how = if reason.is_none() { "ok" } else { "failed" };
                println!("  (info)  {name}: {how}");
                writeln!(self.summary, "info {name}: {how}")?;
            }
            None => {
                self.passed += 1;
                println!("  ok      {name}");
                writeln!(self.summary, "ok {name}")?;
            }
            Some(reason) => {
                self.failed += 1;
                println!("  FAILED  {name}");
                print_reason(&reason);
                writeln!(self.summary, "FAILED {name}")?;
                for line in reason.lines().take(SUMMED_UP) {
                    writeln!(self.summary, "  {line}")?;
                }
            }
        }
        Ok(())
    }

    /// Writes the summary and the table of faults to the logs.
    fn write(&self, settings: &Settings) -> Result<()> {
        let path = settings.logs.join("boots.summary");
        fs::write(&path, &self.summary).with_context(|| format!("writing {}", path.display()))?;
        if let Some(text) = self.table.text() {
            let path = settings.logs.join("faults.md");
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

/// So many lines of a reason are in the summary, which is repeated at the end of a run.
const SUMMED_UP: usize = 6;

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
