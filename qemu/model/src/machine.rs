// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The whole GPU: hardware and firmware together, and the thread that runs them.
//!
//! One lock guards everything. The server's thread takes it for each register access;
//! the worker takes it for slices of command-stream work, and lets the server go first
//! between slices, so that a busy GPU does not stall the guest's CPUs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::bus::{exception, Access, Bus, Fault};
use crate::csf::{Csf, McuState, Next};
use crate::faults::{Key, Kind, Values};
use crate::hardware::{Event, Hardware};
use crate::irq::Line;
use crate::profile::Profile;
use crate::regs::csf::status;

/// Instructions that a slice of command-stream work may take.
const SLICE: u32 = 256;

/// Hardware and firmware.
pub struct Machine {
    /// Everything but the firmware.
    pub hardware: Hardware,
    csf: Csf,
    start: bool,
    /// Doorbell pages written since the last slice, one bit each.
    doorbells: u64,
    quit: bool,
}

/// When the worker has to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    No,
    Until(Instant),
    Forever,
}

impl Machine {
    /// A machine as after power-on.
    pub fn new(hardware: Hardware, profile: &Profile) -> Self {
        Self {
            hardware,
            csf: Csf::new(profile),
            start: false,
            doorbells: 0,
            quit: false,
        }
    }

    /// The host writes a register; true if the worker has something to do.
    fn write_register(&mut self, offset: u32, value: u32) -> bool {
        match self.hardware.write_register(offset, value) {
            Event::None => {}
            Event::Stop => self.stop(),
            Event::Start => self.start = true,
            Event::Doorbell(page) => self.doorbells |= 1 << page,
        }
        // The worker also waits for what finishes by itself.
        self.start || self.doorbells != 0 || self.hardware.due().is_some()
    }

    /// The bus's reset line.
    fn bus_reset(&mut self) {
        self.hardware.bus_reset();
        self.stop();
    }

    fn stop(&mut self) {
        self.csf.reset();
        self.start = false;
        self.doorbells = 0;
    }

    /// Does an action that a test ordered.
    ///
    /// # Errors
    ///
    /// Why it cannot be done now.
    pub fn act(&mut self, kind: Kind, values: &Values) -> Result<(), String> {
        match kind {
            Kind::McuHalt => self.fail(McuState::Halted)?,
            Kind::McuFatal => self.fail(McuState::Fatal)?,
            Kind::SpuriousInterrupt => {
                let line = match values.or(Key::Line, 0) {
                    0 => Line::Job,
                    1 => Line::Mmu,
                    _ => Line::Gpu,
                };
                let gap = Duration::from_micros(values.or(Key::GapUs, 50));
                let bits = values.or(Key::Bits, 0) as u32;
                let count = values.or(Key::Count, 1);
                self.hardware.disturb(line, bits, count, gap);
                // Each interrupt is counted when it is sent.
                return Ok(());
            }
            Kind::GpuFault => {
                let fault = values.or(Key::Type, 0x80) as u32;
                let address = values.or(Key::Addr, 0);
                self.hardware.raise_gpu_fault(fault, address);
            }
            Kind::MmuFault => {
                let as_nr = values.or(Key::As, 1) as u8;
                let present = self.hardware.profile().as_present;
                if (present >> as_nr) & 1 == 0 {
                    return Err(format!("there is no address space {as_nr}"));
                }
                self.hardware.raise_mmu_fault(&mmu_fault(as_nr, values));
            }
            Kind::AsFaultMcu => {
                self.fail(McuState::Fatal)?;
                self.hardware.raise_mmu_fault(&mmu_fault(0, values));
            }
            _ => return Err(format!("{} is no action", kind.row().name)),
        }
        self.hardware.faults.done(kind);
        Ok(())
    }

    /// Slot and address space of the group that was the last to call a buffer in this GiB of
    /// its address space, among those on a slot.
    pub fn find(&self, gib: u64) -> Option<(u32, u8)> {
        self.csf.find(gib)
    }

    /// The microcontroller ends by itself.
    fn fail(&mut self, state: McuState) -> Result<(), String> {
        if !self.hardware.mcu_running() || self.csf.state() != McuState::Enabled {
            return Err("the microcontroller does not run".to_owned());
        }
        self.hardware.faults.excuse();
        self.csf.fail(state, &mut self.hardware);
        self.hardware.set_mcu_status(self.csf.state() as u32);
        Ok(())
    }

    /// One slice of work.
    fn step(&mut self) -> Pause {
        self.hardware.settle(Instant::now());
        let faults = &self.hardware.faults;
        if std::mem::take(&mut self.start)
            && faults.strike(Kind::NoBoot, &Values::default()).is_none()
        {
            match self.csf.boot(&mut self.hardware) {
                Ok(()) => self.hardware.set_mcu_status(status::ENABLED),
                Err(error) => {
                    eprintln!("mali-csf: the microcontroller does not boot: {error}");
                    self.hardware.set_mcu_status(status::FATAL);
                }
            }
        }
        let mut next = Next::Idle;
        if self.hardware.mcu_running() {
            let mut pages = std::mem::take(&mut self.doorbells);
            while pages != 0 {
                let page = pages.trailing_zeros();
                pages &= pages - 1;
                self.csf.doorbell(page, &mut self.hardware);
            }
            next = self.csf.run(SLICE, &mut self.hardware);
            self.hardware.set_mcu_status(self.csf.state() as u32);
        }
        let csf = match next {
            Next::Now => return Pause::No,
            Next::At(time) => Some(time),
            Next::Idle => None,
        };
        match [csf, self.hardware.due()].into_iter().flatten().min() {
            Some(time) => Pause::Until(time),
            None => Pause::Forever,
        }
    }
}

/// The fault that a test ordered.
fn mmu_fault(as_nr: u8, values: &Values) -> Fault {
    Fault {
        as_nr,
        va: values.or(Key::Addr, 0),
        access: match values.or(Key::Access, 0) {
            1 => Access::Write,
            2 => Access::Execute,
            _ => Access::Read,
        },
        exception: values.or(Key::Type, u64::from(exception::TRANSLATION_FAULT_0) + 3) as u8,
    }
}

/// A machine shared between the server and the worker.
#[derive(Clone)]
pub struct Shared(Arc<Inner>);

struct Inner {
    machine: Mutex<Machine>,
    wake: Condvar,
    /// Server threads that wait for the lock.
    waiting: AtomicUsize,
}

impl Shared {
    /// Shares `machine`.
    pub fn new(machine: Machine) -> Self {
        Self(Arc::new(Inner {
            machine: Mutex::new(machine),
            wake: Condvar::new(),
            waiting: AtomicUsize::new(0),
        }))
    }

    /// The host reads a register.
    pub fn read_register(&self, offset: u32) -> u32 {
        self.with(|machine| machine.hardware.read_register(offset))
    }

    /// The host writes a register.
    pub fn write_register(&self, offset: u32, value: u32) {
        if self.with(|machine| machine.write_register(offset, value)) {
            self.0.wake.notify_one();
        }
    }

    /// The bus's reset line.
    pub fn bus_reset(&self) {
        self.with(Machine::bus_reset);
    }

    /// Does `work` on the machine, before the worker's next slice.
    pub fn with<T>(&self, work: impl FnOnce(&mut Machine) -> T) -> T {
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        let mut machine = self.lock();
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        work(&mut machine)
    }

    /// Does `work` on the machine, and lets the worker see what came of it.
    pub fn poke<T>(&self, work: impl FnOnce(&mut Machine) -> T) -> T {
        let result = self.with(work);
        self.0.wake.notify_one();
        result
    }

    /// Starts the thread that does the GPU's work until [`Shared::quit`].
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub fn start(&self) -> std::io::Result<JoinHandle<()>> {
        let shared = self.clone();
        std::thread::Builder::new()
            .name("gpu".into())
            .spawn(move || shared.work())
    }

    /// Ends the worker.
    pub fn quit(&self) {
        self.with(|machine| machine.quit = true);
        self.0.wake.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        // A panic ends the process, see `work`; nothing is left half-done.
        self.0
            .machine
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut machine = self.lock();
        while !machine.quit {
            match machine.step() {
                Pause::No => {
                    if self.0.waiting.load(Ordering::SeqCst) == 0 {
                        continue;
                    }
                    drop(machine);
                    while self.0.waiting.load(Ordering::SeqCst) != 0 {
                        std::thread::yield_now();
                    }
                    machine = self.lock();
                }
                Pause::Until(time) => {
                    let left = time.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        continue;
                    }
                    machine = match self.0.wake.wait_timeout(machine, left) {
                        Ok((machine, _)) => machine,
                        Err(poisoned) => poisoned.into_inner().0,
                    };
                }
                Pause::Forever => {
                    machine.hardware.flush_trace();
                    machine = self
                        .0
                        .wake
                        .wait(machine)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}
