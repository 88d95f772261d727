// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The guest's files: init, modules, firmware, and what the plan adds.

use std::path::Path;

use anyhow::{ensure, Context, Result};

use crate::initramfs::Archive;
use crate::kmod;
use crate::plan::Plan;
use crate::settings::{Driver, Settings};

/// Where drivers look for the firmware of a Mali-G610.
pub(crate) const FIRMWARE: &str = "/lib/firmware/arm/mali/arch10.8/mali_csffw.bin";

/// Programs that are in every guest when they have been built.
const PROGRAMS: &[&str] = &["smoke", "conformance", "stress"];

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
    let environment = format!("MODULE={name}\nPLATFORM_DRIVER={name}\nFIRMWARE={FIRMWARE}\n");
    archive.file("/lib/magni/env.sh", 0o644, environment.as_bytes())?;
    ensure!(
        settings.busybox.exists(),
        "{} is missing: run make setup",
        settings.busybox.display()
    );
    archive.copy("/bin/busybox", 0o755, &settings.busybox)?;
    archive.file(FIRMWARE, 0o644, &mali_firmware::build())?;
    add_modules(settings, plan.driver, &mut archive)?;
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

/// Adds the driver's module and everything it depends on, numbered in load order.
fn add_modules(settings: &Settings, driver: Driver, archive: &mut Archive) -> Result<()> {
    let tree = kmod::Tree::new(&settings.modules_dir())?;
    let module = match driver {
        Driver::Panthor => tree.load("panthor")?,
        Driver::Magni => {
            kmod::load(&settings.module).context("the driver has not been built: run make")?
        }
    };
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
