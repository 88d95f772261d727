// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of work queues.

use super::{
    cancel_delayed,
    cancel_delayed_work_sync,
    cancel_work_sync,
    flush_delayed_work,
    flush_work,
    new_deferred,
    DelayedOn,
    DelayedWork,
    ModuleQueue,
    OwnedQueue,
    Work,
    WorkItem, //
};
use crate::{
    bindings,
    impl_has_delayed_work,
    impl_has_work,
    macros::kunit_tests,
    new_delayed_work,
    new_mutex,
    new_work,
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        wait::WaitQueue,
        Arc,
        Completion,
        Mutex, //
    },
    time::msecs_to_jiffies, //
};

const PATIENCE_MS: u32 = 30_000;
/// So long that no test sees it pass.
const NEVER_MS: u32 = 600_000;

#[pin_data]
struct Item {
    runs: Atomic<u32>,
    #[pin]
    work: Work<Item>,
}

impl_has_work! {
    impl HasWork<Self> for Item { self.work }
}

impl WorkItem for Item {
    type Pointer = Arc<Item>;

    fn run(this: Arc<Item>) {
        this.runs.add(1, Relaxed);
    }
}

impl Item {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                runs: Atomic::new(0),
                work <- new_work!("tests::Item"),
            }),
            GFP_KERNEL,
        )
    }
}

/// An item that queues itself again and again.
#[pin_data]
struct Chain {
    runs: Atomic<u32>,
    /// The queue's address: an item that kept its queue could not be drained from it.
    queue: usize,
    #[pin]
    work: Work<Chain>,
}

impl_has_work! {
    impl HasWork<Self> for Chain { self.work }
}

impl Chain {
    /// Long enough for whoever does not wait for the end to be far ahead of it.
    const LENGTH: u32 = 2000;

    fn new(queue: &OwnedQueue) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                runs: Atomic::new(0),
                queue: queue.as_raw().addr(),
                work <- new_work!("tests::Chain"),
            }),
            GFP_KERNEL,
        )
    }
}

impl WorkItem for Chain {
    type Pointer = Arc<Chain>;

    fn run(this: Arc<Chain>) {
        if this.runs.fetch_add(1, Relaxed) + 1 == Self::LENGTH {
            return;
        }
        let queue = this.queue as *const bindings::workqueue_struct;
        // SAFETY: The queue is not destroyed before it has been drained.
        let queue = unsafe { super::Queue::from_raw(queue) };
        let _ = queue.enqueue(this);
    }
}

#[pin_data]
struct Later {
    runs: Atomic<u32>,
    #[pin]
    ran: WaitQueue,
    queue: Arc<OwnedQueue>,
    #[pin]
    work: DelayedWork<Later>,
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Later { self.work }
}

impl WorkItem for Later {
    type Pointer = Arc<Later>;

    fn run(this: Arc<Later>) {
        this.runs.add(1, Relaxed);
        this.ran.wake_all();
    }
}

impl DelayedOn for Later {
    fn delayed_on(&self) -> &OwnedQueue {
        &self.queue
    }
}

impl Later {
    fn new() -> Result<Arc<Self>> {
        let queue = OwnedQueue::new_ordered().build(c"magni-test")?;
        let queue = Arc::new(queue, GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                runs: Atomic::new(0),
                ran <- WaitQueue::new(c"tests::Later::ran", static_lock_class!()),
                queue,
                work <- new_delayed_work!("tests::Later"),
            }),
            GFP_KERNEL,
        )
    }
}

/// Work that stays on its queue until it is let go.
#[pin_data]
struct Gate {
    inside: Atomic<u32>,
    most: Atomic<u32>,
    #[pin]
    changed: WaitQueue,
    #[pin]
    open: Completion,
}

impl Gate {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                inside: Atomic::new(0),
                most: Atomic::new(0),
                changed <- WaitQueue::new(c"tests::Gate", static_lock_class!()),
                open <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }

    fn pass(&self) {
        let inside = self.inside.fetch_add(1, Relaxed) + 1;
        let mut most = self.most.load(Relaxed);
        while most < inside {
            match self.most.cmpxchg(most, inside, Relaxed) {
                Ok(_) => break,
                Err(now) => most = now,
            }
        }
        self.changed.wake_all();
        self.open.wait_for_completion();
        self.inside.fetch_sub(1, Relaxed);
    }

    fn spawn(self: &Arc<Self>, queue: &OwnedQueue) -> Result {
        let gate = self.clone();
        Ok(queue.try_spawn(GFP_KERNEL, move || gate.pass())?)
    }

    fn wait_for(&self, inside: u32) -> bool {
        self.changed
            .wait_timeout(msecs_to_jiffies(PATIENCE_MS), || {
                self.inside.load(Relaxed) >= inside
            })
    }
}

impl Gate {
    /// Whether more than `inside` come in within a moment.
    fn wait_for_more_than(&self, inside: u32) -> bool {
        self.changed
            .wait_timeout(msecs_to_jiffies(100), || self.inside.load(Relaxed) > inside)
    }
}

#[kunit_tests(magni_workqueue)]
mod tests {
    use super::*;

    /// What C keeps of the flags of a queue is not for others to see, so that behaviour has to do.
    #[test]
    fn an_ordered_queue_is_in_order() -> Result {
        let queue = OwnedQueue::new_ordered()
            .highpri()
            .freezable()
            .mem_reclaim();
        let queue = queue.build_signalling(c"magni-test")?;
        let order = Arc::pin_init(new_mutex!(KVec::with_capacity(32, GFP_KERNEL)?), GFP_KERNEL)?;
        let gate = Gate::new()?;
        for n in 0..32u32 {
            let order: Arc<Mutex<KVec<u32>>> = order.clone();
            let gate = gate.clone();
            queue.try_spawn(GFP_KERNEL, move || {
                gate.pass();
                let _ = order.lock().push_within_capacity(n);
            })?;
        }
        // One comes in, and not a second, for which there is no event to wait for.
        assert!(gate.wait_for(1));
        assert!(!gate.wait_for_more_than(1));
        gate.open.complete_all();
        queue.flush();
        assert_eq!(gate.most.load(Relaxed), 1);
        let order = order.lock();
        assert_eq!(order.len(), 32);
        assert!(order.iter().enumerate().all(|(at, n)| at == *n as usize));
        Ok(())
    }

    #[test]
    fn a_bounded_queue_keeps_its_bound() -> Result {
        let queue = OwnedQueue::new_unbound()
            .max_active::<2>()
            .build(c"magni-test")?;
        let gate = Gate::new()?;
        for _ in 0..6 {
            gate.spawn(&queue)?;
        }
        // Two at a time, and not one by one; nor is there a third, for which there is no event to
        // wait for: a queue that keeps its bound never fails here.
        assert!(gate.wait_for(2));
        assert!(!gate.wait_for_more_than(2));
        gate.open.complete_all();
        queue.flush();
        assert_eq!(gate.most.load(Relaxed), 2);
        Ok(())
    }

    #[test]
    fn a_queue_for_each_cpu_runs_what_it_is_given() -> Result {
        let queue = OwnedQueue::new_percpu()
            .max_active::<1>()
            .cpu_intensive()
            .mem_reclaim()
            .build(c"magni-test")?;
        let item = Item::new()?;
        assert!(queue.enqueue(item.clone()).is_ok());
        queue.flush();
        assert_eq!(item.runs.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn draining_waits_for_what_is_queued_on_the_way() -> Result {
        let mut queue = OwnedQueue::new_ordered().build(c"magni-test")?;
        let chain = Chain::new(&queue)?;
        let gate = Gate::new()?;
        gate.spawn(&queue)?;
        assert!(gate.wait_for(1));
        assert!(queue.enqueue(chain.clone()).is_ok());
        gate.open.complete_all();
        // Flushing would wait for the first of them.
        queue.drain();
        assert_eq!(chain.runs.load(Relaxed), Chain::LENGTH);
        Ok(())
    }

    #[test]
    fn a_cancelled_item_does_not_run() -> Result {
        let queue = OwnedQueue::new_ordered().build(c"magni-test")?;
        let gate = Gate::new()?;
        let item = Item::new()?;
        gate.spawn(&queue)?;
        assert!(gate.wait_for(1));
        assert!(queue.enqueue(item.clone()).is_ok());
        assert!(queue.enqueue(item.clone()).is_err());
        // The queue's own reference comes back.
        let back = cancel_work_sync(&item);
        assert!(back.is_some());
        drop(back);
        assert!(cancel_work_sync(&item).is_none());
        gate.open.complete_all();
        queue.flush();
        assert_eq!(item.runs.load(Relaxed), 0);
        assert!(Arc::into_unique_or_drop(item).is_some());
        Ok(())
    }

    #[test]
    fn an_item_is_waited_for() -> Result {
        let queue = OwnedQueue::new_ordered().build(c"magni-test")?;
        let item = Item::new()?;
        assert!(queue.enqueue(item.clone()).is_ok());
        flush_work(&item);
        assert_eq!(item.runs.load(Relaxed), 1);
        assert!(!flush_work(&item));
        Ok(())
    }

    #[test]
    fn a_timer_is_moved() -> Result {
        let item = Later::new()?;
        OwnedQueue::mod_delayed(item.clone(), msecs_to_jiffies(NEVER_MS));
        OwnedQueue::mod_delayed(item.clone(), 0);
        assert!(item.ran.wait_timeout(msecs_to_jiffies(PATIENCE_MS), || {
            item.runs.load(Relaxed) == 1
        }));
        assert!(cancel_delayed_work_sync(&item).is_none());
        assert!(Arc::into_unique_or_drop(item).is_some());
        Ok(())
    }

    #[test]
    fn a_timer_is_cancelled() -> Result {
        let item = Later::new()?;
        OwnedQueue::mod_delayed(item.clone(), msecs_to_jiffies(NEVER_MS));
        assert!(cancel_delayed(&item).is_some());
        assert!(cancel_delayed(&item).is_none());
        OwnedQueue::mod_delayed(item.clone(), msecs_to_jiffies(NEVER_MS));
        assert!(cancel_delayed_work_sync(&item).is_some());
        // A timer may be set again after that.
        OwnedQueue::mod_delayed(item.clone(), msecs_to_jiffies(NEVER_MS));
        flush_delayed_work(&item);
        assert_eq!(item.runs.load(Relaxed), 1);
        assert!(Arc::into_unique_or_drop(item).is_some());
        Ok(())
    }

    struct Counted(Arc<Atomic<u32>>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.add(1, Relaxed);
        }
    }

    #[test]
    fn a_deferred_value_is_dropped_on_its_queue() -> Result {
        static CLEANUP: ModuleQueue = ModuleQueue::new();
        let cleanup = CLEANUP.init(c"magni-test")?;
        let drops = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let value = new_deferred!(Counted(drops.clone()), &CLEANUP, "tests::Counted")?;
        assert_eq!(value.0.load(Relaxed), 0);
        // One that frees another: their lock classes differ.
        let outer = new_deferred!((value, Counted(drops.clone())), &CLEANUP)?;
        drop(outer);
        drop(cleanup);
        assert_eq!(drops.load(Relaxed), 2);
        Ok(())
    }

    /// A module goes when its guard has gone: not before all that is to be freed was.
    #[test]
    fn a_queue_stays_while_something_is_to_be_freed_there() -> Result {
        static CLEANUP: ModuleQueue = ModuleQueue::new();
        let guard = CLEANUP.init(c"magni-test")?;
        let drops = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let value = new_deferred!(Counted(drops.clone()), &CLEANUP)?;
        let held = CLEANUP.hold()?;
        let gone = Gate::new()?;
        let exit = OwnedQueue::new_ordered().build(c"magni-test-exit")?;
        let seen = gone.clone();
        exit.try_spawn(GFP_KERNEL, move || {
            drop(guard);
            seen.pass();
        })?;

        assert!(!gone.wait_for_more_than(0));
        drop(value);
        assert!(!gone.wait_for_more_than(0));
        // It still works for those who came before.
        let item = Item::new()?;
        assert!(held.queue().enqueue(item.clone()).is_ok());
        flush_work(&item);
        assert_eq!(item.runs.load(Relaxed), 1);
        drop(held);
        assert!(gone.wait_for(1));
        assert_eq!(drops.load(Relaxed), 1);
        assert_eq!(CLEANUP.hold().err(), Some(ENODEV));
        gone.open.complete_all();
        Ok(())
    }

    #[test]
    fn a_queue_that_does_not_exist_frees_nothing() -> Result {
        static CLEANUP: ModuleQueue = ModuleQueue::new();
        assert_eq!(new_deferred!((), &CLEANUP).err(), Some(ENODEV));
        let guard = CLEANUP.init(c"magni-test")?;
        assert_eq!(CLEANUP.init(c"magni-test").err(), Some(EBUSY));
        let held = CLEANUP.hold()?;
        let again = held.clone();
        drop((held, again));
        drop(guard);
        assert_eq!(CLEANUP.hold().err(), Some(ENODEV));
        Ok(())
    }
}
