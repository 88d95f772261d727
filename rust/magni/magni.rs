// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Magni: a DRM driver for Arm Mali CSF GPUs (Valhall and later).
//!
//! In Norse myth Magni is the strong son of Thor. The driver has the interface of the C driver
//! `panthor`, device tree, firmware and user space included, and can take its place.

#![expect(
    dead_code,
    unused_imports,
    reason = "the scheduler, which uses the rest, is not connected yet"
)]

use driver::MagniPlatform;

mod device;
mod driver;
mod file;
mod fw;
mod gem;
mod gpu;
mod ioctl;
mod irq;
mod mmio;
mod mmu;
mod power;
mod regs;
mod reset;

kernel::module_platform_driver! {
    type: MagniPlatform,
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
}
