// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Reading a word of a shmem object where nothing may be allocated.
//!
//! Mapping an object into the kernel's address space allocates memory and waits for locks, which
//! is forbidden where fences wait for the reader. But the pages of an object that a device uses
//! are pinned, and the kernel has every page of memory mapped; so a single word can be read
//! without either.

use crate::{
    bindings,
    container_of,
    drm::gem::{
        shmem,
        BaseObject,
        DriverObject,
        IntoGEMObject, //
    },
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*, //
};

/// A width that a single load has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 32 bits.
    Word,
    /// 64 bits.
    Long,
}

impl Width {
    /// In bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Word => 4,
            Self::Long => 8,
        }
    }
}

/// A reservation lock that was free.
struct TryLocked(*mut bindings::dma_resv);

impl TryLocked {
    /// Takes the lock of `object`.
    ///
    /// # Safety
    ///
    /// The object outlives the result.
    unsafe fn new(object: *mut bindings::drm_gem_object) -> Option<Self> {
        // SAFETY: The object is alive; its reservation is set when it is made, and stays.
        let resv = unsafe { (*object).resv };
        // SAFETY: A reservation's lock is initialised. No context: this one lock is not waited for.
        let locked =
            unsafe { bindings::ww_mutex_trylock(&raw mut (*resv).lock, core::ptr::null_mut()) };
        // Only then: one that is dropped unlocks.
        (locked != 0).then(|| Self(resv))
    }
}

impl Drop for TryLocked {
    fn drop(&mut self) {
        // SAFETY: Locked in `new`, by this task.
        unsafe { bindings::dma_resv_unlock(self.0) };
    }
}

/// Reads the word at `offset` bytes of `object`, as the device has left it.
///
/// Neither sleeps nor allocates. The load is single and never torn.
///
/// # Errors
///
/// `EINVAL` if the place is not inside of the object or not naturally aligned; `EBUSY` if somebody
/// holds the object's reservation; `ENXIO` if the object's pages are not mapped for the device.
pub fn peek<T: DriverObject>(object: &shmem::Object<T>, offset: u64, width: Width) -> Result<u64> {
    let bytes = width.bytes();
    let end = offset.checked_add(bytes as u64).ok_or(EINVAL)?;
    if offset % bytes as u64 != 0 || end > object.size() as u64 {
        return Err(EINVAL);
    }
    let offset = usize::try_from(offset)?;

    let base = object.as_raw();
    // SAFETY: `object` is borrowed for longer.
    let _locked = unsafe { TryLocked::new(base) }.ok_or(EBUSY)?;
    // SAFETY: The object is a shmem object, so `base` is the first part of one.
    let shmem = unsafe { container_of!(base, bindings::drm_gem_shmem_object, base) };

    // SAFETY: These fields change with the reservation locked only, and the object is alive.
    let (pages, table, dev) = unsafe { ((*shmem).pages, (*shmem).sgt, (*(*base).dev).dev) };
    if pages.is_null() || table.is_null() {
        return Err(ENXIO);
    }
    let mut left = offset as u64;
    // SAFETY: The table, if there is one, is complete; so are its entries. As long as the
    // reservation is locked it is not taken down.
    let mut entry = unsafe { (*table).sgl };
    loop {
        if entry.is_null() {
            return Err(ENXIO);
        }
        // SAFETY: An entry of the table.
        let len = u64::from(unsafe { bindings::sg_dma_len(entry) });
        if left < len {
            break;
        }
        left -= len;
        // SAFETY: As above.
        entry = unsafe { bindings::sg_next(entry) };
    }
    // What the CPU's caches may hold of it is older than what the device has written.
    //
    // SAFETY: The table is mapped for the object's device, in both directions, and the word is
    // inside of the entry: it is aligned, and entries consist of pages.
    unsafe {
        bindings::dma_sync_single_for_cpu(
            dev,
            bindings::sg_dma_address(entry) + left,
            bytes,
            bindings::dma_data_direction::DMA_FROM_DEVICE,
        );
    }

    // SAFETY: There is a page pointer for each page of the object, whose pages stay as long as
    // the reservation is locked.
    let page = unsafe { *pages.add(offset >> PAGE_SHIFT) };
    // SAFETY: The page is allocated.
    let map = unsafe { bindings::kmap_local_page(page) };
    let at = map.cast::<u8>().wrapping_add(offset % PAGE_SIZE);
    // SAFETY: Inside of the page, and aligned. Others write to it at the same time, which is what
    // volatile accesses are for.
    let value = unsafe {
        match width {
            Width::Word => u64::from(at.cast::<u32>().read_volatile()),
            Width::Long => at.cast::<u64>().read_volatile(),
        }
    };
    // SAFETY: Mapped above, by this task, and nothing since.
    unsafe { bindings::kunmap_local(map) };

    Ok(value)
}
