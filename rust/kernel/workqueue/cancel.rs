// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Taking queued work back, and waiting for it.
//!
//! lockdep sees a wait for an item in C only where the item runs at that very moment. Here every
//! call counts as one: what an item takes must not be held by whoever waits for it, and lockdep
//! says so without the two having to meet.

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

/// Tells lockdep that the caller may wait for `work`.
///
/// # Safety
///
/// `work` is initialised.
pub(crate) unsafe fn might_wait_for(work: *mut bindings::work_struct) {
    // SAFETY: By the requirements of this function.
    unsafe { bindings::work_might_wait(work) };
}

/// Takes `item` off its queue, and waits for it if it runs already.
///
/// Returns the reference that the queue held, if the item was waiting there. May sleep; must not
/// be called by the item itself, nor with a lock held that the item takes. An item with a timer is
/// for [`cancel_delayed_work_sync`]: this would spin until the timer has fired.
///
/// # Examples
///
/// ```ignore
/// // In `Drop` of whoever owns the worker: nothing runs after this.
/// drop(cancel_work_sync(&self.worker));
/// ```
pub fn cancel_work_sync<T, const ID: u64>(item: &Arc<T>) -> Option<Arc<T>>
where
    T: WorkItem<ID, Pointer = Arc<T>> + HasWork<T, ID>,
{
    let work = raw_work::<T, ID>(item);
    // SAFETY: The work was initialised when `item` was made (`Work::new` is the only way to get
    // one) and lives as long as `item`.
    let pending = unsafe {
        might_wait_for(work);
        bindings::cancel_work_sync(work)
    };
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
    let pending = unsafe {
        might_wait_for(raw_work::<T, ID>(item));
        bindings::cancel_delayed_work_sync(raw_delayed_work::<T, ID>(item))
    };
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

/// Waits until `item` has run, if it is queued or runs; returns whether there was a need to wait.
///
/// Who queues it meanwhile is not waited for. May sleep; must not be called by the item itself, nor
/// with a lock held that the item takes.
pub fn flush_work<T, const ID: u64>(item: &Arc<T>) -> bool
where
    T: WorkItem<ID, Pointer = Arc<T>> + HasWork<T, ID>,
{
    let work = raw_work::<T, ID>(item);
    // SAFETY: As in `cancel_work_sync`.
    unsafe {
        might_wait_for(work);
        bindings::flush_work(work)
    }
}

/// Has `item` run now if its timer is set, and waits as [`flush_work`] does.
pub fn flush_delayed_work<T, const ID: u64>(item: &Arc<T>) -> bool
where
    T: WorkItem<ID, Pointer = Arc<T>> + HasDelayedWork<T, ID>,
{
    // SAFETY: As in `cancel_work_sync`, with the timer of the same item.
    unsafe {
        might_wait_for(raw_work::<T, ID>(item));
        bindings::flush_delayed_work(raw_delayed_work::<T, ID>(item))
    }
}
