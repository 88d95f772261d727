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
//! it is not. [`SignallingSection`] lets lockdep check that rule.
//!
//! The fences made here use their own lock, and no operation that a fence calls once it has
//! signalled; so a signalled fence needs neither the driver's data nor its code.
//!
//! C header: [`include/linux/dma-fence.h`](srctree/include/linux/dma-fence.h)

use crate::{
    alloc::Flags,
    bindings,
    error::to_result,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    },
};
use core::{
    mem::MaybeUninit,
    ops::Deref,
    ptr::NonNull, //
};

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
}

/// The names under which fences show up in traces and in debugfs.
pub trait FenceNames {
    /// The driver's name.
    const DRIVER: &'static CStr;

    /// The timeline's name.
    const TIMELINE: &'static CStr;
}

/// The operations of fences named by `N`.
struct Ops<N>(core::marker::PhantomData<N>);

impl<N: FenceNames> Ops<N> {
    // No `release` and no `wait`: so the C code forgets the table when the fence signals, and
    // frees the memory by itself.
    const TABLE: bindings::dma_fence_ops = bindings::dma_fence_ops {
        get_driver_name: Some(Self::driver_name),
        get_timeline_name: Some(Self::timeline_name),
        enable_signaling: None,
        signaled: None,
        wait: None,
        release: None,
        set_deadline: None,
    };

    extern "C" fn driver_name(_fence: *mut bindings::dma_fence) -> *const c_char {
        N::DRIVER.as_char_ptr()
    }

    extern "C" fn timeline_name(_fence: *mut bindings::dma_fence) -> *const c_char {
        N::TIMELINE.as_char_ptr()
    }
}

/// A timeline of fences: those that signal in order.
pub struct FenceContext {
    id: u64,
    ops: &'static bindings::dma_fence_ops,
}

impl FenceContext {
    /// Makes a timeline, whose fences are named by `N`.
    pub fn new<N: FenceNames + 'static>() -> Self {
        Self {
            // SAFETY: Takes a number from a counter.
            id: unsafe { bindings::dma_fence_context_alloc(1) },
            ops: const { &Ops::<N>::TABLE },
        }
    }

    /// The timeline's number, unique in the system.
    pub fn id(&self) -> u64 {
        self.id
    }
}

/// Memory for a fence.
///
/// # Invariants
///
/// The memory is from `kmalloc`, since C frees it with `kfree_rcu`.
pub struct FenceAlloc(KBox<MaybeUninit<bindings::dma_fence>>);

// SAFETY: It is memory without content.
unsafe impl Send for FenceAlloc {}

impl FenceAlloc {
    /// Allocates memory for one fence.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(flags: Flags) -> Result<Self> {
        // INVARIANT: `KBox` is allocated by `kmalloc`.
        Ok(Self(KBox::new_uninit(flags)?))
    }

    /// Makes it the fence `seqno` of the timeline `context`.
    ///
    /// From here on it has to be signalled in finite time, whatever happens.
    pub fn init(self, context: &FenceContext, seqno: u64) -> DriverFence {
        let ptr = KBox::into_raw(self.0).cast::<bindings::dma_fence>();
        // SAFETY: The memory is ours and big enough. The operations are static data of this
        // module; fences forget them when they signal, and unloading a module waits for a grace
        // period, in which calls under way end. A null lock selects the fence's own.
        unsafe {
            bindings::dma_fence_init64(ptr, context.ops, core::ptr::null_mut(), context.id, seqno)
        };
        // SAFETY: Not null, and initialisation leaves one reference, which is ours.
        let fence = unsafe { ARef::from_raw(NonNull::new_unchecked(ptr.cast::<Fence>())) };
        // INVARIANT: The fence is new, so nobody else has the right to signal it.
        DriverFence {
            fence,
            signalled: false,
        }
    }
}

/// The right to signal one fence, and the duty to.
///
/// # Invariants
///
/// No other `DriverFence` exists for the fence, and it has not signalled unless `signalled`.
#[must_use = "dropping a fence signals it as cancelled"]
pub struct DriverFence {
    fence: ARef<Fence>,
    signalled: bool,
}

impl DriverFence {
    /// The fence, for others to wait for.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Records that what the fence stands for has failed, before it is signalled.
    ///
    /// The last error wins.
    pub fn set_error(&mut self, error: Error) {
        // SAFETY: The fence has not signalled (type invariant), `self` is borrowed exclusively,
        // and nobody else writes this field before signalling.
        unsafe { (*self.fence.as_raw()).error = error.to_errno() };
    }

    /// Signals the fence; its error is that of [`DriverFence::set_error`], if there was one.
    ///
    /// Runs the callbacks of those who wait, with the fence's lock held and interrupts off.
    pub fn signal(mut self) {
        self.signal_once();
    }

    /// Signals the fence with `error`.
    pub fn signal_error(mut self, error: Error) {
        self.set_error(error);
        self.signal_once();
    }

    fn signal_once(&mut self) {
        self.signalled = true;
        // SAFETY: The fence is initialised, and unsignalled by the type invariant.
        unsafe { bindings::dma_fence_signal(self.fence.as_raw()) };
    }
}

impl Deref for DriverFence {
    type Target = Fence;

    fn deref(&self) -> &Fence {
        &self.fence
    }
}

impl Drop for DriverFence {
    fn drop(&mut self) {
        if !self.signalled {
            pr_warn!(
                "fence {}:{} was dropped unsignalled: it is cancelled\n",
                self.fence.context(),
                self.fence.seqno()
            );
            self.set_error(ECANCELED);
            self.signal_once();
        }
    }
}

/// A stretch of code that some fence needs to get signalled.
///
/// While one exists, lockdep complains about everything that could wait for a fence, memory
/// reclaim first of all. Without lockdep it costs nothing.
pub struct SignallingSection {
    cookie: bool,
    // The annotation belongs to the task.
    _not_send: NotThreadSafe,
}

impl SignallingSection {
    /// Enters the section; dropping the result leaves it.
    #[must_use = "the section ends when this is dropped"]
    pub fn enter() -> Self {
        Self {
            // SAFETY: No requirements; ended in `drop`, in the same task.
            cookie: unsafe { bindings::dma_fence_begin_signalling() },
            _not_send: NotThreadSafe,
        }
    }
}

impl Drop for SignallingSection {
    fn drop(&mut self) {
        // SAFETY: The cookie is from the matching begin, in the same task.
        unsafe { bindings::dma_fence_end_signalling(self.cookie) };
    }
}

mod chain;

pub use self::chain::FenceChain;
