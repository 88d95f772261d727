// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Virtual memories.

use super::{
    address_space::AddressSpace,
    flags::MapFlags,
    slots::Mmu,
    tree::{
        Tree,
        Update, //
    },
    va_space::VaSpace,
};
use crate::{
    device::BoundDevice,
    gem::{
        self,
        Bo, //
    },
};
use core::ops::Range;
use kernel::{
    device::{
        Bound,
        Device, //
    },
    drm::{
        gem::BaseObject,
        gem_peek::{
            peek,
            Width, //
        },
        gpuvm::{
            GpuVaAlloc,
            GpuVm,
            OpMapRequest,
            UniqueRefGpuVm, //
        },
        gpuvm_ext::UniqueRefGpuVmExt, //
    },
    iommu::devres_pgtable::PageTable,
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sizes::{
        SZ_2M,
        SZ_4K, //
    },
    sync::{
        aref::ARef,
        atomic::{
            ordering,
            AtomicFlag, //
        },
        Arc,
        Mutex, //
    },
    uapi, //
};

const PAGE: u64 = SZ_4K as u64;

/// Whose VM it is.
pub(crate) enum VmKind {
    /// The microcontroller's; the kernel's buffers go to the given range.
    Mcu(Range<u64>),
    /// User space's, up to this address; the rest is for the kernel's buffers.
    User(u64),
}

/// What a change may do to the mappings that are there.
#[derive(Clone, Copy)]
enum Kind {
    /// Remove them, or parts of them.
    Any,
    /// Remove them, but cut none, for which nothing has to be allocated.
    WholeMappings,
}

/// A virtual memory.
///
/// It may outlive the device's binding; nothing can be mapped any more then.
#[pin_data(PinnedDrop)]
pub(crate) struct Vm {
    mmu: Arc<Mmu>,
    space: Arc<AddressSpace>,
    gpuvm: ARef<GpuVm<Tree>>,
    root: ARef<Bo>,
    /// Held across allocations: not for paths that signal fences.
    #[pin]
    tree: Mutex<UniqueRefGpuVm<Tree>>,
    #[pin]
    kernel_va: Mutex<VaSpace>,
    user_end: u64,
    mcu: bool,
    unusable: AtomicFlag,
    destroyed: AtomicFlag,
}

impl Vm {
    /// Makes an empty VM.
    pub(crate) fn new(cx: BoundDevice<'_>, mmu: &Arc<Mmu>, kind: VmKind) -> Result<Arc<Self>> {
        let full = mmu.va_size();
        let (end, user_end, kernel, mcu) = match kind {
            // The microcontroller has 32-bit addresses.
            VmKind::Mcu(kernel) => ((1 << 32).min(full), 0, kernel, true),
            VmKind::User(user_end) => (full, user_end, user_end..full, false),
        };

        let flags = uapi::drm_panthor_bo_flags_DRM_PANTHOR_BO_NO_MMAP;
        let root = gem::new_bo(cx.drm, PAGE_SIZE as u64, flags, true, None)?;

        let table = PageTable::new(cx.dev, mmu.va_bits(), mmu.pa_bits(), mmu.coherent())?;
        // SAFETY: An `AddressSpace` holds the tree that owns the page table, and a seat holds the
        // `AddressSpace` for as long as the hardware may use the address. When the device is
        // unbound every seat is emptied first.
        let table_root = unsafe { table.root() };
        let mair = table.attributes();

        let tree =
            GpuVm::new::<Error, _>(c"magni-vm", cx.drm, &*root, 0..end, 0..0, Tree::new(table))?;
        let gpuvm = ARef::from(&*tree);

        let space = Arc::pin_init(
            AddressSpace::new(
                table_root,
                mair,
                mmu.va_bits(),
                mmu.coherent(),
                gpuvm.clone(),
            ),
            GFP_KERNEL,
        )?;

        Arc::pin_init(
            pin_init!(Self {
                mmu: mmu.clone(),
                space,
                gpuvm,
                root,
                tree <- new_mutex!(tree),
                kernel_va <- new_mutex!(VaSpace::new(kernel)),
                user_end,
                mcu,
                unusable: AtomicFlag::new(false),
                destroyed: AtomicFlag::new(false),
            }),
            GFP_KERNEL,
        )
    }

    /// What the hardware is told of the VM.
    pub(super) fn space(&self) -> &AddressSpace {
        &self.space
    }

    /// The address spaces that the VM takes part in.
    pub(crate) fn mmu(&self) -> &Mmu {
        &self.mmu
    }

    /// GPUVM's object: its reservation, and the buffers that are mapped.
    pub(crate) fn gpuvm(&self) -> &GpuVm<Tree> {
        &self.gpuvm
    }

    /// The object whose reservation is the VM's.
    pub(crate) fn root(&self) -> &Bo {
        &self.root
    }

    /// Where user space's addresses end.
    pub(crate) fn user_end(&self) -> u64 {
        self.user_end
    }

    /// A change of the mappings failed half-way: the VM must not be used any more.
    pub(crate) fn is_unusable(&self) -> bool {
        self.unusable.load(ordering::Acquire)
    }

    /// User space destroyed the VM; groups may still hold it.
    pub(crate) fn is_destroyed(&self) -> bool {
        self.destroyed.load(ordering::Acquire)
    }

    /// An access faulted since the VM was last activated.
    pub(crate) fn has_faulted(&self) -> bool {
        self.space.has_faulted()
    }

    pub(crate) fn take_va(&self, size: u64, align: u64) -> Result<u64> {
        self.kernel_va.lock().take(size, align)
    }

    pub(crate) fn take_va_at(&self, va: u64, size: u64) -> Result<u64> {
        self.kernel_va.lock().take_at(va, size)
    }

    pub(crate) fn give_va(&self, va: u64) {
        self.kernel_va.lock().give(va);
    }

    /// Maps `size` bytes of `bo` from `offset` on to `va`, in place of what is mapped there.
    ///
    /// # Errors
    ///
    /// `EINVAL` if something is not a multiple of 4 KiB, out of range, or if the buffer belongs to
    /// another VM; `ENODEV` after the device was unbound; `ENOMEM`.
    pub(crate) fn map(
        &self,
        cx: BoundDevice<'_>,
        bo: &Bo,
        offset: u64,
        size: u64,
        va: u64,
        flags: MapFlags,
    ) -> Result {
        let end = offset.checked_add(size).ok_or(EINVAL)?;
        if end > bo.size() as u64 || offset % PAGE != 0 || !gem::fits(bo, &self.root) {
            return Err(EINVAL);
        }
        self.check_range(va, size)?;

        // Pin and map the pages before anything is locked or changed.
        bo.sg_table(cx.dev)?;
        let vm_bo = self.gpuvm.obtain(bo, ())?;

        self.update(
            Some(cx.dev),
            va..va + size,
            Kind::Any,
            flags,
            |tree, update| {
                tree.sm_map(OpMapRequest {
                    addr: va,
                    range: size,
                    gem_offset: offset,
                    vm_bo: &vm_bo,
                    context: update,
                })
            },
        )
    }

    /// Removes all mappings in `size` bytes from `va` on.
    ///
    /// # Errors
    ///
    /// `EINVAL` if something is not a multiple of 4 KiB or out of range; `ENOMEM`.
    pub(crate) fn unmap(&self, dev: &Device<Bound>, va: u64, size: u64) -> Result {
        self.unmap_range(Some(dev), va, size, Kind::Any)
    }

    /// Removes all mappings in `size` bytes from `va` on, none of which goes on outside of them.
    /// Allocates nothing, and works after the device was unbound.
    ///
    /// # Errors
    ///
    /// `EINVAL` if something is not a multiple of 4 KiB or out of range, or if a mapping would be
    /// cut.
    pub(crate) fn unmap_whole(&self, va: u64, size: u64) -> Result {
        self.unmap_range(None, va, size, Kind::WholeMappings)
    }

    fn unmap_range(&self, dev: Option<&Device<Bound>>, va: u64, size: u64, kind: Kind) -> Result {
        self.check_range(va, size)?;
        self.update(
            dev,
            va..va + size,
            kind,
            MapFlags::default(),
            |tree, update| tree.sm_unmap(va, size, update),
        )
    }

    fn check_range(&self, va: u64, size: u64) -> Result {
        let end = va.checked_add(size).ok_or(EINVAL)?;

        if size == 0 || (va | size) % PAGE != 0 || end > self.gpuvm.va_range().end {
            return Err(EINVAL);
        }

        Ok(())
    }

    fn update(
        &self,
        dev: Option<&Device<Bound>>,
        range: Range<u64>,
        kind: Kind,
        flags: MapFlags,
        change: impl FnOnce(&mut UniqueRefGpuVm<Tree>, &mut Update<'_>) -> Result,
    ) -> Result {
        let node = || -> Result<Option<GpuVaAlloc<Tree>>> {
            Ok(match kind {
                Kind::Any => Some(GpuVaAlloc::new(GFP_KERNEL)?),
                Kind::WholeMappings => None,
            })
        };
        let mut update = Update {
            dev,
            flags,
            nodes: [node()?, node()?, node()?],
            torn: self.is_unusable(),
        };

        let result = {
            let mut tree = self.tree.lock();

            // Blocks that the change cuts are taken out as a whole.
            let block = SZ_2M as u64;
            let start = range.start - range.start % block;
            let end = range.end.next_multiple_of(block);

            let mut result = match self.mmu.begin_update(&self.space, start..end) {
                Ok(()) => Ok(()),
                // The region is kept out of once the hardware has been reset.
                Err(_) => self.reset_for(kind),
            };
            if result.is_ok() {
                result = change(&mut tree, &mut update);
            }
            if self.mmu.end_update(&self.space).is_err() {
                // Until then the hardware may use what was removed, so nothing is freed.
                result = result.and(self.reset_for(kind));
            }
            result
        };
        self.gpuvm.deferred_cleanup();

        if update.torn {
            self.declare_unusable();
        }

        result
    }

    /// Waits for the reset that a stuck GPU needs.
    ///
    /// # Errors
    ///
    /// `ENODEV` if it fails, unless the change cannot be put off: nothing is executed any more
    /// then.
    fn reset_for(&self, kind: Kind) -> Result {
        match (self.mmu.wait_for_reset(), kind) {
            (Err(error), Kind::Any) => Err(error),
            _ => Ok(()),
        }
    }

    fn declare_unusable(&self) {
        if !self.unusable.xchg(true, ordering::Full) {
            self.mmu.disable(&self.space);
        }
    }

    /// Ends the VM on user space's behalf: everything is unmapped, and nothing will be mapped.
    pub(crate) fn destroy(&self) {
        self.destroyed.store(true, ordering::Release);
        self.unmap_all();
    }

    fn unmap_all(&self) {
        let range = self.gpuvm.va_range();
        // A failure has been noted.
        let _ = self.unmap_whole(range.start, range.end - range.start);
    }

    /// Reads a word at `va`, as the GPU has left it. Neither sleeps nor allocates.
    ///
    /// # Errors
    ///
    /// `EFAULT` if nothing is mapped there; `EBUSY` if the mappings, or the buffer, are being used
    /// in a way that has to be waited for; `EINVAL` if `va` is not naturally aligned.
    pub(crate) fn peek(&self, va: u64, width: Width) -> Result<u64> {
        let tree = self.tree.try_lock().ok_or(EBUSY)?;
        let mapping = tree.find(va, width.bytes() as u64).ok_or(EFAULT)?;
        let inside = va.checked_sub(mapping.addr()).ok_or(EFAULT)?;

        // GPUVM has checked that the mapping is inside of the buffer.
        peek(mapping.obj(), mapping.gem_offset() + inside, width)
    }

    /// Gives the VM an address space, which may evict an idle one's. Sleeps, for a bounded time;
    /// takes no lock that is held across an allocation.
    ///
    /// # Errors
    ///
    /// `EBUSY` if all address spaces are active, or if the VM faulted and some who used it then
    /// still hold it; `EINVAL` if the VM is unusable, `ETIMEDOUT` if
    /// the hardware is stuck, `ENODEV` if it is gone.
    pub(crate) fn activate(self: &Arc<Self>) -> Result<ActiveVm> {
        if self.is_unusable() {
            return Err(EINVAL);
        }
        let nr = self.mmu.activate(&self.space, self.mcu)?;

        Ok(ActiveVm {
            vm: self.clone(),
            nr,
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Vm {
    fn drop(self: Pin<&mut Self>) {
        self.unmap_all();
        self.mmu.release(&self.space);
    }
}

/// Keeps a VM in its address space.
///
/// After it is dropped the VM stays there until another VM needs the address space.
pub(crate) struct ActiveVm {
    pub(super) vm: Arc<Vm>,
    nr: u32,
}

impl ActiveVm {
    /// The number of the address space.
    pub(crate) fn as_nr(&self) -> u32 {
        self.nr
    }
}

impl Drop for ActiveVm {
    fn drop(&mut self) {
        self.vm.mmu.idle(&self.vm.space);
    }
}
