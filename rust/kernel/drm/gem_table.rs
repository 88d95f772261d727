// SPDX-License-Identifier: GPL-2.0 OR MIT

//! An object's table of functions, with what upstream's leaves out.
//!
//! Upstream's shmem objects have a fixed table. [`install`] gives an object a copy of it with
//!
//! - `status`, so that a file's resident memory can be counted;
//! - `export`, so that the driver has its say when an object is shared with other devices.
//!
//! C header: [`include/drm/drm_gem.h`](srctree/include/drm/drm_gem.h)

use crate::{
    bindings,
    drm::{
        self,
        gem::{
            shmem,
            DriverObject,
            IntoGEMObject, //
        },
    },
    prelude::*,
    sync::SetOnce, //
};
use core::{
    marker::PhantomData,
    ptr,
    sync::atomic::{
        AtomicPtr,
        Ordering, //
    },
};

/// What a driver adds to its objects' table.
pub trait ObjectTable: DriverObject<Driver: drm::Driver<Object = shmem::Object<Self>>> {
    /// Where the table lives.
    fn storage() -> &'static Storage<Self>;

    /// Prepares `object` for being shared with other devices; an error refuses it.
    ///
    /// Called when the object is exported and nobody has its buffer open from an earlier export.
    /// May sleep.
    fn prepare_export(
        dev: &drm::Device<Self::Driver, drm::Registered>,
        object: &shmem::Object<Self>,
    ) -> Result;
}

/// Memory for the table of objects with the data `T`; a `static` of the driver's module.
pub struct Storage<T>(SetOnce<Funcs>, PhantomData<fn(&T)>);

struct Funcs(bindings::drm_gem_object_funcs);

// SAFETY: Only read once it is in its place; what it points to is static.
unsafe impl Send for Funcs {}
// SAFETY: As above.
unsafe impl Sync for Funcs {}

impl<T> Storage<T> {
    /// Makes empty storage.
    #[expect(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self(SetOnce::new(), PhantomData)
    }
}

/// Gives `object`, which is new, the driver's table.
///
/// # Errors
///
/// `EAGAIN` if the table is just being made, for the first object of all.
pub fn install<T: ObjectTable>(object: &shmem::Object<T>) -> Result {
    let raw = object.as_raw();
    let storage = T::storage();

    // SAFETY: An object has a table, which is static.
    let funcs = unsafe { &raw mut (*raw).funcs };
    if storage.0.as_ref().is_none() {
        // SAFETY: As above. It is upstream's: every object is given one, and the driver's is given
        // to none before it exists.
        let mut table = unsafe { **funcs };
        table.status = Some(status);
        table.export = Some(export::<T>);
        storage.0.populate(Funcs(table));
    }
    let table = &storage.0.as_ref().ok_or(EAGAIN)?.0;

    // SAFETY: The field is a pointer, aligned as one. Who reads it meanwhile sees either table;
    // they differ in what was added only.
    let funcs = unsafe { AtomicPtr::from_ptr(funcs.cast()) };
    funcs.store(ptr::from_ref(table).cast_mut(), Ordering::Release);
    Ok(())
}

/// # Safety
///
/// Called as `export` of a `shmem::Object<T>`.
unsafe extern "C" fn export<T: ObjectTable>(
    raw: *mut bindings::drm_gem_object,
    flags: c_int,
) -> *mut bindings::dma_buf {
    // SAFETY: The table is only that of such objects. Export is asked for by a file of the object's
    // device, so that this was registered.
    let (object, dev) = unsafe {
        (
            shmem::Object::<T>::from_raw(raw),
            drm::Device::<T::Driver, drm::Ioctl>::from_raw((*raw).dev),
        )
    };
    let prepared = match dev.registration_guard() {
        Some(dev) => T::prepare_export(&dev, object),
        None => Err(ENODEV),
    };
    match prepared {
        // SAFETY: The arguments are those of this function.
        Ok(()) => unsafe { bindings::drm_gem_prime_export(raw, flags) },
        Err(error) => error.to_ptr(),
    }
}

/// # Safety
///
/// Called as `status` of a shmem object.
unsafe extern "C" fn status(
    object: *mut bindings::drm_gem_object,
) -> bindings::drm_gem_object_status {
    let object: *mut bindings::drm_gem_shmem_object = object.cast();

    // SAFETY: A shmem object begins with its GEM object. Both are pointers, that others write at
    // any time; whether they are null is all that matters.
    let absent = unsafe {
        (&raw const (*object).pages).read_volatile().is_null()
            && (&raw const (*object).base.import_attach)
                .read_volatile()
                .is_null()
    };
    match absent {
        true => 0,
        false => bindings::drm_gem_object_status_DRM_GEM_OBJECT_RESIDENT,
    }
}
