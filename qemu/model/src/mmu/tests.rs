// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the walker and of the address spaces' registers, on tables made by a
//! builder that shares nothing with the walker.

mod spaces;
mod walker;

use std::collections::BTreeMap;

use super::walk::{Config, PAGE_SIZE};
use crate::ram::PhysMemory;

/// Sparse physical memory of whole pages; what was never written is not there.
#[derive(Default)]
struct Pages(BTreeMap<u64, Box<[u8; 4096]>>);

impl PhysMemory for Pages {
    fn read(&self, pa: u64, buf: &mut [u8]) -> bool {
        buf.iter_mut().zip(pa..).all(|(byte, at)| {
            self.0
                .get(&(at / PAGE_SIZE))
                .map(|page| *byte = page[(at % PAGE_SIZE) as usize])
                .is_some()
        })
    }
}

impl Pages {
    fn write(&mut self, pa: u64, data: &[u8]) {
        for (byte, at) in data.iter().zip(pa..) {
            self.page(at)[(at % PAGE_SIZE) as usize] = *byte;
        }
    }

    fn page(&mut self, pa: u64) -> &mut [u8; 4096] {
        self.0
            .entry(pa / PAGE_SIZE)
            .or_insert_with(|| Box::new([0; 4096]))
    }
}

/// Builds tables by a way of its own: every table is found by the address bits above
/// it in a map, and entries are made of decimal fields rather than shared masks.
#[derive(Default)]
struct Builder {
    memory: Pages,
    /// (level, address bits above the table) to the table's physical address.
    tables: BTreeMap<(u32, u64), u64>,
}

const ROOT: u64 = 0x4000_0000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rights {
    write: bool,
    execute: bool,
    unprivileged: bool,
    accessed: bool,
    attr: u64,
}

impl Rights {
    const ALL: Rights = Rights {
        write: true,
        execute: true,
        unprivileged: true,
        accessed: true,
        attr: 1,
    };

    fn bits(self) -> u64 {
        self.attr * 4
            + if self.unprivileged { 64 } else { 0 }
            + if self.write { 0 } else { 128 }
            + if self.accessed { 1024 } else { 0 }
            + if self.execute { 0 } else { 3 << 53 }
    }
}

impl Builder {
    fn table(&mut self, level: u32, above: u64) -> u64 {
        if level == 0 {
            self.memory.page(ROOT);
            return ROOT;
        }
        if let Some(table) = self.tables.get(&(level, above)) {
            return *table;
        }
        let table = ROOT + 4096 * (1 + self.tables.len() as u64);
        self.memory.write(table, &[0; 4096]);
        self.tables.insert((level, above), table);
        let parent = self.table(level - 1, above / 512);
        self.memory
            .write(parent + above % 512 * 8, &(table + 3).to_le_bytes());
        table
    }

    /// Maps the page or block of level `level` around `va` to `pa`.
    fn map(&mut self, level: u32, va: u64, pa: u64, rights: Rights) {
        let size = 4096u64 * 512u64.pow(3 - level);
        let number = va / size;
        let table = self.table(level, number / 512);
        let kind = if level == 3 { 3 } else { 1 };
        self.memory.write(
            table + number % 512 * 8,
            &(pa + rights.bits() + kind).to_le_bytes(),
        );
    }
}

fn config() -> Config {
    Config {
        transtab: ROOT,
        // Attribute 7 says "fault", the others are cached.
        memattr: 0xc08d_8d8d_8d8d_8d8d,
        transcfg: 6 | (7 << 6) | (2 << 24),
        pa_bits: 40,
        max_va_bits: 48,
    }
}
