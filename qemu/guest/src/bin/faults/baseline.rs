// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the kernel has in use before and after a test.

use std::time::Duration;

use anyhow::{ensure, Result};
use guest::kernel::{fdinfo, kworkers, meminfo, module_users, open_files, poll};
use guest::Device;

/// Threads for work queues come and go; a storm is more than this.
const MORE_KWORKERS: usize = 16;
/// Shared memory that may stay in use, in KiB: buffers are made of it, and nothing else here is.
const MORE_SHMEM: u64 = 64;
/// What is freed in the background is freed within this time.
const BACKGROUND: Duration = Duration::from_secs(20);

/// What is in use at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Baseline {
    module: Option<String>,
    kworkers: usize,
    users: u64,
    shmem: u64,
    files: usize,
    memory: Vec<(String, u64)>,
}

impl Baseline {
    /// What is in use now; of the memory of `device`'s file too, if there is one that lasts.
    pub(crate) fn take(module: Option<&str>, device: Option<&Device>) -> Result<Self> {
        Ok(Self {
            module: module.map(str::to_owned),
            kworkers: kworkers()?,
            users: module.map_or(Ok(0), module_users)?,
            shmem: meminfo("Shmem")?,
            files: open_files()?,
            memory: device.map_or(Ok(Vec::new()), |device| fdinfo(device, "-memory"))?,
        })
    }

    /// Whether what is in use `now` is no more than at this time.
    fn holds(&self, now: &Self) -> bool {
        now.kworkers <= self.kworkers + MORE_KWORKERS
            && now.users <= self.users
            && now.shmem <= self.shmem + MORE_SHMEM
            && now.files <= self.files
            && now.memory == self.memory
    }

    /// Waits until the kernel is back where it was.
    pub(crate) fn is_back(&self, device: Option<&Device>) -> Result<()> {
        let module = self.module.as_deref();
        let back = poll(BACKGROUND, || Ok(self.holds(&Self::take(module, device)?)))?;
        let now = Self::take(module, device)?;
        ensure!(back, "left in use: {now:?}; before it was {self:?}");
        Ok(())
    }
}
