// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A queue whose memory is allocated beforehand, by somebody else.

use kernel::prelude::*;

/// Memory for the items of a [`Fifo`].
pub(crate) struct Room<T>(KVVec<Option<T>>);

impl<T> Room<T> {
    /// Room for `capacity` items.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(capacity: usize) -> Result<Self> {
        let mut places = KVVec::with_capacity(capacity, GFP_KERNEL)?;
        for _ in 0..capacity {
            places.push(None, GFP_KERNEL)?;
        }
        Ok(Self(places))
    }
}

/// First in, first out, never more than there is room for.
///
/// # Invariants
///
/// The `len` places from `head` on, wrapping at the end, are occupied, and no others.
pub(crate) struct Fifo<T> {
    places: KVVec<Option<T>>,
    head: usize,
    len: usize,
}

impl<T> Fifo<T> {
    /// A queue without room.
    pub(crate) fn new() -> Self {
        // INVARIANT: There is no place.
        Self {
            places: KVVec::new(),
            head: 0,
            len: 0,
        }
    }

    /// How many items there is room for.
    pub(crate) fn capacity(&self) -> usize {
        self.places.len()
    }

    /// Moves to `room`, if that is larger; returns what is not used any more, to be freed without
    /// locks. Allocates nothing.
    pub(crate) fn move_to(&mut self, room: Room<T>) -> Room<T> {
        let Room(mut places) = room;
        if places.len() <= self.places.len() {
            return Room(places);
        }
        let mut len = 0;
        for place in &mut places {
            *place = self.pop();
            len += usize::from(place.is_some());
        }
        // INVARIANT: The items are in the first places; there are more than there were items.
        self.head = 0;
        self.len = len;
        Room(core::mem::replace(&mut self.places, places))
    }

    /// Whether nothing is in the queue.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The place of item `index`.
    fn place(&self, index: usize) -> usize {
        (self.head + index) % self.places.len()
    }

    /// Adds an item at the end, or returns it when there is no room.
    pub(crate) fn push(&mut self, item: T) -> Result<(), T> {
        if self.len == self.places.len() {
            return Err(item);
        }
        let place = self.place(self.len);
        match self.places.get_mut(place) {
            Some(slot) => *slot = Some(item),
            None => return Err(item),
        }
        // INVARIANT: The place after the last one is occupied now.
        self.len += 1;
        Ok(())
    }

    /// The oldest item.
    pub(crate) fn front(&self) -> Option<&T> {
        self.places.get(self.head)?.as_ref()
    }

    /// Takes the oldest item.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let item = self.places.get_mut(self.head)?.take()?;
        // INVARIANT: The first place is free now.
        self.head = self.place(1);
        self.len -= 1;
        Some(item)
    }

    /// The first item, from the oldest on, for which `f` holds.
    pub(crate) fn find_mut(&mut self, mut f: impl FnMut(&T) -> bool) -> Option<&mut T> {
        let head = self.head.min(self.places.len());
        let (wrapped, straight) = self.places.split_at_mut(head);
        Iterator::chain(straight.iter_mut(), wrapped)
            .take(self.len)
            .flatten()
            .find(|item| f(item))
    }
}

#[kunit_tests(magni_sched_fifo)]
mod tests {
    use super::*;

    fn with_room<T>(capacity: usize) -> Result<Fifo<T>> {
        let mut fifo = Fifo::new();
        drop(fifo.move_to(Room::new(capacity)?));
        Ok(fifo)
    }

    #[test]
    fn order_is_kept_around_the_end() -> Result {
        let mut fifo = with_room(3)?;
        for round in 0..7 {
            assert!(fifo.push(round).is_ok());
            assert!(fifo.push(round + 100).is_ok());
            assert_eq!(fifo.front(), Some(&round));
            assert_eq!(fifo.pop(), Some(round));
            assert_eq!(fifo.pop(), Some(round + 100));
            assert!(fifo.is_empty());
        }
        assert_eq!(fifo.pop(), None);
        Ok(())
    }

    #[test]
    fn a_full_queue_gives_the_item_back() -> Result {
        let mut fifo = with_room(2)?;
        assert!(fifo.push(1).is_ok());
        assert!(fifo.push(2).is_ok());
        assert_eq!(fifo.push(3), Err(3));
        Ok(())
    }

    #[test]
    fn search_starts_with_the_oldest() -> Result {
        let mut fifo = with_room(3)?;
        for item in [1, 2, 3] {
            assert!(fifo.push(item).is_ok());
        }
        assert_eq!(fifo.pop(), Some(1));
        assert!(fifo.push(4).is_ok());
        assert_eq!(fifo.find_mut(|item| *item > 2), Some(&mut 3));
        assert_eq!(fifo.find_mut(|item| *item == 4), Some(&mut 4));
        assert_eq!(fifo.find_mut(|item| *item == 1), None);
        Ok(())
    }

    #[test]
    fn no_capacity_is_no_trouble() {
        let mut fifo = Fifo::new();
        assert_eq!(fifo.push(1), Err(1));
        assert_eq!(fifo.pop(), None);
    }

    #[test]
    fn items_move_in_order() -> Result {
        let mut fifo = with_room(2)?;
        assert!(fifo.push(0).is_ok());
        assert_eq!(fifo.pop(), Some(0));
        // These wrap.
        assert!(fifo.push(1).is_ok());
        assert!(fifo.push(2).is_ok());
        let old = fifo.move_to(Room::new(4)?);
        assert!(old.0.iter().all(Option::is_none));
        assert_eq!(fifo.capacity(), 4);
        assert!(fifo.push(3).is_ok());
        assert!(fifo.push(4).is_ok());
        assert_eq!(fifo.push(5), Err(5));
        // It does not shrink.
        drop(fifo.move_to(Room::new(1)?));
        assert_eq!(fifo.capacity(), 4);
        for item in [1, 2, 3, 4] {
            assert_eq!(fifo.pop(), Some(item));
        }
        assert!(fifo.is_empty());
        Ok(())
    }
}
