// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What tests share: their list, and what they start from.

use anyhow::{bail, Context, Result};
use guest::ioctl::{self, Errno};
pub(crate) use guest::rig::{ends_well, run_ok_on, run_on, Cx, Gpu, LS_MASK, TIMEOUT};
use libtest_mimic::{Failed, Trial};

/// A handle that no file has.
pub(crate) const NO_HANDLE: u32 = 0xdead;

/// The list of tests under construction.
pub(crate) struct Tests {
    /// Whether the device is served by the C driver.
    c_driver: bool,
    trials: Vec<Trial>,
}

impl Tests {
    /// An empty list.
    pub(crate) fn new(c_driver: bool) -> Self {
        Self {
            c_driver,
            trials: Vec::new(),
        }
    }

    /// Adds a test that is ignored on the C driver, since that driver gets it wrong; the name says how.
    pub(crate) fn add_not_for_c(&mut self, name: &str, test: fn() -> Result<()>) {
        self.add(name, test);
        if let Some(trial) = self.trials.pop() {
            self.trials.push(trial.with_ignored_flag(self.c_driver));
        }
    }

    /// Whether the device is served by the C driver.
    pub(crate) fn on_c_driver(&self) -> bool {
        self.c_driver
    }

    /// Adds a test that is ignored unless `condition` holds.
    pub(crate) fn add_if(&mut self, condition: bool, name: &str, test: fn() -> Result<()>) {
        self.add(name, test);
        if let Some(trial) = self.trials.pop() {
            self.trials.push(trial.with_ignored_flag(!condition));
        }
    }

    /// Adds a test.
    pub(crate) fn add(&mut self, name: impl Into<String>, test: fn() -> Result<()>) {
        self.add_fn(name, test);
    }

    /// Adds a test that is a closure.
    pub(crate) fn add_fn(
        &mut self,
        name: impl Into<String>,
        test: impl FnOnce() -> Result<()> + Send + 'static,
    ) {
        self.trials.push(Trial::test(name, move || {
            test().map_err(|e| Failed::from(format!("{e:#}")))
        }));
    }

    /// Adds one test per row of a table of bad arguments.
    ///
    /// `attempt` makes the call with an argument that is right but for what it is given to change. The test passes
    /// if the unchanged call succeeds and the changed one fails with the errno of the row.
    pub(crate) fn add_refusals<T: 'static>(
        &mut self,
        family: &str,
        attempt: fn(&Cx, Change<T>) -> ioctl::Result<()>,
        rows: &'static [Row<T>],
    ) {
        for (name, want, change) in rows {
            self.add_fn(format!("{family}::refuses_{name}"), move || {
                let cx = Cx::new()?;
                attempt(&cx, |_, _| {}).context("the call with good arguments")?;
                refused(attempt(&cx, *change), *want)
            });
        }
    }

    /// The finished list.
    pub(crate) fn into_trials(self) -> Vec<Trial> {
        self.trials
    }
}

/// Spoils an argument.
pub(crate) type Change<T> = fn(&Cx, &mut T);

/// A bad argument: its name, the errno it must give, and how to make it.
pub(crate) type Row<T> = (&'static str, Errno, Change<T>);

/// Checks that a call failed with `want`.
pub(crate) fn refused<T: std::fmt::Debug>(result: ioctl::Result<T>, want: Errno) -> Result<()> {
    match result {
        Err(got) if got == want => Ok(()),
        Err(got) => bail!("failed with {got} instead of {want}"),
        Ok(value) => bail!("succeeded ({value:?}) instead of failing with {want}"),
    }
}
