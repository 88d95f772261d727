// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Counts that cannot be noise.

use super::results::{Results, Series};
use super::table::short;

/// Which scenarios, a metric, and the most that Magni may have of it in any round.
const LIMITS: &[(&str, &str, f64)] = &[
    // One ordered queue submits the jobs of all groups of one class.
    ("storm", "run_job workers at once", 1.0),
    // The path of a job takes no lock that is slept for.
    ("storm", "contended locks in run_job", 0.0),
    // Nor does it read a register. A group that comes on the hardware may: its address space is
    // set up, and that is waited for.
    (
        "storm, all resident",
        "MMIO reads per job, not of interrupts",
        0.0,
    ),
    // A doorbell for each job; a few more if the machine is so slow that one is taken for lost.
    ("storm, all resident", "group doorbells per job", 1.1),
    // That, and the four of an interrupt, should each job have one.
    ("storm, all resident", "MMIO writes per job", 5.5),
];

/// What is wrong with a series, if anything.
fn failure(series: &Series) -> Option<String> {
    let (_, metric, limit) = LIMITS
        .iter()
        .find(|limit| series.scenario.starts_with(limit.0) && limit.1 == series.metric)?;
    let worst = series.magni.iter().copied().fold(0.0, f64::max);
    (worst > *limit).then(|| {
        format!(
            "{}, n = {}: {metric}: {} instead of at most {}",
            series.scenario,
            series.n,
            short(worst),
            short(*limit)
        )
    })
}

/// Whether Magni keeps within all limits, and was measured at all; says where not.
pub(super) fn check(results: &Results) -> bool {
    let failures: Vec<String> = results.series.iter().filter_map(failure).collect();
    for failure in &failures {
        println!("FAILED: {failure}");
    }
    let measured = results.series.iter().any(|series| !series.magni.is_empty());
    if !measured {
        println!("FAILED: Magni was not measured");
    }
    failures.is_empty() && measured
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(scenario: &str, metric: &str, magni: f64) -> Series {
        Series {
            scenario: scenario.to_owned(),
            n: 32,
            metric: metric.to_owned(),
            unit: String::new(),
            magni: vec![0.0, magni],
            panthor: vec![21.0, 20.0],
            ratio: None,
        }
    }

    #[test]
    fn limits_hold_in_each_round_of_a_storm() {
        let workers = "run_job workers at once";
        assert_eq!(failure(&series("storm", workers, 1.0)), None);
        assert!(failure(&series("storm", workers, 2.0)).is_some());
        assert!(failure(&series("storm, all resident", workers, 2.0)).is_some());
        assert_eq!(failure(&series("latency", workers, 2.0)), None);
        assert_eq!(failure(&series("storm", "makespan", 99.0)), None);
        let reads = "MMIO reads per job, not of interrupts";
        assert_eq!(failure(&series("storm", reads, 0.5)), None);
        assert!(failure(&series("storm, all resident", reads, 0.5)).is_some());
    }

    #[test]
    fn nothing_measured_is_a_failure() {
        assert!(!check(&Results::default()));
    }
}
