// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Reservation objects: the fences of a buffer.
//!
//! Every buffer that devices share has one: who is still at work on it, and for what purpose. Its
//! lock is taken to add fences, and to look at them without missing one. That it is held is a value
//! here, [`HeldResv`]: from a [`ResvGuard`] for a lock taken alone, or from
//! [`exec::Locked`](crate::drm::exec::Locked) for one of many.
//!
//! C header: [`include/linux/dma-resv.h`](srctree/include/linux/dma-resv.h)

use crate::{
    bindings,
    dma_fence::Fence,
    drm::gem::IntoGEMObject,
    error::to_result,
    prelude::*,
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

/// Whether two buffers have the same reservation object: one was made with the other's, or both
/// with that of a third one.
pub fn is_shared(one: &impl IntoGEMObject, other: &impl IntoGEMObject) -> bool {
    // SAFETY: The objects are alive, and their reservations are set when they are made.
    unsafe { (*one.as_raw()).resv == (*other.as_raw()).resv }
}

/// What a fence on a buffer object stands for, and so who waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Usage {
    /// Memory management: everybody waits.
    Kernel = bindings::dma_resv_usage_DMA_RESV_USAGE_KERNEL,
    /// A write with implicit synchronisation.
    Write = bindings::dma_resv_usage_DMA_RESV_USAGE_WRITE,
    /// A read with implicit synchronisation.
    Read = bindings::dma_resv_usage_DMA_RESV_USAGE_READ,
    /// Use with explicit synchronisation: only memory management waits.
    Bookkeep = bindings::dma_resv_usage_DMA_RESV_USAGE_BOOKKEEP,
}

impl Usage {
    /// What somebody waits for who is going to write to a buffer, or only to read it.
    pub fn to_wait_for(write: bool) -> Self {
        if write {
            Self::Read
        } else {
            Self::Write
        }
    }
}

/// A reservation object.
///
/// # Invariants
///
/// `inner` is an initialised `struct dma_resv`.
#[repr(transparent)]
#[pin_data(PinnedDrop)]
pub struct Resv {
    #[pin]
    inner: Opaque<bindings::dma_resv>,
}

// SAFETY: Reservation objects may be used and freed by any thread.
unsafe impl Send for Resv {}
// SAFETY: They have a lock of their own, and are read under RCU otherwise.
unsafe impl Sync for Resv {}

impl Resv {
    /// Returns an initialiser for one without fences.
    pub fn new() -> impl PinInit<Self> {
        // INVARIANT: `dma_resv_init` initialises it.
        pin_init!(Self {
            inner <- Opaque::ffi_init(|slot| {
                // SAFETY: The slot is writable, and pinned.
                unsafe { bindings::dma_resv_init(slot) }
            }),
        })
    }

    /// Borrows a reservation object from C.
    ///
    /// # Safety
    ///
    /// `ptr` is initialised, and stays so during `'a`.
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::dma_resv) -> &'a Self {
        // SAFETY: `Resv` is transparent, and the caller vouches for the pointer.
        unsafe { &*ptr.cast() }
    }

    /// The C object.
    pub fn as_raw(&self) -> *mut bindings::dma_resv {
        self.inner.get()
    }

    /// Locks it, alone; may sleep. For several at once there is [`Exec`](crate::drm::exec::Exec).
    ///
    /// # Errors
    ///
    /// Those of the lock.
    ///
    /// # Examples
    ///
    /// ```ignore
    /// let mut guard = resv.lock()?;
    /// guard.reserve(1)?;
    /// job.add_resv_dependencies(guard.held(), Usage::to_wait_for(true))?;
    /// // Here the job is armed.
    /// guard.add_fence(&finished, Usage::Write);
    /// ```
    pub fn lock(&self) -> Result<ResvGuard<'_>> {
        // SAFETY: By the type invariant.
        to_result(unsafe { bindings::dma_resv_lock(self.as_raw(), core::ptr::null_mut()) })?;
        // INVARIANT: Locked just now.
        Ok(ResvGuard {
            held: HeldResv {
                resv: self,
                _not_send: NotThreadSafe,
            },
            room: 0,
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Resv {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant; nobody uses it any more.
        unsafe { bindings::dma_resv_fini(self.inner.get()) };
    }
}

/// A reservation object whose lock is held.
///
/// # Invariants
///
/// The current task holds the lock during `'a`.
pub struct HeldResv<'a> {
    resv: &'a Resv,
    // The lock belongs to the task.
    _not_send: NotThreadSafe,
}

impl<'a> HeldResv<'a> {
    /// Says that the lock of `resv` is held.
    ///
    /// # Safety
    ///
    /// The current task holds it during `'a`.
    pub(crate) unsafe fn new(resv: &'a Resv) -> Self {
        // INVARIANT: By the requirements of this function.
        Self {
            resv,
            _not_send: NotThreadSafe,
        }
    }

    /// The C object.
    pub fn as_raw(&self) -> *mut bindings::dma_resv {
        self.resv.as_raw()
    }

    /// Calls `f` for each fence that somebody waits for who waits for `usage`: those of that usage
    /// and of those listed before it in [`Usage`].
    pub fn for_each_fence(&self, usage: Usage, mut f: impl FnMut(&Fence)) {
        let mut cursor = bindings::dma_resv_iter {
            obj: self.as_raw(),
            usage: usage as bindings::dma_resv_usage,
            ..Default::default()
        };
        // SAFETY: The lock is held (type invariant), so that fences stay; the cursor is set up.
        let mut fence = unsafe { bindings::dma_resv_iter_first(&mut cursor) };
        while !fence.is_null() {
            // SAFETY: The object holds a reference as long as its lock is held.
            f(unsafe { Fence::from_raw(fence) });
            // SAFETY: As above.
            fence = unsafe { bindings::dma_resv_iter_next(&mut cursor) };
        }
    }
}

/// Holds the lock of a reservation object, and lets go of it when it is dropped.
///
/// # Invariants
///
/// The lock is held, and there is room for `room` fences more.
pub struct ResvGuard<'a> {
    held: HeldResv<'a>,
    room: u32,
}

impl<'a> ResvGuard<'a> {
    /// That the lock is held.
    pub fn held(&self) -> &HeldResv<'a> {
        &self.held
    }

    /// Makes room for `fences` fences, which must not be zero.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` for none.
    pub fn reserve(&mut self, fences: u32) -> Result {
        if fences == 0 {
            return Err(EINVAL);
        }
        // SAFETY: The lock is held (type invariant).
        to_result(unsafe { bindings::dma_resv_reserve_fences(self.held.as_raw(), fences) })?;
        // INVARIANT: There is room for so many beyond those that are there.
        self.room = self.room.max(fences);
        Ok(())
    }

    /// Adds `fence`; it cannot fail, since room was made by [`reserve`](Self::reserve).
    ///
    /// A fence beyond that is a bug of the driver, and is refused with a warning (the C code would
    /// stop the machine). So is a link of a chain, which stands for several fences.
    pub fn add_fence(&mut self, fence: &Fence, usage: Usage) {
        if crate::warn_on!(self.room == 0 || fence.is_chain()) {
            return;
        }
        // INVARIANT: One place is used up.
        self.room -= 1;
        // SAFETY: The lock is held and there is room (type invariant); the fence is alive.
        unsafe {
            bindings::dma_resv_add_fence(
                self.held.as_raw(),
                fence.as_raw(),
                usage as bindings::dma_resv_usage,
            )
        };
    }
}

impl Drop for ResvGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: The lock is held (type invariant).
        unsafe { bindings::dma_resv_unlock(self.held.as_raw()) };
    }
}

#[kunit_tests(magni_dma_resv)]
mod tests {
    use super::*;
    use crate::{
        dma_fence::{
            DriverFence,
            FenceAlloc,
            FenceContext,
            FenceNames, //
        },
        ModuleMetadata,
        ThisModule, //
    };

    struct NoModule;

    impl ModuleMetadata for NoModule {
        const NAME: &'static CStr = c"test";
        // SAFETY: A null pointer means that there is no module.
        const THIS_MODULE: ThisModule = unsafe { ThisModule::from_ptr(core::ptr::null_mut()) };
    }

    struct Names;

    impl FenceNames for Names {
        type Module = NoModule;
        const DRIVER: &'static CStr = c"test";
        const TIMELINE: &'static CStr = c"test";
    }

    fn fence(seqno: u64) -> Result<DriverFence> {
        Ok(FenceAlloc::<Names>::new(GFP_KERNEL)?.init(&FenceContext::new(), seqno))
    }

    /// The sum of the numbers of the fences that somebody waits for.
    fn sum(guard: &ResvGuard<'_>, usage: Usage) -> u64 {
        let mut sum = 0;
        guard
            .held()
            .for_each_fence(usage, |fence| sum += fence.seqno());
        sum
    }

    #[test]
    fn who_waits_for_what() -> Result {
        let resv = KBox::pin_init(Resv::new(), GFP_KERNEL)?;
        let fences = [fence(1)?, fence(2)?, fence(4)?, fence(8)?];
        let usages = [Usage::Kernel, Usage::Write, Usage::Read, Usage::Bookkeep];
        let mut guard = resv.lock()?;
        assert_eq!(guard.reserve(0).err(), Some(EINVAL));
        guard.reserve(4)?;
        for (fence, usage) in fences.iter().zip(usages) {
            guard.add_fence(fence, usage);
        }
        assert_eq!(sum(&guard, Usage::Kernel), 1);
        assert_eq!(sum(&guard, Usage::to_wait_for(false)), 3);
        assert_eq!(sum(&guard, Usage::to_wait_for(true)), 7);
        assert_eq!(sum(&guard, Usage::Bookkeep), 15);
        drop(guard);

        for fence in fences {
            fence.signal();
        }
        // Fences that have signalled are nobody's business, and make room.
        let mut guard = resv.lock()?;
        guard.reserve(1)?;
        let last = fence(16)?;
        guard.add_fence(&last, Usage::Write);
        assert_eq!(sum(&guard, Usage::Read), 16);
        drop(guard);
        last.signal();
        Ok(())
    }
}
