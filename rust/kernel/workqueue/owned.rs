// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Work queues that a driver makes for itself.

use super::{
    builder::{
        Builder,
        Ordered,
        PerCpu,
        Unbound, //
    },
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
use core::{
    ops::Deref,
    ptr::NonNull, //
};

/// An item that keeps the queue on which it is to run later.
///
/// A timer that waits for its time holds the item, but no queue: what keeps the queue has to be
/// the item.
///
/// The timer's reference to the item ends in a worker of that very queue, or wherever
/// [`OwnedQueue::mod_delayed`] is called. There it must not be the last one to the queue, whose drop
/// waits for its workers: so items do not own their queue, but share it with somebody who is
/// there when they have gone ([`ModuleQueue`](super::ModuleQueue) is for the last put), or somebody
/// cancels the timer first and drops the item elsewhere.
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
/// queue.flush();
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
    pub const fn new_ordered() -> Builder<Ordered> {
        Builder::ordered()
    }

    /// Starts an unbound queue: items run on any CPU.
    pub const fn new_unbound() -> Builder<Unbound> {
        Builder::unbound()
    }

    /// Starts a per-CPU queue: items run on the CPU that queued them.
    pub const fn new_percpu() -> Builder<PerCpu> {
        Builder::percpu()
    }

    /// Owns `queue`.
    ///
    /// # Safety
    ///
    /// `queue` is from `alloc_workqueue()`, and the caller's to give away.
    pub(super) unsafe fn from_new(queue: NonNull<bindings::workqueue_struct>) -> Self {
        // INVARIANT: By the requirements of this function.
        Self(queue)
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
    /// needed are dropped here, `item` among them: so that must not be the last one to something
    /// whose drop sleeps, see [`DelayedOn`].
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

    /// Waits until everything that was queued before has run.
    ///
    /// May sleep; must not be called by work that runs on the queue, which lockdep checks.
    pub fn flush(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::__flush_workqueue(self.as_raw()) };
    }

    /// Waits until the queue is empty, with what the items themselves queue in the meantime.
    ///
    /// Nobody else may queue anything while that lasts; hence the exclusive borrow. May sleep.
    pub fn drain(&mut self) {
        // SAFETY: By the type invariant. Nobody but items on the queue can reach it.
        unsafe { bindings::drain_workqueue(self.as_raw()) };
    }
}

impl Drop for OwnedQueue {
    fn drop(&mut self) {
        // SAFETY: By the type invariant `self` owns the queue; nobody can queue to it any more,
        // since every `&Queue` borrows from `self`.
        unsafe { bindings::destroy_workqueue(self.as_raw()) }
    }
}

/// A queue on which DMA fences may be signalled: ordered, with a rescuer.
///
/// A type of its own, so that what signals fences can demand one: a fence may be what memory
/// reclaim waits for, and a queue without a rescuer may in turn wait for memory to make a thread.
/// It comes from [`Builder::build_signalling`] only.
///
/// # Invariants
///
/// The queue is ordered and was made with `WQ_MEM_RECLAIM`.
pub struct SignallingQueue(OwnedQueue);

impl SignallingQueue {
    /// Called for queues that are ordered and have a rescuer.
    pub(super) fn from_ordered_reclaim(queue: OwnedQueue) -> Self {
        // INVARIANT: The only caller is the builder of such queues.
        Self(queue)
    }
}

impl Deref for SignallingQueue {
    type Target = OwnedQueue;

    fn deref(&self) -> &OwnedQueue {
        &self.0
    }
}
