// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Values that may be dropped anywhere, and are freed in a worker.

use super::{
    module_queue::{
        ModuleQueue,
        ModuleQueueUse, //
    },
    Work,
    WorkItem, //
};
use crate::{
    impl_has_work,
    prelude::*,
    sync::LockClassKey, //
};
use core::{
    ops::Deref,
    pin::Pin, //
};

/// Puts a value in a [`Deferred`], with a lock class of its own: `new_deferred!(value, &QUEUE)`,
/// and a name for lockdep if wanted.
///
/// Two kinds of values may then be freed one by the other, which lockdep would take for an item
/// that waits for itself if they were of one class.
#[macro_export]
macro_rules! new_deferred {
    ($value:expr, $queue:expr $(, $name:literal)? $(,)?) => {
        $crate::workqueue::Deferred::new(
            $value,
            $queue,
            $crate::optional_name!($($name)?),
            $crate::static_lock_class!(),
        )
    };
}

#[pin_data]
struct Inner<T> {
    #[pin]
    work: Work<Inner<T>>,
    value: T,
    /// After everything else: the module may go when this is gone.
    cleanup: ModuleQueueUse,
}

impl_has_work! {
    impl{T} HasWork<Self> for Inner<T> { self.work }
}

impl<T: Send + 'static> WorkItem for Inner<T> {
    type Pointer = Pin<KBox<Self>>;

    fn run(this: Self::Pointer) {
        drop(this);
    }
}

/// A value in a box of its own, which is dropped in a worker of a [`ModuleQueue`].
///
/// For what may lose its last reference in an interrupt's thread, or in a work item of the very
/// queue that would have to be destroyed. Dropping it allocates nothing and does not sleep.
///
/// # Examples
///
/// ```ignore
/// static CLEANUP: ModuleQueue = ModuleQueue::new();
///
/// let queues = new_deferred!(Queues::new()?, &CLEANUP, "magni::Queues")?;
/// queues.submit.enqueue(item);
/// ```
///
/// # Invariants
///
/// The box is there until the drop.
pub struct Deferred<T: Send + 'static>(Option<Pin<KBox<Inner<T>>>>);

impl<T: Send + 'static> Deferred<T> {
    /// Puts `value` in its box, to be freed on `queue`; [`new_deferred!`] says `name` and `key`.
    ///
    /// [`new_deferred!`]: crate::new_deferred
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENODEV` if the queue does not exist.
    pub fn new(
        value: T,
        queue: &ModuleQueue,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> Result<Self> {
        let cleanup = queue.hold()?;
        let inner = KBox::pin_init(
            pin_init!(Inner {
                work <- Work::new(name, key),
                value,
                cleanup,
            }),
            GFP_KERNEL,
        )?;
        // INVARIANT: The box is there.
        Ok(Self(Some(inner)))
    }
}

impl<T: Send + 'static> Deref for Deferred<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Some(inner) => &inner.value,
            // By the type invariant the box is there as long as `self` can be borrowed.
            None => unreachable!(),
        }
    }
}

impl<T: Send + 'static> Drop for Deferred<T> {
    fn drop(&mut self) {
        if let Some(inner) = self.0.take() {
            let queue: *const super::OwnedQueue = inner.cleanup.queue();
            // SAFETY: The queue lives as long as there is a use of it. The one in the box goes in
            // the worker, after the item was queued, and the queue is not destroyed while this
            // one queues: that is done by the module's exit, which waits for whoever may call
            // this.
            unsafe { &*queue }.enqueue(inner);
        }
    }
}
