// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The whole device, driven over its socket as QEMU and a driver would.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mali_csf::flush_id::FlushId;
use mali_csf::hardware::Hardware;
use mali_csf::machine::{Machine, Shared};
use mali_csf::profile::Profile;
use mali_csf::regs::{csf, gpu, int, mmu};
use mali_csf::server::{pci, serve, EventFds};
use mali_csf::strict::Strict;
use mali_csf::trace::Trace;
use mali_firmware::container::{Entry, EXECUTE, WRITE};
use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags, Timespec};
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_DATA_EVENTFD, VFIO_PCI_BAR0_REGION_INDEX as WINDOW,
    VFIO_PCI_CONFIG_REGION_INDEX as CONFIG, VFIO_PCI_MSI_IRQ_INDEX,
};
use vfio_user::Client;

/// Where guest memory starts, and its size in bytes.
const RAM: u64 = 0x4000_0000;
const RAM_SIZE: u64 = 4 << 20;
/// Nothing that is waited for takes this long.
const LIMIT: Duration = Duration::from_secs(20);

const JOB: usize = 0;
const GPU: usize = 2;
const SOFT_RESET: u32 = 0x101;
const PING: u32 = 1 << 8;

struct Host {
    client: Option<Client>,
    ram: File,
    vectors: Vec<File>,
    /// Next free page of guest memory.
    free: u64,
    machine: Shared,
    server: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gpu");
        let profile = Profile::g610();
        let fds = EventFds::default();
        let flush_id = FlushId::shared().unwrap();
        let page = flush_id.file().unwrap().try_clone().unwrap();
        let hardware = Hardware::new(
            profile.clone(),
            Box::new(fds.clone()),
            flush_id,
            Trace::off(),
            Strict::new(Box::new(std::io::sink())),
        );
        let machine = Shared::new(Machine::new(hardware, &profile));
        machine.start().unwrap();
        let server = {
            let (path, machine) = (path.clone(), machine.clone());
            std::thread::spawn(move || serve(&path, machine, fds, Some(&page)).unwrap())
        };
        let started = Instant::now();
        let mut client = loop {
            match Client::new(&path) {
                Ok(client) => break client,
                Err(error) => assert!(started.elapsed() < LIMIT, "no server: {error}"),
            }
            std::thread::yield_now();
        };

        let ram = tempfile::tempfile().unwrap();
        ram.set_len(RAM_SIZE).unwrap();
        client.dma_map(0, RAM, RAM_SIZE, ram.as_raw_fd()).unwrap();
        let vectors: Vec<File> = (0..pci::VECTORS)
            .map(|_| eventfd(0, EventfdFlags::CLOEXEC).unwrap().into())
            .collect();
        let fds: Vec<i32> = vectors.iter().map(AsRawFd::as_raw_fd).collect();
        let flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
        client
            .set_irqs(VFIO_PCI_MSI_IRQ_INDEX, flags, 0, pci::VECTORS, &fds)
            .unwrap();
        Self {
            client: Some(client),
            ram,
            vectors,
            free: RAM,
            machine,
            server: Some(server),
            _folder: folder,
        }
    }

    fn client(&mut self) -> &mut Client {
        self.client.as_mut().unwrap()
    }

    fn read(&mut self, register: u32) -> u32 {
        let mut word = [0; 4];
        self.client()
            .region_read(WINDOW, register.into(), &mut word)
            .unwrap();
        u32::from_le_bytes(word)
    }

    fn write(&mut self, register: u32, value: u32) {
        self.client()
            .region_write(WINDOW, register.into(), &value.to_le_bytes())
            .unwrap();
    }

    fn misuses(&self) -> u64 {
        self.machine.with(|machine| machine.hardware.misuses())
    }

    /// Waits for an edge on `line`.
    fn wait(&self, line: usize) {
        let mut fds = [PollFd::new(&self.vectors[line], PollFlags::IN)];
        let limit = Timespec {
            tv_sec: LIMIT.as_secs() as i64,
            tv_nsec: 0,
        };
        assert_eq!(poll(&mut fds, Some(&limit)).unwrap(), 1, "no interrupt");
        std::io::Read::read_exact(&mut &self.vectors[line], &mut [0; 8]).unwrap();
    }

    fn page(&mut self) -> u64 {
        self.free += 0x1000;
        assert!(self.free <= RAM + RAM_SIZE);
        self.free - 0x1000
    }

    fn peek(&self, pa: u64) -> u64 {
        let mut word = [0; 8];
        self.ram.read_exact_at(&mut word, pa - RAM).unwrap();
        u64::from_le_bytes(word)
    }

    fn poke(&self, pa: u64, data: &[u8]) {
        self.ram.write_all_at(data, pa - RAM).unwrap();
    }

    /// Maps the page at `va` in the table at `root`; returns where it is.
    fn map(&mut self, root: u64, va: u64, write: bool, execute: bool) -> u64 {
        let mut table = root;
        for shift in [39, 30, 21] {
            let slot = table + ((va >> shift) & 0x1ff) * 8;
            if self.peek(slot) == 0 {
                let page = self.page();
                self.poke(slot, &(page | 3).to_le_bytes());
            }
            table = self.peek(slot) & !0xfff;
        }
        let page = self.page();
        let rights = if write { 0 } else { 1 << 7 } | if execute { 0 } else { 3 << 53 };
        let entry = page | (1 << 10) | (1 << 6) | (1 << 2) | 3 | rights;
        self.poke(table + ((va >> 12) & 0x1ff) * 8, &entry.to_le_bytes());
        page
    }

    /// Loads the image's sections as a driver would; returns the table's root and where
    /// the interface section is.
    fn load_firmware(&mut self) -> (u64, u64) {
        let root = self.page();
        let mut shared = None;
        for entry in mali_firmware::image().entries {
            let Entry::Section(section) = entry else {
                continue;
            };
            for va in section.va.clone().step_by(0x1000) {
                let (write, execute) = (section.flags & WRITE != 0, section.flags & EXECUTE != 0);
                let page = self.map(root, va.into(), write, execute);
                let from = section.data.len().min((va - section.va.start) as usize);
                let to = section.data.len().min(from + 0x1000);
                self.poke(page, &section.data[from..to]);
                if va == mali_firmware::SHARED_VA {
                    shared = Some(page);
                }
            }
        }
        (root, shared.unwrap())
    }

    fn power_l2_on(&mut self) {
        self.write(gpu::L2_PWRON, 1);
        self.until(gpu::L2_READY, 1);
    }

    fn until(&mut self, register: u32, value: u32) {
        let started = Instant::now();
        while self.read(register) != value {
            let elapsed = started.elapsed();
            assert!(elapsed < LIMIT, "{register:#x} is not {value}");
        }
    }

    fn enable_as(&mut self, as_nr: u32, root: u64) {
        let base = mmu::AS_BASE + as_nr * mmu::AS_STRIDE;
        for (register, value) in [
            (mmu::reg::TRANSTAB_LO, root as u32),
            (mmu::reg::TRANSTAB_HI, (root >> 32) as u32),
            (mmu::reg::MEMATTR_LO, 0x8d8d_8d8d),
            (mmu::reg::MEMATTR_HI, 0x8d8d_8d8d),
            (mmu::reg::TRANSCFG_LO, 6 | (7 << 6) | (2 << 24)),
            (mmu::reg::TRANSCFG_HI, 0),
            (mmu::reg::COMMAND, mmu::command::UPDATE),
        ] {
            self.write(base + register, value);
        }
        self.until(base + mmu::reg::STATUS, 0);
    }

    /// Starts the microcontroller on the loaded image; returns where the interface is.
    fn boot(&mut self) -> u64 {
        let (root, shared) = self.load_firmware();
        self.power_l2_on();
        self.enable_as(0, root);
        self.write(csf::JOB_INT_BASE + int::MASK, u32::MAX);
        self.write(csf::MCU_CONTROL, csf::control::AUTO);
        self.wait(JOB);
        assert_eq!(self.read(csf::JOB_INT_BASE + int::RAWSTAT), 1 << 31);
        self.write(csf::JOB_INT_BASE + int::CLEAR, 1 << 31);
        self.until(csf::MCU_STATUS, csf::status::ENABLED);
        shared
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            // The server ends when its client hangs up.
            let _ = client.shutdown();
        }
        let ended = self.server.take().map(JoinHandle::join);
        self.machine.quit();
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

#[test]
fn the_firmware_boots_and_answers_a_ping() {
    let mut host = Host::new();
    let shared = host.boot();
    let word = |host: &Host, at: u64| host.peek(shared + at) as u32;
    assert_eq!(word(&host, 0), Profile::g610().csf.version);
    let offset = |va: u32| u64::from(va - mali_firmware::SHARED_VA);
    // The interface section's pages were taken one after the other.
    let (input, output) = (offset(word(&host, 8)), offset(word(&host, 12)));

    host.poke(shared + input + 4, &PING.to_le_bytes());
    host.poke(shared + input, &PING.to_le_bytes());
    assert_eq!(word(&host, output) & PING, 0);
    host.write(csf::DOORBELL_BASE, 1);
    host.wait(JOB);
    assert_eq!(word(&host, output) & PING, PING);
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
    let transtab = mmu::AS_BASE + mmu::reg::TRANSTAB_LO;
    assert_eq!(host.read(transtab), 0);
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
    host.write(csf::MCU_CONTROL, csf::control::DISABLE);
    host.write(gpu::L2_PWROFF, 1);
    host.until(gpu::L2_READY, 0);
    assert_eq!(host.misuses(), 1);
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
