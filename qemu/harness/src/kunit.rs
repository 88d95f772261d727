// SPDX-License-Identifier: GPL-2.0 OR MIT

//! KUnit: which suites a module holds, and what they said on the console when it was loaded.

use anyhow::{ensure, Context, Result};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget};

/// Size of a suite's name, the first member of `struct kunit_suite` in `include/kunit/test.h`.
const NAME_SIZE: usize = 256;

/// The names of the suites in a module's file.
///
/// The kernel runs what the section `.kunit_test_suites` points to, so this is what must show up
/// on the console when the module is loaded.
///
/// # Errors
///
/// When `image` is no module, or holds no suite.
pub(crate) fn suites_in(image: &[u8]) -> Result<Vec<String>> {
    let file = object::File::parse(image).context("not an ELF file")?;
    let section = file
        .section_by_name(".kunit_test_suites")
        .context("the module holds no KUnit suite")?;
    let mut names = Vec::new();
    for (_, relocation) in section.relocations() {
        let RelocationTarget::Symbol(index) = relocation.target() else {
            continue;
        };
        let symbol = file.symbol_by_index(index)?;
        let home = file.section_by_index(symbol.section_index().context("a suite elsewhere")?)?;
        let at = usize::try_from(symbol.address())? + usize::try_from(relocation.addend())?;
        let name = home
            .data()?
            .get(at..at + NAME_SIZE)
            .context("a suite beyond its section")?;
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        names.push(String::from_utf8_lossy(name).into_owned());
    }
    ensure!(!names.is_empty(), "the module holds no KUnit suite");
    Ok(names)
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Passed,
    Failed,
    Skipped,
}

/// One test of a suite.
#[derive(Clone, Debug)]
struct Test {
    name: String,
    status: Status,
    /// What was printed since the test before it.
    said: Vec<String>,
}

/// One suite's part of the console.
#[derive(Clone, Debug, Default)]
struct Suite {
    name: String,
    /// How many tests it announced.
    planned: usize,
    tests: Vec<Test>,
    /// The suite's own result; `None` when it did not end.
    passed: Option<bool>,
}

/// Reads KTAP from console lines with their time stamps; other messages may be between them.
fn parse(lines: &[String]) -> Vec<Suite> {
    let mut suites: Vec<Suite> = Vec::new();
    let mut said = Vec::new();
    for line in lines {
        let text = match line.split_once("] ") {
            Some((stamp, text)) if stamp.starts_with('[') => text,
            _ => line,
        };
        let body = text.trim_start();
        let depth = text.len() - body.len();
        let open = suites.last_mut().filter(|suite| suite.passed.is_none());
        match (depth, open) {
            (4, _) if body.starts_with("# Subtest: ") => {
                suites.push(Suite {
                    name: body.trim_start_matches("# Subtest: ").to_owned(),
                    ..Suite::default()
                });
                said.clear();
            }
            (4, Some(suite)) if body.starts_with("1..") => {
                suite.planned = body.trim_start_matches("1..").parse().unwrap_or(0);
            }
            (4, Some(suite)) => match result(body) {
                Some((status, name)) => suite.tests.push(Test {
                    name: name.to_owned(),
                    status,
                    said: std::mem::take(&mut said),
                }),
                None => said.push(body.to_owned()),
            },
            (0, Some(suite)) => match result(body) {
                Some((status, name)) if name == suite.name => {
                    suite.passed = Some(status == Status::Passed);
                }
                _ => said.push(body.to_owned()),
            },
            _ => said.push(body.to_owned()),
        }
    }
    suites
}

/// Reads `ok NUMBER NAME`, `not ok NUMBER NAME` and `ok NUMBER NAME # SKIP WHY`.
fn result(text: &str) -> Option<(Status, &str)> {
    let (status, rest) = match text.strip_prefix("not ok ") {
        Some(rest) => (Status::Failed, rest),
        None => (Status::Passed, text.strip_prefix("ok ")?),
    };
    let (number, name) = rest.split_once(' ')?;
    number.parse::<u32>().ok()?;
    match name.split_once(" # SKIP") {
        Some((name, _)) => Some((Status::Skipped, name)),
        None => Some((status, name)),
    }
}

/// Each test of the `expected` suites with the reason why it failed, `None` when it passed.
///
/// A suite that did not run, ran without tests or did not end is a failure of its own.
pub(crate) fn verdicts(expected: &[String], console: &[String]) -> Vec<(String, Option<String>)> {
    let suites = parse(console);
    let mut verdicts = Vec::new();
    for name in expected {
        let Some(suite) = suites.iter().find(|suite| suite.name == *name) else {
            verdicts.push((name.clone(), Some("the suite did not run".to_owned())));
            continue;
        };
        let before = verdicts.len();
        for test in &suite.tests {
            let why = match test.status {
                Status::Passed => None,
                Status::Failed => Some(test.said.join("\n")),
                Status::Skipped => Some("skipped".to_owned()),
            };
            verdicts.push((format!("{name}::{}", test.name), why));
        }
        let all_passed = verdicts.iter().skip(before).all(|(_, why)| why.is_none());
        let own = match suite.passed {
            _ if suite.tests.is_empty() => Some("the suite ran no test".to_owned()),
            _ if suite.tests.len() != suite.planned => Some(format!(
                "{} of {} tests ended",
                suite.tests.len(),
                suite.planned
            )),
            None => Some("the suite did not end".to_owned()),
            Some(false) if all_passed => Some("the suite failed, but none of its tests".to_owned()),
            Some(_) => None,
        };
        if let Some(why) = own {
            verdicts.push((name.clone(), Some(why)));
        }
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(expected: &[&str], console: &[&str]) -> Vec<(String, String)> {
        let own = |words: &[&str]| {
            words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
        };
        verdicts(&own(expected), &own(console))
            .into_iter()
            .filter_map(|(name, why)| Some((name, why?)))
            .collect()
    }

    const GOOD: [&str; 9] = [
        "[    1.0] KTAP version 1",
        "[    1.0] 1..1",
        "[    1.0]     KTAP version 1",
        "[    1.0]     # Subtest: magni_a",
        "[    1.0]     1..2",
        "[    1.1]     ok 1 one",
        "[    1.1] drm: something else",
        "[    1.2]     ok 2 two",
        "[    1.2] ok 1 magni_a",
    ];

    #[test]
    fn a_suite_that_passed_has_no_failure() {
        assert!(failures(&["magni_a"], &GOOD).is_empty());
        let lines: Vec<String> = GOOD.iter().map(|&line| line.to_owned()).collect();
        assert_eq!(verdicts(&["magni_a".to_owned()], &lines).len(), 2);
    }

    #[test]
    fn a_missing_suite_is_a_failure() {
        assert_eq!(failures(&["magni_a", "magni_b"], &GOOD).len(), 1);
        assert_eq!(failures(&["magni_a"], &[]).len(), 1);
    }

    #[test]
    fn a_failed_test_says_why() {
        let mut lines = GOOD.to_vec();
        lines.splice(
            5..6,
            [
                "[    1.1]     # one: ASSERTION FAILED at a.rs:3",
                "[    1.1]     Expected x to be true",
                "[    1.1]     not ok 1 one",
            ],
        );
        let found = failures(&["magni_a"], &lines);
        assert_eq!(found.len(), 1);
        assert!(found
            .iter()
            .all(|(name, why)| name == "magni_a::one" && why.contains("a.rs:3")));
    }

    #[test]
    fn a_suite_that_stops_is_a_failure() {
        let lines = GOOD.get(..6).unwrap_or_default();
        assert_eq!(failures(&["magni_a"], lines).len(), 1);
        let without_end = GOOD.get(..8).unwrap_or_default();
        assert_eq!(failures(&["magni_a"], without_end).len(), 1);
    }

    #[test]
    fn a_skipped_test_did_not_pass() {
        let mut lines = GOOD.to_vec();
        lines.splice(5..6, ["[    1.1]     ok 1 one # SKIP not here"]);
        assert_eq!(failures(&["magni_a"], &lines).len(), 1);
    }
}
