// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the address spaces: registers, commands, faults, and what is reported.

use super::super::*;
use super::*;

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
