// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The control socket, and the faults that act outside of the firmware.

use mali_csf::regs::{csf, gpu, int, mmu};

use super::host::{Host, GPU, JOB, SOFT_RESET};

const MMU: usize = 1;
const RAW: u32 = gpu::INT_BASE + int::RAWSTAT;
const FLUSH: u32 = 4 | (0x233 << 8);

fn as_reg(as_nr: u32, register: u32) -> u32 {
    mmu::AS_BASE + as_nr * mmu::AS_STRIDE + register
}

#[test]
fn clients_get_a_line_for_a_line() {
    let host = Host::new();
    let (mut one, mut other) = (host.control(), host.control());
    assert!(one.ask("help").starts_with("ok commands: arm FAULT"));
    other.send("# a comment\n\narm gremlin\necho 1 2\narm no-boot slot=1");
    assert!(other.reply().starts_with("error there is no fault"));
    assert_eq!(other.reply(), "ok 1 2");
    assert!(other.reply().starts_with("error no-boot has no key"));
    one.order("arm no-boot times=7");
    assert_eq!(other.ask("count no-boot"), "ok 0");
    let reply = other.ask("wait no-boot timeout_ms=1");
    assert_eq!(reply, "error timeout: struck 0 times");
    // Gone without a word, in the middle of a line and of a wait.
    other.send("wait no-boot timeout_ms=1000000");
    drop(other);
    one.send("wait no-boot timeout_ms=1000000\necho still here");
    assert!(one.reply().starts_with("error given up"));
    assert_eq!(one.reply(), "ok still here");
    let reply = one.ask(&"x".repeat(5000));
    assert!(reply.starts_with("error the line has more than"));
}

#[test]
fn waiting_holds_nobody_up() {
    let mut host = Host::new();
    let shared = host.boot();
    let (mut waiter, mut other) = (host.control(), host.control());
    waiter.send("wait lost-doorbell count=2");
    other.order("arm lost-doorbell times=2");
    assert!(!host.ping(shared));
    assert!(!host.ping(shared));
    assert_eq!(waiter.reply(), "ok 2");
    assert!(host.ping(shared));
    other.order("arm lost-doorbell slot=3");
    assert!(host.ping(shared), "another doorbell");
    other.order("reset");
    assert_eq!(other.ask("count lost-doorbell"), "ok 0");
    assert_eq!(host.misuses(), 0);
}

#[test]
fn a_halted_microcontroller_can_be_started_again() {
    let mut host = Host::new();
    let shared = host.boot();
    host.write(gpu::INT_BASE + int::MASK, gpu::irq::MCU_STATUS_CHANGED);
    host.write(gpu::INT_BASE + int::CLEAR, u32::MAX);
    let mut orders = host.control();
    orders.order("do mcu-halt");
    host.wait(GPU);
    assert_eq!(host.read(csf::MCU_STATUS), csf::status::HALT);
    assert!(!host.ping(shared));
    assert_eq!(orders.ask("count mcu-halt"), "ok 1");
    assert!(orders.ask("do mcu-halt").starts_with("error"));
    assert_eq!(host.misuses(), 0, "the host could not know");

    host.write(csf::MCU_CONTROL, csf::control::DISABLE);
    host.write(csf::MCU_CONTROL, csf::control::AUTO);
    host.until(csf::MCU_STATUS, csf::status::ENABLED);
    assert!(host.ping(shared));
    assert_eq!(host.misuses(), 0);
}

#[test]
fn a_crashed_microcontroller_needs_its_image_again() {
    for order in [
        "do mcu-fatal",
        "do as-fault-mcu addr=0x123000 access=execute",
    ] {
        let mut host = Host::new();
        let shared = host.boot();
        host.control().order(order);
        assert_eq!(host.read(csf::MCU_STATUS), csf::status::FATAL);
        assert!(!host.ping(shared));
        assert_eq!(host.misuses(), 0, "the host could not know");
        let fault = host.read(as_reg(0, mmu::reg::FAULTSTATUS));
        let address = host.read(as_reg(0, mmu::reg::FAULTADDRESS_LO));
        let expected = if order.contains("as-fault") {
            (0x1_01c3, 0x12_3000)
        } else {
            (0, 0)
        };
        assert_eq!((fault, address), expected);

        host.write(gpu::GPU_COMMAND, SOFT_RESET);
        host.until(RAW, gpu::irq::RESET_COMPLETED);
        let shared = host.boot();
        assert!(host.ping(shared));
        assert_eq!(host.misuses(), 0);
    }
}

#[test]
fn a_silent_microcontroller_hears_when_it_is_disarmed_or_started_again() {
    let mut host = Host::new();
    let shared = host.boot();
    let mut orders = host.control();
    orders.order("arm mcu-silent");
    assert!(!host.ping(shared));
    assert_eq!(host.read(csf::MCU_STATUS), csf::status::ENABLED);
    assert_eq!(orders.ask("wait mcu-silent"), "ok 1");
    orders.order("disarm mcu-silent");
    host.wait(JOB);

    orders.order("arm mcu-silent");
    assert!(!host.ping(shared));
    let reply = orders.ask("find gib=4");
    assert!(reply.starts_with("error no group"), "{reply}");
    assert_eq!(orders.ask("count gpu-reset"), "ok 0");
    host.write(gpu::GPU_COMMAND, SOFT_RESET);
    assert_eq!(orders.ask("wait gpu-reset"), "ok 1");
    host.until(RAW, gpu::irq::RESET_COMPLETED);
    let shared = host.boot();
    assert!(host.ping(shared));
    assert_eq!(host.misuses(), 0);
}

#[test]
fn the_microcontroller_does_not_come_up() {
    let mut host = Host::new();
    let mut orders = host.control();
    orders.order("arm no-boot");
    let (root, _) = host.load_firmware();
    host.power_l2_on();
    host.enable_as(0, root);
    host.write(csf::MCU_CONTROL, csf::control::AUTO);
    assert_eq!(orders.ask("wait no-boot"), "ok 1");
    assert_eq!(host.read(csf::MCU_STATUS), csf::status::DISABLED);
    host.write(csf::MCU_CONTROL, csf::control::DISABLE);
    host.write(csf::MCU_CONTROL, csf::control::AUTO);
    host.until(csf::MCU_STATUS, csf::status::ENABLED);
    assert_eq!(host.misuses(), 0);
}

#[test]
fn a_lost_interrupt_shows_in_rawstat_only() {
    let mut host = Host::new();
    host.write(gpu::INT_BASE + int::MASK, u32::MAX);
    let mut orders = host.control();
    orders.order("arm lost-interrupt line=job");
    orders.order("arm lost-interrupt line=gpu");
    host.write(gpu::L2_PWRON, 1);
    assert_eq!(orders.ask("wait lost-interrupt"), "ok 1");
    assert_ne!(host.read(RAW), 0);
    assert_eq!(host.edges(GPU), 0);
    // The mask written again, as drivers do at the end of a handler, makes up for it.
    host.write(gpu::INT_BASE + int::MASK, u32::MAX);
    assert_eq!(host.edges(GPU), 1);
}

#[test]
fn interrupts_come_without_a_cause() {
    let mut host = Host::new();
    let mut orders = host.control();
    orders.order("do spurious-interrupt line=mmu count=500 gap_us=0");
    assert_eq!(orders.ask("wait spurious-interrupt count=500"), "ok 500");
    assert_eq!(host.edges(MMU), 500);
    assert_eq!(host.read(mmu::INT_BASE + int::RAWSTAT), 0);
    orders.order("do spurious-interrupt bits=0x5");
    assert_eq!(orders.ask("wait spurious-interrupt count=501"), "ok 501");
    assert_eq!(host.edges(JOB), 1);
    assert_eq!(host.read(csf::JOB_INT_BASE + int::RAWSTAT), 5);

    orders.order("do spurious-interrupt count=1000000 gap_us=1000");
    orders.order("reset");
    let before = host.edges(JOB);
    assert!(before < 1000, "{before}");
}

#[test]
fn an_address_space_stays_active_until_the_reset() {
    let mut host = Host::new();
    let mut orders = host.control();
    orders.order("arm as-stuck as=2");
    host.power_l2_on();
    host.write(as_reg(1, mmu::reg::COMMAND), mmu::command::UPDATE);
    host.until(as_reg(1, mmu::reg::STATUS), 0);
    host.write(as_reg(2, mmu::reg::TRANSCFG_LO), 1);
    host.write(as_reg(2, mmu::reg::COMMAND), mmu::command::UPDATE);
    assert_eq!(orders.ask("wait as-stuck"), "ok 1");
    for _ in 0..3 {
        assert_eq!(host.read(as_reg(2, mmu::reg::STATUS)), 1);
    }
    let raised = host.read(mmu::INT_BASE + int::RAWSTAT);
    assert_eq!(raised, 1 << 17, "the command did not finish");
    // A command given nevertheless is the driver's fault.
    let misuses = host.misuses();
    host.write(as_reg(2, mmu::reg::COMMAND), mmu::command::UPDATE);
    assert_eq!(host.misuses(), misuses + 1);
    host.write(gpu::GPU_COMMAND, SOFT_RESET);
    host.until(RAW, gpu::irq::RESET_COMPLETED);
    assert_eq!(host.read(as_reg(2, mmu::reg::STATUS)), 0);
}

#[test]
fn a_flush_never_completes_until_the_reset() {
    let mut host = Host::new();
    host.power_l2_on();
    let mut orders = host.control();
    orders.order("arm flush-stuck");
    host.write(gpu::INT_BASE + int::CLEAR, u32::MAX);
    host.write(gpu::GPU_COMMAND, FLUSH);
    assert_eq!(orders.ask("wait flush-stuck"), "ok 1");
    assert_eq!(host.read(gpu::GPU_STATUS) & 1, 1);
    assert_eq!(host.read(RAW), 0);
    assert_eq!(host.misuses(), 0);
    host.write(gpu::GPU_COMMAND, FLUSH);
    assert_eq!(host.misuses(), 1, "a flush while one is going on");
    host.write(gpu::GPU_COMMAND, SOFT_RESET);
    host.until(RAW, gpu::irq::RESET_COMPLETED);
    host.power_l2_on();
    host.write(gpu::INT_BASE + int::CLEAR, u32::MAX);
    host.write(gpu::GPU_COMMAND, FLUSH);
    host.until(RAW, gpu::irq::CLEAN_CACHES_COMPLETED);
}

#[test]
fn the_l2_never_becomes_ready() {
    let mut host = Host::new();
    let mut orders = host.control();
    orders.order("arm l2-stuck");
    host.write(gpu::L2_PWRON, 1);
    assert_eq!(orders.ask("wait l2-stuck"), "ok 1");
    host.write(gpu::L2_PWRON, 1);
    assert_eq!(host.read(gpu::L2_PWRTRANS), 1);
    assert_eq!(host.read(gpu::L2_READY), 0);
    host.write(gpu::GPU_COMMAND, SOFT_RESET);
    host.until(RAW, gpu::irq::RESET_COMPLETED);
    host.power_l2_on();
    assert_eq!(host.misuses(), 0);
}

#[test]
fn a_reset_never_completes_until_the_next_one() {
    let mut host = Host::new();
    let mut orders = host.control();
    orders.order("arm soft-reset-stuck times=2");
    for n in 1..3 {
        host.write(gpu::GPU_COMMAND, SOFT_RESET);
        let reply = orders.ask(&format!("wait soft-reset-stuck count={n}"));
        assert_eq!(reply, format!("ok {n}"));
        assert_eq!(host.read(RAW), 0);
        // Whatever the host does now comes to nothing, and is not held against it.
        host.write(gpu::INT_BASE + int::MASK, 0);
        host.write(gpu::GPU_COMMAND, FLUSH);
        host.write(csf::MCU_CONTROL, csf::control::AUTO);
        assert_eq!(host.read(csf::MCU_STATUS), csf::status::DISABLED);
    }
    host.write(gpu::GPU_COMMAND, SOFT_RESET);
    host.until(RAW, gpu::irq::RESET_COMPLETED);
    assert_eq!(host.misuses(), 0);
}

#[test]
fn the_gpu_and_an_address_space_fault() {
    let mut host = Host::new();
    let mut orders = host.control();
    host.write(gpu::INT_BASE + int::MASK, gpu::irq::FAULT);
    orders.order("do gpu-fault type=0x88 addr=0x123456789a");
    host.wait(GPU);
    // Drivers clear the interrupt before they look.
    host.write(gpu::INT_BASE + int::CLEAR, gpu::irq::FAULT);
    assert_eq!(host.read(gpu::GPU_FAULTSTATUS), 0x88);
    assert_eq!(host.read(gpu::GPU_FAULTADDRESS_LO), 0x3456_789a);
    assert_eq!(host.read(gpu::GPU_FAULTADDRESS_HI), 0x12);

    host.write(mmu::INT_BASE + int::MASK, u32::MAX);
    orders.order("do mmu-fault as=3 type=0xca addr=0x7000 access=write");
    host.wait(MMU);
    assert_eq!(host.read(mmu::INT_BASE + int::RAWSTAT), 1 << 3);
    assert_eq!(host.read(as_reg(3, mmu::reg::FAULTSTATUS)), 0x1_03ca);
    assert_eq!(host.read(as_reg(3, mmu::reg::FAULTADDRESS_LO)), 0x7000);
    assert!(orders
        .ask("do mmu-fault as=9")
        .starts_with("error there is no"));
    assert_eq!(orders.ask("count mmu-fault"), "ok 1");
}
