// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a person sees while a boot runs.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::machine::{Event, Source};
use crate::report::{Mark, Recorder};

/// One line that says what goes on, and, when asked for, the guest's output.
pub(crate) struct Ui {
    bar: ProgressBar,
    output: bool,
}

impl Ui {
    /// A display; with `output` it prints what the guest's programs print.
    pub(crate) fn new(title: &str, output: bool) -> Self {
        let bar = ProgressBar::new_spinner().with_prefix(title.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}: {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar, output }
    }

    /// A display that shows nothing: the terminal belongs to the guest.
    pub(crate) fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            output: false,
        }
    }

    /// Says what is being done.
    pub(crate) fn doing(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        if self.output && self.bar.is_hidden() {
            println!("{what} ...");
        }
    }

    /// Shows an event that the recorder has taken.
    pub(crate) fn event(&self, event: &Event, recorder: &Recorder) {
        let Event::Line(Source::Guest, line) = event else {
            return;
        };
        match Mark::parse(line) {
            Some(Mark::Begin(name)) => self.bar.set_message(name.to_owned()),
            Some(Mark::Up(release)) if self.output => {
                self.print(&format!("Linux {release} is up"));
            }
            Some(Mark::Done) => self.bar.set_message("powering off"),
            Some(_) => {}
            None if self.output && recorder.current().is_some() && !line.is_empty() => {
                self.print(line);
            }
            None => {}
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn print(&self, line: &str) {
        if self.bar.is_hidden() {
            println!("{line}");
        } else {
            self.bar.suspend(|| println!("{line}"));
        }
    }
}
