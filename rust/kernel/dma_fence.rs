// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DMA fences.
//!
//! A DMA fence is a promise that something ends soon: a driver makes one, anybody may wait for
//! it. The two sides are two types here. A [`Fence`] is what everybody holds, counted by
//! reference. A [`DriverFence`] is the right, and the duty, to signal one: there is exactly one
//! for each fence, signalling consumes it, and dropping it unsignalled signals `-ECANCELED` and
//! says so in the log.
//!
//! A fence must signal even when memory is short, so between its [`DriverFence`] being made and
//! being signalled nothing may allocate memory in a way that can wait for reclaim. Hence memory
//! and fence are made apart: [`FenceAlloc`] where sleeping is allowed, [`FenceAlloc::init`] where
//! it is not. [`SignallingSection`] lets lockdep check that rule. Callbacks go the same way:
//! [`CallbackAlloc`], then [`Fence::add_callback`].
//!
//! # What a fence needs
//!
//! The fences made here use their own lock, and no operation that a fence calls once it has
//! signalled; so a signalled fence needs neither the driver's data nor its code. One that has not
//! signalled needs the code, which holds its names: so its [`DriverFence`] keeps the module loaded.
//! C frees the memory of a fence a grace period after the last reference went, so that who finds
//! one under RCU may still look at it.
//!
//! # Examples
//!
//! ```ignore
//! struct Names;
//!
//! impl FenceNames for Names {
//!     type Module = MyModule;
//!     const DRIVER: &'static CStr = c"my_driver";
//!     const TIMELINE: &'static CStr = c"my_ring";
//! }
//!
//! let context = FenceContext::<Names>::new();
//! // May sleep, and fail.
//! let alloc = FenceAlloc::<Names>::new(GFP_KERNEL)?;
//!
//! // Neither sleeps nor fails.
//! let _section = SignallingSection::enter();
//! let fence = alloc.init(&context, 1);
//! let shared: ARef<Fence> = fence.fence().into();
//! fence.signal();
//! assert_eq!(shared.status(), Some(Ok(())));
//! ```
//!
//! C header: [`include/linux/dma-fence.h`](srctree/include/linux/dma-fence.h)

mod callback;
mod chain;
mod driver;
mod section;
#[cfg(CONFIG_KUNIT = "y")]
mod tests;

pub use self::callback::{
    Callback,
    CallbackAlloc, //
};
pub use self::chain::FenceChain;
pub use self::driver::{
    DriverFence,
    FenceAlloc,
    FenceContext,
    FenceNames, //
};
pub use self::section::SignallingSection;

use crate::{
    bindings,
    error::to_result,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    time::Jiffies,
    types::Opaque, //
};
use core::ptr::NonNull;

/// A fence that somebody will signal.
///
/// # Invariants
///
/// `self.0` is an initialised `struct dma_fence` with a reference count above zero.
#[repr(transparent)]
pub struct Fence(Opaque<bindings::dma_fence>);

// SAFETY: Fences are internally synchronised, and their last reference may be put anywhere.
unsafe impl Send for Fence {}
// SAFETY: As above.
unsafe impl Sync for Fence {}

// SAFETY: `dma_fence_get` and `dma_fence_put` count references.
unsafe impl AlwaysRefCounted for Fence {
    fn inc_ref(&self) {
        // SAFETY: A shared reference exists, so the count is not zero.
        unsafe { bindings::dma_fence_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference.
        unsafe { bindings::dma_fence_put(obj.cast().as_ptr()) };
    }
}

impl Fence {
    /// Borrows a fence from C.
    ///
    /// # Safety
    ///
    /// `ptr` is an initialised fence, to which a reference is held for all of `'a`.
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::dma_fence) -> &'a Self {
        // SAFETY: `Fence` is transparent, and the caller vouches for the pointer.
        unsafe { &*ptr.cast() }
    }

    /// Takes over a reference from C.
    ///
    /// # Safety
    ///
    /// `ptr` is null, or an initialised fence to which the caller owns a reference and gives it up.
    pub unsafe fn take_raw(ptr: *mut bindings::dma_fence) -> Option<ARef<Self>> {
        let ptr = NonNull::new(ptr.cast::<Self>())?;
        // SAFETY: The caller passes its reference on.
        Some(unsafe { ARef::from_raw(ptr) })
    }

    /// The C fence.
    pub fn as_raw(&self) -> *mut bindings::dma_fence {
        self.0.get()
    }

    /// A fence that has signalled, without error.
    pub fn signalled() -> ARef<Self> {
        // SAFETY: The stub is never null, and `dma_fence_get_stub` takes a reference for us.
        unsafe {
            ARef::from_raw(NonNull::new_unchecked(
                bindings::dma_fence_get_stub().cast::<Self>(),
            ))
        }
    }

    /// Whether the fence has signalled.
    pub fn is_signalled(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::dma_fence_is_signaled(self.as_raw()) }
    }

    /// Whether the fence has signalled, and how.
    ///
    /// [`None`] while it has not; then the result of what it stands for.
    pub fn status(&self) -> Option<Result> {
        // SAFETY: By the type invariant.
        match unsafe { bindings::dma_fence_get_status(self.as_raw()) } {
            0 => None,
            error if error < 0 => Some(to_result(error)),
            _ => Some(Ok(())),
        }
    }

    /// The timeline that the fence is on.
    pub fn context(&self) -> u64 {
        // SAFETY: By the type invariant; the field is written only at initialisation.
        unsafe { (*self.as_raw()).context }
    }

    /// The position of the fence in its timeline.
    pub fn seqno(&self) -> u64 {
        // SAFETY: As for `context`.
        unsafe { (*self.as_raw()).seqno }
    }

    /// Whether the fence is a link of a chain, as timeline sync objects hold them.
    ///
    /// Such a fence stands for everything before it as well, and cannot be put into a chain itself.
    pub fn is_chain(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::dma_fence_is_chain(self.as_raw()) }
    }

    /// Waits until the fence signals, or a signal for the task arrives.
    ///
    /// The fence's own error is not looked at: see [`Fence::status`].
    ///
    /// # Errors
    ///
    /// `ERESTARTSYS` if a signal came first.
    pub fn wait_interruptible(&self) -> Result {
        // SAFETY: By the type invariant.
        let left = unsafe { bindings::dma_fence_wait_timeout(self.as_raw(), true, c_long::MAX) };
        if left < 0 {
            Err(Error::from_errno(left as c_int))
        } else {
            Ok(())
        }
    }

    /// Waits until the fence signals, or `timeout` has passed; returns whether it has signalled.
    ///
    /// Cannot be interrupted.
    pub fn wait_timeout(&self, timeout: Jiffies) -> bool {
        let timeout = timeout.try_into().unwrap_or(c_long::MAX);
        // SAFETY: By the type invariant.
        unsafe { bindings::dma_fence_wait_timeout(self.as_raw(), false, timeout) > 0 }
    }
}
