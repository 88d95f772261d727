// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Being called when a fence signals.

use super::Fence;
use crate::{
    alloc::Flags,
    bindings,
    container_of,
    prelude::*,
    sync::aref::ARef,
    types::Opaque, //
};
use core::{
    cell::UnsafeCell,
    mem::MaybeUninit, //
};

/// What C knows of a callback, and what is to be called.
#[repr(C)]
struct Inner<F> {
    base: Opaque<bindings::dma_fence_cb>,
    call: UnsafeCell<Option<F>>,
}

/// Memory for a callback.
///
/// Allocated where that may sleep and fail; used by [`Fence::add_callback`], which does neither.
pub struct CallbackAlloc<F>(KBox<MaybeUninit<Inner<F>>>);

impl<F> CallbackAlloc<F> {
    /// Allocates memory for one callback.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(flags: Flags) -> Result<Self> {
        Ok(Self(KBox::new_uninit(flags)?))
    }
}

/// A call that is made when a fence signals, unless this is dropped before.
///
/// Dropping it waits until the call has returned if it is under way, so that what it uses may go
/// afterwards; so the call itself must not drop it, nor anything that somebody does with the lock
/// held that signals the fence.
///
/// # Invariants
///
/// * `inner` is pinned. Its `base` was given to `dma_fence_add_callback()` for `fence`, and is on
///   that fence's list until it is called or removed.
/// * `inner.call` is used by the callback until the callback is known to have run or to have been
///   removed, and from then on by `self` only.
#[must_use = "a callback that is dropped is not called any more"]
pub struct Callback<F: FnOnce(&Fence) + Send + 'static> {
    inner: KBox<Inner<F>>,
    fence: ARef<Fence>,
    removed: bool,
}

// SAFETY: The function may be sent, and whoever has `self` may remove the callback.
unsafe impl<F: FnOnce(&Fence) + Send + 'static> Send for Callback<F> {}
// SAFETY: A shared reference gives access to the fence only.
unsafe impl<F: FnOnce(&Fence) + Send + 'static> Sync for Callback<F> {}

impl Fence {
    /// Has `call` called when the fence signals: with its lock held and interrupts off, in whatever
    /// thread or interrupt signals it.
    ///
    /// What `call` captured is dropped there, too. It must not sleep, nor signal this fence, nor
    /// drop its own [`Callback`].
    ///
    /// # Errors
    ///
    /// `call` itself if the fence has signalled already; it is not called then.
    ///
    /// # Examples
    ///
    /// ```ignore
    /// let alloc = CallbackAlloc::new(GFP_KERNEL)?;
    /// let callback = match fence.add_callback(alloc, move |fence| worker.queue(fence.status())) {
    ///     Ok(callback) => Some(callback),
    ///     // It has signalled already.
    ///     Err(call) => {
    ///         call(&fence);
    ///         None
    ///     }
    /// };
    /// ```
    pub fn add_callback<F>(&self, memory: CallbackAlloc<F>, call: F) -> Result<Callback<F>, F>
    where
        F: FnOnce(&Fence) + Send + 'static,
    {
        let inner = KBox::write(
            memory.0,
            Inner {
                base: Opaque::zeroed(),
                call: UnsafeCell::new(Some(call)),
            },
        );
        // INVARIANT: The box is not moved out of before `Callback` is dropped.
        let callback = Callback {
            inner,
            fence: self.into(),
            removed: false,
        };
        // SAFETY: The fence is alive. `base` stays where it is, in its box, until it was removed
        // or called; and the function is made for it.
        let added = unsafe {
            bindings::dma_fence_add_callback(
                self.as_raw(),
                callback.inner.base.get(),
                Some(called::<F>),
            )
        };
        if added == 0 {
            return Ok(callback);
        }
        match callback.remove() {
            Some(call) => Err(call),
            // It was not added, so nobody has called it.
            None => unreachable!(),
        }
    }
}

/// What C calls.
///
/// # Safety
///
/// `base` is that of an `Inner<F>` whose callback was added to `fence`.
unsafe extern "C" fn called<F: FnOnce(&Fence)>(
    fence: *mut bindings::dma_fence,
    base: *mut bindings::dma_fence_cb,
) {
    // SAFETY: By the requirements of this function; `base` is the first field of the structure, and
    // as long as this runs `Callback` does not free it: it takes the fence's lock to do so.
    let call = unsafe {
        let inner = container_of!(Opaque::cast_from(base), Inner<F>, base);
        // By the invariant of `Callback` this is the callback's to use.
        (*(*inner).call.get()).take()
    };
    // SAFETY: Somebody who has a reference signals the fence.
    let fence = unsafe { Fence::from_raw(fence) };
    if let Some(call) = call {
        call(fence);
    }
}

impl<F: FnOnce(&Fence) + Send + 'static> Callback<F> {
    /// The fence.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Has the call not made; returns the function, unless it has been called.
    ///
    /// Waits until it has returned if it is being called.
    pub fn remove(mut self) -> Option<F> {
        self.remove_once();
        // INVARIANT: Removed, so that the function is for `self` to use.
        self.inner.call.get_mut().take()
    }

    fn remove_once(&mut self) {
        if !core::mem::replace(&mut self.removed, true) {
            // SAFETY: By the type invariant. Takes the fence's lock, under which it is called: when
            // this returns it is not on the list and has returned if it was called.
            unsafe {
                bindings::dma_fence_remove_callback(self.fence.as_raw(), self.inner.base.get())
            };
        }
    }
}

impl<F: FnOnce(&Fence) + Send + 'static> Drop for Callback<F> {
    fn drop(&mut self) {
        self.remove_once();
    }
}
