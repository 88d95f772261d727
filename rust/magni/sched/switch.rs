// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Putting groups on the hardware and taking them off.
//!
//! Everything here is done under the lock of [`Slots`]. The firmware is asked for many things at
//! once, and waited for once; each wait has a limit, behind which the GPU counts as stuck and needs
//! a reset.

use super::{
    group::{
        Fate,
        Group, //
    },
    queue::Queue,
    rank::{
        arrange,
        rotate, //
    },
    slots::{
        bits,
        Slots, //
    },
    sync_wait::{
        is_busy,
        is_starved,
        is_unblocked,
        SyncWait, //
    },
    Scheduler, //
};
use crate::{
    fw::{
        layout::{
            cs,
            csg, //
        },
        CsInterface,
        Effort, //
    },
    trace::GroupState, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Full,
            Release, //
        },
        barrier::{
            dma_mb,
            smp_mb,
            Write, //
        },
        Arc, //
    },
};

/// What came of the attempt to give a group a slot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seated {
    /// It has this one.
    In(usize),
    /// There is no slot, or no address space, for it now.
    NoRoom,
    /// The VM cannot be used any more; the group is banned.
    Failed,
}

impl Scheduler {
    /// Puts `groups`, which are off the hardware, into free slots, as far as there are; with `tick`
    /// groups of the same priority take turns in being preferred.
    pub(super) fn start(&self, slots: &mut Slots, groups: &[Option<Arc<Group>>], tick: bool) {
        let mut new = 0;
        for group in groups.iter().flatten() {
            if let Seated::In(slot) = self.seat(slots, group) {
                new |= 1 << slot;
            }
        }

        let mut ranks = slots.ranks();
        arrange(&mut ranks);
        if tick {
            rotate(&mut ranks);
        }
        let (mut programmed, mut moved) = (0, 0);
        for (slot, rank) in ranks.iter().enumerate() {
            let priority = rank.and_then(|rank| rank.priority);
            let Some(resident) = slots.resident_mut(slot) else {
                continue;
            };
            if resident.priority == priority {
                continue;
            }
            resident.priority = priority;
            let (group, as_nr) = (resident.group.clone(), resident.vm.as_nr());
            let priority = priority.unwrap_or(0);
            if new & 1 << slot == 0 {
                moved |= u32::from(self.prefer(slot, &group, priority).is_ok()) << slot;
            } else {
                let suspended = group.state.access(slots).suspended;
                let asked = self.program(slot, &group, as_nr, priority, suspended);
                programmed |= u32::from(asked.is_ok()) << slot;
            }
        }
        if new | moved == 0 {
            return;
        }
        self.dev.fw.ring_csg_doorbells(programmed | moved);

        let (states, endpoints) = (csg::STATE_MASK | csg::ENDPOINT_CONFIG, csg::ENDPOINT_CONFIG);
        let fw = &self.dev.fw;
        let running = fw.wait_csg_acks(programmed, states, Effort::Hardware);
        for slot in bits(new) {
            let Some(group) = slots.group(slot).cloned() else {
                continue;
            };
            if running & 1 << slot == 0 {
                // The slot stays taken until the GPU has been reset.
                group.ban(Fate::Innocent);
                self.dev
                    .schedule_reset("the firmware does not start a group");
                continue;
            }
            group.state.access_mut(slots).enter_hardware();
            group.residency.enter(slot as u8);
            group.trace_state(GroupState::Resident, Some(slot));
            // For what came after the firmware was asked and before the group was resident.
            let missed = group.queues().iter().fold(false, |missed, queue| {
                queue.enter_hardware(slot as u32) | missed
            });
            if missed {
                self.dev.fw.ring_group_doorbell(slot);
            }
        }
        if fw.wait_csg_acks(moved, endpoints, Effort::Hardware) != moved {
            self.dev
                .schedule_reset("the firmware does not take a group's priority");
        }
    }

    /// Gives `group` a slot, and its VM an address space.
    fn seat(&self, slots: &mut Slots, group: &Arc<Group>) -> Seated {
        if slots.which(|other| Arc::ptr_eq(other, group)) != 0 {
            // The firmware has not let go of it: it ends with the reset.
            group.ban(Fate::Innocent);
            return Seated::Failed;
        }
        let vm = match group.vm().activate() {
            Ok(vm) => vm,
            // All are taken, or the hardware is stuck: it is tried again after the reset.
            Err(error) if error != EINVAL => return Seated::NoRoom,
            Err(_) => {
                group.ban(Fate::Innocent);
                // It is not on the hardware, so nobody else would end its jobs.
                group.kill_jobs();
                return Seated::Failed;
            }
        };
        let Some(slot) = slots.seat(group, vm) else {
            return Seated::NoRoom;
        };
        group.stalled_hint.store(false, Release);
        // Events of the group may come as soon as it runs.
        self.table.lock().0[slot] = Some(group.clone());
        Seated::In(slot)
    }

    /// Writes everything that the firmware has to know to take up `group` in `slot`, and asks for
    /// it. The doorbell is to be rung.
    fn program(
        &self,
        slot: usize,
        group: &Group,
        as_nr: u32,
        priority: u8,
        suspended: bool,
    ) -> Result {
        let csg = self.dev.fw.csg(slot)?;
        let settings = group.settings();

        for (i, queue) in group.queues().iter().enumerate() {
            program_queue(csg.cs(i)?, queue, slot)?;
        }

        csg.input.set_allow_compute(settings.compute.mask);
        csg.input.set_allow_fragment(settings.fragment.mask);
        csg.input.set_allow_other(settings.tiler.mask as u32);
        csg.set_endpoints(endpoints(group, priority));
        csg.input.set_config(as_nr);
        let (normal, protected) = group.suspend_buffers();
        csg.input.set_suspend_buf(normal);
        csg.input.set_protm_suspend_buf(protected);
        csg.input.set_ack_irq_mask(!0);

        // Everything is there before it is asked for, the state last.
        dma_mb(Write);
        csg.toggle_doorbells(group.queue_mask());
        let state = match suspended {
            true => csg::STATE_RESUME,
            false => csg::STATE_START,
        };
        csg.ask(csg::ENDPOINT_CONFIG, csg::STATE_MASK, state);
        Ok(())
    }

    /// Asks for another priority of the group in `slot`. The doorbell is to be rung.
    fn prefer(&self, slot: usize, group: &Group, priority: u8) -> Result {
        let csg = self.dev.fw.csg(slot)?;
        csg.set_endpoints(endpoints(group, priority));
        dma_mb(Write);
        csg.toggle(csg::ENDPOINT_CONFIG);
        Ok(())
    }

    /// Asks for `state` in all of `slots_mask`; returns those that got there.
    fn request_state(&self, slots_mask: u32, state: u32) -> u32 {
        let fw = &self.dev.fw;
        for slot in bits(slots_mask) {
            if let Ok(csg) = fw.csg(slot) {
                csg.set(csg::STATE_MASK, state);
            }
        }
        fw.ring_csg_doorbells(slots_mask);
        let effort = match state {
            csg::STATE_TERMINATE => Effort::Firmware,
            _ => Effort::Hardware,
        };
        fw.wait_csg_acks(slots_mask, csg::STATE_MASK, effort)
    }

    /// Empties a slot that the firmware has let go of, and whose events have been served; returns
    /// the group.
    fn vacate(&self, slots: &mut Slots, slot: usize) -> Option<Arc<Group>> {
        self.table.lock().0[slot] = None;
        let resident = slots.unseat(slot)?;
        self.stop_streams(slot, &resident.group);
        Some(resident.group)
    }

    /// Has the firmware forget the streams of `group` in `slot`, when it looks the next time.
    fn stop_streams(&self, slot: usize, group: &Group) {
        if let Ok(csg) = self.dev.fw.csg(slot) {
            for i in 0..group.queues().len() {
                if let Ok(cs) = csg.cs(i) {
                    cs.set(cs::STATE_MASK, cs::STATE_STOP);
                }
            }
        }
    }

    /// Whether the GPU waits for a reset, or is about to: there is no point in asking it for
    /// anything.
    pub(super) fn is_stuck(&self) -> bool {
        self.dev.reset.is_pending() || self.dev.fw.is_dead()
    }

    /// Takes the groups in `slots_mask`, which are banned, off the hardware for good, and ends
    /// their jobs. Those that the firmware does not let go of stay until the GPU has been reset.
    pub(super) fn terminate(self: &Arc<Self>, slots: &mut Slots, slots_mask: u32) {
        if slots_mask == 0 || self.is_stuck() {
            return;
        }
        for slot in bits(slots_mask) {
            if let Some(group) = slots.group(slot) {
                group.residency.leave();
            }
        }
        let ended = self.request_state(slots_mask, csg::STATE_TERMINATE);
        if ended != slots_mask {
            self.dev.schedule_reset("the firmware does not end a group");
        }
        // What the groups still had to say, before the slots are others'.
        self.slot_events(ended);
        for slot in bits(ended) {
            if let Some(group) = self.vacate(slots, slot) {
                group.kill_jobs();
            }
        }
    }

    /// Takes the groups in `slots_mask` off the hardware, to go on later; returns those of them
    /// that are off. Those that are not are banned.
    pub(super) fn suspend(self: &Arc<Self>, slots: &mut Slots, slots_mask: u32) -> u32 {
        if slots_mask == 0 {
            return 0;
        }
        // Updates of sync objects that come after this are not in what the firmware reports.
        let updates = self.sync_updates.load(Acquire);
        for slot in bits(slots_mask) {
            if let Some(group) = slots.group(slot) {
                group.residency.leave();
                // Whatever time this takes, the jobs are not to blame.
                group.leave_hardware();
            }
        }
        let suspended = self.request_state(slots_mask, csg::STATE_SUSPEND);

        for slot in bits(slots_mask & !suspended) {
            // It is neither on nor off: it keeps the slot until the GPU has been reset.
            if let Some(group) = slots.group(slot) {
                group.ban(Fate::Innocent);
            }
        }
        // What the groups still had to say, before the slots are others'.
        self.slot_events(suspended);
        for slot in bits(suspended) {
            if let Some(group) = slots.group(slot).cloned() {
                group.note_vm_fault();
                self.note_state(slots, slot, &group, updates);
                self.vacate(slots, slot);
                group.trace_state(GroupState::Suspended, None);
                // The slot has said all that it had to say, and no job rings its doorbell.
                smp_mb(Full);
                self.file(slots, group);
            }
        }
        suspended
    }

    /// Keeps what the firmware says of the streams of `group`, which it has just suspended.
    fn note_state(&self, slots: &mut Slots, slot: usize, group: &Group, updates: u32) {
        let state = group.state.access_mut(slots);
        state.suspended = true;
        state.updates = updates;
        for (i, (queue, wait)) in group.queues().iter().zip(&mut state.waits).enumerate() {
            let cs = self.dev.fw.csg(slot).and_then(|csg| csg.cs(i));
            *wait = cs.ok().and_then(SyncWait::of);
            // The clock of what waits for something outside of the group goes on: nobody else
            // would ever end it.
            if wait.is_some() {
                queue.resume_clock();
            }
        }
    }

    /// Finds out which of the groups on the hardware can do nothing although they have jobs.
    ///
    /// Only those in `slots_asked`, a bit each, are asked after, and of them those of which the
    /// firmware has said so some time before.
    pub(super) fn update_stalled(&self, slots: &mut Slots, slots_asked: u32) {
        let fw = &self.dev.fw;
        let mut hinted = slots.which(|group| group.can_run() && group.has_jobs()) & slots_asked;
        for slot in bits(hinted) {
            let hint = slots.group(slot).map(|group| &group.stalled_hint);
            if !hint.is_some_and(|hint| hint.load(Acquire) && hint.xchg(false, Full)) {
                hinted &= !(1 << slot);
            }
        }
        for slot in 0..slots.count() {
            if let Some(resident) = slots.resident_mut(slot) {
                resident.stalled &= hinted & 1 << slot != 0;
            }
        }
        if hinted == 0 {
            return;
        }
        for slot in bits(hinted) {
            if let Ok(csg) = fw.csg(slot) {
                csg.toggle(csg::STATUS_UPDATE);
            }
        }
        fw.ring_csg_doorbells(hinted);
        let answered = fw.wait_csg_acks(hinted, csg::STATUS_UPDATE, Effort::Hardware);
        if answered != hinted {
            self.dev
                .schedule_reset("the firmware does not report a group's status");
        }
        for slot in bits(answered) {
            let Some(resident) = slots.resident_mut(slot) else {
                continue;
            };
            let stalled = |(i, queue): (usize, &Arc<Queue>)| {
                let Ok(cs) = fw.csg(slot).and_then(|csg| csg.cs(i)) else {
                    return false;
                };
                let empty = queue.has_unfetched().is_ok_and(|unfetched| !unfetched);
                !is_busy(cs) && (SyncWait::of(cs).is_some() || is_unblocked(cs) && empty)
            };
            let group = &resident.group;
            resident.stalled = group.queues().iter().enumerate().all(stalled);
            // Until the firmware says so again, which it does once, this has to be asked again.
            if resident.stalled {
                group.stalled_hint.store(true, Release);
            }
        }
    }

    /// Which queues of `group` wait for cores that others have, a bit each.
    ///
    /// Waits for the firmware, with a limit. None if nobody else could have the cores, or if the
    /// firmware does not say.
    pub(super) fn starved(&self, group: &Arc<Group>) -> u32 {
        let slots = self.slots.lock();
        let own = slots.which(|other| Arc::ptr_eq(other, group));
        let rivals = slots.which(|other| !Arc::ptr_eq(other, group) && other.has_jobs());
        if own == 0 || rivals == 0 || !group.can_run() || self.is_stuck() {
            return 0;
        }
        for slot in bits(own) {
            if let Ok(csg) = self.dev.fw.csg(slot) {
                csg.toggle(csg::STATUS_UPDATE);
            }
        }
        self.dev.fw.ring_csg_doorbells(own);
        // Whoever does not answer this will be found out when it is asked to end the group.
        let fw = &self.dev.fw;
        let answered = fw.wait_csg_acks(own, csg::STATUS_UPDATE, Effort::Firmware);
        let mut starved = 0;
        for slot in bits(answered) {
            for i in 0..group.queues().len() {
                let cs = self.dev.fw.csg(slot).and_then(|csg| csg.cs(i));
                starved |= u32::from(cs.is_ok_and(is_starved)) << i;
            }
        }
        starved
    }

    /// Forgets who was on the hardware: it has been reset, or is gone. Their jobs end.
    pub(super) fn abandon(&self, slots: &mut Slots) {
        for slot in 0..slots.count() {
            self.table.lock().0[slot] = None;
            if let Some(resident) = slots.unseat(slot) {
                resident.group.residency.leave();
                resident.group.ban(Fate::Innocent);
                resident.group.kill_jobs();
            }
        }
    }

    /// Serves what the groups on the hardware still have to say, and leaves nothing behind that a
    /// firmware that starts anew would take for a request.
    pub(super) fn clear_slots(self: &Arc<Self>, slots: &Slots) {
        let taken = slots.which(|_| true);
        self.slot_events(taken);
        for slot in bits(taken) {
            if let Some(group) = slots.group(slot) {
                if let Ok(csg) = self.dev.fw.csg(slot) {
                    csg.set(csg::STATE_MASK, csg::STATE_TERMINATE);
                }
                self.stop_streams(slot, group);
            }
        }
    }
}

/// What `group` may use of the GPU, with the slot's priority.
fn endpoints(group: &Group, priority: u8) -> u64 {
    let settings = group.settings();
    csg::endpoint_compute(settings.compute.max)
        | csg::endpoint_fragment(settings.fragment.max)
        | csg::endpoint_tiler(settings.tiler.max)
        | csg::endpoint_priority(priority)
}

/// Programs a stream slot for `queue`, to be started with its group in `slot`.
fn program_queue(cs: &CsInterface, queue: &Queue, slot: usize) -> Result {
    queue.take_up()?;

    let (base, size) = queue.ring_range();
    cs.input.set_ringbuf_base(base);
    cs.input.set_ringbuf_size(size);
    let (input, output) = queue.iface_addresses();
    cs.input.set_ringbuf_input(input);
    cs.input.set_ringbuf_output(output);
    // All queues of a group share a doorbell: that of its slot.
    cs.input
        .set_config(cs::config(queue.priority(), slot as u8 + 1));
    cs.input.set_ack_irq_mask(!0);

    let idle = cs::IDLE_SYNC_WAIT | cs::IDLE_EMPTY;
    cs.set(cs::STATE_MASK | idle, cs::STATE_START | idle);
    Ok(())
}
