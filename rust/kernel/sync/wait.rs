// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Wait queues.
//!
//! A [`CondVar`](super::CondVar) guards its condition with a lock and can only be waited on with a
//! timeout when signals may end the wait. A [`WaitQueue`] waits for a condition that something
//! other than a lock makes true, such as memory that firmware writes, without being interruptible.
//!
//! C header: [`include/linux/wait.h`](srctree/include/linux/wait.h)

use crate::{
    bindings,
    prelude::*,
    sync::LockClassKey,
    task::{
        might_sleep,
        TASK_NORMAL,
        TASK_UNINTERRUPTIBLE, //
    },
    time::Jiffies,
    types::Opaque, //
};
use core::{
    marker::PhantomPinned,
    pin::Pin,
    ptr, //
};

/// A queue of tasks that wait for a condition.
///
/// # Invariants
///
/// `head` is an initialised `struct wait_queue_head` for the lifetime of the object.
#[pin_data]
pub struct WaitQueue {
    #[pin]
    head: Opaque<bindings::wait_queue_head>,

    /// The head is a list head, which points to itself.
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: A wait queue head is made to be used from any task.
unsafe impl Send for WaitQueue {}

// SAFETY: A wait queue head has a lock of its own for everything that is done with it.
unsafe impl Sync for WaitQueue {}

impl WaitQueue {
    /// Returns an initialiser for a wait queue; `key` is usually [`static_lock_class!`].
    ///
    /// [`static_lock_class!`]: crate::static_lock_class
    pub fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        // INVARIANT: `__init_waitqueue_head` initialises the head.
        pin_init!(Self {
            // SAFETY: `slot` is valid for writes; `name` and `key` live for ever.
            head <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_waitqueue_head(slot, name.as_char_ptr(), key.as_ptr())
            }),
            _pin: PhantomPinned,
        })
    }

    /// Wakes every task that waits on this queue, so that it looks at its condition again.
    ///
    /// May be called from any context.
    pub fn wake_all(&self) {
        // SAFETY: `head` is initialised, by the type invariant.
        unsafe { bindings::__wake_up(self.head.get(), TASK_NORMAL, 0, ptr::null_mut()) };
    }

    /// Sleeps until `condition` holds or `timeout` has passed; returns whether it held at last.
    ///
    /// `condition` is evaluated before each sleep and once more after the timeout. It must not
    /// sleep itself. Whoever makes it true calls [`wake_all`](Self::wake_all) afterwards.
    ///
    /// Counts as sleeping even where the condition holds already. [`Jiffies::MAX`] waits for ever.
    ///
    /// # Examples
    ///
    /// ```ignore
    /// // The firmware has acknowledged a request, or does not within a second.
    /// let acked = queue.wait_timeout(msecs_to_jiffies(1000), || interface.acked(request));
    /// ```
    #[must_use]
    pub fn wait_timeout(&self, timeout: Jiffies, mut condition: impl FnMut() -> bool) -> bool {
        might_sleep();
        if condition() {
            return true;
        }

        let entry = Opaque::<bindings::wait_queue_entry>::uninit();
        let mut left = timeout.try_into().unwrap_or(c_long::MAX);

        // SAFETY: `entry` is valid for writes.
        unsafe { bindings::init_wait_entry(entry.get(), 0) };

        let met = loop {
            // SAFETY: Head and entry are initialised. The entry stays on this stack frame until
            // `finish_wait` below has taken it off the list.
            unsafe {
                bindings::prepare_to_wait_event(self.head.get(), entry.get(), TASK_UNINTERRUPTIBLE)
            };

            let met = condition();
            if met || left == 0 {
                break met;
            }

            // SAFETY: Sleeping is allowed in the caller's context.
            left = unsafe { bindings::schedule_timeout(left) };
        };

        // SAFETY: Head and entry are initialised. Afterwards nothing refers to the entry.
        unsafe { bindings::finish_wait(self.head.get(), entry.get()) };

        met
    }
}
