// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Magni: a DRM driver for Arm Mali CSF GPUs (Valhall and later).
//!
//! In Norse myth Magni is the strong son of Thor. The driver has the interface of the C driver
//! `panthor`, device tree, firmware and user space included, and can take its place.

use driver::MagniPlatform;
use kernel::{
    platform,
    prelude::*,
    workqueue::{
        ModuleQueue,
        ModuleQueueGuard, //
    },
    ModuleMetadata, //
};

mod device;
mod driver;
mod fdinfo;
mod file;
mod flush_id;
mod fw;
mod gem;
mod gpu;
mod ioctl;
mod irq;
mod lifecycle;
mod mmio;
mod mmu;
mod params;
mod power;
mod profiling;
mod regs;
mod reset;
mod sched;
mod trace;

/// The queue `magni-cleanup`, for what may lose its last reference anywhere.
pub(crate) static CLEANUP: ModuleQueue = ModuleQueue::new();

/// The module.
#[pin_data]
struct Magni {
    #[pin]
    _driver: kernel::driver::Registration<platform::Adapter<MagniPlatform>>,
    /// Last puts may still be on the way when no device is left.
    _cleanup: ModuleQueueGuard,
}

impl kernel::InPlaceModule for Magni {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        params::check();

        try_pin_init!(Self {
            _cleanup: CLEANUP.init(c"magni-cleanup")?,
            _driver <- kernel::driver::Registration::new(<Self as ModuleMetadata>::NAME, module),
        })
    }
}

module! {
    type: Magni,
    name: "magni",
    authors: ["The Magni developers"],
    description: "DRM driver for Arm Mali CSF GPUs",
    license: "Dual MIT/GPL",
    firmware: [
        "arm/mali/arch10.8/mali_csffw.bin",
        "arm/mali/arch10.10/mali_csffw.bin",
        "arm/mali/arch10.12/mali_csffw.bin",
        "arm/mali/arch11.8/mali_csffw.bin",
        "arm/mali/arch12.8/mali_csffw.bin",
        "arm/mali/arch13.8/mali_csffw.bin",
        "arm/mali/arch14.8/mali_csffw.bin",
    ],
    params: {
        job_timeout_ms: u32 {
            default: crate::params::default::JOB_TIMEOUT_MS,
            description: "For tests: milliseconds that a job may be on the hardware (5000)",
        },
        ack_timeout_ms: u32 {
            default: crate::params::default::ACK_TIMEOUT_MS,
            description: "For tests: milliseconds that the firmware may take to answer (500)",
        },
        ping_period_ms: u32 {
            default: crate::params::default::PING_PERIOD_MS,
            description: "For tests: milliseconds between two pings of the firmware (12000)",
        },
        autosuspend_delay_ms: u32 {
            default: crate::params::default::AUTOSUSPEND_DELAY_MS,
            description: "For tests: milliseconds that an idle GPU stays awake (50)",
        },
        tick_period_ms: u32 {
            default: crate::params::default::TICK_PERIOD_MS,
            description: "For tests: milliseconds that a group keeps its slot while others wait (10)",
        },
    },
}
