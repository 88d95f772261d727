// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Sleep: a GPU that nobody uses is turned off.
//!
//! Groups that are idle on the hardware are suspended to memory, the firmware is halted, the caches
//! are flushed, and clocks and power go off. To wake up is like the second half of a reset; the
//! firmware usually goes on where it was.
//!
//! Unlike resets, all this runs on the kernel's own queue, or in an ioctl. No fence waits for it:
//! each job keeps the GPU awake until its fence has signalled.

use super::Lifecycle;
use crate::{
    driver::DrmDevice,
    irq,
    power::Clocks, //
};
use kernel::{
    device::{
        Bound,
        Device, //
    },
    pm::runtime::Ops,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    workqueue::cancel_delayed, //
};

/// Turns the GPU off and on.
pub(crate) struct Sleeper {
    /// Knows how to.
    pub(crate) lifecycle: Arc<Lifecycle>,
    /// What drives it.
    pub(crate) clocks: Arc<Clocks>,
    /// What user space sees of it.
    pub(crate) drm: ARef<DrmDevice>,
}

impl Ops for Sleeper {
    fn runtime_suspend(&self, _dev: &Device<Bound>) -> Result {
        self.drm.set_awake(&self.drm, false);
        self.lifecycle
            .fall_asleep()
            .inspect_err(|_| self.drm.set_awake(&self.drm, true))?;
        self.clocks.turn_off();

        Ok(())
    }

    fn runtime_resume(&self, dev: &Device<Bound>) -> Result {
        self.clocks
            .turn_on()
            .inspect_err(|error| dev_err!(dev, "cannot enable the clocks: {error:?}\n"))?;
        self.lifecycle
            .wake_up()
            .inspect_err(|_| self.clocks.turn_off())?;
        self.drm.set_awake(&self.drm, true);

        Ok(())
    }
}

impl Lifecycle {
    /// Stops everything that runs on the GPU, which nobody uses; its clocks can be turned off then.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the GPU is needed: somebody does use it, or it has to be reset first.
    fn fall_asleep(self: &Arc<Self>) -> Result {
        let mut state = self.state.lock();
        if self.reset.is_lost() {
            self.cut_off();
            return Ok(());
        }
        if self.reset.is_pending() {
            return Err(EBUSY);
        }
        self.sched.suspend_idle().map_err(|_| EBUSY)?;

        // From here on a failure is mended by a reset, which has been asked for.
        let clean = self.fw.stop(true);
        self.mmu.suspend().map_err(|_| EBUSY)?;
        self.mmu.close_irq();
        if self.gpu.l2_off().is_err() {
            self.reset.schedule("the L2 cache does not turn off");
            return Err(EBUSY);
        }

        self.gpu.close_irq();
        irq::synchronize_closed();
        self.mmio.set_asleep(true);
        state.awake = false;
        state.clean = clean;
        drop(state);

        drop(cancel_delayed::<Self, { super::PING }>(self));
        Ok(())
    }

    /// Starts the GPU, whose clocks are on again.
    ///
    /// # Errors
    ///
    /// `ENODEV` if it does not start, now and for ever.
    fn wake_up(self: &Arc<Self>) -> Result {
        let mut state = self.state.lock();
        if self.reset.is_lost() {
            return Err(ENODEV);
        }
        if state.awake {
            return Ok(());
        }
        self.mmio.set_asleep(false);
        state.awake = true;

        let clean = state.clean && !self.reset.is_requested();
        let mut result = if clean {
            self.reset.begin();
            self.power_up(clean)
        } else {
            self.bring_up(clean)
        };
        if let Err(error) = result {
            dev_err!(
                self.dev,
                "the GPU does not wake up: {error:?}; resetting it\n"
            );
            self.fw.stop(false);
            self.mmu.close_irq();
            result = self.bring_up(false);
        }

        if let Err(error) = result {
            dev_err!(
                self.dev,
                "the GPU does not wake up ({error:?}): it is gone until the device is unbound and bound again\n"
            );
            self.lose();
            self.cut_off();
            return Err(ENODEV);
        }

        self.reset.end();
        self.sched.resumed();
        if !state.unbinding {
            self.arm_ping();
        }
        Ok(())
    }
}
