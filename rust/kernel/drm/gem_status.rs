// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Shmem objects that say whether they have memory.
//!
//! Upstream's objects have a fixed table of functions, without `status`, so that nobody learns how
//! much of a file's memory is resident. [`report`] gives an object a copy of its table, with it.
//!
//! C header: [`include/drm/drm_gem.h`](srctree/include/drm/drm_gem.h)

use crate::{
    bindings,
    drm::gem::{
        shmem,
        DriverObject, //
    },
    prelude::*,
    sync::SetOnce, //
};
use core::{
    ptr,
    sync::atomic::{
        AtomicPtr,
        Ordering, //
    },
};

/// Memory for the table of one type of objects; a `static` of the driver's module.
pub struct Storage(SetOnce<Funcs>);

struct Funcs(bindings::drm_gem_object_funcs);

// SAFETY: Only read once it is in its place; what it points to is static.
unsafe impl Send for Funcs {}
// SAFETY: As above.
unsafe impl Sync for Funcs {}

impl Storage {
    /// Makes empty storage.
    #[expect(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self(SetOnce::new())
    }
}

/// From now on `object` says whether it has memory.
///
/// `storage` is for objects of this type only.
///
/// # Errors
///
/// `EAGAIN` if the table is just being made, for the first object of all.
pub fn report<T: DriverObject>(object: &shmem::Object<T>, storage: &'static Storage) -> Result {
    let raw = raw_object(object);

    // SAFETY: An object has a table, which is static.
    let funcs = unsafe { &raw mut (*raw).base.funcs };
    if storage.0.as_ref().is_none() {
        // SAFETY: As above.
        let mut table = unsafe { **funcs };
        table.status = Some(status);
        storage.0.populate(Funcs(table));
    }
    let table = &storage.0.as_ref().ok_or(EAGAIN)?.0;

    // SAFETY: The field is a pointer, aligned as one. Who reads it meanwhile sees either table;
    // they differ in what was added only.
    let funcs = unsafe { AtomicPtr::from_ptr(funcs.cast()) };
    funcs.store(ptr::from_ref(table).cast_mut(), Ordering::Release);
    Ok(())
}

fn raw_object<T: DriverObject>(object: &shmem::Object<T>) -> *mut bindings::drm_gem_shmem_object {
    use crate::drm::gem::IntoGEMObject;

    // A shmem object begins with its GEM object.
    object.as_raw().cast()
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
    let resident = unsafe {
        (&raw const (*object).pages).read_volatile().is_null()
            && (&raw const (*object).base.import_attach)
                .read_volatile()
                .is_null()
    };
    match resident {
        true => 0,
        false => bindings::drm_gem_object_status_DRM_GEM_OBJECT_RESIDENT,
    }
}
