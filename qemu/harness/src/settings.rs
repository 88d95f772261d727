// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Where the things that a boot needs are, and which driver is under test.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

/// The driver that a boot loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Driver {
    /// This project's driver, `magni.ko`.
    Magni,
    /// The stock kernel's C driver, `panthor.ko`.
    Panthor,
}

impl Driver {
    /// Name of the module, and of its platform driver.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Driver::Magni => "magni",
            Driver::Panthor => "panthor",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The kernel that a boot runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kernel {
    /// The distribution's own, unmodified.
    #[default]
    Stock,
    /// The same source with everything that watches a driver turned on; see `scripts/debug.config`.
    Debug,
}

/// Files and programs that every boot uses; `scripts/harness` supplies them.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Folder with the stock kernel's unpacked packages.
    #[arg(long, env = "MAGNI_KERNEL_FILES")]
    kernel_files: PathBuf,
    /// Release of the stock kernel, as `uname -r` says it.
    #[arg(long, env = "MAGNI_KERNEL_RELEASE")]
    release: String,
    /// Folder with the debug kernel and its modules, laid out like the stock kernel's.
    #[arg(long, env = "MAGNI_DEBUG_KERNEL_FILES")]
    debug_kernel_files: Option<PathBuf>,
    /// Release of the debug kernel.
    #[arg(long, env = "MAGNI_DEBUG_KERNEL_RELEASE")]
    debug_release: Option<String>,
    /// Folder with the programs for this machine (`mali-csf`).
    #[arg(long, env = "MAGNI_BIN", default_value = "build/bin")]
    pub(crate) bin: PathBuf,
    /// Folder with the programs for the guest.
    #[arg(long, env = "MAGNI_GUEST_BIN", default_value = "build/guest")]
    pub(crate) guest_bin: PathBuf,
    /// The module under test when it is Magni.
    #[arg(long, default_value = "build/module/magni.ko")]
    module: PathBuf,
    /// The same, built for the debug kernel.
    #[arg(long, default_value = "build/module-debug/magni.ko")]
    debug_module: PathBuf,
    /// The module with planted bugs.
    #[arg(long, default_value = "build/planted/planted.ko")]
    pub(crate) planted: PathBuf,
    /// Parameters for the module when it is Magni, separated by spaces.
    #[arg(long, env = "MODULE_ARGS", default_value = "")]
    pub(crate) module_args: String,
    /// Static arm64 busybox.
    #[arg(long, default_value = "/usr/bin/busybox")]
    pub(crate) busybox: PathBuf,
    /// Folder for the logs.
    #[arg(long, default_value = "build/log")]
    pub(crate) logs: PathBuf,
    /// Further arguments for `mali-csf`, separated by spaces.
    #[arg(
        long,
        env = "MODEL_ARGS",
        default_value = "",
        allow_hyphen_values = true
    )]
    pub(crate) model_args: String,
    /// Boot without the emulated GPU.
    #[arg(long)]
    pub(crate) no_gpu: bool,
}

impl Settings {
    /// The kernel image.
    ///
    /// # Errors
    ///
    /// When the debug kernel is asked for and `scripts/harness` has not said where it is.
    pub(crate) fn image(&self, kernel: Kernel) -> Result<PathBuf> {
        Ok(self.modules_dir(kernel)?.join("vmlinuz"))
    }

    /// The folder with the kernel's modules.
    ///
    /// # Errors
    ///
    /// As for [`image`](Self::image).
    pub(crate) fn modules_dir(&self, kernel: Kernel) -> Result<PathBuf> {
        let (files, release) = match kernel {
            Kernel::Stock => (&self.kernel_files, &self.release),
            Kernel::Debug => self
                .debug_kernel_files
                .as_ref()
                .zip(self.debug_release.as_ref())
                .context("where the debug kernel is was not said: use scripts/harness")?,
        };
        Ok(files.join("usr/lib/modules").join(release))
    }

    /// The module under test when it is Magni.
    pub(crate) fn module(&self, kernel: Kernel) -> &Path {
        match kernel {
            Kernel::Stock => &self.module,
            Kernel::Debug => &self.debug_module,
        }
    }

    /// The model's program.
    pub(crate) fn model(&self) -> PathBuf {
        self.bin.join("mali-csf")
    }

    /// Path of a guest program on this machine.
    pub(crate) fn guest_program(&self, name: impl AsRef<Path>) -> PathBuf {
        self.guest_bin.join(name)
    }
}
