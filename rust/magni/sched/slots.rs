// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Group slots: putting groups on the hardware and taking them off.
//!
//! Everything here is done under the lock of [`Slots`], which the firmware is waited for with; each
//! wait has a limit, behind which the GPU counts as stuck and needs a reset.

use super::{
    group::{
        Fate,
        Group,
        Priority, //
    },
    queue::Queue,
    Scheduler,
    MAX_SLOTS, //
};
use crate::{
    fw::{
        layout::{
            cs,
            csg, //
        },
        CsInterface, //
    },
    mmu::ActiveVm,
    params::ACK_TIMEOUT_MS,
    trace::GroupState, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Release, //
        },
        barrier::{
            dma_mb,
            smp_mb,
            Full,
            Write, //
        },
        Arc, //
    },
    time::msecs_to_jiffies, //
};

/// A group on the hardware.
struct Resident {
    group: Arc<Group>,
    /// Keeps the group's VM in its address space.
    _vm: ActiveVm,
    /// Among the group slots: no two have the same.
    priority: u8,
}

/// Who is on the hardware.
pub(super) struct Slots {
    residents: [Option<Resident>; MAX_SLOTS],
    /// How many of them there are.
    count: usize,
    /// Nobody is put on the hardware.
    pub(super) frozen: bool,
}

impl Slots {
    /// `count` slots without groups.
    pub(super) fn new(count: usize) -> Self {
        Self {
            residents: [const { None }; MAX_SLOTS],
            count: count.min(MAX_SLOTS),
            frozen: false,
        }
    }

    /// A slot without a group.
    fn free(&self) -> Option<usize> {
        self.residents[..self.count]
            .iter()
            .position(Option::is_none)
    }

    /// The slots whose group `f` holds for, a bit each.
    pub(super) fn which(&self, mut f: impl FnMut(&Arc<Group>) -> bool) -> u32 {
        let mut mask = 0;
        for (slot, resident) in self.residents.iter().enumerate() {
            if resident.as_ref().is_some_and(|resident| f(&resident.group)) {
                mask |= 1 << slot;
            }
        }
        mask
    }

    /// The group in a slot.
    pub(super) fn group(&self, slot: usize) -> Option<&Arc<Group>> {
        Some(&self.residents.get(slot)?.as_ref()?.group)
    }

    /// Which group is in which slot, by the groups' numbers.
    pub(super) fn ids(&self) -> [Option<u32>; MAX_SLOTS] {
        core::array::from_fn(|slot| Some(self.group(slot)?.id()))
    }

    /// A bit for each priority that a slot has.
    fn priorities(&self) -> u16 {
        let taken = self.residents.iter().flatten();
        taken.fold(0, |mask, resident| mask | 1 << resident.priority)
    }
}

/// Who is on the hardware, for those who must not wait for [`Slots`].
pub(super) struct Table(pub(super) [Option<Arc<Group>>; MAX_SLOTS]);

impl Table {
    pub(super) fn new() -> Self {
        Self([const { None }; MAX_SLOTS])
    }
}

/// The numbers of the bits in `mask`, lowest first.
pub(super) fn bits(mut mask: u32) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let bit = mask.trailing_zeros();
        mask &= mask.checked_sub(1)?;
        Some(bit as usize)
    })
}

/// The slot priority for a group of priority `class`, of those that are not in `taken`.
///
/// Two groups with the same slot priority may block each other for ever, so each has its own. It
/// is near to where the class belongs, for there may be more groups of a class than priorities.
fn slot_priority(class: Priority, taken: u16) -> Option<u8> {
    let wanted = match class {
        Priority::Realtime => 15,
        Priority::High => 11,
        Priority::Medium => 7,
        Priority::Low => 3,
    };
    let free = |priority: &u8| taken & 1 << priority == 0;
    (0..=wanted)
        .rev()
        .find(free)
        .or((wanted + 1..16).find(free))
}

/// What came of the attempt to put a group on the hardware.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Started {
    /// It is there.
    Yes,
    /// There is no slot, or no address space, for it.
    NoRoom,
    /// The hardware or the VM failed; the group is banned.
    Failed,
}

impl Scheduler {
    /// Puts `group`, which is off the hardware, into a free slot.
    pub(super) fn start(&self, slots: &mut Slots, group: &Arc<Group>) -> Started {
        if slots.which(|other| Arc::ptr_eq(other, group)) != 0 {
            // The firmware has not let go of it: it ends with the reset.
            group.ban(Fate::Innocent);
            return Started::Failed;
        }
        let Some(slot) = slots.free() else {
            return Started::NoRoom;
        };
        let Some(priority) = slot_priority(group.settings().priority, slots.priorities()) else {
            return Started::NoRoom;
        };
        let vm = match group.vm().activate() {
            Ok(vm) => vm,
            Err(error) if error == EBUSY => return Started::NoRoom,
            Err(_) => {
                group.ban(Fate::Innocent);
                // It is not on the hardware, so nobody else would end its jobs.
                group.kill_jobs();
                return Started::Failed;
            }
        };

        let as_nr = vm.as_nr();
        slots.residents[slot] = Some(Resident {
            group: group.clone(),
            _vm: vm,
            priority,
        });
        // Events of the group may come as soon as it runs.
        self.table.lock().0[slot] = Some(group.clone());

        let state = match group.suspended.load(Acquire) {
            true => csg::STATE_RESUME,
            false => csg::STATE_START,
        };
        if self.program(slot, group, as_nr, priority, state).is_err() {
            // The slot stays taken until the GPU has been reset.
            group.ban(Fate::Innocent);
            self.dev
                .schedule_reset("the firmware does not start a group");
            return Started::Failed;
        }

        group.suspended.store(false, Release);
        group.residency.enter(slot as u8);
        group.trace_state(GroupState::Resident, Some(slot));
        // For what came after the firmware looked and before the line above.
        self.dev.fw.ring_group_doorbell(slot);
        for queue in group.queues() {
            queue.enter_hardware();
        }
        Started::Yes
    }

    /// Has the firmware take up `group` in `slot`.
    fn program(&self, slot: usize, group: &Group, as_nr: u32, priority: u8, state: u32) -> Result {
        let fw = &self.dev.fw;
        let csg = fw.csg(slot)?;
        let settings = group.settings();

        for (i, queue) in group.queues().iter().enumerate() {
            program_queue(csg.cs(i)?, queue, slot)?;
        }

        csg.input.set_allow_compute(settings.compute.mask);
        csg.input.set_allow_fragment(settings.fragment.mask);
        csg.input.set_allow_other(settings.tiler.mask as u32);
        csg.set_endpoints(
            csg::endpoint_compute(settings.compute.max)
                | csg::endpoint_fragment(settings.fragment.max)
                | csg::endpoint_tiler(settings.tiler.max)
                | csg::endpoint_priority(priority),
        );
        csg.input.set_config(as_nr);
        let (normal, protected) = group.suspend_buffers();
        csg.input.set_suspend_buf(normal);
        csg.input.set_protm_suspend_buf(protected);
        csg.input.set_ack_irq_mask(!0);

        // Everything is there before it is asked for, the state last.
        dma_mb(Write);
        csg.toggle_doorbells(group.queue_mask());
        csg.ask(csg::ENDPOINT_CONFIG, csg::STATE_MASK, state);
        fw.ring_csg_doorbells(1 << slot);
        fw.wait_csg_acks(
            slot,
            csg::STATE_MASK | csg::ENDPOINT_CONFIG,
            msecs_to_jiffies(ACK_TIMEOUT_MS.get()),
        )
        .map_err(|_| ETIMEDOUT)
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
        let acked = |slot: &usize| {
            fw.wait_csg_acks(
                *slot,
                csg::STATE_MASK,
                msecs_to_jiffies(ACK_TIMEOUT_MS.get()),
            )
            .is_ok()
        };
        bits(slots_mask)
            .filter(acked)
            .fold(0, |mask, slot| mask | 1 << slot)
    }

    /// Empties a slot that the firmware has let go of; returns the group.
    fn vacate(&self, slots: &mut Slots, slot: usize) -> Option<Arc<Group>> {
        // What the group still had to say, before the slot is another's.
        self.slot_events(slot);
        self.table.lock().0[slot] = None;
        let resident = slots.residents.get_mut(slot)?.take()?;
        if let Ok(csg) = self.dev.fw.csg(slot) {
            for i in 0..resident.group.queues().len() {
                if let Ok(cs) = csg.cs(i) {
                    cs.set(cs::STATE_MASK, cs::STATE_STOP);
                }
            }
        }
        Some(resident.group)
    }

    /// Whether the GPU waits for a reset: there is no point in asking it for anything.
    pub(super) fn is_stuck(&self) -> bool {
        self.dev.reset.is_pending()
    }

    /// Takes the groups in `slots_mask`, which are banned, off the hardware for good, and ends
    /// their jobs. Those that the firmware does not let go of stay until the GPU has been reset.
    pub(super) fn terminate(&self, slots: &mut Slots, slots_mask: u32) {
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
        for slot in bits(ended) {
            if let Some(group) = self.vacate(slots, slot) {
                group.kill_jobs();
            }
        }
    }

    /// Takes the groups in `slots_mask` off the hardware, to go on later; returns those of them
    /// that are off.
    pub(super) fn suspend(&self, slots: &mut Slots, slots_mask: u32) -> u32 {
        if slots_mask == 0 {
            return 0;
        }
        // Updates of sync objects that come after this are not in what the firmware reports.
        let updates = self.sync_updates.load(Acquire);
        for slot in bits(slots_mask) {
            if let Some(group) = slots.group(slot) {
                group.residency.leave();
            }
        }
        let suspended = self.request_state(slots_mask, csg::STATE_SUSPEND);

        for slot in bits(slots_mask & !suspended) {
            // It is neither on nor off: it keeps the slot until the GPU has been reset.
            if let Some(group) = slots.group(slot) {
                group.ban(Fate::Innocent);
            }
        }
        for slot in bits(suspended) {
            let blocked = slots
                .group(slot)
                .map_or(0, |group| self.blocked_queues(slot, group));
            let Some(group) = self.vacate(slots, slot) else {
                continue;
            };
            group.suspended.store(true, Release);
            // Before the rings are looked at: a job that comes after that unparks the group.
            group.parked.store(updates, Release);
            group.is_parked.store(true, Release);
            smp_mb(Full);

            let mut runnable = false;
            for (i, queue) in group.queues().iter().enumerate() {
                if blocked & 1 << i == 0 {
                    queue.leave_hardware();
                    runnable |= queue.has_jobs();
                }
                // What waits for something outside of the group goes on counting: nobody else
                // would ever end it.
            }
            group.trace_state(
                match runnable {
                    false if blocked != 0 => GroupState::Blocked,
                    _ => GroupState::Suspended,
                },
                None,
            );
            if runnable || blocked != 0 {
                if runnable {
                    group.is_parked.store(false, Release);
                    // It waits for a slot from here on, which is not its fault.
                    group.leave_hardware();
                }
                self.request(&group);
            }
        }
        suspended
    }

    /// The queues of `group` that wait for a sync object, as of the last status; a bit each.
    fn blocked_queues(&self, slot: usize, group: &Group) -> u32 {
        let mut mask = 0;
        for i in 0..group.queues().len() {
            let cs = self.dev.fw.csg(slot).and_then(|csg| csg.cs(i));
            if cs.is_ok_and(|cs| is_blocked(cs) && !is_busy(cs)) {
                mask |= 1 << i;
            }
        }
        mask
    }

    /// The groups on the hardware that do nothing, or wait for sync objects; a bit for each slot.
    pub(super) fn idle_slots(&self, slots: &Slots) -> u32 {
        let fw = &self.dev.fw;
        let residents = slots.which(|group| group.can_run());
        for slot in bits(residents) {
            if let Ok(csg) = fw.csg(slot) {
                csg.toggle(csg::STATUS_UPDATE);
            }
        }
        fw.ring_csg_doorbells(residents);

        let mut idle = 0;
        for slot in bits(residents) {
            let timeout = msecs_to_jiffies(ACK_TIMEOUT_MS.get());
            if fw.wait_csg_acks(slot, csg::STATUS_UPDATE, timeout).is_err() {
                self.dev
                    .schedule_reset("the firmware does not report a group's status");
                continue;
            }
            let Some(group) = slots.group(slot) else {
                continue;
            };
            let queue_idle = |(i, queue): (usize, &Arc<Queue>)| {
                let Ok(cs) = fw.csg(slot).and_then(|csg| csg.cs(i)) else {
                    return false;
                };
                let empty = queue.has_unfetched().is_ok_and(|unfetched| !unfetched);
                !is_busy(cs) && (is_blocked(cs) || is_unblocked(cs) && empty)
            };
            if group.queues().iter().enumerate().all(queue_idle) {
                idle |= 1 << slot;
            }
        }
        idle
    }

    /// Forgets who was on the hardware: it has been reset, or is gone. Their jobs end.
    pub(super) fn abandon(&self, slots: &mut Slots) {
        for slot in 0..slots.count {
            if let Some(group) = slots.group(slot) {
                group.residency.leave();
                group.ban(Fate::Innocent);
            }
            if let Some(group) = self.vacate(slots, slot) {
                group.kill_jobs();
            }
        }
    }
}

/// Programs a stream slot for `queue`, to be started with its group in `slot`.
fn program_queue(cs: &CsInterface, queue: &Queue, slot: usize) -> Result {
    queue.restore_extract()?;

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

fn reason(cs: &CsInterface) -> u32 {
    cs.output.status_blocked_reason() & cs::BLOCKED_MASK
}

fn is_unblocked(cs: &CsInterface) -> bool {
    reason(cs) == cs::BLOCKED_NOT
}

fn is_blocked(cs: &CsInterface) -> bool {
    reason(cs) == cs::BLOCKED_SYNC_WAIT
}

fn is_busy(cs: &CsInterface) -> bool {
    cs.output.status_scoreboards() != 0
}

#[kunit_tests(magni_sched_slots)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_numbered() {
        let mut numbers = bits(1 << 31 | 1 << 4 | 1);
        assert_eq!(numbers.next(), Some(0));
        assert_eq!(numbers.next(), Some(4));
        assert_eq!(numbers.next(), Some(31));
        assert_eq!(numbers.next(), None);
    }

    #[test]
    fn each_group_has_a_priority_of_its_own() {
        let mut taken = 0u16;
        for _ in 0..16 {
            let Some(priority) = slot_priority(Priority::Medium, taken) else {
                return assert!(false);
            };
            assert_eq!(taken & 1 << priority, 0);
            taken |= 1 << priority;
        }
        assert_eq!(slot_priority(Priority::Medium, taken), None);
    }

    #[test]
    fn classes_are_in_order() {
        assert!(slot_priority(Priority::Realtime, 0) > slot_priority(Priority::High, 0));
        assert!(slot_priority(Priority::High, 0) > slot_priority(Priority::Medium, 0));
        assert!(slot_priority(Priority::Medium, 0) > slot_priority(Priority::Low, 0));
    }
}
