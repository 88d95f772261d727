// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The register page with the number of the last cache flush, which user space may map.
//!
//! While the GPU is off nobody may touch its registers. Programs that have the page mapped see
//! memory in its place then.

use crate::{
    driver::{
        DrmDevice,
        MagniDrm, //
    },
    regs::mcu::LATEST_FLUSH_PAGE, //
};
use kernel::{
    drm::table::{
        self,
        IoPage,
        StandIn, //
    },
    io::PhysAddr,
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::Mutex, //
};

/// What the page says while the GPU is off: there is nothing in its caches, so that nothing has to
/// be flushed before a job that is submitted then. Zero would mean that everything has to be.
const FLUSH_ID_ASLEEP: u32 = 1;

/// The page as user space sees it.
#[pin_data]
pub(crate) struct FlushIdPage {
    /// The registers may be touched. Held while the page is mapped: not for paths that signal
    /// fences.
    #[pin]
    awake: Mutex<bool>,
    stand_in: StandIn,
}

impl FlushIdPage {
    /// The page of a GPU that is on.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            awake <- new_mutex!(true, "magni::FlushIdPage::awake"),
            stand_in: StandIn::new(FLUSH_ID_ASLEEP)?,
        })
    }

    /// Calls `map` with what is to be seen, of a register window at `window`.
    ///
    /// # Errors
    ///
    /// `EINVAL` unless `offset` is zero: there is one page only.
    pub(crate) fn map(&self, window: PhysAddr, offset: u64, map: impl FnOnce(IoPage)) -> Result {
        if offset != 0 {
            return Err(EINVAL);
        }

        let awake = self.awake.lock();
        map(if *awake {
            IoPage::Registers(window + LATEST_FLUSH_PAGE)
        } else {
            IoPage::StandIn
        });

        Ok(())
    }

    /// What stands in for the page.
    pub(crate) fn stand_in(&self) -> &StandIn {
        &self.stand_in
    }

    /// The GPU is on from now on, or about to be turned off. When this returns nobody sees what was
    /// seen before.
    pub(crate) fn set_awake(&self, drm: &DrmDevice, awake: bool) {
        let mut now = self.awake.lock();
        *now = awake;
        table::unmap_io::<MagniDrm>(drm, 0, PAGE_SIZE as u64);
    }
}
