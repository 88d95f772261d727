// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Allocation of GPU addresses for the kernel's own buffers.

use core::ops::Range;
use kernel::prelude::*;

/// A range of addresses and what of it is taken.
pub(crate) struct VaSpace {
    range: Range<u64>,
    /// Disjoint, in ascending order.
    taken: KVec<Range<u64>>,
}

impl VaSpace {
    /// All of `range` is free.
    pub(crate) const fn new(range: Range<u64>) -> Self {
        Self {
            range,
            taken: KVec::new(),
        }
    }

    /// Takes the lowest free `size` bytes that start at a multiple of `align`, a power of two.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if there are none, `ENOMEM` without memory to note them.
    pub(crate) fn take(&mut self, size: u64, align: u64) -> Result<u64> {
        let mut at = self
            .range
            .start
            .checked_next_multiple_of(align)
            .ok_or(ENOSPC)?;
        let mut index = 0;

        for taken in &self.taken {
            if taken.start.checked_sub(at).is_some_and(|gap| gap >= size) {
                break;
            }
            at = taken
                .end
                .checked_next_multiple_of(align)
                .ok_or(ENOSPC)?
                .max(at);
            index += 1;
        }

        let end = at.checked_add(size).ok_or(ENOSPC)?;
        if size == 0 || end > self.range.end {
            return Err(ENOSPC);
        }
        self.insert(index, at..end)?;

        Ok(at)
    }

    /// Takes `size` bytes at `start`. Outside of the range there is nothing to take.
    ///
    /// # Errors
    ///
    /// `EINVAL` if some of them are taken, `ENOMEM` without memory to note them.
    pub(crate) fn take_at(&mut self, start: u64, size: u64) -> Result<u64> {
        let end = start.checked_add(size).ok_or(EINVAL)?;

        if start < self.range.end && end > self.range.start {
            let index = self
                .taken
                .iter()
                .take_while(|taken| taken.end <= start)
                .count();
            if self.taken.get(index).is_some_and(|next| next.start < end) {
                return Err(EINVAL);
            }
            self.insert(index, start..end)?;
        }

        Ok(start)
    }

    fn insert(&mut self, index: usize, range: Range<u64>) -> Result {
        self.taken.reserve(1, GFP_KERNEL)?;
        self.taken
            .insert_within_capacity(index, range)
            .map_err(|_| ENOMEM)
    }

    /// Gives back what [`take`](Self::take) returned.
    pub(crate) fn give(&mut self, start: u64) {
        if let Ok(index) = self.taken.binary_search_by_key(&start, |taken| taken.start) {
            // The index was just found.
            let _ = self.taken.remove(index);
        }
    }
}

#[kunit_tests(magni_va_space)]
mod tests {
    use super::*;

    #[test]
    fn lowest_gap_first() -> Result {
        let mut space = VaSpace::new(0x1000..0x10000);
        assert_eq!(space.take(0x1000, 0x1000)?, 0x1000);
        assert_eq!(space.take(0x2000, 0x1000)?, 0x2000);
        assert_eq!(space.take(0x1000, 0x1000)?, 0x4000);
        space.give(0x2000);
        assert_eq!(space.take(0x1000, 0x1000)?, 0x2000);
        assert_eq!(space.take(0x2000, 0x1000)?, 0x5000);
        assert_eq!(space.take(0x1000, 0x1000)?, 0x3000);
        Ok(())
    }

    #[test]
    fn fixed_places() -> Result {
        let mut space = VaSpace::new(0x4000..0x8000);
        assert_eq!(space.take_at(0x1000, 0x1000)?, 0x1000);
        assert_eq!(space.take_at(0x5000, 0x1000)?, 0x5000);
        assert_eq!(space.take_at(0x5000, 0x1000).err(), Some(EINVAL));
        assert_eq!(space.take_at(0x4000, 0x2000).err(), Some(EINVAL));
        assert_eq!(space.take(0x1000, 0x1000)?, 0x4000);
        assert_eq!(space.take(0x1000, 0x1000)?, 0x6000);
        Ok(())
    }

    #[test]
    fn alignment_and_end() -> Result {
        let mut space = VaSpace::new(0x1000..0x8000);
        assert_eq!(space.take(0x1000, 0x4000)?, 0x4000);
        assert_eq!(space.take(0x3000, 0x1000)?, 0x1000);
        assert_eq!(space.take(0x3000, 0x1000)?, 0x5000);
        assert_eq!(space.take(0x1000, 0x1000).err(), Some(ENOSPC));
        assert_eq!(space.take(u64::MAX, 0x1000).err(), Some(ENOSPC));
        assert_eq!(space.take(0, 0x1000).err(), Some(ENOSPC));
        Ok(())
    }
}
