// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Runs scenarios with two drivers in turn, in one boot.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context, Result};
use clap::Parser;

/// Runs other scenarios with two drivers in turn: A B B A, and again.
#[derive(Parser, Clone, Debug)]
pub(crate) struct Args {
    /// Rounds with each driver.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The first driver.
    #[arg(long, default_value = "panthor")]
    first: String,
    /// The second driver; the same one for how much rounds differ by themselves.
    #[arg(long, default_value = "magni")]
    second: String,
    /// A scenario with its arguments, as one word; each is run once in a round.
    #[arg(required = true)]
    scenarios: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let gpu = Gpu::find()?;
    let exe = env::current_exe().context("find this program's file")?;
    for round in 0..args.rounds {
        let mut pair = [&args.first, &args.second];
        if round % 2 == 1 {
            pair.reverse();
        }
        for driver in pair {
            gpu.give_to(driver)?;
            for scenario in &args.scenarios {
                let mut attempt = 1;
                loop {
                    let status = Command::new(&exe)
                        .args(scenario.split_whitespace())
                        .status()
                        .with_context(|| format!("start {scenario:?}"))?;
                    if status.success() {
                        break;
                    }
                    let what = format!("round {round} of {scenario:?} with {driver}: {status}");
                    ensure!(driver == C_DRIVER && attempt < ATTEMPTS, what);
                    eprintln!("bench: {what}; it is repeated");
                    attempt += 1;
                    gpu.release()?;
                    gpu.give_to(driver)?;
                }
            }
        }
    }
    Ok(())
}

/// The driver that is measured against.
const C_DRIVER: &str = "panthor";
/// How often a round with it is tried: after a reset it now and then forgets a group that has jobs.
const ATTEMPTS: u32 = 3;

/// The GPU in sysfs.
struct Gpu {
    name: String,
    device: PathBuf,
}

impl Gpu {
    fn find() -> Result<Self> {
        let folder = Path::new("/sys/bus/platform/devices");
        fs::read_dir(folder)
            .context("list the platform devices")?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .find(|name| name.ends_with(".gpu"))
            .map(|name| Self {
                device: folder.join(&name),
                name,
            })
            .context("there is no platform device called gpu")
    }

    /// The driver that has it.
    fn driver(&self) -> Option<String> {
        let path = fs::canonicalize(self.device.join("driver")).ok()?;
        Some(path.file_name()?.to_string_lossy().into_owned())
    }

    /// Takes it from its driver, if it has one.
    fn release(&self) -> Result<()> {
        if self.driver().is_some() {
            fs::write(self.device.join("driver/unbind"), &self.name).context("unbind the GPU")?;
        }
        Ok(())
    }

    /// Binds it to `driver`, whose module is loaded.
    fn give_to(&self, driver: &str) -> Result<()> {
        if self.driver().as_deref() == Some(driver) {
            return Ok(());
        }
        self.release()?;
        fs::write(self.device.join("driver_override"), driver)
            .with_context(|| format!("choose the driver {driver}"))?;
        fs::write("/sys/bus/platform/drivers_probe", &self.name)
            .with_context(|| format!("bind the GPU to {driver}"))?;
        ensure!(
            self.driver().as_deref() == Some(driver),
            "the GPU is not bound to {driver}: see the kernel's log"
        );
        Ok(())
    }
}
