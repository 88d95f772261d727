// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A work queue that lives as long as the module.

use super::OwnedQueue;
use crate::{
    bindings,
    prelude::*, //
};
use core::sync::atomic::{
    AtomicPtr,
    Ordering, //
};

/// A queue for last puts, in a static of the module.
///
/// What is freed there may own other work queues, the device, or the module itself: since this
/// queue belongs to none of them, nothing that runs on it waits for itself.
///
/// # Invariants
///
/// The pointer is null, or a queue that lives until the [`ModuleQueueGuard`] is dropped.
pub struct ModuleQueue(AtomicPtr<bindings::workqueue_struct>);

impl ModuleQueue {
    /// A queue that does not exist yet.
    #[expect(clippy::new_without_default)]
    pub const fn new() -> Self {
        // INVARIANT: Null.
        Self(AtomicPtr::new(core::ptr::null_mut()))
    }

    /// Makes the queue: the first thing that a module does.
    ///
    /// The guard goes into the module's own structure, as its last field, so that it is dropped
    /// last.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EBUSY` if the queue exists.
    pub fn init(&'static self, name: &CStr) -> Result<ModuleQueueGuard> {
        let queue = OwnedQueue::new_unbound().build(name)?;
        // INVARIANT: The guard owns the queue, and resets the pointer before it drops it.
        self.0
            .compare_exchange(
                core::ptr::null_mut(),
                queue.as_raw(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .map_err(|_| EBUSY)?;
        Ok(ModuleQueueGuard { slot: self, queue })
    }

    /// The C queue, or null when it does not exist.
    pub fn as_raw(&self) -> *mut bindings::workqueue_struct {
        self.0.load(Ordering::Acquire)
    }

    /// The queue.
    ///
    /// # Panics
    ///
    /// Never: outside the module's lifetime, when no code of it runs, it would be the system's
    /// unbound queue.
    pub fn get(&self) -> &crate::workqueue::Queue {
        let queue = self.as_raw();
        if queue.is_null() {
            return crate::workqueue::system_unbound();
        }
        // SAFETY: By the type invariant the queue lives until the module's structure is dropped,
        // which is after all else in the module.
        unsafe { crate::workqueue::Queue::from_raw(queue) }
    }
}

/// Keeps a [`ModuleQueue`]; dropping it waits for all that was queued there.
pub struct ModuleQueueGuard {
    slot: &'static ModuleQueue,
    queue: OwnedQueue,
}

impl Drop for ModuleQueueGuard {
    fn drop(&mut self) {
        // Items may queue items behind them, also after a grace period: a drain catches the
        // first, the barrier brings the second on, and the queue's own drop drains those.
        self.queue.drain();
        // SAFETY: May sleep here: a module's exit is process context.
        unsafe { bindings::rcu_barrier() };
        self.queue.drain();
        self.slot.0.store(core::ptr::null_mut(), Ordering::Release);
    }
}
