// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The guest's memory, as far as the device may reach it.

use std::fs::File;
use std::sync::atomic::{fence, Ordering};
use std::sync::Arc;

use vm_memory::{
    Bytes, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
    GuestRegionMmap, MmapRegion,
};

/// Physical memory as the MMU sees it.
pub trait PhysMemory {
    /// Fills `buf` from physical address `pa`; false when not all of it is memory.
    fn read(&self, pa: u64, buf: &mut [u8]) -> bool;

    /// The little-endian 64-bit word at `pa`, read in one access.
    fn read_u64(&self, pa: u64) -> Option<u64> {
        let mut word = [0; 8];
        self.read(pa, &mut word).then(|| u64::from_le_bytes(word))
    }
}

/// Guest memory, shared with the guest through its file.
///
/// Naturally aligned accesses of up to 8 bytes are single copies, so the words
/// that driver and firmware share never tear.
#[derive(Default)]
pub struct GuestRam {
    memory: GuestMemoryMmap,
}

impl GuestRam {
    /// Makes `size` bytes of `file`, from `offset` on, visible at `pa`.
    ///
    /// # Errors
    ///
    /// If the file cannot be mapped, or if the range overlaps an older one.
    pub fn map(&mut self, pa: u64, size: u64, file: File, offset: u64) -> std::io::Result<()> {
        let failed =
            |what: String| std::io::Error::other(format!("guest memory at {pa:#x}: {what}"));
        let size = usize::try_from(size).map_err(|e| failed(e.to_string()))?;
        let region = MmapRegion::from_file(FileOffset::new(file, offset), size)
            .map_err(|e| failed(e.to_string()))?;
        let region = GuestRegionMmap::new(region, GuestAddress(pa))
            .ok_or_else(|| failed("the range leaves the address space".into()))?;
        self.memory = self
            .memory
            .insert_region(Arc::new(region))
            .map_err(|e| failed(e.to_string()))?;
        Ok(())
    }

    /// Stores `data` at physical address `pa`; false when not all of it is memory.
    pub fn write(&self, pa: u64, data: &[u8]) -> bool {
        fence(Ordering::Release);
        let done = self.memory.write_slice(data, GuestAddress(pa)).is_ok();
        // The firmware's protocol needs a store to be visible before the next load.
        fence(Ordering::SeqCst);
        done
    }

    /// Takes every range back that lies within `size` bytes from `pa` on.
    pub fn unmap(&mut self, pa: u64, size: u64) {
        let inside: Vec<(GuestAddress, u64)> = self
            .memory
            .iter()
            .map(|region| (region.start_addr(), region.len()))
            .filter(|(start, len)| {
                start.0 >= pa && start.0 - pa <= size && *len <= size - (start.0 - pa)
            })
            .collect();
        for (start, len) in inside {
            if let Ok((memory, _)) = self.memory.remove_region(start, len) {
                self.memory = memory;
            }
        }
    }
}

impl PhysMemory for GuestRam {
    fn read(&self, pa: u64, buf: &mut [u8]) -> bool {
        let done = self.memory.read_slice(buf, GuestAddress(pa)).is_ok();
        fence(Ordering::Acquire);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shared_through_the_file_and_ends_where_it_ends() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(0x3000).unwrap();
        let mut ram = GuestRam::default();
        ram.map(0x4000_0000, 0x2000, file.try_clone().unwrap(), 0x1000)
            .unwrap();
        assert!(ram.write(0x4000_0ffe, &[1, 2, 3, 4]));
        let mut word = [0; 4];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut word, 0x1ffe).unwrap();
        assert_eq!(word, [1, 2, 3, 4]);

        assert!(!ram.write(0x4000_1ffe, &[0; 4]), "across the end");
        assert!(!ram.read(0x3fff_ffff, &mut word), "before the start");
        assert!(ram
            .map(0x4000_1000, 0x1000, file.try_clone().unwrap(), 0)
            .is_err());
        ram.unmap(0x4000_0000, 0x2000);
        assert!(!ram.read(0x4000_0000, &mut word));
    }
}
