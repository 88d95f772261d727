// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The latest flush id, in a page that the guest maps.

use std::fs::File;

use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use vm_memory::{Bytes, FileOffset, MmapRegion};

use crate::regs::csf::{LATEST_FLUSH, LATEST_FLUSH_SIZE};

/// Flush ids have 24 bits (driver fact: the uAPI refuses bits 24 to 30).
const MASK: u32 = 0x00ff_ffff;

/// The latest flush id, and the page that shows it to the guest without an exit.
pub struct FlushId {
    value: u32,
    page: Option<(File, MmapRegion)>,
}

impl FlushId {
    /// A flush id that only register reads show.
    pub fn plain() -> Self {
        Self {
            value: 1,
            page: None,
        }
    }

    /// A flush id in a file laid out as the register window, to be mapped by the client.
    ///
    /// # Errors
    ///
    /// If the file cannot be made or mapped.
    pub fn shared() -> std::io::Result<Self> {
        let file = File::from(memfd_create("mali-csf-flush-id", MemfdFlags::CLOEXEC)?);
        ftruncate(&file, u64::from(LATEST_FLUSH + LATEST_FLUSH_SIZE))?;
        let page = MmapRegion::from_file(
            FileOffset::new(file.try_clone()?, u64::from(LATEST_FLUSH)),
            LATEST_FLUSH_SIZE as usize,
        )
        .map_err(std::io::Error::other)?;
        let mut flush_id = Self {
            value: 0,
            page: Some((file, page)),
        };
        flush_id.advance();
        Ok(flush_id)
    }

    /// The file that the client maps; the page is at the register's offset.
    pub fn file(&self) -> Option<&File> {
        self.page.as_ref().map(|(file, _)| file)
    }

    /// The register's value.
    pub fn value(&self) -> u32 {
        self.value
    }

    /// A flush happened.
    pub fn advance(&mut self) {
        self.value = (self.value + 1) & MASK;
        // 0 means "flush in any case" to the flush instruction.
        if self.value == 0 {
            self.value = 1;
        }
        if let Some((_, page)) = &self.page {
            use std::sync::atomic::Ordering;
            let slice = vm_memory::VolatileMemory::as_volatile_slice(page);
            slice
                .store(self.value, 0, Ordering::Release)
                .expect("the page holds the word");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn the_page_shows_the_value() {
        let mut flush_id = FlushId::shared().unwrap();
        for _ in 0..2 {
            let mut word = [0; 4];
            let at = u64::from(LATEST_FLUSH);
            flush_id
                .file()
                .unwrap()
                .read_exact_at(&mut word, at)
                .unwrap();
            assert_eq!(u32::from_le_bytes(word), flush_id.value());
            flush_id.advance();
        }
        assert_eq!(flush_id.value(), 3);
    }

    #[test]
    fn it_wraps_past_zero() {
        let mut flush_id = FlushId::plain();
        flush_id.value = MASK;
        flush_id.advance();
        assert_eq!(flush_id.value(), 1);
    }
}
