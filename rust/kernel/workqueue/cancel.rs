// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Taking queued work back.

use crate::{
    bindings, container_of,
    sync::Arc,
    workqueue::{
        HasDelayedWork,
        HasWork,
        Work,
        WorkItem, //
    },
};

/// The work of `item`, as C sees it.
fn raw_work<T, const ID: u64>(item: &Arc<T>) -> *mut bindings::work_struct
where
    T: HasWork<T, ID>,
{
    let ptr = Arc::as_ptr(item).cast_mut();
    // SAFETY: The pointer comes from a live `Arc`; only the address of the field is computed.
    let work = unsafe { T::raw_get_work(ptr) };
    // SAFETY: As above.
    unsafe { Work::raw_get(work) }
}

/// Takes `item` off its queue, and waits for it if it runs already.
///
/// Returns the reference that the queue held, if the item was waiting there. May sleep; must not
/// be called by the item itself. An item with a timer is for [`cancel_delayed_work_sync`]: this
/// would spin until the timer has fired.
pub fn cancel_work_sync<T, const ID: u64>(item: &Arc<T>) -> Option<Arc<T>>
where
    T: WorkItem<ID, Pointer = Arc<T>> + HasWork<T, ID>,
{
    // SAFETY: The work was initialised when `item` was made (`Work::new` is the only way to get
    // one) and lives as long as `item`.
    let pending = unsafe { bindings::cancel_work_sync(raw_work::<T, ID>(item)) };
    // SAFETY: A true return means that the work will not run for its last queuing, so that the
    // reference which the queuing leaked is nobody's: it is taken over here.
    pending.then(|| unsafe { Arc::from_raw(Arc::as_ptr(item)) })
}

/// The `delayed_work` of `item`, as C sees it.
fn raw_delayed_work<T, const ID: u64>(item: &Arc<T>) -> *mut bindings::delayed_work
where
    T: HasDelayedWork<T, ID>,
{
    let work = raw_work::<T, ID>(item);
    // SAFETY: By the requirements of `HasDelayedWork` the work is part of a `delayed_work`.
    unsafe { container_of!(work, bindings::delayed_work, work) }
}

/// Stops the timer of `item` or takes it off its queue, and waits for it if it runs already.
///
/// Returns the reference that the timer or the queue held. May sleep; must not be called by the
/// item itself.
pub fn cancel_delayed_work_sync<T, const ID: u64>(item: &Arc<T>) -> Option<Arc<T>>
where
    T: WorkItem<ID, Pointer = Arc<T>> + HasDelayedWork<T, ID>,
{
    // SAFETY: As in `cancel_work_sync`, with the timer of the same item.
    let pending = unsafe { bindings::cancel_delayed_work_sync(raw_delayed_work::<T, ID>(item)) };
    // SAFETY: As in `cancel_work_sync`.
    pending.then(|| unsafe { Arc::from_raw(Arc::as_ptr(item)) })
}

/// Keeps `item` from running if it has not begun to, without waiting for it if it has.
///
/// Returns the reference that the timer or the queue held. Does not sleep.
pub fn cancel_delayed<T, const ID: u64>(item: &Arc<T>) -> Option<Arc<T>>
where
    T: WorkItem<ID, Pointer = Arc<T>> + HasDelayedWork<T, ID>,
{
    // SAFETY: The item is initialised and alive.
    let pending = unsafe { bindings::cancel_delayed_work(raw_delayed_work::<T, ID>(item)) };
    // SAFETY: A true return means that the item will not run for its last queuing; the reference
    // which that leaked is taken over here.
    pending.then(|| unsafe { Arc::from_raw(Arc::as_ptr(item)) })
}
