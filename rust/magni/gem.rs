// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Buffers: those of user space, and the kernel's own in a GPU address space.

use crate::{
    device::BoundDevice,
    driver::{
        DrmDevice,
        MagniDrm, //
    },
    mmu::{
        MapFlags,
        Vm, //
    },
};
use kernel::{
    dma_resv,
    drm::{
        gem::{
            self,
            shmem, //
        },
        gem_table::{
            self,
            ObjectTable, //
        },
        Registered, //
    },
    io::Io,
    new_spinlock,
    page::PAGE_SIZE,
    prelude::*,
    sizes::{
        SZ_2M,
        SZ_4K, //
    },
    str::CString,
    sync::{
        aref::ARef,
        Arc,
        SpinLock, //
    },
    uapi, //
};

/// The driver's part of a buffer.
#[pin_data]
pub(crate) struct BoData {
    /// `DRM_PANTHOR_BO_*`, as given at creation.
    flags: u32,
    /// The buffer may be mapped in one VM only: that whose root object it shares the reservation
    /// with.
    exclusive: bool,
    /// The CPU maps the buffer cached.
    cached: bool,
    /// What user space calls the buffer, for people to read. In memory of its own, as few buffers
    /// have a name: so an [object](Bo) is not bigger than the 512 bytes that it is allocated from.
    #[pin]
    label: SpinLock<Option<KBox<CString>>>,
}

/// What [`BoData`] is made from.
pub(crate) struct BoArgs {
    flags: u32,
    exclusive: bool,
    cached: bool,
}

/// A buffer in memory that can be shared with user space.
pub(crate) type Bo = shmem::Object<BoData>;

impl gem::DriverObject for BoData {
    type Driver = MagniDrm;
    type Args = BoArgs;

    fn new(_dev: &DrmDevice, _size: usize, args: BoArgs) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            flags: args.flags,
            exclusive: args.exclusive,
            cached: args.cached,
            label <- new_spinlock!(None, "magni::BoData::label"),
        })
    }
}

impl ObjectTable for BoData {
    fn storage() -> &'static gem_table::Storage<Self> {
        static TABLE: gem_table::Storage<BoData> = gem_table::Storage::new();
        &TABLE
    }

    /// # Errors
    ///
    /// `EINVAL` for a buffer that belongs to one VM; those of mapping it for the device.
    fn prepare_export(drm: &DrmDevice<Registered>, bo: &Bo) -> Result {
        if bo.is_exclusive() {
            return Err(EINVAL);
        }

        prepare_cpu_mapping(drm.into(), bo)
    }
}

impl BoData {
    /// `DRM_PANTHOR_BO_*`, as given at creation.
    pub(crate) fn flags(&self) -> u32 {
        self.flags
    }

    /// Whether the buffer belongs to one VM, and so may not leave the device.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// Whether the CPU maps the buffer cached.
    pub(crate) fn is_cached(&self) -> bool {
        self.cached
    }

    /// Gives the buffer a name, or takes it away.
    pub(crate) fn set_label(&self, label: Option<KBox<CString>>) {
        let old = core::mem::replace(&mut *self.label.lock(), label);
        // Freed without the lock.
        drop(old);
    }
}

/// Whether `bo` may be mapped in the VM with root object `root`.
pub(crate) fn fits(bo: &Bo, root: &Bo) -> bool {
    !bo.is_exclusive() || dma_resv::is_shared(bo, root)
}

/// Makes a buffer of `size` bytes, rounded up to whole pages.
///
/// With `exclusive`, a VM's root object, the buffer can only be mapped in that VM and shares its
/// reservation. The CPU maps the buffer cached if `cached`, write-combined otherwise.
pub(crate) fn new_bo(
    dev: &DrmDevice,
    size: u64,
    flags: u32,
    cached: bool,
    exclusive: Option<&Bo>,
) -> Result<ARef<Bo>> {
    let size = usize::try_from(size)
        .ok()
        .and_then(|size| size.checked_next_multiple_of(PAGE_SIZE))
        .filter(|size| isize::try_from(*size).is_ok())
        .ok_or(EINVAL)?;

    let bo = Bo::new(
        dev,
        size,
        shmem::ObjectConfig {
            map_wc: !cached,
            parent_resv_obj: exclusive,
        },
        BoArgs {
            flags,
            exclusive: exclusive.is_some(),
            cached,
        },
    )?;
    gem_table::install(&bo)?;

    Ok(bo)
}

/// To be called before user space can map `bo`.
///
/// The kernel zeroes pages through the CPU's caches. If the buffer is mapped write-combined, what
/// is still in a cache would some day overwrite what was written past it: mapping the pages for the
/// device writes the caches back, and has to come first.
pub(crate) fn prepare_cpu_mapping(cx: BoundDevice<'_>, bo: &Bo) -> Result {
    if !bo.is_cached() {
        bo.sg_table(cx.dev)?;
    }

    Ok(())
}

/// The CPU's view of a kernel buffer.
///
/// Accesses are single and never torn, as other agents (the GPU, the firmware) use the memory at
/// the same time. Out of bounds or not naturally aligned is `EINVAL`.
pub(crate) struct KernelMap(shmem::VMapOwned<BoData>);

impl KernelMap {
    /// Reads 32 bits at `offset` bytes.
    pub(crate) fn read32(&self, offset: usize) -> Result<u32> {
        self.0.try_read32(offset)
    }

    /// Reads 64 bits at `offset` bytes.
    pub(crate) fn read64(&self, offset: usize) -> Result<u64> {
        self.0.try_read64(offset)
    }

    /// Writes 32 bits at `offset` bytes.
    pub(crate) fn write32(&self, offset: usize, value: u32) -> Result {
        self.0.try_write32(value, offset)
    }

    /// Writes 64 bits at `offset` bytes.
    pub(crate) fn write64(&self, offset: usize, value: u64) -> Result {
        self.0.try_write64(value, offset)
    }

    /// Writes a byte at `offset` bytes.
    pub(crate) fn write8(&self, offset: usize, value: u8) -> Result {
        self.0.try_write8(value, offset)
    }

    /// Writes `data` at `offset` bytes, a multiple of 8.
    pub(crate) fn write(&self, offset: usize, data: &[u8]) -> Result {
        for (index, chunk) in data.chunks(8).enumerate() {
            let at = offset.checked_add(index * 8).ok_or(EINVAL)?;
            match <[u8; 8]>::try_from(chunk) {
                Ok(bytes) => self.write64(at, u64::from_le_bytes(bytes))?,
                Err(_) => {
                    for (index, byte) in chunk.iter().enumerate() {
                        self.write8(at + index, *byte)?;
                    }
                }
            }
        }

        Ok(())
    }

    /// Zeroes everything from `offset` bytes, a multiple of 8, to the end.
    pub(crate) fn zero_from(&self, offset: usize) -> Result {
        for at in (offset..self.0.size()).step_by(8) {
            self.write64(at, 0)?;
        }

        Ok(())
    }
}

/// Where a kernel buffer goes in its address space.
#[derive(Clone, Copy)]
pub(crate) enum Va {
    /// Wherever the VM's range for the kernel has room.
    Auto,
    /// At this address.
    Fixed(u64),
}

/// A buffer of the kernel, mapped for the GPU (or the microcontroller) and for the CPU.
///
/// Dropping it removes the GPU's mapping; that may sleep, and it works after the device was
/// unbound. Memory is only allocated at creation.
pub(crate) struct KernelBo {
    map: KernelMap,
    vm: Arc<Vm>,
    va: u64,
    size: u64,
}

impl KernelBo {
    /// Makes a zeroed buffer of `size` bytes, rounded up to 4 KiB, and maps it in `vm`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a size of zero or an address that is not a multiple of 4 KiB or taken,
    /// `ENOSPC` if the VM's range is full, `ENOMEM`.
    pub(crate) fn new(
        cx: BoundDevice<'_>,
        vm: &Arc<Vm>,
        size: u64,
        flags: MapFlags,
        va: Va,
    ) -> Result<Self> {
        let bo = new_bo(
            cx.drm,
            size,
            uapi::drm_panthor_bo_flags_DRM_PANTHOR_BO_NO_MMAP,
            vm.mmu().coherent(),
            Some(vm.root()),
        )?;
        let size = {
            use kernel::drm::gem::BaseObject;
            bo.size() as u64
        };
        let map = KernelMap(bo.owned_vmap()?);

        let align = if size >= SZ_2M as u64 { SZ_2M } else { SZ_4K } as u64;
        let va = match va {
            Va::Auto => vm.take_va(size, align)?,
            Va::Fixed(va) => vm.take_va_at(va, size)?,
        };

        // This maps the pages for the device; only then the CPU may write (`prepare_cpu_mapping`).
        vm.map(cx, &bo, 0, size, va, flags)
            .inspect_err(|_| vm.give_va(va))?;

        Ok(Self {
            map,
            vm: vm.clone(),
            va,
            size,
        })
    }

    /// The buffer's GPU address.
    pub(crate) fn va(&self) -> u64 {
        self.va
    }

    /// The buffer's size, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The buffer as the CPU sees it.
    pub(crate) fn cpu(&self) -> &KernelMap {
        &self.map
    }
}

impl Drop for KernelBo {
    fn drop(&mut self) {
        // A failure has made the VM unusable; the memory then stays until the VM goes.
        if self.vm.unmap_whole(self.va, self.size).is_ok() {
            self.vm.give_va(self.va);
        }
    }
}
