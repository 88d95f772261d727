// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DRM sync objects: fences that user space holds by handle.
//!
//! A sync object holds at most one fence, which can be replaced; a timeline sync object holds a
//! chain of them, each at a point of the timeline.
//!
//! C header: [`include/drm/drm_syncobj.h`](srctree/include/drm/drm_syncobj.h)

use crate::{
    bindings,
    dma_fence::{
        Fence,
        FenceChain, //
    },
    drm::{
        self,
        file::DriverFile, //
    },
    error::to_result,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque,
};
use core::ptr::NonNull;

/// A sync object.
///
/// # Invariants
///
/// `self.0` is an initialised `struct drm_syncobj` with a reference count above zero.
#[repr(transparent)]
pub struct SyncObj(Opaque<bindings::drm_syncobj>);

// SAFETY: Sync objects are internally synchronised.
unsafe impl Send for SyncObj {}
// SAFETY: As above.
unsafe impl Sync for SyncObj {}

// SAFETY: `drm_syncobj_get` and `drm_syncobj_put` count references.
unsafe impl AlwaysRefCounted for SyncObj {
    fn inc_ref(&self) {
        // SAFETY: A shared reference exists, so the count is not zero.
        unsafe { bindings::drm_syncobj_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference.
        unsafe { bindings::drm_syncobj_put(obj.cast().as_ptr()) };
    }
}

impl SyncObj {
    fn as_raw(&self) -> *mut bindings::drm_syncobj {
        self.0.get()
    }

    /// Makes a sync object without a fence, of which user space has no handle.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<ARef<Self>> {
        // SAFETY: Always safe to call.
        let ptr = unsafe { bindings::drm_syncobj_new() };
        let ptr = NonNull::new(ptr.cast::<Self>()).ok_or(ENOMEM)?;
        // SAFETY: Success leaves a sync object with a reference for us.
        Ok(unsafe { ARef::from_raw(ptr) })
    }

    /// The fence that the sync object holds: of a timeline, the newest link of the chain.
    pub fn fence(&self) -> Option<ARef<Fence>> {
        // SAFETY: The sync object is alive; the result is null or comes with a reference for us.
        unsafe { Fence::take_raw(bindings::drm_syncobj_fence_get(self.as_raw())) }
    }

    /// Looks up the handle `handle` of `file`.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such sync object.
    pub fn find<T: DriverFile>(file: &drm::File<T>, handle: u32) -> Result<ARef<Self>> {
        // SAFETY: The file is open.
        let ptr = unsafe { bindings::drm_syncobj_find(raw_file(file), handle) };
        let ptr = NonNull::new(ptr.cast::<Self>()).ok_or(ENOENT)?;
        // SAFETY: `drm_syncobj_find` took a reference for us.
        Ok(unsafe { ARef::from_raw(ptr) })
    }

    /// The fence that the handle `handle` of `file` stands for: at `point` of a timeline, or the
    /// only one if `point` is zero.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such sync object, `EINVAL` if it has no fence (yet) there.
    pub fn find_fence<T: DriverFile>(
        file: &drm::File<T>,
        handle: u32,
        point: u64,
    ) -> Result<ARef<Fence>> {
        let mut fence = core::ptr::null_mut();
        // SAFETY: The file is open, and `fence` may be written to.
        to_result(unsafe {
            bindings::drm_syncobj_find_fence(raw_file(file), handle, point, 0, &mut fence)
        })?;
        // SAFETY: Success leaves a fence with a reference for us.
        unsafe { Fence::take_raw(fence) }.ok_or(EINVAL)
    }

    /// Makes `fence` the one that the sync object holds.
    pub fn replace_fence(&self, fence: &Fence) {
        // SAFETY: Both are alive; C takes its own reference to the fence.
        unsafe { bindings::drm_syncobj_replace_fence(self.as_raw(), fence.as_raw()) };
    }

    /// Adds `fence` to the timeline, at `point`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `fence` is itself a link of a chain: chains do not nest. The fence of a job, or
    /// one that the driver made, is none.
    pub fn add_point(&self, chain: FenceChain, fence: &Fence, point: u64) -> Result {
        if fence.is_chain() {
            return Err(EINVAL);
        }
        // SAFETY: Both are alive; C takes over the link, and a reference of its own to the fence.
        unsafe {
            bindings::drm_syncobj_add_point(self.as_raw(), chain.into_raw(), fence.as_raw(), point)
        };
        Ok(())
    }
}

/// The C file behind `file`, whose own accessor is private to its crate.
pub(crate) fn raw_file<T: DriverFile>(file: &drm::File<T>) -> *mut bindings::drm_file {
    // `File` is a transparent wrapper of an `Opaque<struct drm_file>`.
    core::ptr::from_ref(file).cast_mut().cast()
}
