// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Magni: a DRM driver for Arm Mali CSF GPUs.

use kernel::prelude::*;

struct Magni;

impl kernel::Module for Magni {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        pr_info!("loaded\n");
        Ok(Magni)
    }
}

module! {
    type: Magni,
    name: "magni",
    authors: ["The Magni developers"],
    description: "DRM driver for Arm Mali CSF GPUs",
    license: "Dual MIT/GPL",
}
