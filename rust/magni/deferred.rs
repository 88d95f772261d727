// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Last puts that may happen anywhere.
//!
//! The last reference to a group, or to the scheduler's work queues, may go in an interrupt's
//! thread, or in a work item of the very queue that would have to be destroyed. What is
//! [`Deferred`] is freed in a worker of [`CLEANUP`], which belongs to the module and to nothing
//! that is freed there.

use core::ops::Deref;
use kernel::{
    impl_has_work, new_work,
    prelude::*,
    workqueue::{
        ModuleQueue,
        Work,
        WorkItem, //
    },
};

/// The queue `magni-cleanup`. The module makes it first and destroys it last.
pub(crate) static CLEANUP: ModuleQueue = ModuleQueue::new();

#[pin_data]
struct Inner<T> {
    #[pin]
    work: Work<Inner<T>>,
    value: T,
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

/// A value in a box of its own, which is dropped in a worker of [`CLEANUP`].
///
/// # Invariants
///
/// The box is there until the drop.
pub(crate) struct Deferred<T: Send + 'static>(Option<Pin<KBox<Inner<T>>>>);

impl<T: Send + 'static> Deferred<T> {
    /// Puts the value in its box.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(value: T) -> Result<Self> {
        let inner = KBox::pin_init(
            pin_init!(Inner {
                work <- new_work!("magni::Deferred"),
                value,
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
            CLEANUP.get().enqueue(inner);
        }
    }
}
