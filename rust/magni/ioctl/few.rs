// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Things of which there is hardly ever more than one.
//!
//! Most submissions are one job with one sync operation. What is kept for each of them takes no
//! memory of its own then.

use kernel::{
    alloc::Flags,
    prelude::*, //
};

/// A list whose first item needs no allocation.
///
/// # Invariants
///
/// `rest` is empty if `first` is.
pub(crate) struct Few<T> {
    first: Option<T>,
    rest: KVVec<T>,
}

impl<T> Few<T> {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self {
            first: None,
            rest: KVVec::new(),
        }
    }

    /// An empty list with room for `capacity` items.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn with_capacity(capacity: usize) -> Result<Self> {
        Ok(Self {
            first: None,
            rest: KVVec::with_capacity(capacity.saturating_sub(1), GFP_KERNEL)?,
        })
    }

    /// `first`, and `rest` after it.
    pub(crate) fn from_parts(first: T, rest: KVVec<T>) -> Self {
        Self {
            first: Some(first),
            rest,
        }
    }

    /// Adds an item at the end.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn push(&mut self, item: T, flags: Flags) -> Result {
        match self.first {
            None => self.first = Some(item),
            Some(_) => self.rest.push(item, flags)?,
        }
        Ok(())
    }

    /// Adds an item at the end, without an allocation; returns it if there is no room.
    pub(crate) fn push_within_capacity(&mut self, item: T) -> Result<(), T> {
        match self.first {
            None => self.first = Some(item),
            Some(_) if self.rest.len() == self.rest.capacity() => return Err(item),
            // There is room.
            Some(_) => drop(self.rest.push_within_capacity(item)),
        }
        Ok(())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    /// Item number `index`.
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        match index.checked_sub(1) {
            None => self.first.as_ref(),
            Some(index) => self.rest.get(index),
        }
    }

    /// The items in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        Iterator::chain(self.first.iter(), self.rest.iter())
    }

    /// The items in order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        Iterator::chain(self.first.iter_mut(), self.rest.iter_mut())
    }

    /// The items themselves, in order.
    pub(crate) fn into_items(self) -> impl Iterator<Item = T> {
        Iterator::chain(self.first.into_iter(), self.rest)
    }
}

#[kunit_tests(magni_ioctl_few)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept() -> Result {
        let mut few = Few::with_capacity(3)?;
        assert_eq!(few.len(), 0);
        for item in 0..3 {
            assert_eq!(few.push_within_capacity(item), Ok(()));
        }
        few.push(3, GFP_KERNEL)?;
        assert_eq!(few.len(), 4);
        assert!(few.iter().copied().eq(0..4));
        for item in few.iter_mut() {
            *item += 1;
        }
        assert_eq!(few.get(0), Some(&1));
        assert_eq!(few.get(3), Some(&4));
        assert_eq!(few.get(4), None);
        assert!(few.into_items().eq(1..5));
        Ok(())
    }

    #[test]
    fn one_item_needs_no_room() -> Result {
        let mut few = Few::new();
        assert_eq!(few.push_within_capacity(7), Ok(()));
        assert_eq!(few.push_within_capacity(8), Err(8));
        assert!(few.into_items().eq(7..8));
        assert!(Few::from_parts(1, KVVec::new()).iter().copied().eq(1..2));
        Ok(())
    }
}
