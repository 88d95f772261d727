// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What is tested, on which boots.

use std::process::Command;

use anyhow::{ensure, Context, Result};

use super::{Case, Check, Group};
use crate::device_tree::Variant;
use crate::plan::{Plan, Step};
use crate::settings::{Driver, Settings};

/// Names of conformance tests begin so when the ioctl is not in Magni yet.
const LATER: &str = "later::";

/// All groups, in the order in which they run.
///
/// # Errors
///
/// When the conformance program does not list its tests.
pub(crate) fn all(settings: &Settings) -> Result<Vec<Group>> {
    let parts = conformance_parts(settings)?;
    let mut groups = Vec::new();
    for driver in [Driver::Panthor, Driver::Magni] {
        groups.push(programs(driver, &parts));
        groups.push(lifecycle(driver));
        groups.push(firmware(driver));
        groups.extend([
            bad_tree(driver, "no-interrupt", Variant::NoInterrupt),
            bad_tree(driver, "no-clock", Variant::NoClock),
            bad_tree(driver, "no-regs", Variant::NoRegs),
        ]);
    }
    Ok(groups)
}

impl Group {
    /// A group for `driver`, named `name`, on the boot that `plan` prepares.
    fn new(driver: Driver, name: &str, plan: impl FnOnce(Plan) -> Plan) -> Self {
        let boot = format!("{driver}-{name}");
        Self {
            plan: plan(Plan::new(boot, driver)),
            cases: vec![Case {
                name: format!("{driver}::{name}::boot"),
                step: String::new(),
                check: Check::Boot,
            }],
        }
    }

    /// Adds a step that is a case.
    fn case(self, name: &str, command: &str, seconds: u64) -> Self {
        self.checked(name, command, seconds, Check::Step)
    }

    fn checked(mut self, name: &str, command: &str, seconds: u64, check: Check) -> Self {
        let prefix = self.plan.name.replacen('-', "::", 1);
        self.cases.push(Case {
            name: format!("{prefix}::{name}"),
            step: name.to_owned(),
            check,
        });
        self.plan = self.plan.then([Step::new(name, command, seconds)]);
        self
    }
}

/// The names of the conformance tests, from the program's build for this machine.
fn conformance_parts(settings: &Settings) -> Result<Vec<String>> {
    let program = settings.bin.join("conformance");
    let output = Command::new(&program)
        .arg("--list")
        .output()
        .with_context(|| format!("starting {}", program.display()))?;
    ensure!(
        output.status.success(),
        "{} --list failed: {}",
        program.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let parts: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect();
    ensure!(!parts.is_empty(), "{} lists no test", program.display());
    Ok(parts)
}

/// The guest programs.
fn programs(driver: Driver, parts: &[String]) -> Group {
    let mut group = Group::new(driver, "programs", Plan::with_driver).case("smoke", "smoke", 300);
    let command = match driver {
        Driver::Panthor => "conformance --test-threads 1".to_owned(),
        Driver::Magni => format!("conformance --test-threads 1 --skip {LATER}"),
    };
    group = group.case("conformance", &command, 1200);
    for part in parts {
        if driver == Driver::Magni && part.starts_with(LATER) {
            continue;
        }
        group.cases.push(Case {
            name: format!("{driver}::conformance::{part}"),
            step: "conformance".to_owned(),
            check: Check::Part(part.clone()),
        });
    }
    group
        .case("stress", "stress", 1200)
        .case("taint", "taint", 30)
}

/// Runs `command` many times; on Magni, no round may leave 1 KiB or more in use.
///
/// The C driver of 7.3.4 leaves the GPU's cooling device behind each time it is
/// unbound (`/sys/class/thermal` fills with them), so it is not measured.
fn rounds(driver: Driver, count: u32, command: &str) -> String {
    match driver {
        Driver::Magni => format!("no_leak {count} 1024 {command}"),
        Driver::Panthor => format!("repeat {count} {command}"),
    }
}

/// Loading, unloading, binding and unbinding.
fn lifecycle(driver: Driver) -> Group {
    Group::new(driver, "lifecycle", Plan::with_driver)
        .case("busy-while-open", "busy_while_open", 60)
        .case("unbind-with-file-open", "unbind_with_file_open", 300)
        .case("unbind-with-jobs-running", "unbind_with_jobs_running", 300)
        .case("bind-unbind-50", &rounds(driver, 50, "bind_unbind_once"), 300)
        .case("load-unload-200", &rounds(driver, 200, "load_unload_once"), 900)
        .case("smoke-after-all", "smoke", 300)
        .case("taint", "taint", 30)
        .case("unload", "unload", 60)
}

/// Firmware files that have to be refused.
fn firmware(driver: Driver) -> Group {
    let mut group = Group::new(driver, "firmware", Plan::with_driver);
    let file = |name: &str| format!("/lib/magni/firmware/{name}");
    let mut files = vec![(file("good"), mali_firmware::build())];
    let variants = mali_firmware::damage::all();
    for variant in &variants {
        files.push((file(&variant.name), variant.bytes.clone()));
    }
    group.plan.files = files;
    group.plan = group
        .plan
        .then([Step::new("unbind", "must_unbind", 60).required()]);
    let check = |words: &[&'static str]| match driver {
        Driver::Magni => Check::OneLine(words.to_vec()),
        Driver::Panthor => Check::Step,
    };
    let words = ["arm/mali/arch10.8/mali_csffw.bin", "firmware-misc-nonfree"];
    group = group.checked("missing", "bad_firmware missing", 60, check(&words));
    for variant in &variants {
        group = group.checked(
            &variant.name,
            &format!("bad_firmware {}", variant.name),
            60,
            check(&words),
        );
    }
    group.case("refused-50", &rounds(driver, 50, "bad_firmware_once noise"), 300)
}

/// A device tree with which the driver must not bind.
fn bad_tree(driver: Driver, name: &str, variant: Variant) -> Group {
    let mut group = Group::new(driver, name, Plan::prepared);
    group.plan.device_tree = variant;
    let check = match driver {
        Driver::Magni => Check::OneLine(Vec::new()),
        Driver::Panthor => Check::Step,
    };
    group.checked("refused", "not_bound", 60, check)
}
