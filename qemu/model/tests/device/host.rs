// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A model that is served over its socket, and a host that is connected to it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mali_csf::control::Control;
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
    VFIO_PCI_MSI_IRQ_INDEX,
};
use vfio_user::Client;

/// Where guest memory starts, and its size in bytes.
const RAM: u64 = 0x4000_0000;
const RAM_SIZE: u64 = 4 << 20;
/// Nothing that is waited for takes this long.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

pub(super) const JOB: usize = 0;
pub(super) const GPU: usize = 2;
pub(super) const SOFT_RESET: u32 = 0x101;
pub(super) const PING: u32 = 1 << 8;

/// A client of the control socket.
pub(super) struct Orders(BufReader<UnixStream>);

impl Orders {
    pub(super) fn send(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.0.get_mut().write_all(line.as_bytes()).unwrap();
    }

    pub(super) fn reply(&mut self) -> String {
        let mut reply = String::new();
        self.0.read_line(&mut reply).unwrap();
        assert!(reply.ends_with('\n'), "half a reply: {reply:?}");
        reply.trim_end().to_owned()
    }

    /// Sends a line and takes its reply.
    pub(super) fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.reply()
    }

    /// Sends a line that is obeyed.
    #[track_caller]
    pub(super) fn order(&mut self, line: &str) {
        assert_eq!(self.ask(line), "ok", "{line}");
    }
}

/// A host that is connected to a model of its own.
pub(super) struct Host {
    client: Option<Client>,
    ram: File,
    vectors: Vec<File>,
    /// Next free page of guest memory.
    free: u64,
    pub(super) machine: Shared,
    server: Option<JoinHandle<()>>,
    folder: tempfile::TempDir,
}

impl Host {
    pub(super) fn new() -> Self {
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
        Control::new(machine.clone())
            .listen(&folder.path().join("control"))
            .unwrap();
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
            folder,
        }
    }

    pub(super) fn client(&mut self) -> &mut Client {
        self.client.as_mut().unwrap()
    }

    pub(super) fn read(&mut self, register: u32) -> u32 {
        let mut word = [0; 4];
        self.client()
            .region_read(WINDOW, register.into(), &mut word)
            .unwrap();
        u32::from_le_bytes(word)
    }

    pub(super) fn write(&mut self, register: u32, value: u32) {
        self.client()
            .region_write(WINDOW, register.into(), &value.to_le_bytes())
            .unwrap();
    }

    pub(super) fn misuses(&self) -> u64 {
        self.machine.with(|machine| machine.hardware.misuses())
    }

    /// A new connection to the control socket.
    pub(super) fn control(&self) -> Orders {
        let stream = UnixStream::connect(self.folder.path().join("control")).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Orders(BufReader::new(stream))
    }

    /// Edges on `line` since the last call.
    pub(super) fn edges(&self, line: usize) -> u64 {
        let mut fds = [PollFd::new(&self.vectors[line], PollFlags::IN)];
        if poll(&mut fds, Some(&Timespec::default())).unwrap() == 0 {
            return 0;
        }
        let mut count = [0; 8];
        (&self.vectors[line]).read_exact(&mut count).unwrap();
        u64::from_ne_bytes(count)
    }

    /// Waits for an edge on `line`.
    pub(super) fn wait(&self, line: usize) {
        let mut fds = [PollFd::new(&self.vectors[line], PollFlags::IN)];
        let limit = Timespec {
            tv_sec: LIMIT.as_secs() as i64,
            tv_nsec: 0,
        };
        assert_eq!(poll(&mut fds, Some(&limit)).unwrap(), 1, "no interrupt");
        (&self.vectors[line]).read_exact(&mut [0; 8]).unwrap();
    }

    pub(super) fn page(&mut self) -> u64 {
        self.free += 0x1000;
        assert!(self.free <= RAM + RAM_SIZE);
        self.free - 0x1000
    }

    pub(super) fn peek(&self, pa: u64) -> u64 {
        let mut word = [0; 8];
        self.ram.read_exact_at(&mut word, pa - RAM).unwrap();
        u64::from_le_bytes(word)
    }

    pub(super) fn poke(&self, pa: u64, data: &[u8]) {
        self.ram.write_all_at(data, pa - RAM).unwrap();
    }

    /// Maps the page at `va` in the table at `root`; returns where it is.
    pub(super) fn map(&mut self, root: u64, va: u64, write: bool, execute: bool) -> u64 {
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
    pub(super) fn load_firmware(&mut self) -> (u64, u64) {
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

    pub(super) fn power_l2_on(&mut self) {
        self.write(gpu::L2_PWRON, 1);
        self.until(gpu::L2_READY, 1);
    }

    pub(super) fn until(&mut self, register: u32, value: u32) {
        let started = Instant::now();
        while self.read(register) != value {
            let elapsed = started.elapsed();
            assert!(elapsed < LIMIT, "{register:#x} is not {value}");
        }
    }

    pub(super) fn enable_as(&mut self, as_nr: u32, root: u64) {
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
    pub(super) fn boot(&mut self) -> u64 {
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

    /// Asks the booted firmware for a sign of life; says whether it gave one before it
    /// answered a register access that came later.
    pub(super) fn ping(&mut self, shared: u64) -> bool {
        let word = |host: &Self, at: u64| host.peek(shared + at) as u32;
        let offset = |va: u32| u64::from(va - mali_firmware::SHARED_VA);
        // The interface section's pages were taken one after the other.
        let (input, output) = (offset(word(self, 8)), offset(word(self, 12)));
        self.poke(shared + input + 4, &PING.to_le_bytes());
        let wanted = (word(self, output) & PING) ^ PING;
        self.poke(shared + input, &wanted.to_le_bytes());
        self.write(csf::DOORBELL_BASE, 1);
        self.write(csf::JOB_INT_BASE + int::CLEAR, u32::MAX);
        let started = Instant::now();
        while word(self, output) & PING != wanted {
            if started.elapsed() > Duration::from_millis(50) {
                return false;
            }
            std::thread::yield_now();
        }
        true
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
