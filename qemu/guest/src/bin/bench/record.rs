// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a round prints.

use anyhow::{Context, Result};
use guest::Device;
use serde::Serialize;

use crate::clock::Sample;

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Metric {
    /// What was measured.
    pub(crate) metric: String,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// The value.
    pub(crate) value: f64,
}

/// A stretch of time, on CLOCK_MONOTONIC in ns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Span {
    /// Its begin.
    pub(crate) begin: u64,
    /// Its end.
    pub(crate) end: u64,
}

/// A job that had to start as soon as something had happened.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Start {
    /// When it could start: CLOCK_MONOTONIC in ns.
    pub(crate) released: u64,
    /// When it did: ticks of the GPU's timestamp.
    pub(crate) ticks: u64,
}

/// What a round has found. Times of GPU and CPU, and what the emulated GPU has seen meanwhile,
/// are put together by the harness.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Round {
    /// The driver's module.
    pub(crate) driver: String,
    /// The scenario.
    pub(crate) scenario: &'static str,
    /// Its size.
    pub(crate) n: u64,
    /// Figures of the guest's own.
    pub(crate) metrics: Vec<Metric>,
    /// Jobs in `window`.
    pub(crate) jobs: u64,
    /// When the emulated GPU's accesses count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<Span>,
    /// Prefix for the figures that come from `starts` and `doorbells`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) label: String,
    /// Jobs whose start is of interest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) starts: Vec<Start>,
    /// Whether each doorbell of a group in `window` belongs to a job that was released at its begin.
    pub(crate) doorbells: bool,
    /// Comparisons of clocks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) clocks: Vec<Sample>,
}

impl Round {
    /// An empty record of a round on `device`.
    pub(crate) fn new(device: &Device, scenario: &'static str, n: u64) -> Result<Self> {
        Ok(Self {
            driver: device
                .module_name()
                .context("sysfs does not tell the driver's module")?,
            scenario,
            n,
            metrics: Vec::new(),
            jobs: 0,
            window: None,
            label: String::new(),
            starts: Vec::new(),
            doorbells: false,
            clocks: Vec::new(),
        })
    }

    /// Adds a figure.
    pub(crate) fn add(&mut self, metric: impl Into<String>, unit: &'static str, value: f64) {
        self.metrics.push(Metric {
            metric: metric.into(),
            unit,
            value,
        });
    }

    /// Prints it.
    pub(crate) fn print(&self) -> Result<()> {
        println!("@bench {}", serde_json::to_string(self)?);
        Ok(())
    }
}

/// The value below which `share` (0 to 1) of `values` are; 0 if there are none.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share).ceil() as usize;
    values
        .get(at.saturating_sub(1).min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut values, 0.5), 50.0);
        assert_eq!(percentile(&mut values, 0.99), 99.0);
        assert_eq!(percentile(&mut values, 1.0), 100.0);
        assert_eq!(percentile(&mut values, 0.0), 1.0);
        assert_eq!(percentile(&mut [], 0.5), 0.0);
    }
}
