// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The test suite: groups of cases, each group one boot.
//!
//! The stock C driver goes first: it shows that the emulated GPU and the tests
//! themselves are right. What Magni cannot do yet is in the list all the same,
//! and fails.

mod debug;
mod faults;
mod groups;
mod run;

pub(crate) use faults::soak;
pub(crate) use groups::{all, Extent};
pub(crate) use run::{list, run};

use crate::kunit;
use crate::plan::Plan;
use crate::report::{Outcome, StepOutcome};

/// What makes a case pass.
#[derive(Clone, Debug)]
enum Check {
    /// Its step exits with 0 and leaves no problem in the logs.
    Step,
    /// The same, and the part of this name passed in the step's test output.
    Part(String),
    /// The same, and the driver says in exactly one line what is wrong: it holds these words.
    OneLine(Vec<&'static str>),
    /// The same, and these KUnit suites passed on the console meanwhile.
    Kunit(Vec<String>),
    /// It fails: what it needs has not been built, and why.
    Unready(String),
    /// Its step fails, and these words are in the reason: a planted bug is found for what it is.
    Caught(Vec<Words>),
    /// The boot comes up, nothing goes wrong between steps, and it powers off.
    Boot,
}

/// Words that a report must hold, and on how many lines at least.
#[derive(Clone, Copy, Debug)]
struct Words(&'static str, usize);

/// One thing that is tested.
#[derive(Clone, Debug)]
struct Case {
    /// Name in the suite: driver, group, name.
    name: String,
    /// The step of the boot that it looks at.
    step: String,
    check: Check,
}

/// A boot and the cases that look at it.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    plan: Plan,
    /// What stands before the names of its cases.
    prefix: String,
    cases: Vec<Case>,
    /// What comes of it is written down, and fails nothing.
    informative: bool,
}

/// Outcome of one test in the output of a program that uses the usual test format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartOutcome {
    Passed,
    Failed,
    Ignored,
}

/// Looks for the line `test NAME ... ok` in a step's output.
fn part_outcome(outcome: &StepOutcome, name: &str) -> Option<PartOutcome> {
    outcome.output.iter().find_map(|line| {
        let rest = line
            .strip_prefix("test ")?
            .trim_start()
            .strip_prefix(name)?;
        match rest.trim_start().strip_prefix("... ")?.trim() {
            "ok" => Some(PartOutcome::Passed),
            "ignored" => Some(PartOutcome::Ignored),
            _ => Some(PartOutcome::Failed),
        }
    })
}

/// What a test program said about its failed test `name`.
fn part_message(outcome: &StepOutcome, name: &str) -> Vec<String> {
    let head = format!("---- {name} ----");
    outcome
        .output
        .iter()
        .skip_while(|line| **line != head)
        .skip(1)
        .take_while(|line| !line.starts_with("---- ") && !line.starts_with("failures:"))
        .filter(|line| !line.is_empty())
        .cloned()
        .collect()
}

/// What the kernel says by itself about any driver that fails to probe, or any missing file.
const KERNELS_OWN: [&str; 3] = [
    "Direct firmware load for",
    "firmware: failed to load",
    "probe with driver",
];

/// The driver's own lines about what is wrong, before the step put it right.
fn complaints<'a>(outcome: &'a StepOutcome, driver: &str) -> Vec<&'a str> {
    let prefix = format!("{driver} 10000000.gpu: ");
    outcome
        .kernel
        .iter()
        .take_while(|line| !line.contains("@test put right"))
        .filter(|line| line.contains(&prefix) || line.contains(&format!("{driver} gpu: ")))
        .filter(|line| !KERNELS_OWN.iter().any(|words| line.contains(words)))
        .map(String::as_str)
        .collect()
}

impl Case {
    /// Each test that the case stands for, with the reason why it fails, `None` when it passes.
    fn verdicts(&self, group: &Group, outcome: &Outcome) -> Vec<(String, Option<String>)> {
        let mut verdicts = vec![(self.name.clone(), self.failure(group, outcome))];
        if let (Check::Kunit(suites), Some(result)) = (&self.check, outcome.steps.get(&self.step)) {
            let tests = kunit::verdicts(suites, &result.kernel);
            let named = |(name, why)| (format!("{}::{name}", group.prefix), why);
            verdicts.extend(tests.into_iter().map(named));
        }
        verdicts
    }

    /// Why the case fails; `None` when it passes.
    fn failure(&self, group: &Group, outcome: &Outcome) -> Option<String> {
        if let Check::Boot = self.check {
            let mut problems = outcome.problems.clone();
            problems.extend(
                group
                    .plan
                    .steps
                    .iter()
                    .filter(|step| step.required)
                    .filter_map(|step| {
                        let result = outcome.steps.get(&step.name)?;
                        (!result.passed()).then(|| format!("{}: {}", step.name, why(result)))
                    }),
            );
            return (!problems.is_empty()).then(|| problems.join("\n"));
        }
        let Some(result) = outcome.steps.get(&self.step) else {
            return Some("the step is not in the boot's plan".to_owned());
        };
        match &self.check {
            Check::Part(name) => match part_outcome(result, name) {
                Some(PartOutcome::Passed) => None,
                Some(PartOutcome::Failed) => Some(part_message(result, name).join("\n")),
                Some(PartOutcome::Ignored) => Some("the program skipped it".to_owned()),
                None => Some(format!("it did not run: {}", why(result))),
            },
            Check::OneLine(words) if result.passed() => {
                let lines = complaints(result, group.plan.driver.name());
                let right = |line: &&&str| words.iter().all(|word| line.contains(word));
                match (lines.len(), lines.iter().find(right)) {
                    (1, Some(_)) => None,
                    (1, None) => Some(format!(
                        "the line lacks one of {words:?}: {}",
                        lines.join("")
                    )),
                    (count, _) => Some(format!(
                        "{count} lines instead of one say what is wrong:\n{}",
                        lines.join("\n")
                    )),
                }
            }
            Check::Caught(words) => caught(result, words),
            Check::Unready(why) => Some(why.clone()),
            Check::Step | Check::OneLine(_) | Check::Kunit(_) | Check::Boot => {
                (!result.passed()).then(|| why(result))
            }
        }
    }
}

/// Why a planted bug was not found; `None` when the step failed with all of `words` in the reason.
fn caught(result: &StepOutcome, words: &[Words]) -> Option<String> {
    if result.passed() {
        return Some("the boot passes with the bug in it".to_owned());
    }
    let mut lines = result.problems.clone();
    lines.extend(result.output.iter().cloned());
    let report = lines.join("\n");
    let holds = |words: &str| report.lines().filter(|line| line.contains(words)).count();
    let missing: Vec<_> = words
        .iter()
        .filter(|Words(words, times)| holds(words) < *times)
        .collect();
    (!missing.is_empty()).then(|| format!("the report lacks {missing:?}:\n{report}"))
}

/// Why a step did not pass: its problems, or the ends of its output and of the kernel's.
fn why(result: &StepOutcome) -> String {
    const LINES: usize = 12;
    let tail = |lines: &[String]| {
        let skip = lines.len().saturating_sub(LINES);
        lines
            .iter()
            .skip(skip)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    };
    if !result.problems.is_empty() {
        return result.problems.join("\n");
    }
    match result.status {
        None if result.output.is_empty() => "it was not reached".to_owned(),
        None => format!("it did not end\n{}", tail(&result.output)),
        Some(status) => format!(
            "exit status {status}\n{}\n{}",
            tail(&result.output),
            tail(&result.kernel)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(output: &[&str], kernel: &[&str]) -> StepOutcome {
        StepOutcome {
            status: Some(0),
            output: output.iter().map(|&line| line.to_owned()).collect(),
            kernel: kernel.iter().map(|&line| line.to_owned()).collect(),
            ..StepOutcome::default()
        }
    }

    #[test]
    fn parts_are_found_by_their_whole_name() {
        let outcome = outcome(
            &[
                "test vm::create   ... ok",
                "test vm::create_bad ... FAILED",
                "---- vm::create_bad ----",
                "no errno",
                "",
                "failures:",
            ],
            &[],
        );
        assert_eq!(
            part_outcome(&outcome, "vm::create"),
            Some(PartOutcome::Passed)
        );
        assert_eq!(
            part_outcome(&outcome, "vm::create_bad"),
            Some(PartOutcome::Failed)
        );
        assert_eq!(part_outcome(&outcome, "vm"), None);
        assert_eq!(part_message(&outcome, "vm::create_bad"), ["no errno"]);
    }

    #[test]
    fn a_bug_has_to_be_found_for_what_it_is() {
        let quiet = outcome(&[], &[]);
        let loud = StepOutcome {
            problems: vec!["BUG: KASAN: use-after-free in planted_f".to_owned()],
            ..outcome(&[], &[])
        };
        assert!(caught(&quiet, &[Words("KASAN", 1)]).is_some());
        assert!(caught(&loud, &[Words("KASAN", 1), Words("planted_f", 1)]).is_none());
        assert!(caught(&loud, &[Words("KASAN", 2)]).is_some());
        assert!(caught(&loud, &[Words("circular", 1)]).is_some());
    }

    #[test]
    fn only_the_drivers_own_lines_count() {
        let outcome = outcome(
            &[],
            &[
                "[ 1] magni 10000000.gpu: Direct firmware load for x failed with error -2",
                "[ 1] magni 10000000.gpu: firmware x: not found, install y",
                "[ 1] magni 10000000.gpu: probe with driver magni failed with error -2",
                "[ 1] @test put right",
                "[ 1] magni 10000000.gpu: Mali-G610",
            ],
        );
        assert_eq!(complaints(&outcome, "magni").len(), 1);
    }
}
