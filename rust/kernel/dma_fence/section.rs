// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Code that fences wait for.

use crate::{
    bindings,
    types::NotThreadSafe, //
};

/// A stretch of code that some fence needs to get signalled.
///
/// While one exists, lockdep complains about everything that could wait for a fence, memory
/// reclaim first of all. Sections nest. Without lockdep it costs nothing.
///
/// # Examples
///
/// ```
/// use kernel::dma_fence::SignallingSection;
///
/// let _section = SignallingSection::enter();
/// // Here nothing allocates with `GFP_KERNEL`, and no lock is taken under which others do.
/// ```
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
