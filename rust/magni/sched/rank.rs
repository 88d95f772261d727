// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Whom the firmware prefers among the groups that are on the hardware: a decision, without the
//! hardware.
//!
//! Each slot has a priority. No two may have the same, or they could block each other for ever: see
//! [`arrange`] and [`rotate`].

use super::{
    group::Priority,
    pick::MOST_URGENT_FIRST,
    MAX_SLOTS, //
};
use kernel::prelude::*;

/// A slot's place in the firmware's order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rank {
    pub(super) class: Priority,
    /// It has something to do.
    pub(super) busy: bool,
    /// The slot's priority, 0 to 15, higher is more; [`None`] for a group that comes.
    pub(super) priority: Option<u8>,
}

/// The priority to begin with when one is sought for a group of `class`: far enough from those of
/// other classes that a few more groups fit in between.
fn preferred(class: Priority) -> u8 {
    match class {
        Priority::Realtime => 15,
        Priority::High => 12,
        Priority::Medium => 9,
        Priority::Low => 5,
    }
}

/// A priority that no slot has, above those of less urgent groups, and below those of more urgent
/// ones.
fn free_priority(class: Priority, ranks: &[Option<Rank>; MAX_SLOTS]) -> Option<u8> {
    let (mut low, mut high, mut taken) = (0, 15, 0u16);
    for rank in ranks.iter().flatten() {
        let Some(priority) = rank.priority else {
            continue;
        };
        taken |= 1 << (priority & 15);
        if rank.class < class {
            low = low.max(priority.checked_add(1)?);
        }
        if rank.class > class {
            high = high.min(priority.checked_sub(1)?);
        }
    }
    let free = |priority: &u8| (low..=high).contains(priority) && taken & 1 << *priority == 0;
    let wanted = preferred(class);
    (0..=wanted)
        .rev()
        .find(free)
        .or_else(|| (wanted..16).find(free))
}

/// Gives a priority to each group that comes; the others keep theirs, if that is possible.
///
/// More urgent groups have higher priorities, and no two have the same.
pub(super) fn arrange(ranks: &mut [Option<Rank>; MAX_SLOTS]) {
    for slot in 0..ranks.len() {
        let Some(Some(rank)) = ranks.get(slot) else {
            continue;
        };
        if rank.priority.is_some() {
            continue;
        }
        match free_priority(rank.class, ranks) {
            None => return renumber(ranks),
            priority => {
                if let Some(Some(rank)) = ranks.get_mut(slot) {
                    rank.priority = priority;
                }
            }
        }
    }
}

/// Gives new priorities to all, in the order that they had.
fn renumber(ranks: &mut [Option<Rank>; MAX_SLOTS]) {
    let mut left = ranks.iter().flatten().count() as u8;
    let mut above = 16;
    let mut done = 0u32;
    while left > 0 {
        let next = ranks
            .iter_mut()
            .enumerate()
            .filter(|(slot, _)| done & 1 << *slot == 0)
            .filter_map(|(slot, rank)| Some((slot, rank.as_mut()?)))
            .max_by_key(|(_, rank)| (rank.class, rank.priority));
        let Some((slot, rank)) = next else {
            return;
        };
        done |= 1 << slot;
        left -= 1;
        // There have to be priorities left for those who come after this one.
        above = preferred(rank.class).min(above - 1).max(left);
        rank.priority = Some(above);
    }
}

/// Gives each busy group the priority of the next one above it in its class, and the first one that
/// of the last.
///
/// The firmware may let a slot of lower priority wait for as long as one of higher has something
/// to do.
pub(super) fn rotate(ranks: &mut [Option<Rank>; MAX_SLOTS]) {
    for class in MOST_URGENT_FIRST {
        // The priority that the next one gets, and where it came from.
        let mut highest: Option<(usize, u8)> = None;
        let mut above = 16;
        let mut gap = None;
        loop {
            let next = ranks
                .iter_mut()
                .enumerate()
                .filter_map(|(slot, rank)| Some((slot, rank.as_mut()?)))
                .filter(|(_, rank)| rank.class == class && rank.busy)
                .filter_map(|(slot, rank)| Some((slot, rank.priority?, rank)))
                .filter(|(slot, priority, _)| {
                    *priority < above && highest.is_none_or(|(first, _)| first != *slot)
                })
                .max_by_key(|(_, priority, _)| *priority);
            let Some((slot, priority, rank)) = next else {
                break;
            };
            match gap {
                None => highest = Some((slot, priority)),
                Some(_) => rank.priority = gap,
            }
            (above, gap) = (priority, Some(priority));
        }
        if let Some((slot, _)) = highest {
            if let Some(Some(rank)) = ranks.get_mut(slot) {
                rank.priority = gap;
            }
        }
    }
}

#[kunit_tests(magni_sched_rank)]
mod tests {
    use super::{
        super::numbers::Numbers,
        *, //
    };

    fn is_sound(ranks: &[Option<Rank>; MAX_SLOTS]) -> bool {
        ranks.iter().flatten().enumerate().all(|(i, a)| {
            ranks.iter().flatten().enumerate().all(|(j, b)| {
                i == j
                    || a.priority != b.priority && (a.class <= b.class || a.priority > b.priority)
            })
        }) && ranks
            .iter()
            .flatten()
            .all(|rank| rank.priority.is_some_and(|priority| priority < 16))
    }

    #[test]
    fn slot_priorities_follow_the_classes() {
        let mut numbers = Numbers(3);
        for _ in 0..30 {
            let mut ranks = [None; MAX_SLOTS];
            for _ in 0..40 {
                let slot = numbers.below(MAX_SLOTS as u64) as usize;
                ranks[slot] = match ranks[slot] {
                    Some(_) => None,
                    None => Some(Rank {
                        class: MOST_URGENT_FIRST[numbers.below(4) as usize],
                        busy: numbers.below(2) == 0,
                        priority: None,
                    }),
                };
                arrange(&mut ranks);
                assert!(is_sound(&ranks));
                rotate(&mut ranks);
                assert!(is_sound(&ranks));
            }
        }
    }

    #[test]
    fn whoever_stays_keeps_its_priority_if_it_can() {
        let rank = |class, priority| {
            Some(Rank {
                class,
                busy: true,
                priority,
            })
        };
        let mut ranks = [None; MAX_SLOTS];
        ranks[0] = rank(Priority::Medium, Some(9));
        ranks[1] = rank(Priority::Medium, None);
        ranks[2] = rank(Priority::Realtime, None);
        ranks[3] = rank(Priority::Low, None);
        arrange(&mut ranks);
        let priorities = ranks.map(|rank| rank.and_then(|rank| rank.priority));
        assert_eq!(priorities[..4], [Some(9), Some(8), Some(15), Some(5)]);
    }

    #[test]
    fn everybody_is_first_for_a_while() {
        for count in 1..=MAX_SLOTS {
            let mut ranks = [None; MAX_SLOTS];
            for place in ranks.iter_mut().take(count) {
                *place = Some(Rank {
                    class: Priority::Medium,
                    busy: true,
                    priority: None,
                });
            }
            arrange(&mut ranks);
            let mut first = 0u32;
            for _ in 0..count {
                let highest = ranks
                    .iter()
                    .enumerate()
                    .max_by_key(|(_, rank)| rank.and_then(|rank| rank.priority));
                first |= highest.map_or(0, |(slot, _)| 1 << slot);
                rotate(&mut ranks);
            }
            assert_eq!(first.count_ones() as usize, count);
        }
    }

    #[test]
    fn the_idle_do_not_take_part_in_turns() {
        let mut ranks = [None; MAX_SLOTS];
        for (place, (busy, priority)) in
            ranks
                .iter_mut()
                .zip([(true, 9), (false, 8), (true, 7), (false, 6), (true, 5)])
        {
            *place = Some(Rank {
                class: Priority::Medium,
                busy,
                priority: Some(priority),
            });
        }
        rotate(&mut ranks);
        let priorities = ranks.map(|rank| rank.and_then(|rank| rank.priority));
        assert_eq!(
            priorities[..5],
            [Some(5), Some(8), Some(9), Some(6), Some(7)]
        );
    }
}
