// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A work queue that lives as long as the module.

use super::OwnedQueue;
use crate::{
    bindings,
    prelude::*,
    sync::{
        atomic::{
            Full,
            Relaxed, //
        },
        rcu,
        Completion,
        Refcount, //
    },
};
use core::{
    ptr::{
        null_mut,
        NonNull, //
    },
    sync::atomic::{
        AtomicPtr,
        Ordering, //
    },
};

/// How many things are freed at a time: each that waits for something keeps a thread, and many go
/// together. Nothing that is freed there waits for something else that is.
const AT_A_TIME: u32 = 4;

/// What exists while the queue does.
#[pin_data]
struct Shared {
    queue: OwnedQueue,
    /// One for the guard, one for each [`ModuleQueueUse`].
    users: Refcount,
    #[pin]
    unused: Completion,
}

impl Shared {
    /// Counts another user, unless there is none left.
    fn hold(&self) -> bool {
        let users = self.users.as_atomic();
        let mut now = users.load(Relaxed);
        // One that is never reached: each user is an object in memory.
        while now > 0 && now < i32::MAX {
            match users.cmpxchg(now, now + 1, Full) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }
}

/// A queue for last puts, in a static of the module.
///
/// What is freed there may own other work queues, the device, or the module itself: since this
/// queue belongs to none of them, nothing that runs on it waits for itself. It runs a few items at a
/// time, so none of them may wait for another one. Whatever is to be freed there holds a [`ModuleQueueUse`]; the module is not unloaded before all of them are gone.
///
/// # Invariants
///
/// The pointer is null, or that of a `Shared`, which is freed a grace period after the pointer was
/// reset.
pub struct ModuleQueue(AtomicPtr<Shared>);

impl ModuleQueue {
    /// A queue that does not exist yet.
    #[expect(clippy::new_without_default)]
    pub const fn new() -> Self {
        // INVARIANT: Null.
        Self(AtomicPtr::new(null_mut()))
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
        let queue = OwnedQueue::new_unbound()
            .max_active::<AT_A_TIME>()
            .build(name)?;
        let shared = KBox::pin_init(
            pin_init!(Shared {
                queue,
                users: Refcount::new(1),
                unused <- Completion::new(),
            }),
            GFP_KERNEL,
        )?;
        // INVARIANT: The guard owns what is pointed to, and resets the pointer before it drops it.
        self.0
            .compare_exchange(
                null_mut(),
                core::ptr::from_ref(&*shared).cast_mut(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .map_err(|_| EBUSY)?;
        Ok(ModuleQueueGuard { slot: self, shared })
    }

    /// Keeps the queue for something that is to be freed there.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the queue does not exist.
    pub fn hold(&self) -> Result<ModuleQueueUse> {
        let _rcu = rcu::read_lock();
        let shared = NonNull::new(self.0.load(Ordering::Acquire)).ok_or(ENODEV)?;
        // SAFETY: By the type invariant, since the pointer was read in this RCU section.
        if !unsafe { shared.as_ref() }.hold() {
            return Err(ENODEV);
        }
        // INVARIANT: Counted just now.
        Ok(ModuleQueueUse(shared))
    }
}

/// Something that is going to be freed on a [`ModuleQueue`].
///
/// To be dropped by work that runs there, last of all.
///
/// # Invariants
///
/// It is counted in `users` of what it points to, which lives as long as that is not zero.
pub struct ModuleQueueUse(NonNull<Shared>);

// SAFETY: The queue may be used from any thread, and users are counted atomically.
unsafe impl Send for ModuleQueueUse {}
// SAFETY: As above.
unsafe impl Sync for ModuleQueueUse {}

impl ModuleQueueUse {
    /// The queue.
    pub fn queue(&self) -> &OwnedQueue {
        // SAFETY: By the type invariant.
        &unsafe { self.0.as_ref() }.queue
    }

    /// The C queue.
    pub fn as_raw(&self) -> *mut bindings::workqueue_struct {
        // SAFETY: By the type invariant.
        unsafe { self.0.as_ref() }.queue.as_raw()
    }
}

impl Clone for ModuleQueueUse {
    fn clone(&self) -> Self {
        // SAFETY: By the type invariant.
        unsafe { self.0.as_ref() }.users.inc();
        // INVARIANT: Counted just now.
        Self(self.0)
    }
}

impl Drop for ModuleQueueUse {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. Once the count is zero the guard may go on as soon as
        // the completion is complete, but not before `complete_all` has let go of it.
        let shared = unsafe { self.0.as_ref() };
        if shared.users.dec_and_test() {
            shared.unused.complete_all();
        }
    }
}

/// Keeps a [`ModuleQueue`]; dropping it waits for all that is to be freed there.
pub struct ModuleQueueGuard {
    slot: &'static ModuleQueue,
    shared: Pin<KBox<Shared>>,
}

impl Drop for ModuleQueueGuard {
    fn drop(&mut self) {
        self.slot.0.store(null_mut(), Ordering::Release);
        if !self.shared.users.dec_and_test() {
            self.shared.unused.wait_for_completion();
        }
        // For those who have read the pointer, and find that they came too late.
        rcu::synchronize_rcu();
        // The work that dropped the last use may still be returning: dropping the queue waits for
        // it.
    }
}
