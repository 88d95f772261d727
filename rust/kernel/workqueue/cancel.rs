// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Taking queued work back, and moving timers.

use crate::{
    bindings, container_of,
    prelude::*,
    sync::Arc,
    time::Jiffies,
    workqueue::{
        HasDelayedWork,
        HasWork,
        Queue,
        RawDelayedWorkItem,
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
/// be called by the item itself.
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

/// Timers that can be moved and stopped without sleeping.
pub trait DelayedWorkExt {
    /// Makes `item` run on this queue in `delay`, whether or not it was to run before.
    ///
    /// Does not sleep. The reference goes to the timer, or is dropped when the timer already held
    /// one; so `item` must not be the last reference to something whose drop sleeps.
    fn mod_delayed<T, const ID: u64>(&self, item: Arc<T>, delay: Jiffies)
    where
        T: WorkItem<ID, Pointer = Arc<T>> + HasDelayedWork<T, ID> + Send + Sync + 'static,
        Arc<T>: RawDelayedWorkItem<ID>;

    /// Keeps `item` from running if it has not begun to, without waiting for it if it has.
    ///
    /// Returns the reference that the timer or the queue held.
    fn cancel_delayed<T, const ID: u64>(item: &Arc<T>) -> Option<Arc<T>>
    where
        T: WorkItem<ID, Pointer = Arc<T>> + HasDelayedWork<T, ID>;
}

impl DelayedWorkExt for Queue {
    fn mod_delayed<T, const ID: u64>(&self, item: Arc<T>, delay: Jiffies)
    where
        T: WorkItem<ID, Pointer = Arc<T>> + HasDelayedWork<T, ID> + Send + Sync + 'static,
        Arc<T>: RawDelayedWorkItem<ID>,
    {
        let queue = core::ptr::from_ref(self)
            .cast_mut()
            .cast::<bindings::workqueue_struct>();
        let dwork = raw_delayed_work::<T, ID>(&item);
        let ptr = Arc::into_raw(item);
        // SAFETY: The queue is live (`self`), the item is initialised, and the reference that was
        // just leaked keeps it alive until it has run. `T::Pointer` is `Arc<T>`, so the work
        // function takes over exactly such a reference.
        let was_pending = unsafe {
            bindings::mod_delayed_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                queue,
                dwork,
                delay,
            )
        };
        if was_pending {
            // SAFETY: The item was pending, so its one future run already has a reference; ours
            // was not taken.
            drop(unsafe { Arc::from_raw(ptr) });
        }
    }

    fn cancel_delayed<T, const ID: u64>(item: &Arc<T>) -> Option<Arc<T>>
    where
        T: WorkItem<ID, Pointer = Arc<T>> + HasDelayedWork<T, ID>,
    {
        // SAFETY: The item is initialised and alive.
        let pending = unsafe { bindings::cancel_delayed_work(raw_delayed_work::<T, ID>(item)) };
        // SAFETY: A true return means that the item will not run for its last queuing; the
        // reference which that leaked is taken over here.
        pending.then(|| unsafe { Arc::from_raw(Arc::as_ptr(item)) })
    }
}
