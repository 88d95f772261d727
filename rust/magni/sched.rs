// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Scheduling: what the GPU executes, and when it has.
//!
//! User space makes groups of queues ([`group`]) and submits jobs to them ([`job`]). The DRM
//! scheduler holds each job back until what it waits for has happened; then it goes into the ring
//! of its queue ([`queue`]), whether or not the group is on the hardware. The hardware has a few
//! slots for groups ([`slots`]), served by the firmware; which groups are in them is decided in
//! one place ([`tick`]). The firmware reports what has come of it ([`events`]).
//!
//! # Locks
//!
//! | lock | protects | may be held while |
//! | --- | --- | --- |
//! | `slots` | who is on the hardware | waiting for the firmware, with a limit |
//! | `table` | the same, for events; and the events themselves | a ring's lock |
//! | `inbox` | who wants to be looked at | nothing else |
//! | a queue's `ending` | the order of its fences | a ring's lock, signalling fences |
//! | a ring's | its jobs and its clock | nothing else |
//!
//! They are taken in this order. Memory is never allocated under any of them, and the path from
//! a job to the doorbell takes the ring's lock only.

mod events;
mod fifo;
pub(crate) mod group;
pub(crate) mod job;
#[cfg(CONFIG_KUNIT = "y")]
mod numbers;
mod pick;
pub(crate) mod pool;
pub(crate) mod queue;
mod rank;
mod recovery;
mod residency;
mod slots;
mod stream;
mod switch;
mod sync_wait;
mod tick;
mod timeout;
mod timer;

pub(crate) use self::pool::GroupPool;

use self::{
    group::{
        Group,
        Priority, //
    },
    pick::{
        Limits,
        CLASSES, //
    },
    slots::{
        Slots,
        Table, //
    },
    stream::Abi, //
};
use crate::{
    device::Device,
    params::TICK_PERIOD_MS,
    CLEANUP, //
};
use kernel::{
    impl_has_delayed_work, impl_has_work,
    list::{
        List,
        ListArc, //
    },
    new_deferred, new_delayed_work, new_mutex, new_spinlock, new_work,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            AtomicFlag,
            Full,
            Relaxed, //
        },
        Arc,
        Mutex,
        SpinLock, //
    },
    workqueue::{
        Deferred,
        DelayedWork,
        OwnedQueue,
        SignallingQueue,
        Work, //
    },
};

/// The most group slots that are used: each needs a priority of its own, of which there are so
/// many.
pub(crate) const MAX_SLOTS: usize = 16;

/// The scheduler's work queues.
struct Queues {
    /// Puts jobs into rings, and frees them.
    submit: Arc<SignallingQueue>,
    /// The same for realtime groups, which so never stand behind others.
    submit_rt: Arc<SignallingQueue>,
    /// Puts groups on the hardware and takes them off.
    sched: SignallingQueue,
    /// Ends jobs that run for too long.
    timeout: Arc<SignallingQueue>,
}

impl Queues {
    fn new() -> Result<Self> {
        let shared = |name| -> Result<Arc<SignallingQueue>> {
            let queue = OwnedQueue::new_ordered().mem_reclaim();
            Ok(Arc::new(queue.build_signalling(name)?, GFP_KERNEL)?)
        };
        Ok(Self {
            submit: shared(c"magni-submit")?,
            submit_rt: Arc::new(
                OwnedQueue::new_ordered()
                    .mem_reclaim()
                    .highpri()
                    .build_signalling(c"magni-submit-rt")?,
                GFP_KERNEL,
            )?,
            // Whoever is urgent waits for it.
            sched: OwnedQueue::new_ordered()
                .mem_reclaim()
                .highpri()
                .build_signalling(c"magni-sched")?,
            timeout: shared(c"magni-timeout")?,
        })
    }
}

/// The scheduling of one GPU.
#[pin_data]
pub(crate) struct Scheduler {
    dev: Arc<Device>,
    // The work queues may be destroyed by none of their own workers, and the last reference to
    // this may go in one of them.
    queues: Deferred<Queues>,
    /// Looks at everybody because something has happened.
    #[pin]
    work: Work<Scheduler>,
    /// Looks at everybody because time has passed.
    #[pin]
    tick: DelayedWork<Scheduler, TICK>,
    /// Looks at sync objects because time has passed.
    #[pin]
    recheck: DelayedWork<Scheduler, BLOCKED>,
    abi: Abi,
    cs_count: u32,
    next_id: Atomic<u32>,
    /// No group gets on the hardware any more: the device is going away.
    gone: AtomicFlag,
    /// The device is going away because it could not be reset.
    lost: AtomicFlag,
    /// How often a sync object was updated; wraps.
    sync_updates: Atomic<u32>,
    /// Groups wait for a slot: it is of interest who does nothing.
    slot_wanted: AtomicFlag,
    /// Groups off the hardware wait for sync objects: their updates are of interest.
    sync_wanted: AtomicFlag,
    /// There will be a tick.
    ticking: AtomicFlag,
    /// How many groups of each priority have jobs.
    at_work: [Atomic<i32>; CLASSES],
    #[pin]
    slots: Mutex<Slots>,
    #[pin]
    table: SpinLock<Table>,
    #[pin]
    inbox: SpinLock<List<Group>>,
}

impl_has_work! {
    impl HasWork<Self> for Scheduler { self.work }
}

/// The number of the work item that ticks.
const TICK: u64 = 1;
/// The number of the work item that looks at sync objects.
const BLOCKED: u64 = 2;

impl_has_delayed_work! {
    impl HasDelayedWork<Self, TICK> for Scheduler { self.tick }
    impl HasDelayedWork<Self, BLOCKED> for Scheduler { self.recheck }
}

impl Scheduler {
    /// Makes the scheduler for what the firmware of `dev` offers.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` if the firmware's figures make no sense.
    pub(crate) fn new(dev: &Arc<Device>) -> Result<Arc<Self>> {
        let info = dev.fw.csif_info();
        let abi = Abi::new(
            info.cs_reg_count,
            info.unpreserved_cs_reg_count,
            info.scoreboard_slot_count,
        )
        .inspect_err(|_| {
            dev_err!(
                dev.dev,
                "firmware interface: {} registers and {} scoreboard slots cannot be\n",
                info.cs_reg_count,
                info.scoreboard_slot_count
            );
        })?;
        // The first one is the microcontroller's.
        let spaces = (dev.info.0.as_present & !1).count_ones() as usize;
        let queues = new_deferred!(Queues::new()?, &CLEANUP, "magni::Queues")?;

        Arc::pin_init(
            pin_init!(Self {
                dev: dev.clone(),
                queues,
                work <- new_work!("magni::Scheduler::work"),
                tick <- new_delayed_work!("magni::Scheduler::tick"),
                recheck <- new_delayed_work!("magni::Scheduler::recheck"),
                abi,
                cs_count: info.cs_slot_count,
                next_id: Atomic::new(0),
                gone: AtomicFlag::new(false),
                lost: AtomicFlag::new(false),
                sync_updates: Atomic::new(0),
                slot_wanted: AtomicFlag::new(false),
                sync_wanted: AtomicFlag::new(false),
                ticking: AtomicFlag::new(false),
                at_work: [const { Atomic::new(0) }; CLASSES],
                slots <- new_mutex!(
                    Slots::new(info.csg_slot_count as usize, spaces),
                    "magni::Scheduler::slots"
                ),
                table <- new_spinlock!(Table::new(), "magni::Scheduler::table"),
                inbox <- new_spinlock!(List::new(), "magni::Scheduler::inbox"),
            }),
            GFP_KERNEL,
        )
    }

    /// Whether the GPU could not be reset: its jobs end with `ENODEV`.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Acquire)
    }

    /// The GPU.
    pub(crate) fn device(&self) -> &Arc<Device> {
        &self.dev
    }

    /// The most queues that the firmware runs in a group.
    pub(crate) fn max_queues(&self) -> u32 {
        self.cs_count
    }

    /// The conventions of the job stream.
    fn abi(&self) -> Abi {
        self.abi
    }

    /// A number for a new group, for names; wraps.
    fn next_group_id(&self) -> u32 {
        self.next_id.fetch_add(1, Relaxed)
    }

    /// The work queues of a group's jobs: for running them, and for ending them.
    fn queues_for(&self, priority: Priority) -> (Arc<SignallingQueue>, Arc<SignallingQueue>) {
        let submit = match priority {
            Priority::Realtime => &self.queues.submit_rt,
            _ => &self.queues.submit,
        };
        (submit.clone(), self.queues.timeout.clone())
    }

    /// Has the scheduler look at `group`: it has work, or is to end. Does not sleep.
    fn request(&self, group: &Arc<Group>) {
        // One that is waiting already is looked at all the same.
        if let Ok(item) = ListArc::try_from_arc(group.clone()) {
            self.inbox.lock().push_back(item);
        }
        group.scheduler().kick();
    }

    /// A group of `priority` has jobs now. Does not sleep.
    fn begin_work(self: &Arc<Self>, priority: Priority) {
        let others = self.count(priority).fetch_add(1, Full);
        // The two may have to take turns, if they still work when a turn is over.
        if others > 0 {
            self.tick_in(i64::from(TICK_PERIOD_MS.get()));
        }
    }

    /// A group of `priority` has no jobs any more.
    fn end_work(&self, priority: Priority) {
        self.count(priority).fetch_sub(1, Full);
    }

    /// How many groups of `priority` have jobs.
    fn count(&self, priority: Priority) -> &Atomic<i32> {
        let [low, medium, high, realtime] = &self.at_work;
        match priority {
            Priority::Low => low,
            Priority::Medium => medium,
            Priority::High => high,
            Priority::Realtime => realtime,
        }
    }

    /// Whether jobs may be told a moment later that they have ended: there are several groups that
    /// have more, none of them is realtime, and nobody waits for a slot, and so for the firmware.
    pub(crate) fn has_time(&self) -> bool {
        let [others @ .., realtime] = &self.at_work;
        let working = others.iter().map(|count| count.load(Relaxed)).sum::<i32>();
        working > 1 && realtime.load(Relaxed) == 0 && !self.slot_wanted.load(Relaxed)
    }

    /// Has the scheduler look at everything. Does not sleep.
    fn kick(self: &Arc<Self>) {
        // One that is queued already has yet to look.
        let _ = self.queues.sched.enqueue::<_, 0>(self.clone());
    }
}
