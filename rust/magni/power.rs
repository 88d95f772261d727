// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The GPU's power, as those see it who need it.
//!
//! Whoever needs the GPU awake holds a [`PowerRef`]; when nobody does it goes to sleep.

use kernel::{
    device::Device,
    pm::runtime::ActiveRef,
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

mod supplies;

pub(crate) use self::supplies::{
    Clocks,
    Supplies, //
};

/// Whether the GPU can be powered.
pub(crate) struct Power {
    dev: ARef<Device>,
    off: AtomicFlag,
}

impl Power {
    /// The GPU is powered.
    pub(crate) fn new(dev: &Device) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                dev: dev.into(),
                off: AtomicFlag::new(false),
            },
            GFP_KERNEL,
        )?)
    }

    /// The GPU loses its power for good: no references any more.
    pub(crate) fn unplug(&self) {
        self.off.store(true, ordering::Release);
    }
}

/// Keeps the GPU awake. May be dropped in any context.
pub(crate) struct PowerRef(#[expect(dead_code, reason = "held, not used")] ActiveRef);

impl PowerRef {
    /// Wakes the GPU. Sleeps: not for what signals fences.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the device is unbound or the GPU is lost.
    pub(crate) fn new(power: &Power) -> Result<Self> {
        if power.off.load(ordering::Acquire) {
            return Err(ENODEV);
        }

        // Whatever it is that fails, it has been reported, and does not go away.
        ActiveRef::get(&power.dev).map(Self).map_err(|_| ENODEV)
    }
}
