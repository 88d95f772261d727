// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Page tables that end with the device's binding.
//!
//! An [`IoPageTable`] may not outlive the binding of its device, but the objects that own page
//! tables (a GPU's address spaces, kept alive by open files) do. [`PageTable`] frees the table at
//! unbind at the latest, maps ranges of any size, and needs exclusive access for every change.

use crate::{
    device::{
        Bound,
        Device, //
    },
    devres::DevresLt,
    io::PhysAddr,
    iommu::pgtable::{
        Config,
        IoPageTable,
        ARM64LPAES1, //
    },
    prelude::*,
    sizes::{
        SZ_1G,
        SZ_2M,
        SZ_4K, //
    },
    types::{
        CovariantForLt,
        ForLt, //
    },
};
use core::ops::Range;

const PAGE: u64 = SZ_4K as u64;
const BLOCK: u64 = SZ_2M as u64;
const TABLE: u64 = SZ_1G as u64;

struct Table<'a>(IoPageTable<'a, ARM64LPAES1>);

impl ForLt for Table<'static> {
    type Of<'a> = Table<'a>;
}

// SAFETY: `IoPageTable` holds its lifetime in a `PhantomData<&'a Device<Bound>>` alone, which is
// covariant.
unsafe impl CovariantForLt for Table<'static> {}

/// An `ARM_64_LPAE_S1` page table with 4 KiB pages and 2 MiB blocks.
///
/// After the device was unbound the table is gone: nothing can be mapped any more, and unmapping
/// does nothing.
pub struct PageTable {
    table: DevresLt<Table<'static>>,
    root: u64,
    attributes: u64,
}

impl PageTable {
    /// Creates an empty page table for `input_bits` of virtual and `output_bits` of physical
    /// address; `coherent` says that the walker sees the CPU's caches.
    pub fn new(
        dev: &Device<Bound>,
        input_bits: u32,
        output_bits: u32,
        coherent: bool,
    ) -> Result<Self> {
        let table = IoPageTable::<ARM64LPAES1>::new(
            dev,
            Config {
                quirks: 0,
                pgsize_bitmap: SZ_4K | SZ_2M,
                ias: input_bits,
                oas: output_bits,
                coherent_walk: coherent,
            },
        )?;

        // SAFETY: The address is only handed on by `root()`, with the same rule.
        let root = unsafe { table.ttbr() };
        let attributes = table.mair();

        // SAFETY: An `IoPageTable` is valid for the whole time that its device is bound.
        let table = unsafe { DevresLt::new(dev, Table(table))? };

        Ok(Self {
            table,
            root,
            attributes,
        })
    }

    /// The physical address of the root table.
    ///
    /// # Safety
    ///
    /// Whoever gives it to a device takes it away again before the `PageTable` is dropped and
    /// before the device is unbound.
    pub unsafe fn root(&self) -> u64 {
        self.root
    }

    /// The memory attributes (MAIR) that the table's entries index.
    pub fn attributes(&self) -> u64 {
        self.attributes
    }

    /// Maps `len` bytes of physical memory at `pa` to `va`, with `prot` as in
    /// [`pgtable::prot`](crate::iommu::pgtable::prot). On failure nothing is mapped.
    ///
    /// `va`, `pa` and `len` are multiples of 4 KiB. Allocates with `GFP_KERNEL`.
    ///
    /// # Safety
    ///
    /// * Nothing is mapped in the range.
    /// * The device does not access the range from before it was last unmapped until this returns
    ///   and what it knows of the page table has been flushed: a table that has become empty is
    ///   freed when a block takes its place.
    /// * The memory belongs to the caller and stays allocated until it has been unmapped again, or
    ///   the device stopped using the page table.
    pub unsafe fn map(
        &mut self,
        dev: &Device<Bound>,
        va: u64,
        pa: PhysAddr,
        len: u64,
        prot: u32,
    ) -> Result {
        let end = va.checked_add(len).ok_or(EINVAL)?;
        pa.checked_add(len).ok_or(EINVAL)?;
        // Nothing fails below without the undo: the device is bound.
        let table = self.table.access(dev)?;
        let mut at = va;

        while at < end {
            let pa = pa + (at - va);
            let (size, count) = run(at | pa, end - at);

            // SAFETY: `&mut self` excludes other operations on this table. By this function's
            // contract nothing is mapped there, a table that a block replaces is not in use, and
            // the memory stays.
            let (mapped, result) = unsafe {
                table.0.map_pages(
                    at as usize,
                    pa,
                    size as usize,
                    count as usize,
                    prot,
                    GFP_KERNEL,
                )
            };

            at += mapped as u64;
            if mapped == 0 || result.is_err() {
                self.unmap(va..at);
                return Err(result.err().unwrap_or(ENOMEM));
            }
        }

        Ok(())
    }

    /// Removes the mappings of `range`, all of which is mapped; returns how many bytes were.
    ///
    /// A part of a 2 MiB block cannot be removed: see [`block_range`].
    pub fn unmap(&mut self, range: Range<u64>) -> u64 {
        let mut at = range.start;

        while at < range.end {
            let (size, count) = run(at, range.end - at);

            // Once for each run, at most 1 GiB: unbinding the device waits for it.
            let unmapped = self.table.try_access_with(|table| {
                // SAFETY: `&mut self` excludes other operations on this table. What is not mapped
                // is reported as such by the format and changes nothing.
                unsafe {
                    table
                        .0
                        .unmap_pages(at as usize, size as usize, count as usize)
                }
            });
            match unmapped {
                // The table is gone, and all that was mapped with it.
                None => return range.end - range.start,
                Some(0) => break,
                Some(bytes) => at += bytes as u64,
            }
        }

        at - range.start
    }
}

/// The largest run of equal pages that one call can handle at `address` for `len` bytes: their
/// size and number.
///
/// A call stays inside one table, so a run ends at the next boundary of the next level.
fn run(address: u64, len: u64) -> (u64, u64) {
    let to_block = address.next_multiple_of(BLOCK) - address;

    if to_block != 0 || len < BLOCK {
        let bytes = if to_block == 0 {
            len
        } else {
            len.min(to_block)
        };
        return (PAGE, bytes / PAGE);
    }

    let to_table = match address.next_multiple_of(TABLE) - address {
        0 => TABLE,
        rest => rest,
    };

    (BLOCK, len.min(to_table) / BLOCK)
}

/// `range` widened to whole 2 MiB blocks, as far as `mapped` (which contains it) reaches.
///
/// This is what has to be unmapped, and mapped again outside of `range`, to remove `range` from a
/// mapping whose blocks may be in use.
pub fn block_range(range: &Range<u64>, mapped: &Range<u64>) -> Range<u64> {
    let start = range.start - range.start % BLOCK;
    let end = range.end.checked_next_multiple_of(BLOCK);

    Range {
        start: if start >= mapped.start {
            start
        } else {
            range.start
        },
        end: match end {
            Some(end) if end <= mapped.end => end,
            _ => range.end,
        },
    }
}

#[kunit_tests(magni_devres_pgtable)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_at_the_next_table() {
        assert_eq!(run(0x1000, 0x3000), (PAGE, 3));
        assert_eq!(run(BLOCK - PAGE, BLOCK), (PAGE, 1));
        assert_eq!(run(BLOCK, BLOCK), (BLOCK, 1));
        assert_eq!(run(BLOCK, BLOCK - PAGE), (PAGE, 511));
        assert_eq!(run(TABLE - BLOCK, 4 * BLOCK), (BLOCK, 1));
        assert_eq!(run(0, 2 * TABLE), (BLOCK, 512));
    }

    #[test]
    fn blocks_are_whole_only_where_mapped() {
        let mapped = 0..4 * BLOCK;
        assert_eq!(block_range(&(PAGE..2 * PAGE), &mapped), 0..BLOCK);
        assert_eq!(block_range(&(BLOCK..2 * BLOCK), &mapped), BLOCK..2 * BLOCK);

        let mapped = PAGE..BLOCK + PAGE;
        assert_eq!(block_range(&(2 * PAGE..3 * PAGE), &mapped), 2 * PAGE..BLOCK);
        assert_eq!(
            block_range(&(BLOCK..BLOCK + PAGE), &mapped),
            BLOCK..BLOCK + PAGE
        );
    }
}
