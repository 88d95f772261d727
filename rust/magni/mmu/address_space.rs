// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What an address-space slot is programmed with.

use super::tree::Tree;
use crate::regs::mmu::{
    attributes,
    config, //
};
use core::ops::Range;
use kernel::{
    drm::gpuvm::GpuVm,
    new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            ordering,
            AtomicFlag, //
        },
        SpinLock, //
    },
};

/// The hardware's view of a VM.
#[pin_data]
pub(super) struct AddressSpace {
    /// Address of the root page table.
    pub(super) translation_table: u64,
    /// Translation configuration.
    pub(super) config: u64,
    /// Memory attributes, a byte per index.
    pub(super) attributes: u64,
    /// The region that is being changed, which the hardware keeps its accesses out of. Written
    /// with the slots locked.
    #[pin]
    pub(super) update: SpinLock<Option<Range<u64>>>,
    /// An access faulted since the VM was last made active.
    faulted: AtomicFlag,
    /// Keeps the page table for as long as a slot may hold it.
    _tables: ARef<GpuVm<Tree>>,
}

impl AddressSpace {
    /// Returns an initialiser for the space with page tables at `root`, whose entries index the
    /// attributes `mair` of the CPU architecture.
    pub(super) fn new(
        root: u64,
        mair: u64,
        va_bits: u32,
        coherent: bool,
        tables: ARef<GpuVm<Tree>>,
    ) -> impl PinInit<Self> {
        let mut bits = config::MODE_AARCH64_4K
            | config::WALK_WRITE_BACK
            | config::WALK_READ_ALLOCATE
            | config::input_bits(va_bits);
        if coherent {
            bits |= config::WALK_OUTER_SHAREABLE;
        }

        pin_init!(Self {
            translation_table: root,
            config: bits,
            attributes: from_mair(mair, coherent),
            update <- new_spinlock!(None),
            faulted: AtomicFlag::new(false),
            _tables: tables,
        })
    }

    pub(super) fn set_faulted(&self, faulted: bool) {
        self.faulted.store(faulted, ordering::Release);
    }

    pub(super) fn has_faulted(&self) -> bool {
        self.faulted.load(ordering::Acquire)
    }
}

/// Translates the CPU's memory attributes to the GPU's, a byte for each index.
///
/// The GPU caches what is write-back cacheable in both domains; everything else, device memory
/// included, is not cached. On a system without coherency "inner shareable" has to mean the GPU's
/// own domain: the CPU's cannot be used for write-back memory there.
fn from_mair(mair: u64, coherent: bool) -> u64 {
    let bytes = mair.to_le_bytes().map(|attribute| {
        let (outer, inner) = (attribute >> 4, attribute & 0xf);
        let write_back = outer & 0b100 != 0 && outer & 0b11 != 0 && inner & 0b100 != 0;

        if !write_back {
            return attributes::NON_CACHEABLE;
        }

        let mut bits = attributes::WRITE_BACK;
        if inner & 0b01 != 0 {
            bits |= attributes::WRITE_ALLOCATE;
        }
        if inner & 0b10 != 0 {
            bits |= attributes::READ_ALLOCATE;
        }
        if coherent {
            bits |= attributes::SHARED_WITH_CPU;
        }

        bits
    });

    u64::from_le_bytes(bytes)
}

#[kunit_tests(magni_address_space)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_the_kernels_indices() {
        // Index 0 not cached (0x44), 1 write-back (0xff), 2 device (0x04), 3 write-back with
        // another inner policy (0xf4).
        let mair = 0xf404_ff44;
        let memory = from_mair(mair, false).to_le_bytes();
        assert_eq!(memory[0], 0x4c);
        assert_eq!(memory[1], 0x8f);
        assert_eq!(memory[2], 0x4c);
        assert_eq!(memory[3], 0x8c);
        assert_eq!(from_mair(mair, true).to_le_bytes()[1], 0x9f);
    }
}
