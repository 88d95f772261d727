// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Boot: what is checked, what is published, and what a second boot finds.

use mali_firmware as image;

use super::bench::*;
use super::memory::Use;
use crate::csf::{BootError, McuState};
use crate::profile::Profile;

#[test]
fn interface_is_published() {
    let mut bench = Bench::unbooted();
    assert_eq!(bench.csf.state(), McuState::Disabled);
    bench.csf.boot(&mut bench.bus).unwrap();
    assert_eq!(bench.csf.state(), McuState::Enabled);
    assert_eq!(bench.irq(), GLOBAL);
    bench.clean();

    let csf = Profile::g610().csf;
    let shared = u64::from(image::SHARED_VA);
    let word = |bench: &mut Bench, at| bench.get32(0, shared + at);
    assert_eq!(word(&mut bench, 0), csf.version);
    assert_eq!(word(&mut bench, 16), 8, "groups");
    let stride = u64::from(word(&mut bench, 20));
    let mut blocks = vec![];
    let glb = bench.glb();
    blocks.extend([(glb.input, 132), (glb.output, 28)]);
    for group in 0..8 {
        let control = 0x1000 + group * stride;
        assert_eq!(word(&mut bench, control + 12), csf.suspend_size);
        assert_eq!(word(&mut bench, control + 20), 8, "streams");
        let csg = bench.csg(group as u32);
        blocks.extend([(shared + control, 28), (csg.input, 88), (csg.output, 32)]);
        let stride = u64::from(word(&mut bench, control + 24));
        for stream in 0..8 {
            let control = control + 0x40 + stream * stride;
            // 96 registers, 8 scoreboard slots, every kind of job.
            assert_eq!(word(&mut bench, control), 95 | (8 << 8) | (7 << 16));
            let cs = bench.cs(group as u32, stream as u32);
            blocks.extend([(shared + control, 12), (cs.input, 96), (cs.output, 216)]);
        }
    }
    // No two blocks overlap, and all are in the shared section.
    blocks.sort_unstable();
    for pair in blocks.windows(2) {
        assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:x?} overlap");
    }
    let (last, size) = blocks.pop().unwrap();
    assert!(blocks[0].0 >= shared + 32 && last + size <= shared + u64::from(image::SHARED_SIZE));
}

#[test]
fn wrong_words_are_published_on_request() {
    let mut profile = Profile::g610();
    profile.csf.wrong.group_num = Some(77);
    profile.csf.wrong.cs_output_va = Some(0xffff_fff0);
    let mut bench = Bench::with(profile);
    bench.csf.boot(&mut bench.bus).unwrap();
    let shared = u64::from(image::SHARED_VA);
    assert_eq!(bench.get32(0, shared + 16), 77);
    assert_eq!(bench.cs(7, 7).output, 0xffff_fff0);
}

#[test]
fn every_section_has_to_be_mapped() {
    for (section, va, size) in [
        ("code", image::CODE_VA, image::CODE_SIZE),
        ("data", image::DATA_VA, image::DATA_SIZE),
        ("bss", image::BSS_VA, image::BSS_SIZE),
        ("shared", image::SHARED_VA, image::SHARED_SIZE),
    ] {
        let mut bench = Bench::unbooted();
        let last = u64::from(va + size - 4096);
        bench.bus.unmap(0, last, 4096);
        match bench.csf.boot(&mut bench.bus) {
            Err(BootError::Unreachable { section: at, fault }) => {
                assert_eq!((at, fault.va), (section, last));
            }
            other => panic!("{section}: {other:?}"),
        }
        assert_eq!(bench.csf.state(), McuState::Fatal);
        assert_eq!(bench.irq(), 0);
    }
}

#[test]
fn every_byte_of_the_code_is_checked() {
    for at in [0, 0x40, image::CODE_SIZE - 1] {
        let mut bench = Bench::unbooted();
        let va = u64::from(image::CODE_VA + at);
        bench.bus.fill(0, va, &[0xaa]);
        let error = bench.csf.boot(&mut bench.bus).unwrap_err();
        assert_eq!(error, BootError::WrongCode { va });
    }
}

#[test]
fn data_has_to_be_as_in_the_image() {
    for (section, va) in [
        ("data", image::DATA_VA + 4),
        ("data", image::DATA_VA + image::DATA_SIZE - 1),
        ("bss", image::BSS_VA + 100),
        ("shared", image::SHARED_VA + 0x8000),
    ] {
        let mut bench = Bench::unbooted();
        let va = u64::from(va);
        bench.bus.fill(0, va, &[0xaa]);
        let error = bench.csf.boot(&mut bench.bus).unwrap_err();
        assert_eq!(error, BootError::NotReloaded { section, va });
    }
}

#[test]
fn code_has_to_be_executable() {
    let mut bench = Bench::unbooted();
    let (va, size) = (image::CODE_VA.into(), image::CODE_SIZE.into());
    bench.bus.map(0, va, size, Use::Data);
    bench.bus.fill(0, va, &image::code());
    assert!(matches!(
        bench.csf.boot(&mut bench.bus),
        Err(BootError::Unreachable {
            section: "code",
            ..
        })
    ));
}

#[test]
fn more_permissions_than_the_sections_ask_for_are_misuse() {
    for (va, size, data, part) in [
        (
            image::CODE_VA,
            image::CODE_SIZE,
            image::code(),
            "code at MCU address 0x0 is mapped writable",
        ),
        (
            image::DATA_VA,
            image::DATA_SIZE,
            image::data_init(),
            "data section at MCU address 0x100000 is mapped executable",
        ),
        (
            image::SHARED_VA,
            image::SHARED_SIZE,
            Vec::new(),
            "shared section at MCU address 0x4000000 is mapped executable",
        ),
    ] {
        let mut bench = Bench::unbooted();
        bench.bus.map(0, va.into(), size.into(), Use::Anything);
        bench.bus.fill(0, va.into(), &data);
        bench.csf.boot(&mut bench.bus).unwrap();
        bench.misused(part);
    }
}

#[test]
fn clean_halt_lets_the_next_boot_keep_the_sections() {
    let mut bench = Bench::new();
    let glb = bench.glb();
    bench.set_bits(glb, HALT, HALT);
    bench.ring_glb(0);
    assert!(bench.csf.halted());
    assert_eq!(bench.ack(glb) & HALT, 0, "HALT shows in the status only");
    bench.csf.reset();
    // The GPU's reset may follow that of the MCU.
    bench.csf.reset();
    bench.set_bits(glb, 0, HALT);
    bench.csf.boot(&mut bench.bus).unwrap();
    assert_eq!(bench.irq(), GLOBAL);
    bench.clean();
}

#[test]
fn unclean_stop_demands_a_reload() {
    let mut bench = Bench::new();
    bench.csf.reset();
    assert!(matches!(
        bench.csf.boot(&mut bench.bus),
        Err(BootError::NotReloaded {
            section: "data",
            ..
        })
    ));
    bench.csf.reset();
    bench.load_image();
    bench.csf.boot(&mut bench.bus).unwrap();
}

#[test]
fn halt_counts_once() {
    let mut bench = Bench::new();
    let glb = bench.glb();
    bench.set_bits(glb, HALT, HALT);
    bench.ring_glb(0);
    bench.csf.reset();
    bench.set_bits(glb, 0, HALT);
    bench.csf.boot(&mut bench.bus).unwrap();
    bench.csf.reset();
    assert!(bench.csf.boot(&mut bench.bus).is_err());
}

#[test]
fn reload_after_a_clean_halt_is_allowed() {
    let mut bench = Bench::new();
    let glb = bench.glb();
    bench.set_bits(glb, HALT, HALT);
    bench.ring_glb(0);
    bench.csf.reset();
    bench.load_image();
    bench.boot();
}

#[test]
fn fast_reset_finds_the_acknowledgements_as_they_were() {
    let mut bench = Bench::with_group(1);
    let (glb, csg) = (bench.glb(), bench.csg(0));
    let instrs = [super::asm::move48(30, DATA), super::asm::sync_add64(30, 32)];
    bench.exec(&instrs);
    assert!(bench.state(0, SUSPEND));
    assert_eq!(bench.pending(csg, SYNC_UPDATE), SYNC_UPDATE);
    let ack = bench.ack(csg);
    bench.set_bits(glb, HALT, HALT);
    bench.ring_glb(0);
    bench.csf.reset();
    bench.set_bits(glb, 0, HALT);
    bench.irq();
    bench.boot();
    assert_eq!(bench.ack(csg), ack);
    bench.answer(csg, SYNC_UPDATE);
    bench.program_group(0, 0, 1);
    assert!(bench.state(0, RESUME));
    bench.exec(&instrs);
    assert_eq!(bench.pending(csg, SYNC_UPDATE), SYNC_UPDATE);
    // The idle timer is in force though its level bit has not changed.
    bench.pass(IDLE_TIME / 2);
    assert_eq!(bench.pending(csg, IDLE), 0);
    bench.pass(IDLE_TIME);
    assert_eq!(bench.pending(csg, IDLE), IDLE);
    bench.clean();
}
