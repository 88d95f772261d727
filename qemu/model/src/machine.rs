// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The whole GPU: hardware and firmware together, and the thread that runs them.
//!
//! One lock guards everything. The server's thread takes it for each register access;
//! the worker takes it for slices of command-stream work, and lets the server go first
//! between slices, so that a busy GPU does not stall the guest's CPUs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::csf::{Csf, Next};
use crate::hardware::{Event, Hardware};
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

    /// One slice of work.
    fn step(&mut self) -> Pause {
        self.hardware.settle(Instant::now());
        if std::mem::take(&mut self.start) {
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
