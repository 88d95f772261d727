// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Open files.

use crate::{
    driver::{
        DrmDevice,
        MagniDrm, //
    },
    mmu::VmPool,
    profiling::Usage,
    sched::GroupPool, //
};
use kernel::{
    drm::file::DriverFile,
    prelude::*,
    sync::{
        atomic::{
            ordering,
            Atomic, //
        },
        Arc, //
    },
    task::in_compat_syscall,
    uapi, //
};

/// Where the register pages start in a file's `mmap` offsets, for 64-bit programs.
const MMIO_BASE_64: u64 = uapi::DRM_PANTHOR_USER_MMIO_OFFSET_64BIT;
/// The same for 32-bit programs, whose offsets are smaller.
const MMIO_BASE_32: u64 = uapi::DRM_PANTHOR_USER_MMIO_OFFSET_32BIT;

/// What belongs to an open file.
#[pin_data]
pub(crate) struct File {
    mmio_base: Atomic<u64>,
    usage: Arc<Usage>,
    // Groups hold their VMs, so they go first.
    #[pin]
    groups: GroupPool,
    #[pin]
    vms: VmPool,
}

impl DriverFile for File {
    type Driver = MagniDrm;

    fn open(_dev: &DrmDevice) -> Result<Pin<KBox<Self>>> {
        let mmio_base = if in_compat_syscall() {
            MMIO_BASE_32
        } else {
            MMIO_BASE_64
        };

        let usage = Usage::new()?;

        KBox::pin_init(
            pin_init!(Self {
                mmio_base: Atomic::new(mmio_base),
                usage,
                groups <- GroupPool::new(),
                vms <- VmPool::new(),
            }),
            GFP_KERNEL,
        )
    }
}

impl File {
    /// Where the register pages start in the file's `mmap` offsets.
    pub(crate) fn mmio_base(&self) -> u64 {
        self.mmio_base.load(ordering::Relaxed)
    }

    /// Moves them.
    ///
    /// # Errors
    ///
    /// `EINVAL` unless it is one of the two places that the interface knows.
    pub(crate) fn set_mmio_base(&self, base: u64) -> Result {
        if base != MMIO_BASE_32 && base != MMIO_BASE_64 {
            return Err(EINVAL);
        }
        self.mmio_base.store(base, ordering::Relaxed);

        Ok(())
    }

    /// What the file's jobs have used.
    pub(crate) fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }

    /// The file's groups.
    pub(crate) fn groups(&self) -> &GroupPool {
        &self.groups
    }

    /// The file's VMs.
    pub(crate) fn vms(&self) -> &VmPool {
        &self.vms
    }
}
