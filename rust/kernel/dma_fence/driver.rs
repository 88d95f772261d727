// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The driver's side of fences: making them, and signalling them.

use super::Fence;
use crate::{
    alloc::Flags,
    bindings,
    module_ref::ModuleRef,
    prelude::*,
    sync::aref::ARef,
    ModuleMetadata, //
};
use core::{
    marker::PhantomData,
    mem::{
        ManuallyDrop,
        MaybeUninit, //
    },
    ops::Deref,
    ptr::NonNull, //
};

/// The names under which fences show up in traces and in debugfs, and the module that they are in.
pub trait FenceNames: Send + Sync + 'static {
    /// The module whose code this is: it stays loaded while a fence has not signalled.
    type Module: ModuleMetadata;

    /// The driver's name.
    const DRIVER: &'static CStr;

    /// The timeline's name.
    const TIMELINE: &'static CStr;
}

/// The operations of fences named by `N`.
struct Ops<N>(PhantomData<N>);

impl<N: FenceNames> Ops<N> {
    // No `release` and no `wait`: so the C code forgets the table when the fence signals, and
    // frees the memory by itself, a grace period after the last reference went.
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
pub struct FenceContext<N: FenceNames> {
    id: u64,
    _names: PhantomData<N>,
}

impl<N: FenceNames> FenceContext<N> {
    /// Makes a timeline, whose fences are named by `N`.
    #[expect(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            // SAFETY: Takes a number from a counter.
            id: unsafe { bindings::dma_fence_context_alloc(1) },
            _names: PhantomData,
        }
    }

    /// The timeline's number, unique in the system.
    pub fn id(&self) -> u64 {
        self.id
    }
}

/// Memory for a fence, and the module kept for it.
///
/// # Invariants
///
/// The memory is from `kmalloc`, since C frees it with `kfree_rcu`.
pub struct FenceAlloc<N: FenceNames> {
    memory: KBox<MaybeUninit<bindings::dma_fence>>,
    module: ModuleRef,
    _names: PhantomData<N>,
}

// SAFETY: It is memory without content, and a reference that may be put anywhere.
unsafe impl<N: FenceNames> Send for FenceAlloc<N> {}

impl<N: FenceNames> FenceAlloc<N> {
    /// Allocates memory for one fence.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENODEV` if the module is being unloaded.
    pub fn new(flags: Flags) -> Result<Self> {
        // INVARIANT: `KBox` is allocated by `kmalloc`.
        Ok(Self {
            memory: KBox::new_uninit(flags)?,
            module: ModuleRef::new::<N::Module>()?,
            _names: PhantomData,
        })
    }

    /// Makes it the fence `seqno` of the timeline `context`.
    ///
    /// From here on it has to be signalled in finite time, whatever happens.
    pub fn init(self, context: &FenceContext<N>, seqno: u64) -> DriverFence {
        let ptr = KBox::into_raw(self.memory).cast::<bindings::dma_fence>();
        let ops: &'static bindings::dma_fence_ops = const { &Ops::<N>::TABLE };
        // SAFETY: The memory is ours and big enough. The operations are static data of a module
        // that stays until the fence has signalled; the fence forgets them then, and unloading a
        // module waits for a grace period, in which calls under way end. A null lock selects the
        // fence's own.
        unsafe { bindings::dma_fence_init64(ptr, ops, core::ptr::null_mut(), context.id, seqno) };
        // SAFETY: Not null, and initialisation leaves one reference, which is ours.
        let fence = unsafe { ARef::from_raw(NonNull::new_unchecked(ptr.cast::<Fence>())) };
        // INVARIANT: The fence is new, so nobody else has the right to signal it.
        DriverFence {
            fence,
            _module: self.module,
        }
    }
}

/// The right to signal one fence, and the duty to.
///
/// Signalling consumes it, so that a fence is signalled once. One that is dropped unsignalled is
/// signalled with `-ECANCELED`, and reported: somebody waits for it.
///
/// # Invariants
///
/// No other `DriverFence` exists for the fence, and it has not signalled.
#[must_use = "dropping a fence signals it as cancelled"]
pub struct DriverFence {
    fence: ARef<Fence>,
    /// After the fence has signalled its operations are no longer needed.
    _module: ModuleRef,
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
    pub fn signal(self) {
        let this = ManuallyDrop::new(self);
        this.signal_once();
        // SAFETY: Both are used, and dropped, no more after this.
        drop(unsafe { (core::ptr::read(&this.fence), core::ptr::read(&this._module)) });
    }

    /// Signals the fence with `error`.
    pub fn signal_error(mut self, error: Error) {
        self.set_error(error);
        self.signal();
    }

    /// To be called once, when nothing comes after it.
    fn signal_once(&self) {
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
        pr_warn!(
            "fence {}:{} was dropped unsignalled: it is cancelled\n",
            self.fence.context(),
            self.fence.seqno()
        );
        self.set_error(ECANCELED);
        self.signal_once();
    }
}
