// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Where the things that a boot needs are, and which driver is under test.

use std::fmt;
use std::path::{Path, PathBuf};

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

/// Files and programs that every boot uses; `scripts/harness` supplies them.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Folder with the stock kernel's unpacked packages.
    #[arg(long, env = "MAGNI_KERNEL_FILES")]
    kernel_files: PathBuf,
    /// Release of the stock kernel, as `uname -r` says it.
    #[arg(long, env = "MAGNI_KERNEL_RELEASE")]
    release: String,
    /// Folder with the programs for this machine (`mali-csf`).
    #[arg(long, env = "MAGNI_BIN", default_value = "build/bin")]
    pub(crate) bin: PathBuf,
    /// Folder with the programs for the guest.
    #[arg(long, env = "MAGNI_GUEST_BIN", default_value = "build/guest")]
    pub(crate) guest_bin: PathBuf,
    /// The module under test when it is Magni.
    #[arg(long, default_value = "build/module/magni.ko")]
    pub(crate) module: PathBuf,
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
    pub(crate) fn kernel(&self) -> PathBuf {
        self.modules_dir().join("vmlinuz")
    }

    /// The folder with the stock kernel's modules.
    pub(crate) fn modules_dir(&self) -> PathBuf {
        self.kernel_files
            .join("usr/lib/modules")
            .join(&self.release)
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
