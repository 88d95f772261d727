// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Address-space slots: who is in which, and the hardware's side of it.
//!
//! The lock is held across bounded waits for the hardware and never across an allocation, so that
//! it may be taken where fences have to be signalled.

use super::{
    address_space::AddressSpace,
    fault, //
};
use crate::{
    device::Upcall,
    gpu::{
        info::GpuInfo,
        Gpu, //
    },
    irq::{
        IrqLine,
        Service, //
    },
    mmio::Mmio,
    regs::mmu::{
        self,
        Command,
        AS_COMMAND,
        AS_FAULTSTATUS,
        AS_STATUS,
        IRQ,
        IRQ_FAULTS,
        MAX_AS, //
    },
    reset::Reset,
};
use core::ops::Range;
use kernel::{
    device::Device,
    io::{
        poll::read_poll_timeout,
        register::Array, //
    },
    new_mutex,
    prelude::*,
    sizes::SZ_32K,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    },
    time::Delta,
};

/// How long a command to an address space may take, on a machine that may be busy.
const COMMAND_TIMEOUT: Delta = Delta::from_millis(500);
/// How often its status is read meanwhile.
const COMMAND_POLL: Delta = Delta::from_micros(10);

/// The microcontroller's address space.
const MCU_AS: usize = 0;

/// A VM in an address space.
struct Seat {
    space: Arc<AddressSpace>,
    /// How many need the VM active; with none the seat may be taken.
    users: u32,
    /// When it became idle, on [`Slots::clock`].
    idle_since: u64,
    /// The hardware is programmed. A fault turns it off.
    enabled: bool,
    /// The hardware holds off accesses to a region.
    locked: bool,
}

struct Slots {
    seats: [Option<Seat>; MAX_AS],
    clock: u64,
    /// Nothing is made active any more.
    gone: bool,
}

/// All address spaces.
#[pin_data]
pub(crate) struct Mmu {
    dev: ARef<Device>,
    mmio: Arc<Mmio>,
    gpu: Arc<Gpu>,
    reset: Arc<Reset>,
    #[pin]
    line: IrqLine,
    #[pin]
    slots: Mutex<Slots>,
    present: u32,
    va_bits: u32,
    pa_bits: u32,
    coherent: bool,
}

impl Mmu {
    /// Makes the block's state; touches no register.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the GPU says something about its MMU that cannot be.
    pub(crate) fn new(
        dev: &Device,
        mmio: Arc<Mmio>,
        gpu: Arc<Gpu>,
        reset: Arc<Reset>,
        info: &GpuInfo,
        coherent: bool,
    ) -> Result<Arc<Self>> {
        let present = info.0.as_present;
        let (va_bits, pa_bits) = (info.va_bits(), info.pa_bits());

        if present & 1 == 0
            || present >> 1 == 0
            || present >> MAX_AS != 0
            || !(33..=48).contains(&va_bits)
            || !(32..=48).contains(&pa_bits)
        {
            dev_err!(
                dev,
                "the GPU's MMU is not one that this driver knows: address spaces {present:#x}, {va_bits} VA bits, {pa_bits} PA bits\n"
            );
            return Err(EINVAL);
        }

        Arc::pin_init(
            pin_init!(Self {
                dev: dev.into(),
                mmio: mmio.clone(),
                gpu,
                reset,
                line <- IrqLine::new(mmio.clone(), IRQ),
                slots <- new_mutex!(Slots {
                    seats: [const { None }; MAX_AS],
                    clock: 0,
                    gone: false,
                }),
                present,
                va_bits,
                pa_bits,
                coherent,
            }),
            GFP_KERNEL,
        )
    }

    /// Bits of a GPU virtual address.
    pub(crate) fn va_bits(&self) -> u32 {
        self.va_bits
    }

    /// Bits of a physical address.
    pub(crate) fn pa_bits(&self) -> u32 {
        self.pa_bits
    }

    /// The size of a GPU's virtual memory.
    pub(crate) fn va_size(&self) -> u64 {
        1 << self.va_bits
    }

    /// Whether the GPU sees the CPU's caches.
    pub(crate) fn coherent(&self) -> bool {
        self.coherent
    }

    /// Serves the block's interrupts from now on.
    pub(crate) fn enable_irq(&self) -> Result {
        self.line.clear(IRQ_FAULTS)?;
        self.line.enable(IRQ_FAULTS & self.present)
    }

    /// Takes every VM out of its address space; the GPU is idle, or does not matter any more.
    pub(crate) fn unplug(&self) {
        let mut slots = self.slots.lock();
        slots.gone = true;

        for (nr, place) in slots.seats.iter_mut().enumerate() {
            if let Some(seat) = place {
                // What cannot be disabled is stopped by the loss of power.
                let _ = self.turn_off(nr, seat);
            }
            *place = None;
        }
        drop(slots);

        let _ = self.line.disable(!0);
    }

    /// Resets the GPU, which takes every VM out of its address space, for good.
    ///
    /// # Errors
    ///
    /// Those of [`Gpu::soft_reset`]; then the VMs stay where they were.
    pub(crate) fn reset(&self) -> Result {
        // Nobody changes an address space meanwhile.
        let mut slots = self.slots.lock();

        slots.gone = true;
        self.gpu.soft_reset()?;
        let seats = core::mem::replace(&mut slots.seats, [const { None }; MAX_AS]);
        drop(slots);
        drop(seats);

        self.line.disable(!0)
    }

    /// Makes `space` active, in the microcontroller's address space if `mcu`; returns which.
    pub(super) fn activate(&self, space: &Arc<AddressSpace>, mcu: bool) -> Result<u32> {
        let mut slots = self.slots.lock();
        if slots.gone {
            return Err(ENODEV);
        }

        let nr = match slots.find(space) {
            Some(nr) => nr,
            None => {
                let nr = slots.choose(self.present, mcu)?;
                if let Some(seat) = slots.seats[nr].as_mut() {
                    self.turn_off(nr, seat)?;
                }
                slots.seats[nr] = Some(Seat {
                    space: space.clone(),
                    users: 0,
                    idle_since: 0,
                    enabled: false,
                    locked: false,
                });
                nr
            }
        };

        let seat = slots.seats[nr].as_mut().ok_or(EINVAL)?;
        // Those who were in there when it faulted have to leave first.
        if seat.users != 0 && seat.space.has_faulted() {
            return Err(EBUSY);
        }
        if !seat.enabled {
            self.turn_on(nr, seat)?;
        }
        seat.users += 1;

        Ok(nr as u32)
    }

    /// One user of `space` less.
    pub(super) fn idle(&self, space: &AddressSpace) {
        let mut slots = self.slots.lock();
        slots.clock += 1;
        let now = slots.clock;

        if let Some((_, seat)) = slots.seat(space) {
            seat.users = seat.users.saturating_sub(1);
            seat.idle_since = now;
        }
    }

    /// Takes `space` out of the hardware, active or not; its seat stays.
    pub(super) fn disable(&self, space: &AddressSpace) {
        let mut slots = self.slots.lock();

        if let Some((nr, seat)) = slots.seat(space) {
            // An error has been reported.
            let _ = self.turn_off(nr, seat);
        }
    }

    /// `space` is not used any more.
    pub(super) fn release(&self, space: &AddressSpace) {
        let mut slots = self.slots.lock();

        if let Some((nr, seat)) = slots.seat(space) {
            // As long as the hardware may use the page table, the seat keeps it.
            if self.turn_off(nr, seat).is_ok() {
                slots.seats[nr] = None;
            }
        }
    }

    /// Keeps the GPU out of `range` of `space` until [`end_update`](Self::end_update).
    pub(super) fn begin_update(&self, space: &AddressSpace, range: Range<u64>) {
        let mut slots = self.slots.lock();
        *space.update.lock() = Some(range.clone());

        if let Some((nr, seat)) = slots.seat(space).filter(|(_, seat)| seat.enabled) {
            self.report(self.lock_region(nr, seat, &range), "locking memory failed");
        }
    }

    /// Lets the GPU go on with what the page table of `space` says now.
    pub(super) fn end_update(&self, space: &AddressSpace) {
        let mut slots = self.slots.lock();
        *space.update.lock() = None;

        if let Some((nr, seat)) = slots.seat(space).filter(|(_, seat)| seat.enabled) {
            self.report(
                self.flush_and_unlock(nr, seat),
                "flushing caches or unlocking memory failed",
            );
        }
    }

    /// Asks for a reset if `result` says that the hardware is stuck.
    fn report(&self, result: Result, what: &str) {
        if result.is_err_and(|error| error != ENODEV) {
            self.reset.schedule(what);
        }
    }

    fn turn_on(&self, nr: usize, seat: &mut Seat) -> Result {
        self.line.clear(1 << nr)?;
        self.line.enable(1 << nr)?;

        // Even if something fails from here on the hardware may hold the page table.
        seat.enabled = true;
        let space = seat.space.clone();
        space.set_faulted(false);

        self.mmio
            .write64(mmu::translation_table(nr), space.translation_table)?;
        self.mmio
            .write64(mmu::memory_attributes(nr), space.attributes)?;
        self.mmio
            .write64(mmu::translation_config(nr), space.config)?;
        self.command(nr, Command::Update)?;

        // A change that began while the space was nowhere goes on.
        let update = space.update.lock().clone();
        if let Some(range) = update {
            self.lock_region(nr, seat, &range)?;
        }

        Ok(())
    }

    /// Takes the seat's VM out of the hardware, if it is there. Afterwards no access of it is left
    /// in a cache.
    fn turn_off(&self, nr: usize, seat: &mut Seat) -> Result {
        if !seat.enabled {
            return Ok(());
        }

        self.line.disable(1 << nr)?;
        let flushed = self.flush_and_unlock(nr, seat);
        self.report(flushed, "flushing caches or unlocking memory failed");
        flushed?;

        self.mmio.write64(mmu::translation_table(nr), 0)?;
        self.mmio.write64(mmu::memory_attributes(nr), 0)?;
        self.mmio
            .write64(mmu::translation_config(nr), mmu::config::MODE_UNMAPPED)?;
        self.command(nr, Command::Update)?;
        seat.enabled = false;

        Ok(())
    }

    fn flush_and_unlock(&self, nr: usize, seat: &mut Seat) -> Result {
        self.gpu.flush_caches()?;
        if seat.locked {
            self.command(nr, Command::Unlock)?;
            seat.locked = false;
        }

        Ok(())
    }

    fn lock_region(&self, nr: usize, seat: &mut Seat, range: &Range<u64>) -> Result {
        self.mmio
            .write64(mmu::lock_address(nr), region_code(range))?;
        self.command(nr, Command::Lock)?;
        seat.locked = true;

        Ok(())
    }

    fn wait_ready(&self, nr: usize) -> Result {
        let status = || self.mmio.read(AS_STATUS::try_at(nr).ok_or(EINVAL)?);

        read_poll_timeout(
            status,
            |status| !status.active(),
            COMMAND_POLL,
            COMMAND_TIMEOUT,
        )
        .inspect_err(|error| {
            if *error == ETIMEDOUT {
                self.reset.schedule("a command to the MMU is stuck");
            }
        })?;

        Ok(())
    }

    fn command(&self, nr: usize, command: Command) -> Result {
        self.wait_ready(nr)?;
        self.mmio
            .write(AS_COMMAND::try_at(nr).ok_or(EINVAL)?, command.into())?;
        self.wait_ready(nr)
    }

    fn report_fault(&self, nr: usize) -> Result {
        let status = self.mmio.read(AS_FAULTSTATUS::try_at(nr).ok_or(EINVAL)?)?;
        let address = self.mmio.read64(mmu::fault_address(nr))?;

        dev_err!(
            self.dev,
            "page fault in address space {nr} at {address:#018x}: {} ({:#x}), {} access, source {:#x}, status {:#x}\n",
            fault::exception_name(status.exception().get()),
            status.exception().get(),
            fault::access_name(status.access().get()),
            status.source().get(),
            status.into_raw()
        );

        Ok(())
    }

    /// Ends the address spaces in `faults`: their VMs' accesses fail until they are activated
    /// again.
    fn serve_faults(&self, faults: u32) {
        for nr in (0..MAX_AS).filter(|nr| faults & 1 << nr != 0) {
            let mut slots = self.slots.lock();

            // An error means that the hardware is gone.
            let _ = self.report_fault(nr);
            let _ = self.line.clear(1 << nr);

            if let Some(seat) = slots.seats[nr].as_mut() {
                seat.space.set_faulted(true);
                // An error has been reported.
                let _ = self.turn_off(nr, seat);
            }
            drop(slots);

            if nr == MCU_AS {
                self.reset.schedule("the firmware caused a page fault");
            }
        }
    }
}

impl Slots {
    fn find(&self, space: &AddressSpace) -> Option<usize> {
        self.seats.iter().position(|seat| {
            seat.as_ref()
                .is_some_and(|seat| core::ptr::eq(&*seat.space, space))
        })
    }

    fn seat(&mut self, space: &AddressSpace) -> Option<(usize, &mut Seat)> {
        let nr = self.find(space)?;

        Some((nr, self.seats[nr].as_mut()?))
    }

    /// The address space to use for a newcomer: the microcontroller's own, a free one, or that of
    /// the VM that is idle for the longest time.
    fn choose(&self, present: u32, mcu: bool) -> Result<usize> {
        if mcu {
            return Ok(MCU_AS);
        }

        let candidates = (MCU_AS + 1..MAX_AS).filter(|nr| present & 1 << nr != 0);
        if let Some(free) = candidates.clone().find(|nr| self.seats[*nr].is_none()) {
            return Ok(free);
        }

        candidates
            .filter_map(|nr| Some((self.seats[nr].as_ref()?, nr)))
            .filter(|(seat, _)| seat.users == 0)
            .min_by_key(|(seat, _)| seat.idle_since)
            .map(|(_, nr)| nr)
            .ok_or(EBUSY)
    }
}

/// `range` as the hardware locks it: the base of the smallest naturally aligned block that
/// contains it, and the logarithm of that block's size, minus one, in the low bits.
fn region_code(range: &Range<u64>) -> u64 {
    let differing = range.start ^ range.end.saturating_sub(1).max(range.start);
    let log2 = (u64::BITS - differing.leading_zeros()).max(SZ_32K.trailing_zeros());
    let base = if log2 < u64::BITS {
        range.start >> log2 << log2
    } else {
        0
    };

    base | u64::from(log2 - 1)
}

/// Serves interrupt line "mmu".
pub(crate) struct MmuIrq {
    /// The block.
    pub(crate) mmu: Arc<Mmu>,
    /// Told which address spaces faulted.
    pub(crate) upcall: Arc<Upcall>,
}

impl Service for MmuIrq {
    fn line(&self) -> &IrqLine {
        &self.mmu.line
    }

    fn serve(&self, events: u32) {
        let faults = events & IRQ_FAULTS;

        self.mmu.serve_faults(faults);
        self.upcall.address_spaces_faulted();
    }
}

#[kunit_tests(magni_mmu_slots)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_aligned_powers_of_two() {
        // 32 KiB is the smallest.
        assert_eq!(region_code(&(0x1000..0x2000)), 14);
        assert_eq!(region_code(&(0x8000..0x1_0000)), 0x8000 | 14);
        assert_eq!(region_code(&(0x7000..0x9000)), 15);
        assert_eq!(region_code(&(0x20_0000..0x40_0000)), 0x20_0000 | 20);
        assert_eq!(region_code(&(0..1 << 48)), 47);
    }
}
