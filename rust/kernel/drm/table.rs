// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A device's driver table, with what upstream's leaves out.
//!
//! [`UnregisteredDevice`](drm::UnregisteredDevice) gives every device the same table: GEM, maybe
//! render nodes, and fixed file operations. [`install`] replaces it, between allocation and
//! registration (upstream itself changes tables there), by a copy with
//!
//! - more feature bits, sync objects for instance;
//! - what a file says about itself;
//! - an `mmap` that serves pages of the device's registers beside GEM objects;
//! - no import of foreign buffers and no dumb buffers: upstream's shmem helpers would make plain
//!   C objects for them, which the driver would then take for its own, larger ones.
//!
//! C header: [`include/drm/drm_drv.h`](srctree/include/drm/drm_drv.h)

use crate::{
    bindings,
    drm::{
        self,
        driver::AllocImpl,
        fdinfo::FdInfo,
        file::DriverFile, //
    },
    io::PhysAddr,
    page::{
        Page,
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::{
        aref::AlwaysRefCounted,
        SetOnce, //
    },
};
use core::ptr;

/// Device features beyond those that upstream's table can have.
pub mod features {
    use crate::bindings;

    /// Sync objects.
    pub const SYNCOBJ: u32 = bindings::drm_driver_feature_DRIVER_SYNCOBJ;
    /// Sync objects with a timeline.
    pub const SYNCOBJ_TIMELINE: u32 = bindings::drm_driver_feature_DRIVER_SYNCOBJ_TIMELINE;
}

/// What a driver adds to its devices' table.
pub trait DriverTable:
    drm::Driver<
        Object: AllocImpl<Driver = Self> + AlwaysRefCounted,
        File: DriverFile<Driver = Self>,
    > + 'static
{
    /// Feature bits to add, from [`features`].
    const FEATURES: u32;

    /// Where the table lives.
    fn storage() -> &'static Storage;

    /// Writes what `file`'s entry in `/proc/<pid>/fdinfo` says, beyond what DRM writes.
    fn show_fdinfo(
        dev: &drm::Device<Self, drm::Registered>,
        file: &drm::File<Self::File>,
        out: &mut FdInfo<'_>,
    ) where
        Self: Sized;

    /// The first `mmap` offset, in bytes, that means a register page for this `file`.
    fn io_base(file: &drm::File<Self::File>) -> u64;

    /// Calls `map` with what is to be seen at `offset` bytes from [`Self::io_base`].
    ///
    /// Called when the page is mapped and at every fault on it; an error refuses it. The page is
    /// shared, read-only and not executable. A driver that lets pages appear and disappear (see
    /// [`unmap_io`]) holds a lock while it calls `map`.
    fn io_page(
        dev: &drm::Device<Self, drm::Registered>,
        offset: u64,
        map: impl FnOnce(IoPage),
    ) -> Result
    where
        Self: Sized;

    /// The memory behind [`IoPage::StandIn`]: always the same, in the data of the device.
    fn stand_in(data: &Self::Data) -> &StandIn
    where
        Self: Sized;
}

/// What user space sees in the place of a register page.
#[derive(Clone, Copy)]
pub enum IoPage {
    /// The registers at this physical address, uncached.
    Registers(PhysAddr),
    /// [`DriverTable::stand_in`].
    StandIn,
}

/// A page of memory that stands in for a register page.
pub struct StandIn(Page);

impl StandIn {
    /// Makes a page that begins with `word`; the rest is zero.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(word: u32) -> Result<Self> {
        let page = Page::alloc_page(GFP_KERNEL | __GFP_ZERO)?;
        // SAFETY: The source is four bytes, and nobody else has the page yet.
        unsafe { page.write_raw(word.to_ne_bytes().as_ptr(), 0, size_of::<u32>())? };
        Ok(Self(page))
    }

    fn phys(&self) -> PhysAddr {
        // SAFETY: The page is an allocated one.
        unsafe { bindings::page_to_phys(self.0.as_ptr()) }
    }
}

/// Removes what user space has mapped of the `size` bytes from `offset` on of `dev`'s register
/// pages: at the next access [`DriverTable::io_page`] is asked again. Sleeps.
pub fn unmap_io<T: DriverTable>(dev: &drm::Device<T>, offset: u64, size: u64) {
    // `Device` is `repr(C)` with its `struct drm_device` first.
    let raw: *mut bindings::drm_device = ptr::from_ref(dev).cast_mut().cast();
    // SAFETY: A device has an inode of its own, whose mapping all its files share. Offsets of
    // register pages lie below those of buffers.
    unsafe {
        bindings::unmap_mapping_range(
            (*(*raw).anon_inode).i_mapping,
            offset as bindings::loff_t,
            size as bindings::loff_t,
            1,
        )
    };
}

/// Memory for a driver's table; a `static` of the driver's module.
///
/// The file operations must stay in place for as long as the module does: a file refers to them
/// until after it let go of its device.
pub struct Storage {
    fops: SetOnce<Fops>,
    driver: SetOnce<Table>,
}

struct Fops(bindings::file_operations);
struct Table(bindings::drm_driver);

// SAFETY: Only read once it is in its place.
unsafe impl Send for Fops {}
// SAFETY: Only read once it is in its place.
unsafe impl Sync for Fops {}
// SAFETY: Only read once it is in its place; what it points to is static.
unsafe impl Send for Table {}
// SAFETY: Only read once it is in its place; what it points to is static.
unsafe impl Sync for Table {}

impl Storage {
    /// Makes empty storage.
    #[expect(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            fops: SetOnce::new(),
            driver: SetOnce::new(),
        }
    }
}

/// Replaces `dev`'s driver table.
///
/// # Errors
///
/// `EPROBE_DEFER` if another device is doing so for the first time.
pub fn install<T: DriverTable>(dev: &drm::UnregisteredDevice<T>) -> Result {
    let dev: &drm::Device<T> = dev;
    // `Device` is `repr(C)` with its `struct drm_device` first.
    let raw: *mut bindings::drm_device = ptr::from_ref(dev).cast_mut().cast();
    let storage = T::storage();

    if storage.driver.as_ref().is_none() {
        // SAFETY: An allocated device has a table, which has file operations; both are static.
        let (mut driver, mut fops) = unsafe { (*(*raw).driver, *(*(*raw).driver).fops) };

        fops.mmap = Some(mmap::<T>);
        fops.show_fdinfo = Some(bindings::drm_show_fdinfo);
        storage.fops.populate(Fops(fops));

        driver.driver_features |= T::FEATURES;
        driver.show_fdinfo = Some(show_fdinfo::<T>);
        driver.gem_prime_import_sg_table = None;
        driver.dumb_create = None;
        driver.fops = &storage.fops.as_ref().ok_or(EPROBE_DEFER)?.0;
        storage.driver.populate(Table(driver));
    }

    // Two devices may probe at once: who comes second to `populate` waits for nobody, so that its
    // probe may have to be tried again.
    let table = storage.driver.as_ref().ok_or(EPROBE_DEFER)?;

    // SAFETY: The device is not registered yet, so that nobody else uses the field. The new table
    // lives as long as the module.
    unsafe { (*raw).driver = &table.0 };

    Ok(())
}

/// The DRM device of an open file.
///
/// # Safety
///
/// `file` is an open file of a device of `T`.
unsafe fn device_of<'a, T: drm::Driver>(
    file: *mut bindings::file,
) -> (&'a drm::Device<T, drm::Ioctl>, &'a drm::File<T::File>) {
    // SAFETY: The private data of a DRM file is its `struct drm_file`, which has a minor and that
    // a device. A file can only be opened on a device that was registered.
    unsafe {
        let file: *mut bindings::drm_file = (*file).private_data.cast();
        (
            drm::Device::from_raw((*(*file).minor).dev),
            drm::File::from_raw(file),
        )
    }
}

/// # Safety
///
/// Called as `show_fdinfo` of a device of `T`.
unsafe extern "C" fn show_fdinfo<T: DriverTable>(
    printer: *mut bindings::drm_printer,
    file: *mut bindings::drm_file,
) {
    // SAFETY: `file` is an open file of a device of `T` that was registered; the printer is for
    // this call only.
    let (dev, opened, mut out) = unsafe {
        (
            drm::Device::<T, drm::Ioctl>::from_raw((*(*file).minor).dev),
            drm::File::<T::File>::from_raw(file),
            FdInfo::new(printer, file),
        )
    };

    // DRM does not ask for a device that is gone.
    if let Some(dev) = dev.registration_guard() {
        T::show_fdinfo(&dev, opened, &mut out);
    }
}

/// # Safety
///
/// Called as `mmap` of an open file of a device of `T`.
unsafe extern "C" fn mmap<T: DriverTable>(
    filp: *mut bindings::file,
    vma: *mut bindings::vm_area_struct,
) -> c_int {
    // SAFETY: By this function's contract.
    let (dev, file) = unsafe { device_of::<T>(filp) };

    let Some(dev) = dev.registration_guard() else {
        return ENODEV.to_errno();
    };

    // SAFETY: `mmap` is called with a VMA that nobody else uses yet.
    let (pgoff, start, end, flags) = unsafe {
        (
            (*vma).vm_pgoff as u64,
            (*vma).__bindgen_anon_1.__bindgen_anon_1.vm_start,
            (*vma).__bindgen_anon_1.__bindgen_anon_1.vm_end,
            (*vma).__bindgen_anon_2.vm_flags,
        )
    };

    let base = T::io_base(file);
    let Some(offset) = (pgoff << PAGE_SHIFT).checked_sub(base) else {
        // SAFETY: The arguments are those of `mmap`.
        return unsafe { bindings::drm_gem_mmap(filp, vma) };
    };

    let forbidden = (bindings::VM_WRITE | bindings::VM_EXEC) as bindings::vm_flags_t;
    if flags & bindings::VM_SHARED as bindings::vm_flags_t == 0
        || flags & forbidden != 0
        || end - start != PAGE_SIZE
    {
        return EINVAL.to_errno();
    }
    if let Err(error) = T::io_page(&dev, offset, |_| {}) {
        return error.to_errno();
    }

    // SAFETY: Nobody else uses the VMA yet. The fault handler finds its device in the private
    // data; the VMA holds the file, and the file the device. It inserts page frames only, as
    // `VM_PFNMAP` demands.
    unsafe {
        let set = bindings::VM_IO
            | bindings::VM_DONTCOPY
            | bindings::VM_DONTEXPAND
            | bindings::VM_NORESERVE
            | bindings::VM_DONTDUMP
            | bindings::VM_PFNMAP;
        (*vma).__bindgen_anon_2.vm_flags = (flags | set as bindings::vm_flags_t)
            & !((bindings::VM_MAYWRITE | bindings::VM_MAYEXEC) as bindings::vm_flags_t);
        (*vma).vm_private_data = ptr::from_ref::<drm::Device<T, drm::Registered>>(&dev)
            .cast_mut()
            .cast();
        (*vma).vm_pgoff = (offset >> PAGE_SHIFT) as usize;
        (*vma).vm_ops = const { &VmOps::<T>::TABLE };
    }

    0
}

struct VmOps<T: DriverTable>(core::marker::PhantomData<T>);

impl<T: DriverTable> VmOps<T> {
    const TABLE: bindings::vm_operations_struct = bindings::vm_operations_struct {
        fault: Some(fault::<T>),
        ..pin_init::zeroed()
    };
}

/// # Safety
///
/// Called as the fault handler of a VMA that [`mmap`] set up.
unsafe extern "C" fn fault<T: DriverTable>(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
    const SIGBUS: bindings::vm_fault_t = bindings::vm_fault_reason_VM_FAULT_SIGBUS;

    // SAFETY: A fault has a VMA, whose private data `mmap` has set.
    let (vma, address, dev) = unsafe {
        let vma = (*vmf).__bindgen_anon_1.vma;
        let raw: *mut drm::Device<T, drm::Ioctl> = (*vma).vm_private_data.cast();
        (vma, (*vmf).__bindgen_anon_1.address, &*raw)
    };

    let Some(dev) = dev.registration_guard() else {
        return SIGBUS;
    };
    // SAFETY: The VMA is read-locked by the fault.
    let offset = unsafe { (*vma).vm_pgoff as u64 } << PAGE_SHIFT;
    let mut result = SIGBUS;
    let insert = |page| {
        // SAFETY: The VMA is valid.
        let prot = unsafe { (*vma).vm_page_prot };
        let (page, prot) = match page {
            // SAFETY: There are no requirements.
            IoPage::Registers(page) => (page, unsafe { bindings::pgprot_noncached(prot) }),
            IoPage::StandIn => (T::stand_in(&dev).phys(), prot),
        };

        // SAFETY: The VMA is a page frame mapping. Unplugging the device, which this guard holds
        // off, removes registers that are inserted. A stand-in lives as long as the device, which
        // the VMA's file holds.
        result = unsafe {
            bindings::vmf_insert_pfn_prot(vma, address, (page >> PAGE_SHIFT) as usize, prot)
        };
    };

    match T::io_page(&dev, offset, insert) {
        Ok(()) => result,
        Err(_) => SIGBUS,
    }
}
