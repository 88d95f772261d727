// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Registers, interrupts and what is reported as misuse.

use mali_csf::profile::Profile;
use mali_csf::regs::{csf, gpu, int, mmu};
use mali_csf::server::pci;
use vfio_bindings::bindings::vfio::{
    VFIO_PCI_BAR0_REGION_INDEX as WINDOW, VFIO_PCI_CONFIG_REGION_INDEX as CONFIG,
    VFIO_PCI_MSI_IRQ_INDEX,
};

use super::host::{Host, GPU, JOB, SOFT_RESET};

#[test]
fn the_firmware_boots_and_answers_a_ping() {
    let mut host = Host::new();
    let shared = host.boot();
    let version = host.peek(shared) as u32;
    assert_eq!(version, Profile::g610().csf.version);
    assert!(host.ping(shared));
    host.wait(JOB);
    assert_eq!(host.misuses(), 0);
}

#[test]
fn an_image_that_is_not_mapped_does_not_boot() {
    let mut host = Host::new();
    let root = host.page();
    host.power_l2_on();
    host.enable_as(0, root);
    host.write(csf::MCU_CONTROL, csf::control::AUTO);
    host.until(csf::MCU_STATUS, csf::status::FATAL);
    host.write(csf::MCU_CONTROL, csf::control::DISABLE);
    host.until(csf::MCU_STATUS, csf::status::DISABLED);
}

#[test]
fn a_soft_reset_wipes_all_but_the_interrupt_masks() {
    let mut host = Host::new();
    host.boot();
    host.write(gpu::INT_BASE + int::MASK, gpu::irq::RESET_COMPLETED);
    host.write(gpu::GPU_COMMAND, SOFT_RESET);
    host.wait(GPU);
    let raw = host.read(gpu::INT_BASE + int::RAWSTAT);
    assert_eq!(raw, gpu::irq::RESET_COMPLETED);
    assert_eq!(
        host.read(gpu::INT_BASE + int::MASK),
        gpu::irq::RESET_COMPLETED
    );
    assert_eq!(host.read(csf::MCU_STATUS), csf::status::DISABLED);
    assert_eq!(host.read(gpu::L2_READY), 0);
    assert_eq!(host.read(gpu::SHADER_READY), 0);
    for register in [
        mmu::AS_BASE + mmu::reg::TRANSTAB_LO,
        mmu::AS_BASE + mmu::reg::TRANSCFG_LO,
        mmu::AS_BASE + mmu::reg::MEMATTR_LO,
        csf::JOB_INT_BASE + int::RAWSTAT,
        mmu::INT_BASE + int::RAWSTAT,
        csf::MCU_CONTROL,
        gpu::TILER_READY,
        gpu::L2_PWRTRANS,
        gpu::GPU_FAULTSTATUS,
        gpu::COHERENCY_PROTOCOL,
        gpu::CYCLE_COUNT_LO,
    ] {
        assert_eq!(host.read(register), 0, "{register:#x}");
    }
    let masks = [csf::JOB_INT_BASE, gpu::INT_BASE].map(|base| host.read(base + int::MASK));
    assert_eq!(masks, [u32::MAX, gpu::irq::RESET_COMPLETED]);
    assert_ne!(host.read(gpu::TIMESTAMP_LO), 0, "the system's counter");
    assert_eq!(host.misuses(), 0);
    // And it boots again.
    host.boot();
    assert_eq!(host.misuses(), 0);
}

#[test]
fn what_hardware_would_not_forgive_is_counted() {
    let mut host = Host::new();
    let mut expected = 0;
    let mut check = |host: &Host, what: &str| {
        expected += 1;
        assert_eq!(host.misuses(), expected, "{what}");
    };
    host.write(csf::MCU_CONTROL, csf::control::AUTO);
    check(&host, "microcontroller started with the L2 off");
    host.write(csf::DOORBELL_BASE, 1);
    check(&host, "doorbell without a microcontroller");
    host.power_l2_on();
    host.write(csf::MCU_CONTROL, csf::control::AUTO);
    check(&host, "microcontroller started without address space 0");
    host.write(gpu::SHADER_PWRON, 2);
    check(&host, "a core that is not there");
    host.write(gpu::GPU_ID, 0);
    check(&host, "write to a read-only register");
    host.read(0x1fff0);
    check(&host, "read of nothing");
    host.write(csf::DOORBELL_BASE + 4, 1);
    check(&host, "write beside a doorbell");
    host.client().region_read(WINDOW, 0, &mut [0; 8]).unwrap();
    check(&host, "read of 8 bytes");
    host.client().region_write(WINDOW, 2, &[0; 4]).unwrap();
    check(&host, "unaligned write");
    host.write(gpu::GPU_COMMAND, 0x901);
    check(&host, "a reset of no kind");
}

#[test]
fn the_l2_stays_on_while_the_microcontroller_runs() {
    let mut host = Host::new();
    host.boot();
    host.write(gpu::L2_PWROFF, 1);
    assert_eq!(host.misuses(), 1);
    host.write(gpu::SHADER_PWROFF, 1);
    host.write(gpu::TILER_PWROFF, 1);
    assert_eq!(host.misuses(), 3);
    host.write(csf::MCU_CONTROL, csf::control::DISABLE);
    host.write(gpu::L2_PWROFF, 1);
    host.until(gpu::L2_READY, 0);
    assert_eq!(host.misuses(), 3);
}

#[test]
fn a_cache_flush_raises_its_interrupt_and_moves_the_flush_id() {
    let mut host = Host::new();
    host.power_l2_on();
    host.write(gpu::INT_BASE + int::MASK, gpu::irq::CLEAN_CACHES_COMPLETED);
    let before = host.read(csf::LATEST_FLUSH);
    host.write(gpu::GPU_COMMAND, 4 | (0x233 << 8));
    host.wait(GPU);
    assert_ne!(host.read(csf::LATEST_FLUSH), before);
    assert_eq!(host.misuses(), 0);
}

#[test]
fn the_window_and_its_flush_page_are_announced() {
    let mut host = Host::new();
    let region = host.client().region(WINDOW).unwrap();
    assert_eq!(region.size, 0x20_0000);
    let areas: Vec<(u64, u64)> = region
        .sparse_areas
        .iter()
        .map(|area| (area.offset, area.size))
        .collect();
    assert_eq!(areas, [(0x1_0000, 0x1000)]);
    assert_eq!(host.read(gpu::GPU_ID) >> 16, 0xa867);
    let mut id = [0; 4];
    host.client().region_read(CONFIG, 0, &mut id).unwrap();
    assert_eq!(u32::from_le_bytes(id), 0x0610_13b5);
    let msi = host.client().get_irq_info(VFIO_PCI_MSI_IRQ_INDEX).unwrap();
    assert_eq!(msi.count, pci::VECTORS);
}
