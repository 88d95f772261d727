// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Translations that an address space has used since they were last dropped.
//!
//! The model never translates by them: they only show that the driver changed a
//! translation without telling the hardware, which would go on using the old one.

use std::ops::RangeInclusive;

use super::walk::{Leaf, PAGE_SHIFT};

const SLOTS: usize = 512;

/// Direct-mapped store of used translations.
#[derive(Clone, Debug)]
pub struct Tlb {
    slots: Vec<Option<(u64, Leaf)>>,
}

impl Default for Tlb {
    fn default() -> Self {
        Self {
            slots: vec![None; SLOTS],
        }
    }
}

impl Tlb {
    /// The translation of `va`'s page that was last used, if it is still known.
    pub fn find(&self, va: u64) -> Option<Leaf> {
        let page = va >> PAGE_SHIFT;
        match self.slots[page as usize % SLOTS] {
            Some((known, leaf)) if known == page => Some(leaf),
            _ => None,
        }
    }

    /// Remembers the translation of `va`'s page.
    pub fn insert(&mut self, va: u64, leaf: Leaf) {
        let page = va >> PAGE_SHIFT;
        self.slots[page as usize % SLOTS] = Some((page, leaf));
    }

    /// Forgets the translation of `va`'s page.
    pub fn forget(&mut self, va: u64) {
        self.slots[(va >> PAGE_SHIFT) as usize % SLOTS] = None;
    }

    /// Forgets the translations of a range of addresses.
    pub fn invalidate(&mut self, range: RangeInclusive<u64>) {
        let pages = range.start() >> PAGE_SHIFT..=range.end() >> PAGE_SHIFT;
        for slot in &mut self.slots {
            if slot.is_some_and(|(page, _)| pages.contains(&page)) {
                *slot = None;
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots.fill(None);
    }
}
