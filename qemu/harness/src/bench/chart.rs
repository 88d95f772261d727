// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The results as pictures: for each metric of a scenario, the drivers side by side.

use std::fs;
use std::path::Path;

use anyhow::{anyhow, Context, Result};
use plotters::prelude::*;

use super::file_name;
use super::results::{Results, Series, Spread};
use super::table::short;

/// Width and height of a chart.
const SIZE: (u32, u32) = (640, 400);
const PANTHOR: RGBColor = RGBColor(150, 150, 150);
const MAGNI: RGBColor = RGBColor(200, 60, 40);

/// Draws one chart per scenario and metric into the folder `out`.
///
/// # Errors
///
/// When a file cannot be written.
pub(super) fn write(results: &Results, out: &Path) -> Result<()> {
    // Those of an earlier run are not of this one.
    for entry in fs::read_dir(out).with_context(|| format!("listing {}", out.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "svg") {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    let mut drawn: Vec<(&str, &str)> = Vec::new();
    for series in &results.series {
        let key = (series.scenario.as_str(), series.metric.as_str());
        if drawn.contains(&key) {
            continue;
        }
        drawn.push(key);
        let sizes: Vec<&Series> = results
            .series
            .iter()
            .filter(|other| (other.scenario.as_str(), other.metric.as_str()) == key)
            .collect();
        let path = out.join(format!(
            "{}.svg",
            file_name(&format!("{} {}", key.0, key.1))
        ));
        draw(&sizes, &path).with_context(|| format!("drawing {}", path.display()))?;
    }
    Ok(())
}

/// Bars for the medians, and lines from the smallest to the largest value.
fn draw(sizes: &[&Series], path: &Path) -> Result<()> {
    let Some(first) = sizes.first() else {
        return Ok(());
    };
    let bars: Vec<(usize, usize, Spread)> = sizes
        .iter()
        .enumerate()
        .flat_map(|(at, series)| {
            [&series.panthor, &series.magni]
                .into_iter()
                .enumerate()
                .filter_map(move |(driver, values)| Some((at, driver, Spread::of(values)?)))
        })
        .collect();
    let top = bars.iter().map(|bar| bar.2.max).fold(0.0, f64::max);
    let bottom = bars.iter().map(|bar| bar.2.min).fold(0.0, f64::min);
    let top = if top > 0.0 { top * 1.1 } else { 1.0 };
    let failed = |error: &dyn std::fmt::Display| anyhow!("{error}");

    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE).map_err(|e| failed(&e))?;
    let title = match first.unit.as_str() {
        "" => format!("{}: {}", first.scenario, first.metric),
        unit => format!("{}: {} ({unit})", first.scenario, first.metric),
    };
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..sizes.len() as f64, bottom..top)
        .map_err(|e| failed(&e))?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_label_formatter(&|value| short(*value))
        .draw()
        .map_err(|e| failed(&e))?;
    for (driver, (name, colour)) in [("panthor", PANTHOR), ("magni", MAGNI)].iter().enumerate() {
        let mine = || bars.iter().filter(move |bar| bar.1 == driver);
        let left = |at: usize| at as f64 + 0.15 + 0.35 * driver as f64;
        let colour = *colour;
        chart
            .draw_series(mine().map(|(at, _, spread)| {
                let corners = [(left(*at), 0.0), (left(*at) + 0.33, spread.median)];
                Rectangle::new(corners, colour.filled())
            }))
            .map_err(|e| failed(&e))?
            .label(*name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled()));
        chart
            .draw_series(mine().map(|(at, _, spread)| {
                let x = left(*at) + 0.165;
                PathElement::new(vec![(x, spread.min), (x, spread.max)], BLACK)
            }))
            .map_err(|e| failed(&e))?;
    }
    for (at, series) in sizes.iter().enumerate() {
        let (x, y) = chart.backend_coord(&(at as f64 + 0.5, bottom));
        let style = ("sans-serif", 13).into_font().color(&BLACK);
        area.draw(&Text::new(
            format!("n = {}", series.n),
            (x - 15, y + 8),
            style,
        ))
        .map_err(|e| failed(&e))?;
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .label_font(("sans-serif", 13))
        .draw()
        .map_err(|e| failed(&e))?;
    area.present().map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_is_drawn() {
        let series = Series {
            scenario: "storm".to_owned(),
            n: 8,
            metric: "time".to_owned(),
            unit: "ms".to_owned(),
            magni: vec![1.0, 2.0],
            panthor: vec![3.0],
            ratio: None,
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.svg");
        draw(&[&series], &path).unwrap();
        let text = fs::read_to_string(path).unwrap();
        assert!(
            text.contains("n = 8") && text.contains("magni") && text.contains("storm: time (ms)")
        );
    }
}
