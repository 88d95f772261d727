// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the firmware and the command streams reach: memory through the MMU, interrupts, power.

use std::fmt;
use std::time::Instant;

use super::Hardware;
use crate::bus::{Access, Bus, Fault, TraceKind};
use crate::faults::Faults;
use crate::gpu::power::Block;
use crate::irq::Line;
use crate::mmu::walk::BUS_FAULT;
use crate::profile::Profile;
use crate::ram::PhysMemory;
use crate::regs::gpu;

impl Hardware {
    fn load(&mut self, as_nr: u8, va: u64, buf: &mut [u8], access: Access) -> Result<(), Fault> {
        let ram = &self.ram;
        let mut missing = None;
        let len = buf.len();
        let result = self
            .mmu
            .translate(ram, as_nr, va, len, access, |pa, range| {
                if !ram.read(pa, &mut buf[range]) {
                    missing.get_or_insert(pa);
                }
            });
        self.heed_mmu();
        result?;
        self.nothing_missing(as_nr, va, access, missing)
    }

    fn nothing_missing(
        &mut self,
        as_nr: u8,
        va: u64,
        access: Access,
        missing: Option<u64>,
    ) -> Result<(), Fault> {
        let Some(pa) = missing else { return Ok(()) };
        self.misuse(format_args!(
            "va {va:#x} of address space {as_nr} leads to {pa:#x}, where there is no memory"
        ));
        Err(Fault {
            as_nr,
            va,
            access,
            exception: BUS_FAULT,
        })
    }
}

impl Bus for Hardware {
    fn read(&mut self, as_nr: u8, va: u64, buf: &mut [u8]) -> Result<(), Fault> {
        self.load(as_nr, va, buf, Access::Read)
    }

    fn fetch(&mut self, as_nr: u8, va: u64, buf: &mut [u8]) -> Result<(), Fault> {
        self.load(as_nr, va, buf, Access::Execute)
    }

    fn write(&mut self, as_nr: u8, va: u64, data: &[u8]) -> Result<(), Fault> {
        let ram = &self.ram;
        let mut missing = None;
        let result = self
            .mmu
            .translate(ram, as_nr, va, data.len(), Access::Write, |pa, range| {
                if !ram.write(pa, &data[range]) {
                    missing.get_or_insert(pa);
                }
            });
        self.heed_mmu();
        result?;
        self.nothing_missing(as_nr, va, Access::Write, missing)
    }

    fn raise_mmu_fault(&mut self, fault: &Fault) {
        self.trace
            .line(TraceKind::Irq, format_args!("MMU fault: {fault}"));
        self.mmu.latch(fault);
        self.heed_mmu();
    }

    fn raise_job_irq(&mut self, bits: u32) {
        self.raise(Line::Job, bits);
    }

    fn raise_gpu_fault(&mut self, status: u32, address: u64) {
        self.gpu.latch_fault(status, address);
        self.raise(Line::Gpu, gpu::irq::FAULT);
    }

    fn timestamp(&self) -> u64 {
        self.gpu.timestamp(&self.profile, Instant::now())
    }

    fn cycles(&self) -> u64 {
        self.gpu.cycles(&self.profile, Instant::now())
    }

    fn count_cycles(&mut self, on: bool) {
        self.gpu.count_cycles(on, &self.profile, Instant::now());
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn flush_caches(&mut self) {
        self.clean_caches();
    }

    fn faults(&self) -> &Faults {
        &self.faults
    }

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn set_cores(&mut self, shaders: u64, tilers: u64) {
        self.gpu.power.set(Block::Shader, shaders);
        self.gpu.power.set(Block::Tiler, tilers);
    }

    fn shader_ready(&self) -> u64 {
        self.gpu.power.ready(Block::Shader)
    }

    fn tiler_ready(&self) -> u64 {
        self.gpu.power.ready(Block::Tiler)
    }

    fn misuse(&mut self, what: fmt::Arguments<'_>) {
        self.strict.misuse(what);
        self.trace
            .line(TraceKind::Request, format_args!("MISUSE: {what}"));
    }

    fn trace(&mut self, kind: TraceKind, what: fmt::Arguments<'_>) {
        self.trace.line(kind, what);
    }
}
