// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Chains of fences: what a timeline sync object holds.

use crate::{
    alloc::Flags,
    bindings,
    prelude::*, //
};
use core::mem::MaybeUninit;

/// Memory for a link of a chain.
///
/// Allocated where that may fail; made a link by
/// [`SyncObj::add_point`](crate::drm::syncobj::SyncObj::add_point), which cannot.
///
/// C header: [`include/linux/dma-fence-chain.h`](srctree/include/linux/dma-fence-chain.h)
///
/// # Invariants
///
/// The memory is from `kmalloc`, since C frees it with `kfree_rcu`.
pub struct FenceChain(KBox<MaybeUninit<bindings::dma_fence_chain>>);

// SAFETY: It is memory without content.
unsafe impl Send for FenceChain {}

impl FenceChain {
    /// Allocates memory for one link.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(flags: Flags) -> Result<Self> {
        // INVARIANT: `KBox` is allocated by `kmalloc`.
        Ok(Self(KBox::new_uninit(flags)?))
    }

    /// Gives the memory up to C, which initialises it.
    pub fn into_raw(self) -> *mut bindings::dma_fence_chain {
        KBox::into_raw(self.0).cast()
    }
}
