// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the walker alone.

use proptest::prelude::*;

use super::super::walk::{walk, Config};
use super::*;
use crate::bus::{exception, Access};
use crate::regs::mmu::transcfg;

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
