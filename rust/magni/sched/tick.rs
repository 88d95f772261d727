// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Deciding who is on the hardware.
//!
//! One work item does it all, whenever something has changed: a group has got its first job, a
//! group is to end, a slot has become free. The more urgent groups come first; a group that does
//! nothing gives its slot to one that would do something.

use super::{
    group::{
        Fate,
        Group, //
    },
    slots::{
        Slots,
        Started, //
    },
    Scheduler, //
};
use crate::trace::{
    self,
    GroupState, //
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
            Release, //
        },
        barrier::{
            smp_mb,
            Full, //
        },
        Arc, //
    },
    workqueue::WorkItem, //
};

/// How many priorities groups can have.
const PRIORITIES: usize = 4;

/// What there is to be done for a group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing more.
    Done,
    /// It waits for a slot.
    Slot,
    /// It waits for a sync object.
    Sync,
}

/// Puts `group` back on a list, unless it got on one meanwhile.
fn put_back(list: &mut List<Group>, group: Arc<Group>) {
    if let Ok(item) = ListArc::try_from_arc(group) {
        list.push_back(item);
    }
}

impl WorkItem for Scheduler {
    type Pointer = Arc<Scheduler>;

    fn run(this: Arc<Scheduler>) {
        this.tick();
    }
}

impl Scheduler {
    /// Looks at everybody.
    fn tick(&self) {
        let _section = SignallingSection::enter();
        // Said before anybody is looked at, so that no event gets lost.
        self.someone_waits.store(true, Release);
        let mut slots = self.slots.lock();
        let before = slots.ids();

        self.end_banned(&mut slots);

        let mut waiting = core::mem::replace(&mut *self.waiting.lock(), List::new());
        let mut classes = [const { List::new() }; PRIORITIES];
        while let Some(item) = waiting.pop_front() {
            let class = item.settings().priority as usize;
            classes[class].push_back(item);
        }

        let mut rest = List::new();
        let mut for_slot = 0;
        for class in classes.iter_mut().rev() {
            while let Some(item) = class.pop_front() {
                let group = item.into_arc();
                // It can be put on the list again from here on; what was asked for before is
                // seen below.
                smp_mb(Full);
                match self.look_at(&mut slots, &group) {
                    Next::Done => continue,
                    Next::Slot => for_slot += 1,
                    Next::Sync => {}
                }
                put_back(&mut rest, group);
            }
        }

        if for_slot > 0 && !slots.frozen && !self.is_stuck() && self.make_room(&mut slots, for_slot)
        {
            let mut again = core::mem::replace(&mut rest, List::new());
            while let Some(item) = again.pop_front() {
                let group = item.into_arc();
                smp_mb(Full);
                if self.look_at(&mut slots, &group) != Next::Done {
                    put_back(&mut rest, group);
                }
            }
        }

        trace::tick(&self.dev.dev, for_slot, &before, &slots.ids());
        let mut waiting = self.waiting.lock();
        waiting.push_all_back(&mut rest);
        if waiting.is_empty() {
            self.someone_waits.store(false, Release);
        }
    }

    /// Takes those off the hardware who must not be on it any more.
    fn end_banned(&self, slots: &mut Slots) {
        let faulted = slots.which(|group| group.vm().has_faulted());
        for slot in super::slots::bits(faulted) {
            // Which queue it was may be waiting to be told.
            self.slot_events(slot);
        }
        slots.which(|group| {
            if group.vm().has_faulted() && group.can_run() {
                group.add_fatal(group.queue_mask());
            }
            false
        });

        let banned = slots.which(|group| !group.can_run());
        self.terminate(slots, banned);
    }

    /// Does for `group`, which asked for something, what can be done.
    fn look_at(&self, slots: &mut Slots, group: &Arc<Group>) -> Next {
        if let Some(slot) = group.residency.slot() {
            if group.can_run() {
                // It came on the hardware since it asked; a doorbell too many does no harm.
                self.dev.fw.ring_group_doorbell(slot as usize);
            } else {
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
        if slots.frozen || self.is_stuck() {
            return Next::Slot;
        }
        if group.is_parked.load(Acquire) && group.parked.load(Acquire) == self.sync_updates() {
            return Next::Sync;
        }
        group.is_parked.store(false, Release);
        trace::tick_pick(
            &self.dev.dev,
            group.id(),
            group.settings().priority as u32,
            None,
        );
        match self.start(slots, group) {
            Started::Yes | Started::Failed => Next::Done,
            Started::NoRoom => {
                group.leave_hardware();
                group.trace_state(GroupState::Waiting, None);
                Next::Slot
            }
        }
    }

    /// Takes up to `wanted` groups that do nothing off the hardware; returns whether there were
    /// any.
    fn make_room(&self, slots: &mut Slots, wanted: usize) -> bool {
        let mut idle = self.idle_slots(slots);
        let mut chosen = 0;
        for _ in 0..wanted {
            let lowest = idle & idle.wrapping_neg();
            chosen |= lowest;
            idle &= !lowest;
        }
        if chosen == 0 {
            return false;
        }
        let suspended = self.suspend(slots, chosen);
        if suspended != chosen {
            self.dev
                .schedule_reset("the firmware does not suspend a group");
        }
        suspended != 0
    }

    /// How often sync objects were updated.
    fn sync_updates(&self) -> u32 {
        self.sync_updates.load(Acquire)
    }

    /// Takes `group`, which is banned, off the hardware and ends its jobs, now.
    pub(super) fn end_now(self: &Arc<Self>, group: &Arc<Group>) {
        {
            let mut slots = self.slots.lock();
            let mask = slots.which(|other| Arc::ptr_eq(other, group));
            if mask != 0 {
                self.terminate(&mut slots, mask);
            } else {
                group.kill_jobs();
            }
        }
        // There may be a slot for somebody else.
        self.kick();
    }

    /// Ends everything that is on the hardware: the device is about to go. The firmware still
    /// works.
    pub(crate) fn pre_unplug(&self) {
        let mut slots = self.slots.lock();
        self.gone.store(true, Release);
        slots.frozen = true;
        let all = slots.which(|group| {
            group.ban(Fate::Destroyed);
            true
        });
        self.terminate(&mut slots, all);
    }

    /// Ends everything that is left: the GPU does not work any more.
    ///
    /// Jobs that come later, because what they waited for came later, end as they come.
    pub(crate) fn unplug(self: &Arc<Self>) {
        {
            let mut slots = self.slots.lock();
            self.gone.store(true, Release);
            slots.frozen = true;
            self.abandon(&mut slots);
        }
        self.tick();
    }
}
