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
    types::{
        NotThreadSafe,
        Opaque, //
    },
};
use core::{
    marker::PhantomPinned,
    pin::Pin,
    ptr, //
};

/// A queue of tasks that wait for a condition.
///
/// lockdep takes part: what makes a condition true may say so ([`waking`](Self::waking)), and then
/// must not take a lock that somebody holds who waits.
///
/// # Invariants
///
/// `head` is an initialised `struct wait_queue_head` for the lifetime of the object, `map` an
/// initialised `struct lockdep_map`.
#[pin_data]
pub struct WaitQueue {
    #[pin]
    head: Opaque<bindings::wait_queue_head>,

    /// Held by those who wait, for a moment, and by those who are waited for.
    #[pin]
    map: Opaque<bindings::lockdep_map>,

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
        // INVARIANT: `__init_waitqueue_head` initialises the head, `wait_map_init` the map.
        pin_init!(Self {
            // SAFETY: `slot` is valid for writes; `name` and `key` live for ever.
            head <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_waitqueue_head(slot, name.as_char_ptr(), key.as_ptr())
            }),
            // SAFETY: As above; the map's class is another one than that of the head's lock.
            map <- Opaque::ffi_init(|slot| unsafe {
                bindings::wait_map_init(slot, name.as_char_ptr(), key.as_ptr())
            }),
            _pin: PhantomPinned,
        })
    }

    /// Says that until the result is dropped this task does what those who wait on the queue wait
    /// for: that one of them holds a lock which is taken meanwhile would be a deadlock.
    ///
    /// lockdep finds that out without the two having to meet. Costs nothing without it.
    pub fn waking(&self) -> WakingSection<'_> {
        // SAFETY: By the type invariant; it is released when the result is dropped.
        unsafe { bindings::wait_map_acquire(self.map.get()) };
        WakingSection {
            queue: self,
            _not_send: NotThreadSafe,
        }
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
        // What is held here is held while others do what is waited for, if it comes to that.
        drop(self.waking());
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

/// See [`WaitQueue::waking`].
#[must_use = "the section ends when this is dropped"]
pub struct WakingSection<'a> {
    queue: &'a WaitQueue,
    // lockdep's books are those of the task.
    _not_send: NotThreadSafe,
}

impl Drop for WakingSection<'_> {
    fn drop(&mut self) {
        // SAFETY: Acquired by `waking`, in the same task.
        unsafe { bindings::wait_map_release(self.queue.map.get()) };
    }
}

#[kunit_tests(magni_wait)]
mod tests {
    use super::*;
    use crate::{
        static_lock_class,
        sync::{
            atomic::{
                ordering::Relaxed,
                Atomic, //
            },
            Arc, //
        },
        time::msecs_to_jiffies,
        workqueue::OwnedQueue, //
    };

    #[pin_data]
    struct Number {
        value: Atomic<u32>,
        looks: Atomic<u32>,
        #[pin]
        changed: WaitQueue,
        #[pin]
        looked: WaitQueue,
    }

    impl Number {
        fn new() -> Result<Arc<Self>> {
            Arc::pin_init(
                pin_init!(Self {
                    value: Atomic::new(0),
                    looks: Atomic::new(0),
                    changed <- WaitQueue::new(c"tests::Number::changed", static_lock_class!()),
                    looked <- WaitQueue::new(c"tests::Number::looked", static_lock_class!()),
                }),
                GFP_KERNEL,
            )
        }

        /// Waits on one queue, and says on the other whenever it looks.
        fn wait_for(&self, value: u32) -> bool {
            self.changed.wait_timeout(Jiffies::MAX, || {
                self.looks.add(1, Relaxed);
                self.looked.wake_all();
                self.value.load(Relaxed) == value
            })
        }

        fn set(&self, value: u32) {
            let _section = self.changed.waking();
            self.value.store(value, Relaxed);
            self.changed.wake_all();
        }

        fn looks(&self, n: u32) {
            let _ = self
                .looked
                .wait_timeout(Jiffies::MAX, || self.looks.load(Relaxed) >= n);
        }
    }

    #[test]
    fn what_holds_already_is_not_waited_for() -> Result {
        let number = Number::new()?;
        assert!(number.wait_for(0));
        assert_eq!(number.looks.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn a_wait_has_an_end() -> Result {
        let number = Number::new()?;
        let mut looks = 0;
        let met = number.changed.wait_timeout(msecs_to_jiffies(1), || {
            looks += 1;
            false
        });
        assert!(!met);
        // At first, before it slept, and afterwards.
        assert!(looks >= 3);
        // No time at all: it does not sleep, but looks.
        assert!(!number.changed.wait_timeout(0, || false));
        assert!(number.changed.wait_timeout(0, || true));
        Ok(())
    }

    /// For ever, if one is lost.
    #[test]
    fn every_change_is_seen_by_everybody() -> Result {
        const ROUNDS: u32 = 100;
        let workers = OwnedQueue::new_unbound().build(c"magni-test-waiters")?;
        let number = Number::new()?;
        let done = Number::new()?;
        for _ in 0..2 {
            let (number, done) = (number.clone(), done.clone());
            workers.try_spawn(GFP_KERNEL, move || {
                for round in 1..=ROUNDS {
                    let _ = number.wait_for(round);
                    done.looks.add(1, Relaxed);
                    done.looked.wake_all();
                }
            })?;
        }
        for round in 1..=ROUNDS {
            number.set(round);
            done.looks(2 * round);
        }
        workers.flush();
        assert_eq!(done.looks.load(Relaxed), 2 * ROUNDS);
        Ok(())
    }

    #[test]
    fn who_looks_in_vain_sleeps_until_woken() -> Result {
        let workers = OwnedQueue::new_unbound().build(c"magni-test-waiters")?;
        let number = Number::new()?;
        let theirs = number.clone();
        workers.try_spawn(GFP_KERNEL, move || {
            let _ = theirs.wait_for(2);
        })?;
        // It has looked twice, and sleeps, or is about to.
        number.looks(2);
        number.set(1);
        number.looks(3);
        number.set(2);
        workers.flush();
        // It slept in between: it looked when it was woken, and not for its own pleasure.
        assert!(number.looks.load(Relaxed) <= 6);
        Ok(())
    }
}
