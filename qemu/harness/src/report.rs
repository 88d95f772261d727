// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What happened in a boot, put together from the lines of the guest, the kernel and the model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::boot::Log;
use crate::machine::{Event, Source};
use crate::plan::{Plan, Step};
use crate::splat::{KernelWatch, ModelWatch};

/// What a line of the guest or of the kernel's log means when it is a mark.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mark<'a> {
    /// The guest's init runs, on this kernel release.
    Up(&'a str),
    /// A step begins.
    Begin(&'a str),
    /// A step has ended with an exit status.
    End(&'a str, i32),
    /// The plan is through.
    Done,
}

impl<'a> Mark<'a> {
    /// Reads a mark; `None` for any other line.
    pub(crate) fn parse(line: &'a str) -> Option<Self> {
        let (_, text) = line.split_once("@magni ")?;
        let mut words = text.split_whitespace();
        match words.next()? {
            "up" => Some(Self::Up(words.next()?)),
            "begin" => Some(Self::Begin(words.next()?)),
            "end" => Some(Self::End(words.next()?, words.next()?.parse().ok()?)),
            "done" => Some(Self::Done),
            _ => None,
        }
    }
}

/// What one step did.
#[derive(Clone, Debug, Default)]
pub(crate) struct StepOutcome {
    /// Exit status; `None` when the step did not run to its end.
    pub(crate) status: Option<i32>,
    /// What it printed.
    pub(crate) output: Vec<String>,
    /// The kernel's messages meanwhile.
    pub(crate) kernel: Vec<String>,
    /// Splats and misuse reports meanwhile.
    pub(crate) problems: Vec<String>,
    /// Time from its first to its last mark.
    pub(crate) took: Duration,
}

impl StepOutcome {
    /// Did it exit with 0 and nothing bad in the logs?
    pub(crate) fn passed(&self) -> bool {
        self.status == Some(0) && self.problems.is_empty()
    }
}

/// What a boot did.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The steps, by name.
    pub(crate) steps: BTreeMap<String, StepOutcome>,
    /// Problems outside of steps, and an untimely end.
    pub(crate) problems: Vec<String>,
    /// Release of the kernel that ran.
    pub(crate) release: Option<String>,
    /// Folder with the logs.
    pub(crate) logs: PathBuf,
}

impl Outcome {
    /// Did every step pass, and nothing else go wrong?
    pub(crate) fn passed(&self) -> bool {
        self.problems.is_empty() && self.steps.values().all(StepOutcome::passed)
    }
}

/// Turns the event stream into an [`Outcome`].
pub(crate) struct Recorder {
    plan: Plan,
    outcome: Outcome,
    logs: [Log; 4],
    /// The step that runs, by the guest's own marks, and since when.
    running: Option<(String, Instant)>,
    /// The step that runs, by the marks in the kernel's log, which lags behind.
    kernel_step: Option<String>,
    kernel: KernelWatch,
    model: ModelWatch,
    last: BTreeMap<&'static str, String>,
    done: bool,
    misused: bool,
}

impl Recorder {
    /// A recorder for one boot that logs to the folder `logs`.
    ///
    /// # Errors
    ///
    /// When the logs cannot be written.
    pub(crate) fn new(plan: &Plan, logs: &Path) -> Result<Self> {
        let steps = plan
            .steps
            .iter()
            .map(|step| (step.name.clone(), StepOutcome::default()))
            .collect();
        Ok(Self {
            plan: plan.clone(),
            outcome: Outcome {
                steps,
                problems: Vec::new(),
                release: None,
                logs: logs.to_owned(),
            },
            logs: [
                Log::create(logs, "console.log")?,
                Log::create(logs, "guest.log")?,
                Log::create(logs, "model.log")?,
                Log::create(logs, "qemu.log")?,
            ],
            running: None,
            kernel_step: None,
            kernel: KernelWatch::default(),
            model: ModelWatch::default(),
            last: BTreeMap::new(),
            done: false,
            misused: false,
        })
    }

    /// Takes an event; true when it begins a new phase of the boot.
    ///
    /// # Errors
    ///
    /// When a log cannot be written.
    pub(crate) fn event(&mut self, event: &Event) -> Result<bool> {
        let Event::Line(source, line) = event else {
            return Ok(false);
        };
        let [console, guest, model, qemu] = &mut self.logs;
        let log = match source {
            Source::Console => console,
            Source::Guest => guest,
            Source::Model => model,
            Source::Qemu => qemu,
        };
        log.line(line)?;
        if !line.trim().is_empty() {
            self.last.insert(key(*source), line.clone());
        }
        match source {
            Source::Console => {
                self.console_line(line);
                Ok(false)
            }
            Source::Guest => Ok(self.guest_line(line)),
            Source::Model => {
                self.model.line(line);
                if self.running.is_none() {
                    self.settle_model(None);
                }
                Ok(false)
            }
            Source::Qemu => Ok(false),
        }
    }

    fn console_line(&mut self, line: &str) {
        match Mark::parse(line) {
            Some(Mark::Begin(name)) => {
                self.settle_kernel();
                self.kernel_step = Some(name.to_owned());
            }
            Some(Mark::End(..)) => {
                self.settle_kernel();
                self.kernel_step = None;
            }
            Some(_) => {}
            None => {
                self.kernel.line(line);
                if let Some(step) = self
                    .kernel_step
                    .as_ref()
                    .and_then(|name| self.outcome.steps.get_mut(name))
                {
                    step.kernel.push(line.to_owned());
                }
            }
        }
    }

    fn guest_line(&mut self, line: &str) -> bool {
        match Mark::parse(line) {
            Some(Mark::Up(release)) => self.outcome.release = Some(release.to_owned()),
            Some(Mark::Begin(name)) => {
                self.settle_model(None);
                self.running = Some((name.to_owned(), Instant::now()));
            }
            Some(Mark::End(name, status)) => {
                self.settle_model(Some(name));
                if let Some((_, since)) = self.running.take() {
                    if let Some(step) = self.outcome.steps.get_mut(name) {
                        step.status = Some(status);
                        step.took = since.elapsed();
                        // The line that separates output and mark.
                        if step.output.last().is_some_and(String::is_empty) {
                            step.output.pop();
                        }
                    }
                }
            }
            Some(Mark::Done) => self.done = true,
            None => {
                if let Some((name, _)) = &self.running {
                    if let Some(step) = self.outcome.steps.get_mut(name) {
                        step.output.push(line.to_owned());
                    }
                }
                return false;
            }
        }
        true
    }

    /// Lays what the kernel said up to now to the step of its last mark.
    fn settle_kernel(&mut self) {
        let found = self.kernel.take();
        let texts = found.iter().map(|splat| splat.text());
        match self
            .kernel_step
            .as_ref()
            .and_then(|name| self.outcome.steps.get_mut(name))
        {
            Some(step) => step.problems.extend(texts),
            None => self.outcome.problems.extend(texts),
        }
    }

    /// Lays what the model said up to now to a step.
    fn settle_model(&mut self, step: Option<&str>) {
        let found = self.model.take();
        self.misused |= !found.is_empty();
        let texts = found.iter().map(|splat| splat.text());
        match step.and_then(|name| self.outcome.steps.get_mut(name)) {
            Some(step) => step.problems.extend(texts),
            None => self.outcome.problems.extend(texts),
        }
    }

    /// The step that runs.
    pub(crate) fn current(&self) -> Option<&Step> {
        let (name, _) = self.running.as_ref()?;
        self.plan.steps.iter().find(|step| step.name == *name)
    }

    /// The last line of a source that is not blank.
    pub(crate) fn last_of(&self, source: Source) -> &str {
        self.last
            .get(key(source))
            .map_or("(nothing was printed)", String::as_str)
    }

    /// The boot has used up its time.
    pub(crate) fn timed_out(&mut self) {
        let what = match (&self.running, &self.outcome.release) {
            (Some((name, _)), _) => format!("the step {name} hangs"),
            (None, None) => "the guest does not come up".to_owned(),
            (None, Some(_)) => "the guest hangs between two steps".to_owned(),
        };
        self.outcome.problems.push(format!(
            "{what}; last console line: {}; last line of the guest: {}",
            self.last_of(Source::Console),
            self.last_of(Source::Guest),
        ));
        // The problem is told; the power-off that did not happen is its consequence.
        self.done = true;
    }

    /// QEMU and the model have ended.
    pub(crate) fn ended(&mut self, qemu: Option<ExitStatus>, model: Option<ExitStatus>) {
        self.settle_kernel();
        let running = self.running.as_ref().map(|(name, _)| name.clone());
        self.settle_model(running.as_deref());
        match qemu {
            Some(status) if !status.success() => self.outcome.problems.push(format!(
                "QEMU ended with {status}: {}",
                self.last_of(Source::Qemu)
            )),
            None if !self.done => self
                .outcome
                .problems
                .push("the guest does not power off".to_owned()),
            _ => {}
        }
        // The model says with this status that it has reported misuse, which is told already.
        const MISUSED: i32 = 3;
        let told = self.misused && model.and_then(|status| status.code()) == Some(MISUSED);
        if let Some(status) = model.filter(|_| !told) {
            self.outcome.problems.push(format!(
                "the emulated GPU ended with {status}: {}",
                self.last_of(Source::Model)
            ));
        }
        if !self.done && !self.plan.interactive && self.outcome.problems.is_empty() {
            self.outcome.problems.push(format!(
                "the guest stopped before the end of its plan; last console line: {}",
                self.last_of(Source::Console)
            ));
        }
    }

    /// The outcome.
    pub(crate) fn finish(self) -> Outcome {
        self.outcome
    }
}

fn key(source: Source) -> &'static str {
    match source {
        Source::Console => "console",
        Source::Guest => "guest",
        Source::Model => "model",
        Source::Qemu => "qemu",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Driver, Kernel};

    fn line(source: Source, text: &str) -> Event {
        Event::Line(source, text.to_owned())
    }

    #[test]
    fn marks_are_read() {
        assert_eq!(Mark::parse("@magni up 7.3.4"), Some(Mark::Up("7.3.4")));
        assert_eq!(
            Mark::parse("[    4.2] @magni end smoke 3"),
            Some(Mark::End("smoke", 3))
        );
        assert_eq!(Mark::parse("@magni end smoke"), None);
        assert_eq!(Mark::parse("hello"), None);
    }

    #[test]
    fn a_splat_fails_the_step_it_came_from_only() -> Result<()> {
        let plan = Plan::new("x", Driver::Magni, Kernel::Stock)
            .then([Step::new("one", "true", 1), Step::new("two", "true", 1)]);
        let dir = tempfile::tempdir()?;
        let mut recorder = Recorder::new(&plan, dir.path())?;
        for (source, text) in [
            (Source::Guest, "@magni up 7.3.4"),
            (Source::Guest, "@magni begin one"),
            (Source::Console, "[ 1.0] @magni begin one"),
            (Source::Guest, "hello"),
            (Source::Guest, ""),
            (Source::Guest, "@magni end one 0"),
            (Source::Guest, "@magni begin two"),
            (Source::Console, "[ 1.1] BUG: of one"),
            (Source::Console, "[ 1.2] @magni end one 0"),
            (Source::Console, "[ 1.2] @magni begin two"),
            (Source::Guest, "@magni end two 0"),
            (Source::Guest, "@magni done"),
        ] {
            recorder.event(&line(source, text))?;
        }
        recorder.ended(Some(ExitStatus::default()), None);
        let outcome = recorder.finish();
        assert_eq!(outcome.release.as_deref(), Some("7.3.4"));
        let step = |name: &str| outcome.steps.get(name).cloned().unwrap_or_default();
        assert_eq!(step("one").output, ["hello"]);
        assert!(!step("one").passed());
        assert!(step("two").passed());
        assert!(outcome.problems.is_empty());
        assert!(!outcome.passed());
        Ok(())
    }

    #[test]
    fn an_early_end_is_a_problem() -> Result<()> {
        let plan = Plan::new("x", Driver::Magni, Kernel::Stock).then([Step::new("one", "true", 1)]);
        let dir = tempfile::tempdir()?;
        let mut recorder = Recorder::new(&plan, dir.path())?;
        recorder.event(&line(Source::Guest, "@magni begin one"))?;
        recorder.ended(Some(ExitStatus::default()), None);
        let outcome = recorder.finish();
        assert_eq!(outcome.problems.len(), 1);
        assert!(!outcome.passed());
        Ok(())
    }
}
