// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the microcontroller, the firmware and the command streams can reach.
//!
//! The `csf` module sees the rest of the GPU through [`Bus`] only, so its tests
//! run on a plain in-memory implementation and the machine stays free to change.

use std::fmt;
use std::time::Instant;

use crate::faults::Faults;
use crate::profile::Profile;

/// What an access through an address space wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch by the microcontroller or a shader core.
    Execute,
}

/// Why an access through an address space failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Number of the address space, from 0.
    pub as_nr: u8,
    /// GPU virtual address of the first byte that could not be reached.
    pub va: u64,
    /// What was tried.
    pub access: Access,
    /// Exception type for `AS_FAULTSTATUS`, see [`exception`].
    pub exception: u8,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} of {:#x} through address space {} failed with exception {:#04x}",
            self.access, self.va, self.as_nr, self.exception
        )
    }
}

/// Exception types of `AS_FAULTSTATUS` (driver fact: `panthor_device.h`).
pub mod exception {
    /// No valid entry at level 0; add the level for the others.
    pub const TRANSLATION_FAULT_0: u8 = 0xc0;
    /// The address space is not configured for translation.
    pub const TRANSLATION_FAULT_UNMAPPED: u8 = 0xc4;
    /// The entry's permissions forbid the access, at level 0; add the level.
    pub const PERM_FAULT_0: u8 = 0xc8;
    /// The entry's access flag is clear, at level 0; add the level.
    pub const ACCESS_FLAG_0: u8 = 0xd8;
    /// The virtual address is larger than the configured input size.
    pub const ADDR_SIZE_FAULT_IN: u8 = 0xe0;
    /// An output address is larger than the configured output size, at level 0; add the level.
    pub const ADDR_SIZE_FAULT_OUT_0: u8 = 0xe4;
    /// The memory attribute says "fault", at level 0; add the level.
    pub const MEM_ATTR_FAULT_0: u8 = 0xe8;
}

/// Kinds of trace line, so that each can be switched on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceKind {
    /// Register reads and writes.
    Reg,
    /// Firmware requests, acknowledgements and events.
    Request,
    /// Command-stream instructions.
    Instr,
    /// Interrupt lines.
    Irq,
}

/// What the microcontroller, the firmware and the command streams can reach.
pub trait Bus {
    /// Reads `buf.len()` bytes at `va` through address space `as_nr` (0 is the MCU's).
    ///
    /// The range may cross pages.
    ///
    /// # Errors
    ///
    /// The first fault on the way; `buf` is then unspecified. An error does not by
    /// itself raise an MMU interrupt, see [`Bus::raise_mmu_fault`].
    fn read(&mut self, as_nr: u8, va: u64, buf: &mut [u8]) -> Result<(), Fault>;

    /// As [`Bus::read`], but asks for execute permission.
    ///
    /// Rings and streams are data to the command-stream hardware: use `read` for them.
    ///
    /// # Errors
    ///
    /// As [`Bus::read`].
    fn fetch(&mut self, as_nr: u8, va: u64, buf: &mut [u8]) -> Result<(), Fault>;

    /// Writes `data` at `va` through address space `as_nr`.
    ///
    /// # Errors
    ///
    /// As [`Bus::read`]; nothing is written when any page of the range faults.
    fn write(&mut self, as_nr: u8, va: u64, data: &[u8]) -> Result<(), Fault>;

    /// Latches the fault in the address space's registers and raises the MMU interrupt.
    ///
    /// The address space stays stuck until the driver clears it, as on silicon.
    fn raise_mmu_fault(&mut self, fault: &Fault);

    /// ORs `bits` into `JOB_INT_RAWSTAT`: bit n is group slot n, bit 31 the global interface.
    fn raise_job_irq(&mut self, bits: u32);

    /// Latches `GPU_FAULT_STATUS` and `GPU_FAULT_ADDR` and raises the GPU fault interrupt.
    fn raise_gpu_fault(&mut self, status: u32, address: u64);

    /// The system timestamp, in units of `1 / Profile::timestamp_hz` seconds.
    fn timestamp(&self) -> u64;

    /// `GPU_CYCLE_COUNT`, in units of `1 / Profile::core_hz` seconds.
    fn cycles(&self) -> u64;

    /// Lets `GPU_CYCLE_COUNT` run, or stops it: the firmware looks after it.
    fn count_cycles(&mut self, on: bool);

    /// The clock that durations and timers are counted on; tests may drive it.
    fn now(&self) -> Instant;

    /// Cleans and invalidates the caches and moves the latest flush id on.
    fn flush_caches(&mut self);

    /// The faults that a test ordered.
    fn faults(&self) -> &Faults;

    /// The GPU that is emulated.
    fn profile(&self) -> &Profile;

    /// Powers exactly these shader cores and tilers, at once: the firmware looks after them.
    fn set_cores(&mut self, shaders: u64, tilers: u64);

    /// Shader cores that are powered, one bit each.
    fn shader_ready(&self) -> u64;

    /// Tilers that are powered, one bit each.
    fn tiler_ready(&self) -> u64;

    /// Reports, loudly, that the driver did what real hardware would not forgive.
    fn misuse(&mut self, what: fmt::Arguments<'_>);

    /// Writes a trace line; costs next to nothing when that kind is switched off.
    fn trace(&mut self, kind: TraceKind, what: fmt::Arguments<'_>);
}
