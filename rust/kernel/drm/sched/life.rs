// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Objects whose last reference may go anywhere, and which are freed late.

use crate::{
    bindings,
    container_of,
    prelude::*,
    sync::{
        LockClassKey,
        Refcount, //
    },
    types::Opaque,
    workqueue::ModuleQueueUse, //
};

/// An object with a [`Life`].
///
/// # Safety
///
/// * [`LIFE`](Self::LIFE) is the offset of a structurally pinned [`Life`], made for the type by
///   [`Life::new`], which is dropped after all other fields.
/// * Objects are in pinned boxes, which nobody else frees.
pub(super) unsafe trait Late: Sized {
    /// Where the object's [`Life`] is, in bytes from its beginning.
    const LIFE: usize;
}

/// The references to an object, and its end: in a worker of a
/// [`ModuleQueue`](crate::workqueue::ModuleQueue), a grace period after the last of them went.
///
/// # Invariants
///
/// `release` is initialised, and queued once at most, when `refs` has become zero.
#[pin_data]
pub(super) struct Life {
    refs: Refcount,
    #[pin]
    release: Opaque<bindings::rcu_work>,
    queue: ModuleQueueUse,
}

impl Life {
    /// Begins with one reference. `key` and `name` are those of the release, for lockdep.
    pub(super) fn new<T: Late>(
        queue: ModuleQueueUse,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        // INVARIANT: The work is initialised, and there is a reference.
        pin_init!(Self {
            refs: Refcount::new(1),
            release <- Opaque::ffi_init(move |slot: *mut bindings::rcu_work| {
                // SAFETY: The slot is writable, and its work stays where it is.
                unsafe {
                    bindings::init_work_with_key(
                        &raw mut (*slot).work,
                        Some(release::<T>),
                        false,
                        name.as_char_ptr(),
                        key.as_ptr(),
                    )
                }
            }),
            queue,
        })
    }

    /// Where the object is freed.
    pub(super) fn queue(&self) -> &ModuleQueueUse {
        &self.queue
    }

    /// Takes a reference; there is one already.
    pub(super) fn get(&self) {
        self.refs.inc();
    }

    /// Puts a reference. Does not sleep, and may be called anywhere.
    ///
    /// # Safety
    ///
    /// The reference is the caller's, who does not use the object afterwards.
    pub(super) unsafe fn put(&self) {
        if self.refs.dec_and_test() {
            // SAFETY: By the type invariant; the queue is kept by `self`, which the work frees.
            unsafe { bindings::queue_rcu_work(self.queue.as_raw(), self.release.get()) };
        }
    }
}

/// # Safety
///
/// `work` is in the `release` of the life of a `T` without references.
unsafe extern "C" fn release<T: Late>(work: *mut bindings::work_struct) {
    // SAFETY: By the requirements of this function, and those of `Late`.
    let this = unsafe {
        let rcu_work = container_of!(work, bindings::rcu_work, work);
        let life = container_of!(Opaque::cast_from(rcu_work), Life, release);
        life.byte_sub(T::LIFE).cast::<T>().cast_mut()
    };
    // SAFETY: The box was leaked when the object was made, and nobody refers to it any more.
    drop(unsafe { Pin::new_unchecked(KBox::from_raw(this)) });
}
