// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Making work queues.

use super::{
    cancel::cancel_delayed,
    HasDelayedWork,
    Queue,
    RawWorkItem,
    WorkItem, //
};
use crate::{
    alloc::{
        AllocError,
        Flags, //
    },
    bindings,
    prelude::*,
    sync::Arc,
    time::Jiffies, //
};
use core::ptr::NonNull;

/// An item that keeps the queue on which it is to run later.
///
/// A timer that waits for its time holds the item, but no queue: what keeps the queue has to be
/// the item.
pub trait DelayedOn {
    /// The queue.
    fn delayed_on(&self) -> &OwnedQueue;
}

/// A work queue that its owner made, and that dies with it.
///
/// It is not a [`Queue`], which offers timers without asking whether they outlive it.
///
/// Dropping it waits for all work that is on it. So it must not be dropped by work that runs on
/// it; [`ModuleQueue`](super::ModuleQueue) is the place for such last puts.
///
/// # Examples
///
/// ```
/// use kernel::workqueue::OwnedQueue;
///
/// let queue = OwnedQueue::new_ordered().mem_reclaim().build(c"example")?;
/// queue.try_spawn(GFP_KERNEL, || pr_info!("one item at a time, even when memory is short\n"))?;
/// # Ok::<(), Error>(())
/// ```
///
/// # Invariants
///
/// The pointer is a `workqueue_struct` from `alloc_workqueue()`, owned by `self`.
pub struct OwnedQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: Work queues may be used and destroyed from any thread.
unsafe impl Send for OwnedQueue {}
// SAFETY: Work queues are internally synchronised.
unsafe impl Sync for OwnedQueue {}

impl OwnedQueue {
    /// Starts an ordered queue: one item at a time, in the order of queuing.
    pub const fn new_ordered() -> Builder {
        Builder {
            flags: bindings::wq_flags_WQ_UNBOUND | bindings::wq_flags___WQ_ORDERED,
            max_active: 1,
        }
    }

    /// Starts an unbound queue: items run on any CPU.
    pub const fn new_unbound() -> Builder {
        Builder {
            flags: bindings::wq_flags_WQ_UNBOUND,
            max_active: 0,
        }
    }

    /// Starts a per-CPU queue: items run on the CPU that queued them.
    pub const fn new_percpu() -> Builder {
        Builder {
            flags: bindings::wq_flags_WQ_PERCPU,
            max_active: 0,
        }
    }

    /// The C queue, for passing to C code that puts work on it.
    pub fn as_raw(&self) -> *mut bindings::workqueue_struct {
        self.0.as_ptr()
    }

    fn queue(&self) -> &Queue {
        // SAFETY: By the type invariant the queue is live, and `self` keeps it so.
        unsafe { Queue::from_raw(self.as_raw()) }
    }

    /// Puts `item` on the queue: see [`Queue::enqueue`].
    pub fn enqueue<W, const ID: u64>(&self, item: W) -> W::EnqueueOutput
    where
        W: RawWorkItem<ID> + Send + 'static,
    {
        self.queue().enqueue(item)
    }

    /// Runs `f` on the queue: see [`Queue::try_spawn`].
    ///
    /// # Errors
    ///
    /// If there is no memory for it.
    pub fn try_spawn<F: FnOnce() + Send + 'static>(
        &self,
        flags: Flags,
        f: F,
    ) -> Result<(), AllocError> {
        self.queue().try_spawn(flags, f)
    }

    /// Makes `item` run on its queue in `delay`, whether or not it was to run before.
    ///
    /// Does not sleep. Does nothing while somebody cancels the item. References that are not
    /// needed are dropped here: so `item` must not be the last reference to something whose drop
    /// sleeps.
    pub fn mod_delayed<T, const ID: u64>(item: Arc<T>, delay: Jiffies)
    where
        T: DelayedOn
            + WorkItem<ID, Pointer = Arc<T>>
            + HasDelayedWork<T, ID>
            + Send
            + Sync
            + 'static,
    {
        // `mod_delayed_work()` does not tell a timer that it set from one that it may not set;
        // and only the first takes the reference. These two do. Who sets the timer in between
        // does it as if after this.
        drop(cancel_delayed(&item));
        let queue: *const Queue = item.delayed_on().queue();
        // SAFETY: The queue lives as long as `item`, whose reference goes to the timer, and from
        // there to the work itself.
        drop(unsafe { &*queue }.enqueue_delayed(item, delay));
    }
}

impl Drop for OwnedQueue {
    fn drop(&mut self) {
        // SAFETY: By the type invariant `self` owns the queue; nobody can queue to it any more,
        // since every `&Queue` borrows from `self`.
        unsafe { bindings::destroy_workqueue(self.as_raw()) }
    }
}

/// What an [`OwnedQueue`] will be.
///
/// The kind comes from [`OwnedQueue`]'s constructors, so that it is always said; each flag is a
/// method, so that none can land in the place of the number of active items.
#[must_use = "a builder does nothing until `build` is called"]
#[derive(Clone, Copy)]
pub struct Builder {
    flags: bindings::wq_flags,
    max_active: c_int,
}

impl Builder {
    /// Gives the queue a rescuer thread, so that it makes progress when no thread can be made.
    ///
    /// Required of every queue that memory reclaim may wait for: whatever leads to the signalling
    /// of a DMA fence.
    pub const fn mem_reclaim(mut self) -> Self {
        self.flags |= bindings::wq_flags_WQ_MEM_RECLAIM;
        self
    }

    /// Runs the items in threads of the highest nice level.
    pub const fn highpri(mut self) -> Self {
        self.flags |= bindings::wq_flags_WQ_HIGHPRI;
        self
    }

    /// Makes the queue.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory for it or for its rescuer.
    pub fn build(self, name: &CStr) -> Result<OwnedQueue> {
        // SAFETY: The format has one string argument, which is NUL-terminated and outlives the
        // call (the queue keeps a copy).
        let queue = unsafe {
            bindings::alloc_workqueue_noprof(
                c"%s".as_char_ptr(),
                self.flags,
                self.max_active,
                name.as_char_ptr(),
            )
        };
        // INVARIANT: A non-null result is a new queue, and it is ours.
        Ok(OwnedQueue(NonNull::new(queue).ok_or(ENOMEM)?))
    }
}
