// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the guest has printed.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::plan::Plan;
use crate::report::Outcome;

/// What a round's line begins with.
const MARK: &str = "@bench ";

/// One figure.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Metric {
    pub(super) metric: String,
    pub(super) unit: String,
    pub(super) value: f64,
}

/// A stretch of time on the guest's clock, in ns.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Span {
    pub(super) begin: i64,
    pub(super) end: i64,
}

/// A job: when it could start, in ns of the guest's clock, and when it did, in ticks of the GPU's.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Start {
    pub(super) released: i64,
    pub(super) ticks: i64,
}

/// The GPU's timestamp was `ticks` at some time from `before` to `after`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Sample {
    pub(super) before: i64,
    pub(super) after: i64,
    pub(super) ticks: i64,
}

/// One round.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Round {
    pub(super) driver: String,
    pub(super) scenario: String,
    pub(super) n: u64,
    pub(super) metrics: Vec<Metric>,
    pub(super) jobs: u64,
    pub(super) window: Option<Span>,
    #[serde(default)]
    pub(super) label: String,
    #[serde(default)]
    pub(super) starts: Vec<Start>,
    pub(super) doorbells: bool,
    #[serde(default)]
    pub(super) clocks: Vec<Sample>,
}

/// The rounds of a boot, in order.
///
/// # Errors
///
/// When a line is not what the guest's program prints.
pub(super) fn of(plan: &Plan, outcome: &Outcome) -> Result<Vec<Round>> {
    let mut rounds = Vec::new();
    for step in &plan.steps {
        let Some(outcome) = outcome.steps.get(&step.name) else {
            continue;
        };
        for line in &outcome.output {
            if let Some(json) = line.strip_prefix(MARK) {
                let round = serde_json::from_str(json)
                    .with_context(|| format!("step {}: {line}", step.name))?;
                rounds.push(round);
            }
        }
    }
    Ok(rounds)
}
