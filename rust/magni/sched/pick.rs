// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Who gets the hardware: a decision, without the hardware.
//!
//! There are fewer slots than groups that could use them, and the groups of a slot need an address
//! space each, which those of one VM share. [`pick`] says who stays, who goes and who comes.
//! Among groups of the same priority it lets those stay first that have just come, so that
//! whoever waits gets a slot after at most as many ticks as the slots have to be filled once with
//! all who could run. Whom the firmware then prefers is up to [`rank`](super::rank).

use super::{
    group::Priority,
    MAX_SLOTS, //
};
use kernel::prelude::*;

/// How many priorities groups can have.
pub(super) const CLASSES: usize = 4;

/// All of them, the most urgent first.
pub(super) const MOST_URGENT_FIRST: [Priority; CLASSES] = [
    Priority::Realtime,
    Priority::High,
    Priority::Medium,
    Priority::Low,
];

/// A group that is on the hardware.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    pub(super) class: Priority,
    /// Stands for the VM: the same for groups of the same one.
    pub(super) vm: usize,
    /// It has something to do, and can do it.
    pub(super) busy: bool,
    /// It is realtime, and had something to do lately: it will soon again, as whoever draws the
    /// screen does for each frame, and is not to wait for a slot each time.
    pub(super) kept: bool,
    /// When it came: higher is later.
    pub(super) since: u64,
}

/// A group that could run, if it were on the hardware.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter<T> {
    pub(super) id: T,
    /// As in [`Seat`].
    pub(super) vm: usize,
}

/// What there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Group slots, at most [`MAX_SLOTS`].
    pub(super) slots: usize,
    /// Address spaces.
    pub(super) spaces: usize,
}

/// Who may be put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// Something has happened: a busy group keeps its slot, but if a realtime group wants it.
    Event,
    /// A tick has passed: everybody makes room for those who wait, or are more urgent.
    Tick,
}

/// Who is to be on the hardware.
pub(super) struct Plan<T> {
    /// The slots whose groups stay, a bit each.
    pub(super) stay: u32,
    /// Who comes, the most urgent first; the slots are there once the others have gone.
    pub(super) start: [Option<T>; MAX_SLOTS],
}

/// A plan in the making.
struct Planner<T> {
    limits: Limits,
    plan: Plan<T>,
    /// The VMs that have been given address spaces.
    vms: [usize; MAX_SLOTS],
    spaces: usize,
    slots: usize,
    starts: usize,
}

impl<T> Planner<T> {
    fn new(limits: Limits) -> Self {
        Self {
            limits: Limits {
                slots: limits.slots.min(MAX_SLOTS),
                ..limits
            },
            plan: Plan {
                stay: 0,
                start: [const { None }; MAX_SLOTS],
            },
            vms: [0; MAX_SLOTS],
            spaces: 0,
            slots: 0,
            starts: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.slots == self.limits.slots
    }

    /// Takes a slot, and an address space for `vm`, if there are.
    fn take(&mut self, vm: usize) -> bool {
        if self.is_full() {
            return false;
        }
        if !self.vms.iter().take(self.spaces).any(|other| *other == vm) {
            if self.spaces == self.limits.spaces {
                return false;
            }
            let Some(place) = self.vms.get_mut(self.spaces) else {
                return false;
            };
            *place = vm;
            self.spaces += 1;
        }
        self.slots += 1;
        true
    }

    /// Whether half of the slots, and of the address spaces, are free when one more is taken.
    fn is_roomy(&self) -> bool {
        2 * (self.slots + 1) <= self.limits.slots && 2 * (self.spaces + 1) <= self.limits.spaces
    }

    /// Lets those stay for whom `f` holds, as far as there is room: of the more urgent ones all,
    /// then of the last to come.
    fn stay(&mut self, seats: &[Option<Seat>; MAX_SLOTS], f: impl Fn(&Seat) -> bool) {
        for class in MOST_URGENT_FIRST {
            // Each is later than none, and than those before it.
            let mut before = u64::MAX;
            loop {
                let next = seats
                    .iter()
                    .enumerate()
                    .filter_map(|(slot, seat)| Some((slot, seat.as_ref()?)))
                    .filter(|(slot, seat)| {
                        self.plan.stay & 1 << *slot == 0
                            && seat.class == class
                            && seat.since < before
                            && f(seat)
                    })
                    .max_by_key(|(_, seat)| seat.since);
                let Some((slot, seat)) = next else {
                    break;
                };
                before = seat.since;
                if self.take(seat.vm) {
                    self.plan.stay |= 1 << slot;
                }
            }
        }
    }

    /// Lets those stay that are [kept](Seat::kept), as long as that leaves enough for others.
    fn keep(&mut self, seats: &[Option<Seat>; MAX_SLOTS]) {
        for (slot, seat) in seats.iter().enumerate() {
            let kept = seat.as_ref().filter(|seat| seat.kept && !seat.busy);
            if let Some(seat) = kept.filter(|_| self.is_roomy()) {
                if self.take(seat.vm) {
                    self.plan.stay |= 1 << slot;
                }
            }
        }
    }

    /// Lets `waiting` come, in that order, as far as there is room.
    fn start(&mut self, waiting: impl Iterator<Item = Waiter<T>>) {
        for waiter in waiting {
            if self.is_full() {
                break;
            }
            if self.take(waiter.vm) {
                if let Some(place) = self.plan.start.get_mut(self.starts) {
                    *place = Some(waiter.id);
                    self.starts += 1;
                }
            }
        }
    }
}

/// Decides who is to be on the hardware.
///
/// `seats` are the groups that are there, by slot, no two with the same `since`; `waiting` those
/// that could be, by priority (the least urgent first), those who wait for the longest time first.
pub(super) fn pick<T, I: Iterator<Item = Waiter<T>>>(
    limits: Limits,
    occasion: Occasion,
    seats: &[Option<Seat>; MAX_SLOTS],
    waiting: [I; CLASSES],
) -> Plan<T> {
    let mut planner = Planner::new(limits);

    for (class, waiting) in MOST_URGENT_FIRST.into_iter().zip(waiting.into_iter().rev()) {
        let busy = |seat: &Seat| seat.busy && seat.class == class;
        match (occasion, class) {
            (Occasion::Tick, _) => {
                planner.start(waiting);
                planner.stay(seats, busy);
                if class == Priority::Realtime {
                    planner.keep(seats);
                }
            }
            (Occasion::Event, Priority::Realtime) => {
                planner.stay(seats, busy);
                planner.start(waiting);
                planner.keep(seats);
                planner.stay(seats, |seat| seat.busy);
            }
            (Occasion::Event, _) => planner.start(waiting),
        }
    }
    // Whoever does nothing may stay for as long as nobody else wants the slot.
    planner.stay(seats, |seat| !seat.busy);

    planner.plan
}

#[kunit_tests(magni_sched_pick)]
mod tests {
    use super::{
        super::numbers::Numbers,
        *, //
    };

    const NOBODY: [Option<Seat>; MAX_SLOTS] = [None; MAX_SLOTS];

    fn limits(slots: usize, spaces: usize) -> Limits {
        Limits { slots, spaces }
    }

    fn seat(class: Priority, vm: usize, busy: bool, since: u64) -> Option<Seat> {
        Some(Seat {
            class,
            vm,
            busy,
            kept: false,
            since,
        })
    }

    /// A realtime group that did something lately.
    fn kept(vm: usize, since: u64) -> Option<Seat> {
        let seat = seat(Priority::Realtime, vm, false, since)?;
        Some(Seat { kept: true, ..seat })
    }

    /// Lets groups wait, given as (class, number, VM).
    fn decide(
        limits: Limits,
        occasion: Occasion,
        seats: &[Option<Seat>; MAX_SLOTS],
        waiting: &[(Priority, u32, usize)],
    ) -> Plan<u32> {
        let of = |class: Priority| {
            waiting
                .iter()
                .filter(move |waiter| waiter.0 == class)
                .map(|(_, id, vm)| Waiter { id: *id, vm: *vm })
        };
        pick(
            limits,
            occasion,
            seats,
            [
                of(Priority::Low),
                of(Priority::Medium),
                of(Priority::High),
                of(Priority::Realtime),
            ],
        )
    }

    fn started(plan: &Plan<u32>) -> impl Iterator<Item = u32> + '_ {
        plan.start.iter().flatten().copied()
    }

    #[test]
    fn free_slots_are_filled_by_urgency() {
        let waiting = [
            (Priority::Low, 1, 1),
            (Priority::Medium, 2, 2),
            (Priority::Realtime, 3, 3),
            (Priority::High, 4, 4),
        ];
        for occasion in [Occasion::Event, Occasion::Tick] {
            let plan = decide(limits(3, 8), occasion, &NOBODY, &waiting);
            assert!(started(&plan).eq([3, 4, 2]));
        }
    }

    #[test]
    fn the_busy_keep_their_slots_between_ticks() {
        let mut seats = NOBODY;
        seats[0] = seat(Priority::Low, 1, true, 1);
        seats[1] = seat(Priority::Medium, 2, true, 2);
        let waiting = [(Priority::High, 7, 7), (Priority::Medium, 8, 8)];
        let plan = decide(limits(2, 8), Occasion::Event, &seats, &waiting);
        assert_eq!(plan.stay, 0b11);
        assert_eq!(started(&plan).count(), 0);

        // A tick lets the more urgent one in, and the one that waits for its equal's slot.
        let plan = decide(limits(2, 8), Occasion::Tick, &seats, &waiting);
        assert_eq!(plan.stay, 0);
        assert!(started(&plan).eq([7, 8]));
    }

    #[test]
    fn realtime_does_not_wait() {
        let mut seats = NOBODY;
        seats[0] = seat(Priority::Realtime, 1, true, 1);
        seats[1] = seat(Priority::High, 2, true, 2);
        seats[2] = seat(Priority::Low, 3, true, 3);
        seats[3] = seat(Priority::Low, 4, true, 4);
        let waiting = [(Priority::Realtime, 9, 9), (Priority::Medium, 8, 8)];
        let plan = decide(limits(4, 8), Occasion::Event, &seats, &waiting);
        // The least urgent goes that was there for the longest time.
        assert_eq!(plan.stay, 0b1011);
        assert!(started(&plan).eq([9]));

        // Its equals it waits for, until the next tick.
        seats[1] = seat(Priority::Realtime, 2, true, 2);
        seats[2] = seat(Priority::Realtime, 3, true, 3);
        seats[3] = seat(Priority::Realtime, 4, true, 4);
        let plan = decide(limits(4, 8), Occasion::Event, &seats, &waiting);
        assert_eq!(plan.stay, 0b1111);
        let plan = decide(limits(4, 8), Occasion::Tick, &seats, &waiting);
        assert_eq!(plan.stay, 0b1110);
        assert!(started(&plan).eq([9]));
    }

    #[test]
    fn the_idle_go_first() {
        let mut seats = NOBODY;
        seats[0] = seat(Priority::Medium, 1, true, 1);
        seats[1] = seat(Priority::High, 2, false, 2);
        seats[2] = seat(Priority::Low, 3, false, 3);
        let waiting = [(Priority::Low, 9, 9)];
        for occasion in [Occasion::Event, Occasion::Tick] {
            // There is room for all.
            let plan = decide(limits(4, 8), occasion, &seats, &waiting);
            assert_eq!(plan.stay, 0b111);
            assert!(started(&plan).eq([9]));
            // One has to go: the least urgent of the idle.
            let plan = decide(limits(3, 8), occasion, &seats, &waiting);
            assert_eq!(plan.stay, 0b011);
            assert!(started(&plan).eq([9]));
        }
    }

    #[test]
    fn realtime_groups_keep_their_slots_for_a_while() {
        let mut seats = NOBODY;
        seats[0] = kept(1, 1);
        seats[1] = seat(Priority::Low, 2, true, 2);
        seats[2] = seat(Priority::Low, 3, true, 3);
        seats[3] = seat(Priority::High, 4, false, 4);
        let waiting = [
            (Priority::Low, 7, 7),
            (Priority::Low, 8, 8),
            (Priority::Low, 9, 9),
        ];
        let plan = decide(limits(4, 8), Occasion::Event, &seats, &waiting);
        assert_eq!(plan.stay, 0b0111);
        assert!(started(&plan).eq([7]));
        let plan = decide(limits(4, 8), Occasion::Tick, &seats, &waiting);
        assert_eq!(plan.stay, 0b0001);
        assert!(started(&plan).eq([7, 8, 9]));

        // Those that have something to do come first.
        let realtime = [(Priority::Realtime, 5, 5), (Priority::Realtime, 6, 6)];
        let plan = decide(limits(4, 8), Occasion::Event, &seats, &realtime);
        assert!(started(&plan).eq([5, 6]));
        assert_eq!(plan.stay, 0b0110);

        // Others have at least half of what there is, however many are kept.
        seats[1] = kept(2, 2);
        seats[2] = kept(3, 3);
        seats[3] = kept(4, 4);
        for occasion in [Occasion::Event, Occasion::Tick] {
            let plan = decide(limits(4, 8), occasion, &seats, &waiting);
            assert_eq!(started(&plan).count(), 2);
            let plan = decide(limits(4, 2), occasion, &seats, &waiting);
            assert_eq!(started(&plan).count(), 1);
            let plan = decide(limits(4, 1), occasion, &seats, &waiting);
            assert_eq!(started(&plan).count(), 1);
        }
        seats = NOBODY;
        seats[0] = kept(1, 1);
        let plan = decide(limits(1, 1), Occasion::Event, &seats, &waiting);
        assert!(started(&plan).eq([7]));
    }

    #[test]
    fn nobody_goes_without_need() {
        let mut seats = NOBODY;
        for (slot, place) in seats.iter_mut().enumerate().take(8) {
            *place = seat(Priority::Medium, slot, slot % 2 == 0, slot as u64);
        }
        for occasion in [Occasion::Event, Occasion::Tick] {
            let plan = decide(limits(8, 8), occasion, &seats, &[]);
            assert_eq!(plan.stay, 0xff);
            assert_eq!(started(&plan).count(), 0);
        }
    }

    #[test]
    fn groups_of_a_vm_share_its_address_space() {
        // Four slots, two address spaces: of three VMs one has to wait, however many slots are
        // free.
        let waiting = [
            (Priority::Medium, 1, 10),
            (Priority::Medium, 2, 20),
            (Priority::Medium, 3, 30),
            (Priority::Medium, 4, 10),
            (Priority::Medium, 5, 20),
            (Priority::Medium, 6, 20),
        ];
        let plan = decide(limits(4, 2), Occasion::Event, &NOBODY, &waiting);
        assert!(started(&plan).eq([1, 2, 4, 5]));

        // An idle group gives its address space up although there is a slot.
        let mut seats = NOBODY;
        seats[0] = seat(Priority::High, 10, true, 1);
        seats[1] = seat(Priority::High, 20, false, 2);
        let waiting = [(Priority::Low, 1, 30)];
        let plan = decide(limits(4, 2), Occasion::Event, &seats, &waiting);
        assert_eq!(plan.stay, 0b01);
        assert!(started(&plan).eq([1]));
    }

    /// Runs `count` busy groups of one class for some ticks; returns the most ticks that one waited
    /// without a break.
    fn longest_wait(limits: Limits, count: usize, vm_of: impl Fn(usize) -> usize) -> Result<u32> {
        let mut seats = NOBODY;
        let mut who = [usize::MAX; MAX_SLOTS];
        let mut queue = KVec::with_capacity(count, GFP_KERNEL)?;
        for id in 0..count {
            queue.push((id, 0u32), GFP_KERNEL)?;
        }
        let mut clock = 0;
        let mut longest = 0;
        for _ in 0..3 * count {
            let plan = {
                let none = || [].iter().map(|(id, _): &(usize, u32)| *id);
                let all = queue.iter().map(|(id, _)| *id);
                let vms = |ids: &mut dyn Iterator<Item = usize>| -> KVec<Waiter<usize>> {
                    let mut list = KVec::new();
                    for id in ids {
                        let vm = vm_of(id);
                        // Counted below: what is lost here never gets a slot.
                        let _ = list.push(Waiter { id, vm }, GFP_KERNEL);
                    }
                    list
                };
                let [low, medium, high, realtime] = [
                    vms(&mut none()),
                    vms(&mut { all }),
                    vms(&mut none()),
                    vms(&mut none()),
                ];
                pick(
                    limits,
                    Occasion::Tick,
                    &seats,
                    [
                        low.into_iter(),
                        medium.into_iter(),
                        high.into_iter(),
                        realtime.into_iter(),
                    ],
                )
            };
            let mut gone = KVec::new();
            for slot in 0..MAX_SLOTS {
                if seats[slot].is_some() && plan.stay & 1 << slot == 0 {
                    seats[slot] = None;
                    gone.push((who[slot], 0), GFP_KERNEL)?;
                }
            }
            for id in plan.start.iter().flatten() {
                let slot = seats.iter().position(Option::is_none).ok_or(EINVAL)?;
                clock += 1;
                seats[slot] = seat(Priority::Medium, vm_of(*id), true, clock);
                who[slot] = *id;
            }
            let mut rest = KVec::with_capacity(count, GFP_KERNEL)?;
            for (id, waited) in queue {
                if !plan.start.iter().flatten().any(|started| *started == id) {
                    longest = longest.max(waited + 1);
                    rest.push((id, waited + 1), GFP_KERNEL)?;
                }
            }
            for item in gone {
                rest.push(item, GFP_KERNEL)?;
            }
            queue = rest;
            let seated = seats.iter().flatten().count();
            assert_eq!(seated + queue.len(), count);
            assert!(seated <= limits.slots);
        }
        Ok(longest)
    }

    #[test]
    fn nobody_waits_longer_than_it_takes_to_serve_all() -> Result {
        for slots in [1, 2, 3, 8, MAX_SLOTS] {
            for count in [1, slots, slots + 1, 2 * slots - 1, 2 * slots, 3 * slots + 1] {
                let bound = count.div_ceil(slots) as u32;
                let own = longest_wait(limits(slots, MAX_SLOTS), count, |id| id)?;
                assert!(own <= bound);
                let shared = longest_wait(limits(slots, 1), count, |_| 0)?;
                assert!(shared <= bound);
            }
        }
        Ok(())
    }

    #[test]
    fn nobody_waits_longer_with_few_address_spaces() -> Result {
        let mut numbers = Numbers(7);
        for _ in 0..10 {
            let slots = 1 + numbers.below(MAX_SLOTS as u64) as usize;
            let spaces = 1 + numbers.below(slots as u64) as usize;
            let count = 1 + numbers.below(3 * slots as u64) as usize;
            // Each in a VM of its own: there are as many places as address spaces.
            let longest = longest_wait(limits(slots, spaces), count, |id| id)?;
            assert!(longest <= count.div_ceil(spaces) as u32);
        }
        Ok(())
    }

    #[test]
    fn plans_are_sound() {
        let mut numbers = Numbers(1);
        let classes = MOST_URGENT_FIRST;
        for _ in 0..200 {
            let slots = 1 + numbers.below(MAX_SLOTS as u64) as usize;
            let spaces = 1 + numbers.below(MAX_SLOTS as u64) as usize;
            let mut seats = NOBODY;
            let mut vms_there = 0u64;
            for (slot, place) in seats.iter_mut().enumerate().take(slots) {
                let vm = numbers.below(20) as usize;
                let vms = vms_there | 1 << vm;
                if numbers.below(3) > 0 && vms.count_ones() as usize <= spaces {
                    vms_there = vms;
                    let class = classes[numbers.below(4) as usize];
                    *place = seat(class, vm, numbers.below(3) > 0, slot as u64);
                    if let Some(seat) = place {
                        seat.kept = class == Priority::Realtime && numbers.below(2) > 0;
                    }
                }
            }
            let mut waiting = [(Priority::Low, 0, 0); 24];
            for (id, waiter) in waiting.iter_mut().enumerate() {
                let class = classes[numbers.below(4) as usize];
                *waiter = (class, id as u32, numbers.below(20) as usize);
            }
            let count = numbers.below(25) as usize;
            let waiting = &waiting[..count];
            for occasion in [Occasion::Event, Occasion::Tick] {
                let plan = decide(limits(slots, spaces), occasion, &seats, waiting);

                // Within the limits, nobody twice, and no more than there are.
                let mut vms = 0u64;
                let mut taken = 0;
                for (slot, place) in seats.iter().enumerate() {
                    if plan.stay & 1 << slot != 0 {
                        let Some(seat) = place else {
                            return assert!(false);
                        };
                        vms |= 1 << seat.vm;
                        taken += 1;
                    }
                }
                let mut ids = 0u64;
                for id in started(&plan) {
                    assert_eq!(ids & 1 << id, 0);
                    ids |= 1 << id;
                    vms |= 1 << waiting[id as usize].2;
                    taken += 1;
                }
                assert!(taken <= slots);
                assert!(vms.count_ones() as usize <= spaces);

                // Whoever waits on does so because there is no slot, or no address space.
                let mut left = waiting.iter().filter(|(_, id, _)| ids & 1 << *id == 0);
                assert!(left.all(|(_, _, vm)| {
                    taken == slots || vms & 1 << *vm == 0 && vms.count_ones() as usize == spaces
                }));

                // Between ticks the busy stay, unless realtime groups come.
                let realtime = started(&plan)
                    .filter(|id| waiting[*id as usize].0 == Priority::Realtime)
                    .count();
                let put_off = seats
                    .iter()
                    .enumerate()
                    .filter(|(slot, _)| plan.stay & 1 << *slot == 0)
                    .filter(|(_, seat)| seat.is_some_and(|seat| seat.busy))
                    .count();
                if occasion == Occasion::Event && realtime == 0 {
                    assert_eq!(put_off, 0);
                }
            }
        }
    }
}
