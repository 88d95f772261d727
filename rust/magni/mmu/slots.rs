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
    static_lock_class,
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
pub(super) struct Seat {
    pub(super) space: Arc<AddressSpace>,
    /// How many need the VM active; with none the seat may be taken.
    users: u32,
    /// When it became idle, on [`Slots::clock`].
    idle_since: u64,
    /// The hardware is programmed. A fault turns it off.
    pub(super) enabled: bool,
    /// The hardware holds off accesses to a region.
    pub(super) locked: bool,
}

pub(super) struct Slots {
    pub(super) seats: [Option<Seat>; MAX_AS],
    clock: u64,
    /// Nothing is made active any more.
    pub(super) gone: bool,
}

/// All address spaces.
#[pin_data]
pub(crate) struct Mmu {
    dev: ARef<Device>,
    mmio: Arc<Mmio>,
    pub(super) gpu: Arc<Gpu>,
    pub(super) reset: Arc<Reset>,
    #[pin]
    pub(super) line: IrqLine,
    #[pin]
    pub(super) slots: Mutex<Slots>,
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
                line <- IrqLine::new(mmio.clone(), IRQ, c"magni::irq::mmu", static_lock_class!()),
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

    /// Makes `space` active, in the microcontroller's address space if `mcu`; returns which.
    pub(super) fn activate(&self, space: &Arc<AddressSpace>, mcu: bool) -> Result<u32> {
        let mut slots = self.slots.lock();
        if slots.gone {
            return Err(ENODEV);
        }
        if self.reset.is_pending() {
            return Err(EBUSY);
        }

        let nr = match slots.find(space) {
            Some(nr) => nr,
            None => {
                let nr = slots.choose(self.present, mcu)?;
                if let Some(seat) = slots.seats[nr].as_mut() {
                    // Once the hardware has been reset there is room.
                    self.unless_stuck(|| self.turn_off(nr, seat))
                        .map_err(retry)?;
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
            self.unless_stuck(|| self.turn_on(nr, seat))
                .map_err(retry)?;
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

    /// Takes `space` out of the hardware, active or not; its seat stays. Waits for a reset if the
    /// hardware is stuck: see [`wait_for_reset`](Self::wait_for_reset).
    pub(super) fn disable(&self, space: &AddressSpace) {
        self.leave(space, |_| {});
    }

    /// `space` is not used any more. Waits for a reset if the hardware is stuck, as
    /// [`disable`](Self::disable) does.
    pub(super) fn release(&self, space: &AddressSpace) {
        // Who is dropped here may be the last who holds the page table.
        let mut left = None;
        self.leave(space, |place| left = place.take());
    }

    /// Takes `space` out of the hardware, then calls `then` with its place.
    fn leave(&self, space: &AddressSpace, then: impl FnOnce(&mut Option<Seat>)) {
        for last in [false, true] {
            {
                let mut slots = self.slots.lock();
                let Some((nr, seat)) = slots.seat(space) else {
                    return;
                };
                // As long as the hardware may use the page table, the seat keeps it.
                if !seat.enabled || self.unless_stuck(|| self.turn_off(nr, seat)).is_ok() {
                    return then(&mut slots.seats[nr]);
                }
            }
            if last || self.wait_for_reset().is_err() {
                return;
            }
        }
    }

    /// Keeps the GPU out of `range` of `space` until [`end_update`](Self::end_update).
    ///
    /// # Errors
    ///
    /// If the hardware is stuck. A reset has been asked for then, which takes the VM out of the
    /// hardware: what was to be kept out is kept out after it.
    pub(super) fn begin_update(&self, space: &AddressSpace, range: Range<u64>) -> Result {
        let mut slots = self.slots.lock();
        *space.update.lock() = Some(range.clone());

        match slots.seat(space).filter(|(_, seat)| seat.enabled) {
            Some((nr, seat)) => self.unless_stuck(|| self.lock_region(nr, seat, &range)),
            None => Ok(()),
        }
    }

    /// Lets the GPU go on with what the page table of `space` says now.
    ///
    /// # Errors
    ///
    /// As for [`begin_update`](Self::begin_update).
    pub(super) fn end_update(&self, space: &AddressSpace) -> Result {
        let mut slots = self.slots.lock();
        *space.update.lock() = None;

        match slots.seat(space).filter(|(_, seat)| seat.enabled) {
            Some((nr, seat)) => self.unless_stuck(|| self.flush_and_unlock(nr, seat)),
            None => Ok(()),
        }
    }

    /// Waits until the hardware, which is stuck, has been reset, and has left everybody's memory.
    ///
    /// To be called without locks that are taken where fences are signalled.
    ///
    /// # Errors
    ///
    /// `ENODEV` if it could not be reset or the device is going away.
    pub(super) fn wait_for_reset(&self) -> Result {
        self.reset.wait()
    }

    /// Does `work` with the hardware, unless a reset is to come anyway. Asks for one if the
    /// hardware turns out to be stuck.
    pub(super) fn unless_stuck(&self, work: impl FnOnce() -> Result) -> Result {
        if self.reset.is_pending() {
            return Err(ETIMEDOUT);
        }

        work().inspect_err(|error| {
            if *error != ENODEV {
                self.reset.schedule("the MMU or a cache is stuck");
            }
        })
    }

    pub(super) fn turn_on(&self, nr: usize, seat: &mut Seat) -> Result {
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
        self.flush_and_unlock(nr, seat)?;
        self.unmap(nr, seat)?;

        // It can fault no more; a fault that it had is not to be taken for the next one's.
        if self.take_fault(nr)? && seat.users != 0 {
            seat.space.set_faulted(true);
        }

        Ok(())
    }

    /// Reports and clears the fault of address space `nr`, if there is one; returns whether.
    fn take_fault(&self, nr: usize) -> Result<bool> {
        if self.line.raw()? & 1 << nr == 0 {
            return Ok(false);
        }
        self.report_fault(nr)?;
        self.line.clear(1 << nr)?;

        Ok(true)
    }

    /// Takes the seat's VM, whose accesses have been flushed, out of the hardware.
    pub(super) fn unmap(&self, nr: usize, seat: &mut Seat) -> Result {
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
        self.unlock(nr, seat)
    }

    pub(super) fn unlock(&self, nr: usize, seat: &mut Seat) -> Result {
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
                dev_err!(self.dev, "address space {nr} does not end a command\n");
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

            // Since the interrupt whoever was in there may have left, and the fault with them. An
            // error means that the hardware is gone.
            if !self.take_fault(nr).unwrap_or(false) {
                continue;
            }

            if let Some(seat) = slots.seats[nr].as_mut() {
                seat.space.set_faulted(true);
                // If it fails, the reset does it.
                let _ = self.unless_stuck(|| self.turn_off(nr, seat));
            }
            drop(slots);

            if nr == MCU_AS {
                self.reset.schedule("the firmware caused a page fault");
            }
        }
    }
}

/// What to tell those who want an address space of a GPU that is stuck: that there is none now.
fn retry(error: Error) -> Error {
    if error == ETIMEDOUT {
        EBUSY
    } else {
        error
    }
}

impl Slots {
    fn find(&self, space: &AddressSpace) -> Option<usize> {
        self.seats.iter().position(|seat| {
            seat.as_ref()
                .is_some_and(|seat| core::ptr::eq(&*seat.space, space))
        })
    }

    pub(super) fn seat(&mut self, space: &AddressSpace) -> Option<(usize, &mut Seat)> {
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

    fn serve(&self, events: u32) -> u32 {
        let faults = events & IRQ_FAULTS;

        self.mmu.serve_faults(faults);
        self.upcall.address_spaces_faulted();
        0
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
