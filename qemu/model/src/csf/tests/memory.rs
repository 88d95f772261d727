// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A [`Bus`] in memory that keeps what the firmware does to the rest of the GPU.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::bus::{exception, Access, Bus, Fault, TraceKind};
use crate::faults::Faults;
use crate::profile::Profile;

const PAGE: u64 = 4096;

/// What a page may be used for besides reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Code,
    Data,
    Anything,
}

struct Page {
    bytes: Vec<u8>,
    usage: Use,
}

/// Address spaces of pages, and a record of what happened.
pub(super) struct Memory {
    pages: HashMap<(u8, u64), Page>,
    profile: Profile,
    now: Instant,
    pub(super) cycles: u64,
    /// The cycle counter is to run.
    pub(super) counting: bool,
    pub(super) timestamp: u64,
    /// Bits of `JOB_INT_RAWSTAT` since the test last took them.
    pub(super) job_irq: u32,
    pub(super) mmu_faults: Vec<Fault>,
    pub(super) flushes: u32,
    /// Shader cores and tilers that have power.
    pub(super) cores: (u64, u64),
    pub(super) misuses: Vec<String>,
    pub(super) faults: Faults,
}

impl Memory {
    pub(super) fn new(profile: Profile) -> Self {
        Self {
            pages: HashMap::new(),
            profile,
            now: Instant::now(),
            cycles: 0,
            counting: false,
            timestamp: 0,
            job_irq: 0,
            mmu_faults: Vec::new(),
            flushes: 0,
            cores: (0, 0),
            misuses: Vec::new(),
            faults: Faults::default(),
        }
    }

    pub(super) fn map(&mut self, as_nr: u8, va: u64, size: u64, usage: Use) {
        for page in va / PAGE..(va + size).div_ceil(PAGE) {
            let bytes = vec![0; PAGE as usize];
            self.pages.insert((as_nr, page), Page { bytes, usage });
        }
    }

    pub(super) fn unmap(&mut self, as_nr: u8, va: u64, size: u64) {
        for page in va / PAGE..(va + size).div_ceil(PAGE) {
            self.pages.remove(&(as_nr, page));
        }
    }

    /// Writes as the host does, past all permissions.
    pub(super) fn fill(&mut self, as_nr: u8, va: u64, data: &[u8]) {
        for (at, &byte) in (va..).zip(data) {
            let page = self.pages.get_mut(&(as_nr, at / PAGE));
            page.expect("the test maps what it fills").bytes[(at % PAGE) as usize] = byte;
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn access(
        &mut self,
        as_nr: u8,
        va: u64,
        length: usize,
        access: Access,
        mut each: impl FnMut(&mut u8, usize),
    ) -> Result<(), Fault> {
        for check in [true, false] {
            for i in 0..length {
                let at = va.wrapping_add(i as u64);
                let fault = |exception| Fault {
                    as_nr,
                    va: at,
                    access,
                    exception,
                };
                let page = self
                    .pages
                    .get_mut(&(as_nr, at / PAGE))
                    .ok_or(fault(exception::TRANSLATION_FAULT_0 + 3))?;
                match (access, page.usage) {
                    (Access::Write, Use::Code) | (Access::Execute, Use::Data) => {
                        return Err(fault(exception::PERM_FAULT_0 + 3));
                    }
                    _ if !check => each(&mut page.bytes[(at % PAGE) as usize], i),
                    _ => (),
                }
            }
        }
        Ok(())
    }
}

impl Bus for Memory {
    fn read(&mut self, as_nr: u8, va: u64, buf: &mut [u8]) -> Result<(), Fault> {
        self.access(as_nr, va, buf.len(), Access::Read, |b, i| buf[i] = *b)
    }

    fn fetch(&mut self, as_nr: u8, va: u64, buf: &mut [u8]) -> Result<(), Fault> {
        self.access(as_nr, va, buf.len(), Access::Execute, |b, i| buf[i] = *b)
    }

    fn write(&mut self, as_nr: u8, va: u64, data: &[u8]) -> Result<(), Fault> {
        self.access(as_nr, va, data.len(), Access::Write, |b, i| *b = data[i])
    }

    fn raise_mmu_fault(&mut self, fault: &Fault) {
        self.mmu_faults.push(*fault);
    }

    fn raise_job_irq(&mut self, bits: u32) {
        self.job_irq |= bits;
    }

    fn raise_gpu_fault(&mut self, status: u32, address: u64) {
        unreachable!("the firmware raises no GPU fault, but did: {status:#x} at {address:#x}");
    }

    fn timestamp(&self) -> u64 {
        self.timestamp
    }

    fn cycles(&self) -> u64 {
        self.cycles
    }

    fn count_cycles(&mut self, on: bool) {
        self.counting = on;
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn flush_caches(&mut self) {
        self.flushes += 1;
    }

    fn faults(&self) -> &Faults {
        &self.faults
    }

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn set_cores(&mut self, shaders: u64, tilers: u64) {
        self.cores = (shaders, tilers);
    }

    fn shader_ready(&self) -> u64 {
        self.cores.0
    }

    fn tiler_ready(&self) -> u64 {
        self.cores.1
    }

    fn misuse(&mut self, what: fmt::Arguments<'_>) {
        self.misuses.push(what.to_string());
    }

    fn trace(&mut self, kind: TraceKind, what: fmt::Arguments<'_>) {
        // Shown by the test harness when a test fails.
        println!("{kind:?}: {what}");
    }
}
