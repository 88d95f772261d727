// SPDX-License-Identifier: GPL-2.0 OR MIT

//! All figures, by scenario, size and metric.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::rounds::Round;

/// Middle and ends of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// `None` for an empty series.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            (sorted[middle - 1] + sorted[middle]) / 2.0
        };
        Some(Self { median, min, max })
    }
}

/// `a / b`; nothing over nothing is the same.
fn quotient(a: f64, b: f64) -> Option<f64> {
    if a == b {
        Some(1.0)
    } else if b == 0.0 {
        None
    } else {
        Some(a / b)
    }
}

/// One metric of a scenario of one size.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Series {
    pub(super) scenario: String,
    pub(super) n: u64,
    pub(super) metric: String,
    pub(super) unit: String,
    /// One value per round.
    pub(super) magni: Vec<f64>,
    /// One value per round.
    pub(super) panthor: Vec<f64>,
    /// Magni over panthor, each round with its neighbour; absent where panthor's value is zero.
    pub(super) ratio: Option<Spread>,
}

impl Series {
    /// Magni's values, or panthor's.
    fn values(&mut self, driver: &str) -> &mut Vec<f64> {
        if driver == "panthor" {
            &mut self.panthor
        } else {
            &mut self.magni
        }
    }

    fn set_ratio(&mut self) {
        let pairs = self.magni.iter().zip(&self.panthor);
        let ratios: Option<Vec<f64>> = pairs.map(|(a, b)| quotient(*a, *b)).collect();
        self.ratio = ratios.and_then(|ratios| Spread::of(&ratios));
    }

    /// How much panthor's rounds differ from each other: each over the one before it.
    pub(super) fn noise(&self) -> Option<Spread> {
        let pairs = self.panthor.windows(2);
        let ratios: Option<Vec<f64>> = pairs.map(|pair| quotient(pair[1], pair[0])).collect();
        Spread::of(&ratios?)
    }
}

/// All series, in the order in which they came up.
#[derive(Clone, Debug, Default)]
pub(super) struct Results {
    pub(super) series: Vec<Series>,
    index: BTreeMap<(String, u64, String), usize>,
}

impl Results {
    /// Adds the next round's value of a metric.
    pub(super) fn value(&mut self, round: &Round, metric: &str, unit: &str, value: f64) {
        let key = (round.scenario.clone(), round.n, metric.to_owned());
        let at = *self.index.entry(key).or_insert_with(|| {
            self.series.push(Series {
                scenario: round.scenario.clone(),
                n: round.n,
                metric: metric.to_owned(),
                unit: unit.to_owned(),
                magni: Vec::new(),
                panthor: Vec::new(),
                ratio: None,
            });
            self.series.len() - 1
        });
        self.series[at].values(&round.driver).push(value);
    }

    /// Adds what a round says by itself.
    pub(super) fn add(&mut self, round: &Round) {
        for metric in &round.metrics {
            self.value(round, &metric.metric, &metric.unit, metric.value);
        }
    }

    /// A series.
    #[cfg(test)]
    pub(super) fn get(&self, scenario: &str, n: u64, metric: &str) -> Option<&Series> {
        let key = (scenario.to_owned(), n, metric.to_owned());
        self.series.get(*self.index.get(&key)?)
    }

    /// Fills in what follows from the values.
    pub(super) fn derive(&mut self) {
        for series in &mut self.series {
            series.set_ratio();
        }
        // Scenarios in the order in which they first came up, with all that belongs to each.
        let mut order: Vec<(String, u64)> = Vec::new();
        for series in &self.series {
            let key = (series.scenario.clone(), series.n);
            if !order.contains(&key) {
                order.push(key);
            }
        }
        let first = |scenario: &str| order.iter().position(|(name, _)| name == scenario);
        self.series
            .sort_by_key(|series| (first(&series.scenario), series.n));
        self.index.clear();
        for (at, series) in self.series.iter().enumerate() {
            let key = (series.scenario.clone(), series.n, series.metric.clone());
            self.index.insert(key, at);
        }
    }

    /// Writes `results.json`, and `noise.json` with panthor against itself.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub(super) fn write(&self, out: &Path) -> Result<()> {
        #[derive(Serialize)]
        struct Noise<'a> {
            scenario: &'a str,
            n: u64,
            metric: &'a str,
            ratio: Option<Spread>,
        }
        let noise: Vec<Noise<'_>> = self
            .series
            .iter()
            .map(|series| Noise {
                scenario: &series.scenario,
                n: series.n,
                metric: &series.metric,
                ratio: series.noise(),
            })
            .collect();
        let write = |name: &str, text: String| {
            let path = out.join(name);
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
        };
        write("results.json", serde_json::to_string_pretty(&self.series)?)?;
        write("noise.json", serde_json::to_string_pretty(&noise)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(driver: &str) -> Round {
        Round {
            driver: driver.to_owned(),
            scenario: "storm".to_owned(),
            n: 8,
            metrics: Vec::new(),
            jobs: 1,
            window: None,
            label: String::new(),
            starts: Vec::new(),
            doorbells: false,
            clocks: Vec::new(),
        }
    }

    #[test]
    fn spread_of_a_series() {
        let spread = Spread::of(&[3.0, 1.0, 2.0, 10.0]);
        let expected = Spread {
            median: 2.5,
            min: 1.0,
            max: 10.0,
        };
        assert_eq!(spread, Some(expected));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn ratios_are_those_of_neighbours() {
        let mut results = Results::default();
        for (driver, value) in [
            ("panthor", 2.0),
            ("magni", 1.0),
            ("magni", 3.0),
            ("panthor", 4.0),
        ] {
            results.value(&round(driver), "time", "ms", value);
        }
        results.derive();
        let series = results.get("storm", 8, "time").unwrap();
        let ratio = series.ratio.unwrap();
        assert_eq!((ratio.min, ratio.max), (0.5, 0.75));
        assert_eq!(series.noise().unwrap().median, 2.0);
    }

    #[test]
    fn nothing_over_nothing_is_the_same_and_something_over_nothing_is_not_a_number() {
        assert_eq!(quotient(0.0, 0.0), Some(1.0));
        assert_eq!(quotient(1.0, 0.0), None);
        assert_eq!(quotient(0.0, 4.0), Some(0.0));
    }

    #[test]
    fn the_file_has_the_documented_shape() {
        let mut results = Results::default();
        results.value(&round("panthor"), "time", "ms", 2.0);
        results.value(&round("magni"), "time", "ms", 1.0);
        results.derive();
        let text = serde_json::to_string(&results.series).unwrap();
        assert_eq!(
            text,
            r#"[{"scenario":"storm","n":8,"metric":"time","unit":"ms","magni":[1.0],"panthor":[2.0],"ratio":{"median":0.5,"min":0.5,"max":0.5}}]"#
        );
    }
}
