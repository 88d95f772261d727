// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Register access that ends with the device's binding.

use crate::regs::Reg64;
use kernel::{
    device::Bound,
    io::{
        mem::DevresIoMem,
        Io,
        IoCapable,
        IoLoc,
        MmioBackend,
        PhysAddr,
        Region, //
    },
    platform,
    prelude::*,
    sizes::SZ_2M,
    sync::atomic::{
        ordering,
        AtomicFlag, //
    },
    warn_on, //
};

/// Size of the register window, in bytes.
pub(crate) const WINDOW: usize = SZ_2M;

/// The GPU's register window.
///
/// Whoever holds it may access registers at any time, from any context. After the device was
/// unbound, or its power turned off for good, every access fails with `ENODEV` and touches nothing.
pub(crate) struct Mmio {
    io: DevresIoMem<WINDOW>,
    off: AtomicFlag,
    asleep: AtomicFlag,
    start: PhysAddr,
}

impl Mmio {
    /// Maps the registers of `pdev`.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the device has no register window, `EINVAL` if it is below 2 MiB.
    pub(crate) fn new(pdev: &platform::Device<Bound>) -> Result<Self> {
        let resource = pdev
            .resource_by_index(0)
            .ok_or(ENODEV)
            .inspect_err(|_| dev_err!(pdev, "device tree: the GPU has no \"reg\"\n"))?;
        let start = resource.start();

        let io = pdev
            .io_request_by_index(0)
            .ok_or(ENODEV)?
            .iomap_sized::<WINDOW>()
            .inspect_err(|error| {
                dev_err!(
                    pdev,
                    "device tree: cannot map \"reg\" ({} bytes, at least {} needed): {:?}\n",
                    resource.size(),
                    WINDOW,
                    error
                );
            })?
            .into_devres()?;

        Ok(Self {
            io,
            off: AtomicFlag::new(false),
            asleep: AtomicFlag::new(false),
            start,
        })
    }

    /// Physical address of the window.
    pub(crate) fn start(&self) -> PhysAddr {
        self.start
    }

    /// No access from here on: the power goes.
    ///
    /// Those that are being made are not waited for; by then nobody may be left to make them.
    pub(crate) fn turn_off(&self) {
        self.off.store(true, ordering::Release);
    }

    /// The GPU is being turned off, or has been turned on: nobody accesses a register in between.
    ///
    /// An access that is made all the same might hang the machine. It is reported instead, and
    /// fails with `ENODEV`.
    pub(crate) fn set_asleep(&self, asleep: bool) {
        self.asleep.store(asleep, ordering::Release);
    }

    fn check(&self) -> Result {
        if self.off.load(ordering::Acquire) || warn_on!(self.asleep.load(ordering::Acquire)) {
            return Err(ENODEV);
        }

        Ok(())
    }

    /// Reads a register.
    pub(crate) fn read<T, L>(&self, location: L) -> Result<T>
    where
        L: IoLoc<Region<WINDOW>, T>,
        MmioBackend: IoCapable<L::IoType>,
    {
        self.check()?;
        self.io
            .try_access_with(|io| io.try_read(location))
            .ok_or(ENODEV)?
    }

    /// Writes a register. What the CPU wrote to memory before is visible to the GPU by then.
    pub(crate) fn write<T, L>(&self, location: L, value: T) -> Result
    where
        L: IoLoc<Region<WINDOW>, T>,
        MmioBackend: IoCapable<L::IoType>,
    {
        self.check()?;
        self.io
            .try_access_with(|io| io.try_write(location, value))
            .ok_or(ENODEV)?
    }

    /// Reads a 32-bit register by its offset.
    pub(crate) fn read32(&self, offset: usize) -> Result<u32> {
        self.read::<u32, usize>(offset)
    }

    /// Writes a 32-bit register by its offset.
    pub(crate) fn write32(&self, offset: usize, value: u32) -> Result {
        self.write::<u32, usize>(offset, value)
    }

    /// Reads a 64-bit register that does not change by itself.
    pub(crate) fn read64(&self, reg: Reg64) -> Result<u64> {
        let low = self.read32(reg.0)?;
        let high = self.read32(reg.0 + 4)?;

        Ok(u64::from(high) << 32 | u64::from(low))
    }

    /// Reads a 64-bit counter; the halves belong together.
    pub(crate) fn read64_counter(&self, reg: Reg64) -> Result<u64> {
        loop {
            let high = self.read32(reg.0 + 4)?;
            let low = self.read32(reg.0)?;
            if self.read32(reg.0 + 4)? == high {
                return Ok(u64::from(high) << 32 | u64::from(low));
            }
        }
    }

    /// Writes a 64-bit register, low half first.
    pub(crate) fn write64(&self, reg: Reg64, value: u64) -> Result {
        self.write32(reg.0, value as u32)?;
        self.write32(reg.0 + 4, (value >> 32) as u32)
    }
}
