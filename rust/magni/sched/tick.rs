// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Deciding who is on the hardware, and having it so.
//!
//! [`Scheduler::look`] does it all, on one work queue. Whenever something has happened it gives
//! free slots, and those of groups that do nothing, to groups that wait. As long as somebody waits
//! for a slot, or for its turn in being preferred on the hardware, there is a tick beside that,
//! which makes the busy share. It stops when nobody does. Those who wait for sync objects are
//! looked at now and then.
//!
//! No memory is allocated here: groups are on lists through links of their own.

use super::{
    group::{
        Fate,
        Group, //
    },
    pick::{
        pick,
        Occasion,
        Waiter, //
    },
    slots::{
        bits,
        Contention,
        Slots, //
    },
    Limits,
    Scheduler,
    BLOCKED,
    TICK, //
};
use crate::{
    params::TICK_PERIOD_MS,
    trace::{
        self,
        GroupState,
        TickCause, //
    },
};
use kernel::{
    dma_fence::SignallingSection,
    list::{
        List,
        ListArc, //
    },
    sync::{
        atomic::{
            Acquire,
            Full,
            Relaxed,
            Release, //
        },
        barrier::{
            dma_mb,
            smp_mb,
            Read, //
        },
        Arc, //
    },
    time::{
        msecs_to_jiffies,
        Instant,
        Monotonic, //
    },
    workqueue::{
        DelayedOn,
        OwnedQueue,
        WorkItem, //
    },
};

/// How often groups are looked at that wait for sync objects, in milliseconds.
///
/// For those off the hardware the GPU reports what it writes, so this is for what is written by a
/// CPU. Of those on it nothing is reported when they go on.
const RECHECK_MS: u32 = 100;

/// How many periods a turn lasts of those who all have slots, and are preferred one after the other.
const TURN_PERIODS: i64 = 2;

/// How many periods there are between two ticks at most, when it takes long to switch.
const LONGEST_PERIODS: i64 = 4;

/// What there is to be done for a group that is off the hardware.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing more.
    Done,
    /// It waits for a slot.
    Slot,
    /// It waits for a sync object.
    Sync,
}

impl WorkItem for Scheduler {
    type Pointer = Arc<Scheduler>;

    fn run(this: Arc<Scheduler>) {
        this.look(TickCause::Event);
    }
}

impl DelayedOn for Scheduler {
    fn delayed_on(&self) -> &OwnedQueue {
        &self.queues.sched
    }
}

impl WorkItem<TICK> for Scheduler {
    type Pointer = Arc<Scheduler>;

    fn run(this: Arc<Scheduler>) {
        this.ticking.store(false, Release);
        this.look(TickCause::Period);
    }
}

impl WorkItem<BLOCKED> for Scheduler {
    type Pointer = Arc<Scheduler>;

    fn run(this: Arc<Scheduler>) {
        this.look(TickCause::Recheck);
    }
}

impl Scheduler {
    /// Looks at everybody.
    pub(super) fn look(self: &Arc<Self>, cause: TickCause) {
        let occasion = match cause {
            TickCause::Period => Occasion::Tick,
            TickCause::Event | TickCause::Recheck => Occasion::Event,
        };
        let _section = SignallingSection::enter();
        // Said before anybody is looked at, so that no event gets lost.
        self.slot_wanted.store(true, Release);
        self.sync_wanted.store(true, Release);
        smp_mb(Full);
        let mut slots = self.slots.lock();
        let before = slots.ids();

        self.end_banned(&mut slots);
        self.sort(&mut slots);
        let usable = |slots: &Slots| !slots.frozen && !slots.asleep && !self.is_stuck();
        if usable(&slots) {
            let begun = Instant::<Monotonic>::now();
            self.share(&mut slots, cause, occasion);
            if occasion == Occasion::Tick {
                // From here on, so that the groups have all of the period, however long it took to
                // switch between them; and that is not to take most of the time.
                slots.last_tick = Instant::now();
                let period = i64::from(TICK_PERIOD_MS.get());
                let cost = begun.elapsed().as_millis();
                slots.period = cost.clamp(period, LONGEST_PERIODS * period);
            }
        }

        let waits = slots.waiting.wants_slot();
        self.slot_wanted.store(waits, Release);
        let blocked = !slots.waiting.blocked.is_empty();
        self.sync_wanted.store(blocked, Release);
        let waiting = slots.waiting.count();
        trace::tick(&self.dev.dev, cause, waiting, &before, &slots.ids());
        // What comes after a reset, or a sleep, begins with a look at everybody.
        if !usable(&slots) {
            return;
        }
        let contention = slots.contention();
        let ticks = waits || contention == Contention::Busy;
        if ticks != slots.ticks {
            slots.ticks = ticks;
            trace::tick_timer(&self.dev.dev, ticks);
        }
        if ticks {
            self.continue_ticking(&mut slots, waits);
        }
        if blocked || !ticks && contention == Contention::Stalled {
            OwnedQueue::mod_delayed::<_, BLOCKED>(self.clone(), msecs_to_jiffies(RECHECK_MS));
        }
    }

    /// Sees to it that there is a tick when a period has passed since the last one, or a turn if
    /// nobody `waits` for a slot.
    fn continue_ticking(self: &Arc<Self>, slots: &mut Slots, waits: bool) {
        let turn = TURN_PERIODS * slots.period;
        let next = if waits { slots.period } else { turn };
        let left = next - slots.last_tick.elapsed().as_millis();
        let was_late = core::mem::replace(&mut slots.late, !waits);
        if waits && was_late {
            // Whoever begins to wait does not wait for the end of a turn.
            self.ticking.store(false, Relaxed);
        }
        self.tick_in(left.clamp(0, next));
    }

    /// Sees to it that there is a tick in `ms` milliseconds, or before. Does not sleep.
    pub(super) fn tick_in(self: &Arc<Self>, ms: i64) {
        if !self.ticking.load(Relaxed) && !self.ticking.xchg(true, Full) {
            OwnedQueue::mod_delayed::<_, TICK>(self.clone(), msecs_to_jiffies(ms as u32));
        }
    }

    /// Takes those off the hardware who must not be on it any more.
    fn end_banned(self: &Arc<Self>, slots: &mut Slots) {
        let faulted = slots.which(|group| group.vm().has_faulted());
        // Which queue it was may be waiting to be told.
        self.slot_events(faulted);
        slots.which(|group| {
            group.note_vm_fault();
            false
        });

        let banned = slots.which(|group| !group.can_run());
        self.terminate(slots, banned);
    }

    /// Sorts those who are off the hardware by what they wait for, and lets go of those who wait
    /// for nothing.
    fn sort(self: &Arc<Self>, slots: &mut Slots) {
        let mut lists = core::mem::replace(&mut slots.waiting, super::slots::Waiting::new());
        // Those who wait already are before those who come.
        for class in &mut lists.runnable {
            self.file_all(slots, class);
        }
        self.file_all(slots, &mut lists.blocked);
        let mut new = core::mem::replace(&mut *self.inbox.lock(), List::new());
        self.file_all(slots, &mut new);
    }

    fn file_all(self: &Arc<Self>, slots: &mut Slots, list: &mut List<Group>) {
        while let Some(item) = list.pop_front() {
            self.file_item(slots, item);
        }
    }

    /// Puts `group`, which is off the hardware, on the list for what it waits for.
    pub(super) fn file(self: &Arc<Self>, slots: &mut Slots, group: Arc<Group>) {
        // One that asked for a look meanwhile gets one.
        if let Ok(item) = ListArc::try_from_arc(group) {
            self.file_item(slots, item);
        }
    }

    fn file_item(self: &Arc<Self>, slots: &mut Slots, mut item: ListArc<Group>) {
        loop {
            let group: &Arc<Group> = item.as_arc();
            let class = group.settings().priority as usize;
            match self.look_at(slots, &group.clone()) {
                Next::Slot => {
                    group.trace_wait(slots, GroupState::Waiting);
                    if let Some(list) = slots.waiting.runnable.get_mut(class) {
                        list.push_back(item);
                    }
                    return;
                }
                Next::Sync => {
                    group.trace_wait(slots, GroupState::Blocked);
                    return slots.waiting.blocked.push_back(item);
                }
                Next::Done => {}
            }
            // From here on it can ask for a look again. What it asked for before, when it was
            // still on a list, is seen by looking once more.
            let group = item.into_arc();
            smp_mb(Full);
            if self.look_at(slots, &group) == Next::Done {
                return;
            }
            match ListArc::try_from_arc(group) {
                Ok(again) => item = again,
                Err(_) => return,
            }
        }
    }

    /// Does for `group`, which asked for something, what can be done without a slot.
    fn look_at(self: &Arc<Self>, slots: &mut Slots, group: &Arc<Group>) -> Next {
        if let Some(slot) = group.residency.slot() {
            // One that came on the hardware since it asked needs nothing: see `Queue::take_up`.
            if !group.can_run() {
                self.terminate(slots, 1 << slot);
            }
            return Next::Done;
        }
        if self.gone.load(Acquire) {
            group.ban(Fate::Destroyed);
        }
        if !group.can_run() {
            if slots.which(|other| Arc::ptr_eq(other, group)) == 0 {
                group.kill_jobs();
            }
            // Else the firmware has not let go of it: the reset ends its jobs.
            return Next::Done;
        }
        if !group.has_jobs() {
            return Next::Done;
        }
        if self.is_blocked(slots, group) {
            return Next::Sync;
        }
        // It waits for a slot, which is not its fault.
        group.leave_hardware();
        Next::Slot
    }

    /// Whether all queues of `group` that have jobs wait for sync objects.
    fn is_blocked(&self, slots: &mut Slots, group: &Group) -> bool {
        let updates = self.sync_updates.load(Acquire);
        // What was written before an update that was counted is read after this.
        dma_mb(Read);
        let state = group.state.access_mut(slots);
        let mut blocked = true;
        for (queue, wait) in group.queues().iter().zip(&mut state.waits) {
            let over = wait.as_ref().is_some_and(|wait| {
                // Where it cannot be read without waiting, the firmware has to look, after each
                // update of some sync object.
                wait.is_over(group.vm()).unwrap_or(updates != state.updates)
            });
            if over {
                *wait = None;
            }
            blocked &= wait.is_some() || !queue.has_jobs();
        }
        blocked
    }

    /// Gives the slots to those who are to have them.
    fn share(self: &Arc<Self>, slots: &mut Slots, cause: TickCause, occasion: Occasion) {
        let tick = occasion == Occasion::Tick;
        let wanted = slots.waiting.wants_slot();
        if !wanted && (cause == TickCause::Event || slots.contention() == Contention::None) {
            return;
        }

        // Who gets on with jobs is busy enough where it is only about turns.
        let asked = if wanted { !0 } else { slots.unmoved() };
        self.update_stalled(slots, asked);
        if self.is_stuck() {
            return;
        }
        if !wanted {
            if tick && slots.contention() == Contention::Busy {
                self.start(slots, &[], true);
            }
            return;
        }
        let limits = Limits {
            slots: slots.count(),
            spaces: slots.spaces,
        };
        let seats = slots.seats();
        let (stay, groups) = {
            let waiting = slots.waiting.runnable.each_ref().map(|list| {
                list.iter().map(|group| Waiter {
                    vm: group.vm_key(),
                    id: group,
                })
            });
            let plan = pick(limits, occasion, &seats, waiting);
            (
                plan.stay,
                plan.start.map(|group| group.map(Arc::<Group>::from)),
            )
        };

        self.trace_picks(slots, stay, &groups);
        let leave = slots.which(|_| true) & !stay;
        if self.suspend(slots, leave) != leave {
            return self
                .dev
                .schedule_reset("the firmware does not suspend a group");
        }
        self.start(slots, &groups, tick);

        // Those who came are not waiting any more.
        let mut lists = core::mem::replace(&mut slots.waiting.runnable, [const { List::new() }; 4]);
        for class in &mut lists {
            while let Some(item) = class.pop_front() {
                if item.residency.slot().is_some() || !item.can_run() {
                    self.file_item(slots, item);
                } else if let Some(list) = slots
                    .waiting
                    .runnable
                    .get_mut(item.settings().priority as usize)
                {
                    list.push_back(item);
                }
            }
        }
    }

    /// Tells who traces who is to be on the hardware.
    fn trace_picks(&self, slots: &Slots, stay: u32, groups: &[Option<Arc<Group>>]) {
        let pick = |group: &Group, slot| {
            let class = group.settings().priority as u32;
            trace::tick_pick(&self.dev.dev, group.id(), class, slot);
        };
        for slot in bits(stay) {
            if let Some(group) = slots.group(slot) {
                pick(group, Some(slot));
            }
        }
        for group in groups.iter().flatten() {
            pick(group, None);
        }
    }

    /// Takes `group`, which is banned, off the hardware and ends its jobs, now.
    pub(super) fn end_now(self: &Arc<Self>, group: &Arc<Group>) {
        {
            let mut slots = self.slots.lock();
            if slots.which(|other| Arc::ptr_eq(other, group)) == 0 {
                group.kill_jobs();
            }
            // With all others that are to end, so that the firmware is waited for once.
            let banned = slots.which(|other| !other.can_run());
            self.terminate(&mut slots, banned);
        }
        // There may be a slot for somebody else.
        self.kick();
    }
}
