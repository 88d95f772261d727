// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The kernel's tracing, through an instance of our own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};

/// Where the init mounts it.
const ROOT: &str = "/sys/kernel/tracing";

/// An instance, which is removed with all its events when this is dropped.
pub(crate) struct Tracer {
    dir: PathBuf,
}

impl Tracer {
    /// Makes an instance that records `events` (`system/name`) once it is switched on.
    ///
    /// The recorded times are CLOCK_MONOTONIC.
    pub(crate) fn new(events: &[&str]) -> Result<Self> {
        let dir = Path::new(ROOT)
            .join("instances")
            .join(format!("bench{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("create {}", dir.display()))?;
        let tracer = Self { dir };
        tracer.write("tracing_on", "0")?;
        tracer.write("trace_clock", "mono")?;
        tracer.write("buffer_size_kb", "16384")?;
        for event in events {
            tracer.write(&format!("events/{event}/enable"), "1")?;
        }
        Ok(tracer)
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.dir.join(file);
        fs::write(&path, text).with_context(|| format!("write {text:?} to {}", path.display()))
    }

    /// Starts recording.
    pub(crate) fn on(&self) -> Result<()> {
        self.write("tracing_on", "1")
    }

    /// Stops recording; returns what was recorded, oldest first.
    ///
    /// # Errors
    ///
    /// Also if the buffers were too small.
    pub(crate) fn off(&self) -> Result<String> {
        self.write("tracing_on", "0")?;
        let path = self.dir.join("trace");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        for entry in fs::read_dir(self.dir.join("per_cpu")).context("list per_cpu")? {
            let stats = fs::read_to_string(entry?.path().join("stats")).context("read stats")?;
            let lost = stats
                .lines()
                .find_map(|line| line.strip_prefix("overrun: "))
                .context("stats without overrun")?;
            ensure!(lost.trim() == "0", "the trace has lost {lost} events");
        }
        Ok(text)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // The boot is over soon if this fails.
        let _ = fs::remove_dir(&self.dir);
    }
}
