// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Group slots: who is on the hardware, and who would like to be.
//!
//! Both are under one lock, with which the firmware is waited for: see [`switch`](super::switch).

use super::{
    group::Group,
    pick::{
        Seat,
        CLASSES, //
    },
    rank::Rank,
    MAX_SLOTS, //
};
use crate::mmu::ActiveVm;
use kernel::{
    list::List,
    prelude::*,
    sync::Arc,
    time::{
        Instant,
        Monotonic, //
    },
};

/// A group on the hardware.
pub(super) struct Resident {
    /// Keeps the group's VM in its address space. Dropped before the group, which keeps the VM: what
    /// ends a VM is nothing to be done here.
    pub(super) vm: ActiveVm,
    pub(super) group: Arc<Group>,
    /// Among the group slots: no two have the same. [`None`] before it is decided.
    pub(super) priority: Option<u8>,
    /// When it came: higher is later.
    pub(super) since: u64,
    /// The firmware says that the group can do nothing at present, though it has jobs.
    pub(super) stalled: bool,
    /// How many of its jobs had completed when that was last asked.
    completed: u64,
}

impl Resident {
    /// Whether the group has something to do, and can do it.
    pub(super) fn is_busy(&self) -> bool {
        !self.stalled && self.group.has_jobs()
    }
}

/// Groups that are off the hardware and have jobs.
pub(super) struct Waiting {
    /// Those that could run, by priority; who waits for the longest time is first.
    pub(super) runnable: [List<Group>; CLASSES],
    /// Those that wait for sync objects.
    pub(super) blocked: List<Group>,
}

impl Waiting {
    pub(super) fn new() -> Self {
        Self {
            runnable: [const { List::new() }; CLASSES],
            blocked: List::new(),
        }
    }

    /// How many groups wait for a slot. Only for tracing: it counts them.
    pub(super) fn count(&self) -> usize {
        self.runnable.iter().map(|list| list.iter().count()).sum()
    }

    /// Whether nobody waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        !self.wants_slot() && self.blocked.is_empty()
    }

    /// Whether a group waits for a slot.
    pub(super) fn wants_slot(&self) -> bool {
        self.runnable.iter().any(|list| !list.is_empty())
    }
}

/// Who is on the hardware, and who is to be.
pub(super) struct Slots {
    residents: [Option<Resident>; MAX_SLOTS],
    /// How many of them there are.
    count: usize,
    /// How many address spaces there are for them.
    pub(super) spaces: usize,
    /// Nobody is put on the hardware: it is being reset, or goes away.
    pub(super) frozen: bool,
    /// Nobody is put on the hardware: it sleeps.
    pub(super) asleep: bool,
    /// How many groups have been put on it.
    clock: u64,
    pub(super) waiting: Waiting,
    pub(super) last_tick: Instant<Monotonic>,
    /// How long a period lasts, in milliseconds.
    pub(super) period: i64,
    /// The next tick comes when a turn is over, not a period.
    pub(super) late: bool,
    /// Somebody needs the tick.
    pub(super) ticks: bool,
}

impl Slots {
    /// `count` slots and `spaces` address spaces, without groups.
    pub(super) fn new(count: usize, spaces: usize) -> Self {
        Self {
            residents: [const { None }; MAX_SLOTS],
            count: count.min(MAX_SLOTS),
            spaces,
            frozen: false,
            asleep: false,
            clock: 0,
            waiting: Waiting::new(),
            last_tick: Instant::now(),
            period: 0,
            late: false,
            ticks: false,
        }
    }

    /// How many slots there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// A slot without a group.
    fn free(&self) -> Option<usize> {
        self.residents
            .iter()
            .take(self.count)
            .position(Option::is_none)
    }

    /// Gives `group`, whose VM is active, a slot, if there is one.
    pub(super) fn seat(&mut self, group: &Arc<Group>, vm: ActiveVm) -> Option<usize> {
        let slot = self.free()?;
        self.clock += 1;
        let since = self.clock;
        *self.residents.get_mut(slot)? = Some(Resident {
            group: group.clone(),
            vm,
            priority: None,
            since,
            stalled: false,
            completed: 0,
        });
        Some(slot)
    }

    /// Takes a slot back.
    pub(super) fn unseat(&mut self, slot: usize) -> Option<Resident> {
        self.residents.get_mut(slot)?.take()
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

    /// Who has a slot.
    pub(super) fn resident(&self, slot: usize) -> Option<&Resident> {
        self.residents.get(slot)?.as_ref()
    }

    /// Who has a slot.
    pub(super) fn resident_mut(&mut self, slot: usize) -> Option<&mut Resident> {
        self.residents.get_mut(slot)?.as_mut()
    }

    /// The group in a slot.
    pub(super) fn group(&self, slot: usize) -> Option<&Arc<Group>> {
        Some(&self.resident(slot)?.group)
    }

    /// Which group is in which slot, by the groups' numbers.
    pub(super) fn ids(&self) -> [Option<u32>; MAX_SLOTS] {
        core::array::from_fn(|slot| Some(self.group(slot)?.id()))
    }

    /// The residents for [`pick`](super::pick::pick).
    pub(super) fn seats(&self) -> [Option<Seat>; MAX_SLOTS] {
        self.residents.each_ref().map(|resident| {
            let resident = resident.as_ref()?;
            Some(Seat {
                class: resident.group.settings().priority,
                vm: resident.group.vm_key(),
                busy: resident.is_busy(),
                kept: resident.group.is_kept(),
                since: resident.since,
            })
        })
    }

    /// The residents for [`arrange`](super::rank::arrange) and [`rotate`](super::rank::rotate).
    pub(super) fn ranks(&self) -> [Option<Rank>; MAX_SLOTS] {
        self.residents.each_ref().map(|resident| {
            let resident = resident.as_ref()?;
            Some(Rank {
                class: resident.group.settings().priority,
                busy: resident.group.has_jobs(),
                priority: resident.priority,
            })
        })
    }

    /// The slots whose groups have completed no job since this was last asked, a bit each.
    pub(super) fn unmoved(&mut self) -> u32 {
        let mut mask = 0;
        for (slot, resident) in self.residents.iter_mut().enumerate() {
            if let Some(resident) = resident {
                let completed = resident.group.completed();
                if core::mem::replace(&mut resident.completed, completed) == completed {
                    mask |= 1 << slot;
                }
            }
        }
        mask
    }

    /// Whether groups on the hardware have to take turns in being preferred.
    pub(super) fn contention(&self) -> Contention {
        let (mut seen, mut busy) = (0u8, 0u8);
        let mut contention = Contention::None;
        for resident in self.residents.iter().flatten() {
            let class = 1 << resident.group.settings().priority as u8;
            if !resident.group.has_jobs() {
                continue;
            }
            if seen & class != 0 {
                contention = contention.max(Contention::Stalled);
            }
            seen |= class;
            if !resident.stalled {
                if busy & class != 0 {
                    return Contention::Busy;
                }
                busy |= class;
            }
        }
        contention
    }
}

/// Whether groups of the same priority are on the hardware that have jobs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Contention {
    /// No two of them.
    None,
    /// There are, but of each priority only one at most could use its turn, when it was asked last.
    Stalled,
    /// There are two that can use their turns.
    Busy,
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
}
