// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The results as text.

use super::results::{Results, Spread};

/// A number with about three digits that mean something.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v < 0.1 => format!("{value:.3}"),
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn spread(spread: Option<Spread>) -> String {
    match spread {
        Some(spread) if spread.min == spread.max => short(spread.median),
        Some(spread) => format!(
            "{} ({}-{})",
            short(spread.median),
            short(spread.min),
            short(spread.max)
        ),
        None => "-".to_owned(),
    }
}

/// Prints everything: medians with the smallest and the largest value in brackets.
pub(super) fn print(results: &Results) {
    let mut last = None;
    for series in &results.series {
        let heading = (&series.scenario, series.n);
        if last != Some(heading) {
            println!();
            println!(
                "{:<48} {:>22} {:>22} {:>18} {:>18}",
                format!("{}, n = {}", series.scenario, series.n),
                "panthor",
                "magni",
                "magni/panthor",
                "panthor/panthor"
            );
            last = Some(heading);
        }
        let name = match series.unit.as_str() {
            "" => series.metric.clone(),
            unit => format!("{}, {unit}", series.metric),
        };
        println!(
            "  {name:<46} {:>22} {:>22} {:>18} {:>18}",
            spread(Spread::of(&series.panthor)),
            spread(Spread::of(&series.magni)),
            spread(series.ratio),
            spread(series.noise()),
        );
    }
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.0123, "0.012"),
            (2.346, "2.35"),
            (1234.5, "1234"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
