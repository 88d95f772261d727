// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The guest's files: init, modules, firmware, and what the plan adds.

use std::path::Path;

use anyhow::{ensure, Context, Result};

use crate::initramfs::Archive;
use crate::kmod;
use crate::plan::Plan;
use crate::settings::{Driver, Kernel, Settings};

/// Where drivers look for the firmware of a Mali-G610.
pub(crate) const FIRMWARE: &str = "/lib/firmware/arm/mali/arch10.8/mali_csffw.bin";

/// Programs that are in every guest when they have been built.
const PROGRAMS: &[&str] = &["smoke", "conformance", "stress", "bench", "faults"];

/// Modules that tests load. They depend on nothing that the driver does not depend on too.
const OTHER_MODULES: &[&str] = &["vgem"];

/// Writes the guest's root file system to `path`.
///
/// # Errors
///
/// When a file that the guest needs is missing.
pub(crate) fn write_initramfs(settings: &Settings, plan: &Plan, path: &Path) -> Result<()> {
    let mut archive = Archive::create(path)?;
    archive.file("/init", 0o755, include_bytes!("../guest/init"))?;
    archive.file(
        "/lib/magni/guest.sh",
        0o644,
        include_bytes!("../guest/guest.sh"),
    )?;
    archive.file(
        "/lib/magni/tests.sh",
        0o644,
        include_bytes!("../guest/tests.sh"),
    )?;
    archive.file("/lib/magni/plan.sh", 0o644, plan.script().as_bytes())?;
    let name = plan.driver.name();
    let module_args = match plan.driver {
        // What a person asks for comes last, and wins.
        Driver::Magni => [&plan.module_args, " ", &settings.module_args].concat(),
        Driver::Panthor => String::new(),
    };
    let environment = format!(
        "MODULE={name}\nMODULE_ARGS='{module_args}'\nPLATFORM_DRIVER={name}\nFIRMWARE={FIRMWARE}\n\
         export MAGNI_SLOWER={}\n{}",
        plan.slower(),
        variables(&module_args)
    );
    archive.file("/lib/magni/env.sh", 0o644, environment.as_bytes())?;
    ensure!(
        settings.busybox.exists(),
        "{} is missing: run make setup",
        settings.busybox.display()
    );
    archive.copy("/bin/busybox", 0o755, &settings.busybox)?;
    archive.file(FIRMWARE, 0o644, &mali_firmware::build())?;
    add_modules(settings, plan, &mut archive)?;
    for name in PROGRAMS {
        let program = settings.guest_program(name);
        if program.exists() {
            archive.copy(&format!("/bin/{name}"), 0o755, &program)?;
        }
    }
    for (path, content) in &plan.files {
        archive.file(path, 0o644, content)?;
    }
    archive.finish()
}

/// Tells the guest's programs how the module was loaded, as its parameters are not in sysfs: `job_timeout_ms=N`
/// is `MAGNI_JOB_TIMEOUT_MS`.
fn variables(module_args: &str) -> String {
    let export = |(name, value): (&str, &str)| {
        let name = name.to_uppercase();
        ["export MAGNI_", &name, "='", value, "'\n"].concat()
    };
    module_args
        .split_whitespace()
        .filter_map(|arg| arg.split_once('='))
        .map(export)
        .collect()
}

/// Adds the driver's module and everything it depends on, numbered in load order.
fn add_modules(settings: &Settings, plan: &Plan, archive: &mut Archive) -> Result<()> {
    let tree = kmod::Tree::new(&settings.modules_dir(plan.kernel)?)?;
    let module = match plan.driver {
        Driver::Panthor => tree.load("panthor")?,
        Driver::Magni => {
            let hint = match plan.kernel {
                Kernel::Stock => "the driver has not been built: run make",
                Kernel::Debug => {
                    "the driver has not been built for the debug kernel: run make module-debug"
                }
            };
            kmod::load(settings.module(plan.kernel)).context(hint)?
        }
    };
    for other in OTHER_MODULES {
        let other = tree.load(other)?;
        archive.file(
            &format!("/lib/magni/modules/{}.ko", other.name),
            0o644,
            &other.image,
        )?;
    }
    for (number, dependency) in tree.dependencies(&module)?.iter().enumerate() {
        archive.file(
            &format!("/lib/magni/modules/deps/{number:02}-{}.ko", dependency.name),
            0o644,
            &dependency.image,
        )?;
    }
    archive.file(
        &format!("/lib/magni/modules/{}.ko", module.name),
        0o644,
        &module.image,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_know_the_parameters() {
        assert_eq!(
            variables("job_timeout_ms=20 bare  ping_period_ms=7"),
            "export MAGNI_JOB_TIMEOUT_MS='20'\nexport MAGNI_PING_PERIOD_MS='7'\n"
        );
        assert_eq!(variables(" "), "");
    }
}
