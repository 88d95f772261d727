// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the instruction counter has written: how many instructions a job takes, and where.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{ensure, Context, Result};

use super::results::{Results, Spread};
use super::rounds::Round;

/// Instructions before the doorbell, and after.
type Halves = (u64, u64);

/// What was counted between two marks.
#[derive(Clone, Debug, Default, PartialEq)]
struct Stretch {
    laps: Vec<Halves>,
    /// By address.
    places: Vec<(u64, Halves)>,
}

/// Functions of a profile that are printed.
const TOP: usize = 24;

/// Adds instructions per job to `results`, and writes a profile for each driver to `out`; returns
/// the beginnings of those of one job at a time.
///
/// # Errors
///
/// When the counts do not fit the rounds, or a file cannot be read or written.
pub(super) fn add_to(
    results: &mut Results,
    path: &Path,
    rounds: &[Round],
    symbols: &str,
    out: &Path,
) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let stretches = parse(&text).with_context(|| format!("in {}", path.display()))?;
    ensure!(
        stretches.len() == rounds.len(),
        "{} stretches were counted in {} rounds",
        stretches.len(),
        rounds.len()
    );
    let symbols = Symbols::parse(symbols);
    let mut tops = BTreeMap::new();
    for (round, stretch) in rounds.iter().zip(&stretches) {
        // One lap is one job, or all of them.
        let jobs = round.jobs as f64 / stretch.laps.len().max(1) as f64;
        let mut median = |name: &str, part: fn(&Halves) -> u64| {
            let values: Vec<f64> = stretch.laps.iter().map(|lap| part(lap) as f64).collect();
            if let Some(spread) = Spread::of(&values) {
                results.value(round, name, "", spread.median / jobs);
            }
        };
        median("instructions per job", |lap| lap.0 + lap.1);
        if jobs == 1.0 {
            median("instructions per job, ioctl to doorbell", |lap| lap.0);
            median("instructions per job, doorbell to fence", |lap| lap.1);
        }
        // The last round's stays: by then the guest has nothing left to do from its start.
        let path = out.join(format!(
            "profile-{}-{}.txt",
            super::file_name(&round.scenario),
            round.driver
        ));
        let text = profile(stretch, &symbols, round.jobs);
        fs::write(&path, &text).with_context(|| format!("writing {}", path.display()))?;
        if jobs == 1.0 {
            let top: Vec<&str> = text.lines().take(TOP).collect();
            let title = format!("{}, {}:", round.scenario, round.driver);
            // The last one's stays, here too.
            tops.insert(title.clone(), format!("{title}\n{}\n", top.join("\n")));
        }
    }
    Ok(tops.into_values().collect())
}

fn parse(text: &str) -> Result<Vec<Stretch>> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or("");
        if kind == "stretch" {
            stretches.push(Stretch::default());
            continue;
        }
        let stretch = stretches.last_mut().context("counts without a stretch")?;
        let mut next = |radix| -> Result<u64> {
            let word = words.next().with_context(|| format!("too short: {line}"))?;
            u64::from_str_radix(word, radix).with_context(|| format!("no number: {line}"))
        };
        match kind {
            "lap" => stretch.laps.push((next(10)?, next(10)?)),
            "pc" => stretch.places.push((next(16)?, (next(10)?, next(10)?))),
            _ => {}
        }
    }
    Ok(stretches)
}

/// Functions of the kernel, by address.
struct Symbols<'a>(BTreeMap<u64, &'a str>);

impl<'a> Symbols<'a> {
    fn parse(text: &'a str) -> Self {
        let functions = text.lines().filter_map(|line| {
            let (address, name) = line.split_once(' ')?;
            Some((u64::from_str_radix(address, 16).ok()?, name.trim()))
        });
        Self(functions.collect())
    }

    /// The function that holds `address`.
    fn name(&self, address: u64) -> &'a str {
        if address >> 63 == 0 {
            return "(user space)";
        }
        let before = self.0.range(..=address).next_back();
        before.map_or("(unknown)", |(_, name)| name)
    }
}

/// Instructions per job by function, the most first.
fn profile(stretch: &Stretch, symbols: &Symbols<'_>, jobs: u64) -> String {
    let mut functions: BTreeMap<&str, Halves> = BTreeMap::new();
    let mut modules: BTreeMap<&str, Halves> = BTreeMap::new();
    for (address, halves) in &stretch.places {
        let name = symbols.name(*address);
        let module = match name.split_once('[') {
            Some((_, module)) => module.trim_end_matches(']'),
            None if name.starts_with('(') => name,
            None => "(kernel)",
        };
        for sum in [
            functions.entry(name).or_default(),
            modules.entry(module).or_default(),
        ] {
            sum.0 += halves.0;
            sum.1 += halves.1;
        }
    }
    let mut text =
        format!("# instructions per job, of {jobs}: to the doorbell, after it, function\n");
    for sums in [modules, functions] {
        let mut sums: Vec<(&str, Halves)> = sums.into_iter().collect();
        sums.sort_by_key(|(_, halves)| std::cmp::Reverse(halves.0 + halves.1));
        for (name, (before, after)) in sums {
            let (before, after) = (before as f64 / jobs as f64, after as f64 / jobs as f64);
            // Writing to a string does not fail.
            let _ = writeln!(text, "{before:>9.1} {after:>9.1}  {name}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: &str = "stretch 0\nlap 3 4\nlap 5 4\npc 400000 2 0\npc ffff800000000104 6 8\n";

    #[test]
    fn counts_are_read() {
        let stretches = parse(COUNTS).unwrap();
        assert_eq!(stretches.len(), 1);
        assert_eq!(stretches[0].laps, [(3, 4), (5, 4)]);
        assert_eq!(stretches[0].places[0], (0x40_0000, (2, 0)));
        assert!(parse("lap 1 2\n").is_err());
        assert!(parse("stretch 0\nlap 1\n").is_err());
    }

    #[test]
    fn profiles_name_functions() {
        let symbols = "ffff800000000100 queue_work\nffff800000000200 run_job [magni]\n";
        let text = profile(&parse(COUNTS).unwrap()[0], &Symbols::parse(symbols), 2);
        assert!(text.contains("      3.0       4.0  queue_work\n"), "{text}");
        assert!(
            text.contains("      1.0       0.0  (user space)\n"),
            "{text}"
        );
        assert!(text.contains("      3.0       4.0  (kernel)\n"), "{text}");
    }
}
