// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The GPU as the rest of the driver sees it: its blocks, and what spans them.
//!
//! Blocks hold those below them: [`Mmio`] < [`Gpu`] < [`Mmu`] < VM < [`Firmware`] < [`Device`] <
//! scheduler < group < job. Nothing points upwards; what has to be told upwards (interrupts) comes
//! from the handlers, which the bound device owns. All of it may outlive the binding, and with it
//! the hardware: every register access fails then.

use crate::{
    driver::DrmDevice,
    fw::Firmware,
    gpu::{
        info::GpuInfo,
        Gpu, //
    },
    mmio::Mmio,
    mmu::Mmu,
    power::Power,
    profiling::Profiling,
    reset::Reset,
    sched::Scheduler, //
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    drm::Registered,
    platform,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        SetOnce, //
    },
};

pub(crate) use crate::power::PowerRef;

/// The DRM device together with the proof that the hardware's device is bound.
#[derive(Clone, Copy)]
pub(crate) struct BoundDevice<'a> {
    /// The DRM device.
    pub(crate) drm: &'a DrmDevice,
    /// The hardware's device.
    pub(crate) dev: &'a device::Device<Bound>,
}

impl<'a> From<&'a DrmDevice<Registered>> for BoundDevice<'a> {
    fn from(drm: &'a DrmDevice<Registered>) -> Self {
        let pdev: &platform::Device<Bound> = drm.as_ref();

        Self {
            drm,
            dev: pdev.as_ref(),
        }
    }
}

/// Whom interrupts are told to: nobody, before the scheduler is there.
///
/// It belongs to the interrupt handlers, which go when the device is unbound.
pub(crate) struct Upcall(SetOnce<Arc<Scheduler>>);

impl Upcall {
    /// Nobody is told anything.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(Self(SetOnce::new()), GFP_KERNEL)?)
    }

    /// From now on `sched` is told.
    pub(crate) fn connect(&self, sched: &Arc<Scheduler>) {
        self.0.populate(sched.clone());
    }

    /// Group slots, a bit each, may have something to report; returns those that had.
    pub(crate) fn firmware_events(&self, slots: u32) -> u32 {
        let sched = self.0.as_ref();
        sched.map_or(0, |sched| sched.firmware_events(slots))
    }

    /// Whether what the firmware reports can wait for a moment.
    pub(crate) fn has_time(&self) -> bool {
        self.0.as_ref().is_some_and(|sched| sched.has_time())
    }

    /// Address spaces faulted. Their VMs have been marked and taken off the hardware.
    pub(crate) fn address_spaces_faulted(&self) {
        if let Some(sched) = self.0.as_ref() {
            sched.vm_faulted();
        }
    }
}

/// One GPU.
pub(crate) struct Device {
    /// The hardware's device, for the log.
    pub(crate) dev: ARef<device::Device>,
    /// Registers.
    pub(crate) mmio: Arc<Mmio>,
    /// Reset, power, caches.
    pub(crate) gpu: Arc<Gpu>,
    /// Address spaces.
    pub(crate) mmu: Arc<Mmu>,
    /// Firmware.
    pub(crate) fw: Arc<Firmware>,
    /// Identity.
    pub(crate) info: GpuInfo,
    /// Power.
    pub(crate) power: Arc<Power>,
    /// What is measured.
    pub(crate) profiling: Arc<Profiling>,
    /// Need of a reset.
    pub(crate) reset: Arc<Reset>,
}

impl Device {
    /// Makes the GPU of its blocks.
    #[expect(clippy::too_many_arguments, reason = "each is a block of its own")]
    pub(crate) fn new(
        dev: &device::Device,
        mmio: Arc<Mmio>,
        gpu: Arc<Gpu>,
        mmu: Arc<Mmu>,
        fw: Arc<Firmware>,
        info: GpuInfo,
        reset: Arc<Reset>,
        profiling: Arc<Profiling>,
    ) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                dev: dev.into(),
                mmio,
                gpu,
                mmu,
                fw,
                info,
                power: Power::new(dev)?,
                reset,
                profiling,
            },
            GFP_KERNEL,
        )?)
    }

    /// Wakes the GPU, and keeps it so for as long as the reference lives. Sleeps: not for what
    /// signals fences.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the device is unbound or the GPU is lost.
    pub(crate) fn power_get(&self) -> Result<PowerRef> {
        PowerRef::new(&self.power)
    }

    /// Asks for a reset of the GPU because of `reason`; waits for nothing.
    pub(crate) fn schedule_reset(&self, reason: &str) {
        self.reset.schedule(reason);
    }

    /// Turns everything off, for good. User space does not get in any more; interrupts are served.
    pub(crate) fn shutdown(&self) {
        self.power.unplug();
    }
}
