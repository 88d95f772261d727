// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the walker and of the address spaces' registers.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::walk::{walk, Config, PAGE_SIZE};
use super::*;

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

#[test]
fn wrong_configurations_are_told() {
    assert_eq!(config().faults(), [] as [&str; 0]);
    let wrong = [
        Config {
            transtab: ROOT + 8,
            ..config()
        },
        Config {
            transtab: 1 << 40,
            ..config()
        },
        Config {
            max_va_bits: 47,
            ..config()
        },
        Config {
            transcfg: 5,
            ..config()
        },
        Config {
            transcfg: config().transcfg & !(3 << 24),
            ..config()
        },
        Config {
            transcfg: config().transcfg | (1 << 28),
            ..config()
        },
    ];
    for config in wrong {
        assert_eq!(config.faults().len(), 1, "{config:x?}");
    }
    let unmapped = Config {
        transcfg: transcfg::MODE_UNMAPPED,
        ..Config::default()
    };
    assert_eq!(unmapped.faults(), [] as [&str; 0]);
}

#[test]
fn pages_and_blocks_lead_where_the_table_says() {
    let mut tables = Builder::default();
    tables.map(3, 0x7fff_1234_5000, 0x8_1000_0000, Rights::ALL);
    tables.map(2, 0x40_0000, 0x9020_0000, Rights::ALL);
    tables.map(1, 0x40_0000_0000, 0x10_4000_0000, Rights::ALL);
    for (va, page, shift) in [
        (0x7fff_1234_5abc, 0x8_1000_0000, 12),
        (0x5f_ffff, 0x9020_0000 + 0x1f_f000, 21),
        (0x40_2345_6789, 0x10_4000_0000 + 0x2345_6000, 30),
    ] {
        let leaf = walk(&tables.memory, &config(), va).unwrap();
        assert_eq!((leaf.page, leaf.shift), (page, shift), "{va:#x}");
    }
}

#[test]
fn missing_entries_fault_at_their_level() {
    let mut tables = Builder::default();
    tables.map(3, 0x1000, 0x5000_0000, Rights::ALL);
    for (va, level) in [
        (0x2000, 3),
        (0x20_0000, 2),
        (0x4000_0000, 1),
        (0x80_0000_0000, 0),
    ] {
        assert_eq!(
            walk(&tables.memory, &config(), va),
            Err(exception::TRANSLATION_FAULT_0 + level),
            "{va:#x}"
        );
    }
}

#[test]
fn each_wrong_entry_has_its_own_exception() {
    let cases = [
        (
            Rights {
                accessed: false,
                ..Rights::ALL
            },
            exception::ACCESS_FLAG_0 + 3,
        ),
        (
            Rights {
                unprivileged: false,
                ..Rights::ALL
            },
            exception::PERM_FAULT_0 + 3,
        ),
        (
            Rights {
                attr: 7,
                ..Rights::ALL
            },
            exception::MEM_ATTR_FAULT_0 + 3,
        ),
    ];
    for (rights, exception) in cases {
        let mut tables = Builder::default();
        tables.map(3, 0x1000, 0x5000_0000, rights);
        assert_eq!(
            walk(&tables.memory, &config(), 0x1000),
            Err(exception),
            "{rights:?}"
        );
    }
    let mut tables = Builder::default();
    tables.map(3, 0x1000, 1 << 40, Rights::ALL);
    assert_eq!(
        walk(&tables.memory, &config(), 0x1000),
        Err(exception::ADDR_SIZE_FAULT_OUT_0 + 3)
    );
    // A block at level 0 and the reserved type at level 3.
    tables.map(0, 0x80_0000_0000, 0, Rights::ALL);
    assert_eq!(
        walk(&tables.memory, &config(), 0x80_0000_0000),
        Err(exception::TRANSLATION_FAULT_0)
    );
    tables.map(3, 0x3000, 0x5000_0000, Rights::ALL);
    let table = tables.tables[&(3, 0)];
    let reserved = 0x5000_0000 + Rights::ALL.bits() + 1;
    tables.memory.write(table + 24, &reserved.to_le_bytes());
    assert_eq!(
        walk(&tables.memory, &config(), 0x3000),
        Err(exception::TRANSLATION_FAULT_0 + 3)
    );
}

#[test]
fn clear_access_flags_are_ignored_when_told_so() {
    let mut tables = Builder::default();
    let rights = Rights {
        accessed: false,
        ..Rights::ALL
    };
    tables.map(3, 0x1000, 0x5000_0000, rights);
    let mut config = config();
    config.transcfg |= transcfg::DISABLE_AF_FAULT;
    assert_eq!(
        walk(&tables.memory, &config, 0x1000).unwrap().page,
        0x5000_0000
    );
}

#[test]
fn permissions_are_those_of_the_entry() {
    for (write, execute) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut tables = Builder::default();
        let rights = Rights {
            write,
            execute,
            ..Rights::ALL
        };
        tables.map(2, 0, 0x4020_0000, rights);
        let leaf = walk(&tables.memory, &config(), 0x1000).unwrap();
        let fault = Err(exception::PERM_FAULT_0 + 2);
        assert_eq!(leaf.check(Access::Read), Ok(()));
        assert_eq!(
            leaf.check(Access::Write),
            if write { Ok(()) } else { fault }
        );
        assert_eq!(
            leaf.check(Access::Execute),
            if execute { Ok(()) } else { fault }
        );
    }
}

#[test]
fn addresses_and_tables_outside_fault() {
    let mut tables = Builder::default();
    tables.map(3, 0x1000, 0x5000_0000, Rights::ALL);
    assert_eq!(
        walk(&tables.memory, &config(), 1 << 48),
        Err(exception::ADDR_SIZE_FAULT_IN)
    );
    let mut unmapped = config();
    unmapped.transcfg = transcfg::MODE_UNMAPPED;
    assert_eq!(
        walk(&tables.memory, &unmapped, 0x1000),
        Err(exception::TRANSLATION_FAULT_UNMAPPED)
    );
    let mut astray = config();
    astray.transtab = 0x1_0000;
    assert_eq!(walk(&tables.memory, &astray, 0x1000), Err(0x80));
}

prop_compose! {
    /// A mapping in one of 8 windows of 1 GiB, so that levels are shared and collide.
    fn mapping()(
        level in 1u32..=3,
        window in 0u64..8,
        number in any::<u64>(),
        pa in 0u64..1 << 28,
        write in any::<bool>(),
        execute in any::<bool>(),
    ) -> (u32, u64, u64, Rights) {
        let size = 4096u64 * 512u64.pow(3 - level);
        let base = window * (1 << 30) + (window % 2) * (1 << 39);
        let va = base + number % ((1 << 30) / size) * size;
        let rights = Rights { write, execute, ..Rights::ALL };
        (level, va, pa * 4096 % (1 << 40) / size * size, rights)
    }
}

proptest! {
    /// The walker agrees with a plain list of mappings about every probed address.
    #[test]
    fn walker_agrees_with_a_list_of_mappings(
        wanted in proptest::collection::vec(mapping(), 1..24),
        probes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u64>(), any::<bool>()), 32),
    ) {
        let size = |level: u32| 4096u64 * 512u64.pow(3 - level);
        let mut tables = Builder::default();
        let mut list: Vec<(u32, u64, u64, Rights)> = Vec::new();
        for (level, va, pa, rights) in wanted {
            let clash = list.iter().any(|(l, v, ..)| va < v + size(*l) && *v < va + size(level));
            if !clash {
                tables.map(level, va, pa, rights);
                list.push((level, va, pa, rights));
            }
        }
        for (index, offset, beside) in probes {
            let (level, start, ..) = list[index.index(list.len())];
            let mut va = start + offset % size(level);
            if beside {
                va = va.wrapping_add(size(level)) & ((1 << 48) - 1);
            }
            let expected = list.iter().find(|(l, v, ..)| (*v..v + size(*l)).contains(&va));
            match (walk(&tables.memory, &config(), va), expected) {
                (Ok(leaf), Some((level, start, pa, rights))) => {
                    prop_assert_eq!(leaf.page, (pa + (va - start)) / 4096 * 4096);
                    prop_assert_eq!(1u64 << leaf.shift, size(*level));
                    prop_assert_eq!((leaf.writable, leaf.executable), (rights.write, rights.execute));
                }
                (Err(exception), None) => {
                    prop_assert_eq!(exception & 0xfc, exception::TRANSLATION_FAULT_0);
                }
                (got, expected) => prop_assert!(false, "{va:#x}: {got:?}, expected {expected:?}"),
            }
        }
    }
}

/// An MMU whose address space 1 translates by `tables`.
fn mmu() -> Mmu {
    let mut mmu = Mmu::new(&Profile::g610());
    enable(&mut mmu);
    assert_eq!(mmu.notices(), [Notice::Raise(1 << 17)]);
    mmu
}

fn enable(mmu: &mut Mmu) {
    let config = config();
    for (reg, value) in [
        (reg::TRANSTAB_LO, config.transtab),
        (reg::TRANSTAB_HI, config.transtab >> 32),
        (reg::MEMATTR_LO, config.memattr),
        (reg::MEMATTR_HI, config.memattr >> 32),
        (reg::TRANSCFG_LO, config.transcfg),
        (reg::TRANSCFG_HI, config.transcfg >> 32),
    ] {
        mmu.write(AS_STRIDE + reg, value as u32, 0);
    }
    command(mmu, command::UPDATE);
}

fn command(mmu: &mut Mmu, command: u32) {
    mmu.write(AS_STRIDE + reg::COMMAND, command, 0);
    assert_eq!(mmu.read(AS_STRIDE + reg::STATUS), 0);
}

fn lock(mmu: &mut Mmu, va: u64, bits: u64) {
    let lockaddr = va | (bits - 1);
    mmu.write(AS_STRIDE + reg::LOCKADDR_LO, lockaddr as u32, 0);
    mmu.write(AS_STRIDE + reg::LOCKADDR_HI, (lockaddr >> 32) as u32, 0);
    command(mmu, command::LOCK);
}

fn misuses(mmu: &mut Mmu) -> Vec<String> {
    mmu.notices()
        .into_iter()
        .filter_map(|notice| match notice {
            Notice::Misuse(what) => Some(what),
            Notice::Raise(_) => None,
        })
        .collect()
}

fn touch(mmu: &mut Mmu, memory: &Pages, va: u64, access: Access) -> Result<Vec<u64>, Fault> {
    let mut found = Vec::new();
    mmu.translate(memory, 1, va, 8, access, |pa, _| found.push(pa))?;
    Ok(found)
}

#[test]
fn a_range_over_two_pages_is_split_and_checked_as_a_whole() {
    let mut tables = Builder::default();
    tables.map(3, 0x1000, 0x5000_0000, Rights::ALL);
    tables.map(3, 0x2000, 0x6000_0000, Rights::ALL);
    let mut mmu = mmu();
    let found = touch(&mut mmu, &tables.memory, 0x1ffc, Access::Write);
    assert_eq!(found, Ok(vec![0x5000_0ffc, 0x6000_0000]));
    let fault = touch(&mut mmu, &tables.memory, 0x2ffc, Access::Write).unwrap_err();
    assert_eq!(
        (fault.va, fault.exception),
        (0x3000, exception::TRANSLATION_FAULT_0 + 3)
    );
    assert!(touch(&mut mmu, &tables.memory, u64::MAX - 3, Access::Read).is_err());
}

#[test]
fn accesses_that_lead_nowhere_are_reported() {
    let tables = Builder::default();
    let mut mmu = mmu();
    let fault = touch(&mut mmu, &tables.memory, 0x1000, Access::Read).unwrap_err();
    assert_eq!(fault.exception, 0x80);
    assert_eq!(misuses(&mut mmu).len(), 1, "the root is not in memory");
    for as_nr in [8, 31, 32, 255] {
        let result = mmu.translate(&tables.memory, as_nr, 0, 4, Access::Read, |_, _| ());
        mmu.latch(&result.unwrap_err());
        let notices = mmu.notices();
        assert!(
            matches!(notices[..], [Notice::Misuse(_)]),
            "address space {as_nr}: {notices:?}"
        );
    }
}

#[test]
fn a_long_range_reaches_every_page_once() {
    let mut tables = Builder::default();
    tables.map(2, 0, 0x4020_0000, Rights::ALL);
    let mut mmu = mmu();
    let mut parts = Vec::new();
    mmu.translate(
        &tables.memory,
        1,
        0x800,
        0x3000,
        Access::Read,
        |pa, range| {
            parts.push((pa, range));
        },
    )
    .unwrap();
    assert_eq!(
        parts,
        [
            (0x4020_0800, 0..0x800),
            (0x4020_1000, 0x800..0x1800),
            (0x4020_2000, 0x1800..0x2800),
            (0x4020_3000, 0x2800..0x3000),
        ]
    );
}

#[test]
fn registers_take_effect_at_update_only() {
    let mut tables = Builder::default();
    tables.map(3, 0x1000, 0x5000_0000, Rights::ALL);
    let mut mmu = mmu();
    mmu.write(AS_STRIDE + reg::TRANSCFG_LO, 1, 0);
    assert!(touch(&mut mmu, &tables.memory, 0x1000, Access::Read).is_ok());
    command(&mut mmu, command::UPDATE);
    let fault = touch(&mut mmu, &tables.memory, 0x1000, Access::Read).unwrap_err();
    assert_eq!(fault.exception, exception::TRANSLATION_FAULT_UNMAPPED);
    assert_eq!(misuses(&mut mmu), [] as [&str; 0]);
}

#[test]
fn a_fault_is_latched_and_holds_the_address_space() {
    let mut tables = Builder::default();
    tables.map(3, 0x1000, 0x5000_0000, Rights::ALL);
    let mut mmu = mmu();
    let fault = touch(&mut mmu, &tables.memory, 0xdead_b000, Access::Write).unwrap_err();
    mmu.latch(&fault);
    assert_eq!(mmu.notices(), [Notice::Raise(1 << 1)]);
    assert_eq!(mmu.read(AS_STRIDE + reg::FAULTADDRESS_LO), 0xdead_b000);
    let status = mmu.read(AS_STRIDE + reg::FAULTSTATUS);
    assert_eq!(status & 0x3ff, 0x300 | u32::from(fault.exception));
    assert!(mmu.faulted());

    // The next fault neither overwrites the first nor raises anything.
    let second = touch(&mut mmu, &tables.memory, 0x1000, Access::Read).unwrap_err();
    mmu.latch(&second);
    assert_eq!(mmu.notices(), []);
    assert_eq!(mmu.read(AS_STRIDE + reg::FAULTADDRESS_LO), 0xdead_b000);

    mmu.write(AS_STRIDE + reg::COMMAND, command::UPDATE, 1 << 1);
    assert_eq!(mmu.read(AS_STRIDE + reg::STATUS), 0);
    assert_eq!(misuses(&mut mmu).len(), 1, "the fault was not cleared");
    assert!(touch(&mut mmu, &tables.memory, 0x1000, Access::Read).is_ok());
}

#[test]
fn a_translation_changed_without_a_lock_is_reported_when_used() {
    let mut tables = Builder::default();
    tables.map(3, 0x1000, 0x5000_0000, Rights::ALL);
    tables.map(3, 0x2000, 0x5000_1000, Rights::ALL);
    let mut mmu = mmu();
    touch(&mut mmu, &tables.memory, 0x1000, Access::Read).unwrap();
    touch(&mut mmu, &tables.memory, 0x2000, Access::Read).unwrap();
    tables.map(3, 0x1000, 0x7000_0000, Rights::ALL);
    touch(&mut mmu, &tables.memory, 0x1000, Access::Read).unwrap();
    assert_eq!(misuses(&mut mmu).len(), 1);

    lock(&mut mmu, 0, 15);
    tables.map(3, 0x2000, 0x7000_1000, Rights::ALL);
    touch(&mut mmu, &tables.memory, 0x2000, Access::Read).unwrap();
    command(&mut mmu, command::UNLOCK);
    touch(&mut mmu, &tables.memory, 0x2000, Access::Read).unwrap();
    assert_eq!(misuses(&mut mmu), [] as [&str; 0]);
}

#[test]
fn an_unlock_covers_its_region_only() {
    let mut tables = Builder::default();
    tables.map(3, 0x1000, 0x5000_0000, Rights::ALL);
    let mut mmu = mmu();
    touch(&mut mmu, &tables.memory, 0x1000, Access::Read).unwrap();
    lock(&mut mmu, 0x10_0000, 20);
    command(&mut mmu, command::UNLOCK);
    assert_eq!(misuses(&mut mmu), [] as [&str; 0]);
    tables.map(3, 0x1000, 0x7000_0000, Rights::ALL);
    touch(&mut mmu, &tables.memory, 0x1000, Access::Read).unwrap();
    assert_eq!(misuses(&mut mmu).len(), 1);
}

#[test]
fn wrong_command_sequences_are_reported() {
    let mut mmu = mmu();
    // Without looking at STATUS in between.
    mmu.write(AS_STRIDE + reg::COMMAND, command::UPDATE, 0);
    mmu.write(AS_STRIDE + reg::COMMAND, command::UPDATE, 0);
    assert_eq!(misuses(&mut mmu).len(), 1);
    mmu.read(AS_STRIDE + reg::STATUS);

    command(&mut mmu, command::UNLOCK);
    assert_eq!(misuses(&mut mmu).len(), 1, "nothing was locked");
    mmu.write(AS_STRIDE + reg::TRANSCFG_LO, 1, 0);
    command(&mut mmu, command::UPDATE);
    command(&mut mmu, command::UNLOCK);
    assert_eq!(misuses(&mut mmu), [] as [&str; 0], "nothing is translated");
    command(&mut mmu, 17);
    assert_eq!(misuses(&mut mmu).len(), 1, "no such command");
    lock(&mut mmu, 0, 12);
    assert_eq!(misuses(&mut mmu).len(), 1, "region below the minimum");
    mmu.write(AS_STRIDE * 8, 0, 0);
    assert_eq!(misuses(&mut mmu).len(), 1, "the G610 has 8 address spaces");
    mmu.write(AS_STRIDE + reg::FAULTSTATUS, 0, 0);
    assert_eq!(misuses(&mut mmu).len(), 1, "FAULTSTATUS is read-only");
}

#[test]
fn a_written_address_space_has_to_be_flushed_before_it_changes() {
    let mut tables = Builder::default();
    tables.map(3, 0x1000, 0x5000_0000, Rights::ALL);
    for flush in [false, true] {
        let mut mmu = mmu();
        touch(&mut mmu, &tables.memory, 0x1000, Access::Write).unwrap();
        if flush {
            mmu.flushed();
        }
        mmu.write(AS_STRIDE + reg::TRANSCFG_LO, 1, 0);
        command(&mut mmu, command::UPDATE);
        assert_eq!(misuses(&mut mmu).is_empty(), flush);
    }
}
