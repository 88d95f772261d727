// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Requests for a GPU reset.
//!
//! Who finds the hardware stuck says so here and goes on as if the GPU were lost, without waiting.

use kernel::{
    device::Device,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            ordering,
            AtomicFlag, //
        },
        Arc, //
    },
};

/// The GPU's need of a reset.
pub(crate) struct Reset {
    dev: ARef<Device>,
    pending: AtomicFlag,
}

impl Reset {
    /// No reset is needed.
    pub(crate) fn new(dev: &Device) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                dev: dev.into(),
                pending: AtomicFlag::new(false),
            },
            GFP_KERNEL,
        )?)
    }

    /// Asks for a reset because of `reason`. May be called from any task context, any number of
    /// times.
    pub(crate) fn schedule(&self, reason: &str) {
        if !self.pending.xchg(true, ordering::Full) {
            dev_err!(
                self.dev,
                "{reason}: the GPU is stuck and takes no more work; unbind and bind the device to reset it\n"
            );
        }
    }

    /// Whether a reset was asked for and is not done.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.load(ordering::Acquire)
    }
}
