// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The microcontroller and its firmware, running.

use super::{
    events::McuEvents,
    image::SHARED_START,
    interface::{
        CsgInterface,
        GlbInterface,
        Interface, //
    },
    layout::glb,
    load::{
        FirmwareFile,
        Section, //
    },
};
use crate::{
    device::BoundDevice,
    gem::{
        KernelBo,
        Va, //
    },
    gpu::info::GpuInfo,
    mmio::Mmio,
    mmu::{
        ActiveVm,
        MapFlags,
        Mmu,
        Vm,
        VmKind, //
    },
    regs::mcu::{
        Control,
        Status, //
        DOORBELL,
        MCU_CONTROL,
        MCU_STATUS,
    },
};
use kernel::{
    clocksource::arch_timer_rate,
    device::Device,
    io::{
        poll::read_poll_timeout,
        register::Array, //
    },
    new_mutex,
    prelude::*,
    sizes::SZ_8K,
    sync::{
        aref::ARef,
        atomic::{
            ordering,
            AtomicFlag, //
        },
        rcu,
        Arc,
        Mutex, //
    },
    time::Delta,
    uapi, //
};

/// How long the firmware may take to boot, in milliseconds.
const BOOT_TIMEOUT_MS: u32 = 1000;
/// How long the microcontroller may take to stop.
const STOP_TIMEOUT: Delta = Delta::from_millis(100);
/// A job that makes no progress for this many GPU cycles is reported.
const PROGRESS_TIMEOUT_CYCLES: u64 = 5 * 500 * 1024 * 1024;
/// A group that is idle for this long is reported.
const IDLE_US: u64 = 800;
/// Cores that are unused for this long are powered off.
const POWEROFF_US: u64 = 10_000;

/// Where the kernel's buffers go in the microcontroller's memory: the rest of the shared region.
const KERNEL_VA: core::ops::Range<u64> = SHARED_START as u64..2 * SHARED_START as u64;

/// The microcontroller with its firmware.
#[pin_data]
pub(crate) struct Firmware {
    pub(super) dev: ARef<Device>,
    pub(super) mmio: Arc<Mmio>,
    pub(super) events: Arc<McuEvents>,
    pub(super) mcu: Arc<Mcu>,
    vm: Arc<Vm>,
    /// The VM's seat, for as long as the microcontroller may run.
    #[pin]
    pub(super) active: Mutex<Option<ActiveVm>>,
    /// Nobody is there to hear a doorbell.
    pub(super) stopped: AtomicFlag,
    pub(super) sections: KVec<Section>,
    pub(super) interface: Interface,
    shader_present: u64,
    core_rate: u64,
}

/// The microcontroller itself.
pub(super) struct Mcu {
    dev: ARef<Device>,
    mmio: Arc<Mmio>,
    events: Arc<McuEvents>,
}

impl Mcu {
    /// Starts the microcontroller, and waits until the firmware has booted.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` if it does not boot; it is to be disabled then.
    pub(super) fn boot(&self) -> Result {
        self.events.arm()?;
        self.mmio.write(MCU_CONTROL, Control::Auto.into())?;
        if self.events.wait_booted(BOOT_TIMEOUT_MS) {
            Ok(())
        } else {
            Err(ETIMEDOUT)
        }
    }

    /// Stops the microcontroller, whatever it does.
    pub(super) fn disable(&self) {
        let stopped = self
            .mmio
            .write(MCU_CONTROL, Control::Disable.into())
            .and_then(|()| {
                read_poll_timeout(
                    || self.mmio.read(MCU_STATUS),
                    |status| status.value() == Status::Disabled,
                    Delta::from_micros(10),
                    STOP_TIMEOUT,
                )
            });
        if stopped.is_err_and(|error| error != ENODEV) {
            dev_err!(self.dev, "the microcontroller does not stop\n");
        }
    }
}

/// Disables the microcontroller when it is dropped.
struct Running(Option<Arc<Mcu>>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mcu) = self.0.take() {
            mcu.events.disarm();
            mcu.disable();
        }
    }
}

impl Firmware {
    /// Loads the firmware, boots it and finds its interface. The interrupts have to be served
    /// already; `core_rate` is the core clock's rate in Hz.
    ///
    /// # Errors
    ///
    /// Each comes with a line in the log. The microcontroller is stopped then.
    pub(crate) fn new(
        cx: BoundDevice<'_>,
        mmio: &Arc<Mmio>,
        mmu: &Arc<Mmu>,
        events: &Arc<McuEvents>,
        info: &GpuInfo,
        core_rate: u64,
    ) -> Result<Arc<Self>> {
        let vm = Vm::new(cx, mmu, VmKind::Mcu(KERNEL_VA))?;
        let mut file = FirmwareFile::new(info.id())?;
        let sections = file.load(cx, &vm)?;
        let shared = sections
            .iter()
            .find(|section| section.is_shared())
            .ok_or(EINVAL)?
            .memory()
            .clone();

        let active = vm.activate().inspect_err(|error| {
            dev_err!(cx.dev, "no address space for the firmware: {error:?}\n");
        })?;
        let mcu = Arc::new(
            Mcu {
                dev: ARef::from(&**cx.dev),
                mmio: mmio.clone(),
                events: events.clone(),
            },
            GFP_KERNEL,
        )?;
        let mut running = Running(Some(mcu.clone()));
        mcu.boot().inspect_err(|_| {
            file.complain(
                cx.dev,
                fmt!(
                    "it does not boot within {BOOT_TIMEOUT_MS} ms, the microcontroller is {:?}",
                    mmio.read(MCU_STATUS).map(|status| status.value())
                ),
            );
        })?;
        let interface = Interface::find(cx.dev, &shared)?;

        let firmware = Arc::pin_init(
            pin_init!(Self {
                dev: ARef::from(&**cx.dev),
                mmio: mmio.clone(),
                events: events.clone(),
                mcu,
                vm,
                active <- new_mutex!(Some(active)),
                stopped: AtomicFlag::new(false),
                sections,
                interface,
                shader_present: info.0.shader_present,
                core_rate,
            }),
            GFP_KERNEL,
        )?;
        file.log(cx.dev);
        firmware.interface.log(cx.dev);

        // From here on `unplug` stops it.
        running.0 = None;
        firmware.configure();

        Ok(firmware)
    }

    /// Stops the microcontroller for good.
    pub(crate) fn unplug(&self) {
        self.stop(false);
        let active = self.active.lock().take();
        drop(active);
    }

    /// Tells the firmware how to behave.
    pub(super) fn configure(&self) {
        let glb = self.glb();

        glb.input.set_core_en_mask(self.shader_present);
        glb.input.set_poweroff_timer(self.timer(POWEROFF_US));
        glb.input
            .set_progress_timer((PROGRESS_TIMEOUT_CYCLES >> 10) as u32);
        glb.input.set_idle_timer(self.timer(IDLE_US));

        let mut irqs =
            glb::CFG_ALLOC_EN | glb::PING | glb::CFG_PROGRESS_TIMER | glb::CFG_POWEROFF_TIMER;
        if glb.has_state() {
            irqs |= glb::STATE_MASK;
        }
        glb.input.set_ack_irq_mask(irqs);

        // That everything is idle is of no interest as long as the GPU stays powered.
        glb.ask(
            glb::CFG_ALLOC_EN | glb::CFG_POWEROFF_TIMER | glb::CFG_PROGRESS_TIMER,
            glb::IDLE_EN | glb::COUNTER_EN,
            glb::COUNTER_EN,
        );
        self.ring_glb_doorbell();
    }

    /// A time in microseconds as the firmware's timers count it: 1024 ticks of the system counter,
    /// or of the GPU's where there is none.
    fn timer(&self, us: u64) -> u32 {
        let (rate, source) = match arch_timer_rate() {
            0 => (self.core_rate, glb::TIMER_GPU_COUNTER),
            rate => (rate.into(), 0),
        };

        timer_ticks(us, rate) | source
    }

    /// The global interface.
    pub(crate) fn glb(&self) -> &GlbInterface {
        &self.interface.glb
    }

    /// The interface of group slot `slot`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is none.
    pub(crate) fn csg(&self, slot: usize) -> Result<&CsgInterface> {
        self.interface
            .groups
            .get(slot)
            .map(|group| &**group)
            .ok_or(EINVAL)
    }

    /// What user space may know of the interface.
    pub(crate) fn csif_info(&self) -> &uapi::drm_panthor_csif_info {
        &self.interface.info
    }

    /// Makes the firmware look at the global interface.
    pub(crate) fn ring_glb_doorbell(&self) {
        self.ring(0);
    }

    /// Makes the firmware look at the rings of the group in `slot`. May be called in any context.
    pub(crate) fn ring_group_doorbell(&self, slot: usize) {
        self.ring(slot + 1);
    }

    /// Makes the firmware look at the interfaces of the group slots in `slots`, a bit each.
    pub(crate) fn ring_csg_doorbells(&self, slots: u32) {
        self.glb().toggle_doorbells(slots);
        self.ring_glb_doorbell();
    }

    fn ring(&self, doorbell: usize) {
        // Whoever stops the firmware waits for those that found it running.
        let _running = rcu::read_lock();
        if !self.stopped.load(ordering::Acquire) {
            self.ring_always(doorbell);
        }
    }

    /// Rings, though the firmware may not hear.
    pub(super) fn ring_always(&self, doorbell: usize) {
        if let Some(location) = DOORBELL::try_at(doorbell) {
            // A doorbell that is not there any more wakes nobody.
            let _ = self
                .mmio
                .write(location, DOORBELL::zeroed().with_ring(true));
        }
    }

    /// Memory for a ring's input block, at offset 0, and output block, at offset 4 KiB.
    pub(crate) fn alloc_ring_interface(&self, cx: BoundDevice<'_>) -> Result<KernelBo> {
        KernelBo::new(
            cx,
            &self.vm,
            SZ_8K as u64,
            MapFlags::NOEXEC.and(MapFlags::UNCACHED),
            Va::Auto,
        )
    }

    /// A suspend buffer for a group.
    pub(crate) fn alloc_suspend_buffer(&self, cx: BoundDevice<'_>) -> Result<KernelBo> {
        let size = self.csg(0)?.suspend_size;

        KernelBo::new(cx, &self.vm, size.into(), MapFlags::NOEXEC, Va::Auto)
    }

    /// A protected-mode suspend buffer for a group.
    pub(crate) fn alloc_protm_suspend_buffer(&self, cx: BoundDevice<'_>) -> Result<KernelBo> {
        let size = self.csg(0)?.protm_suspend_size;

        KernelBo::new(cx, &self.vm, size.into(), MapFlags::NOEXEC, Va::Auto)
    }
}

/// `us` microseconds of a counter at `rate` Hz, in units of 1024 ticks, rounded up, at most what
/// the firmware's timers can hold.
fn timer_ticks(us: u64, rate: u64) -> u32 {
    const MAX: u64 = (1 << 31) - 1;

    match us.checked_mul(rate) {
        Some(0) | None => MAX as u32,
        Some(ticks) => ticks.div_ceil(1_000_000 << 10).min(MAX) as u32,
    }
}

#[kunit_tests(magni_fw_mcu)]
mod tests {
    use super::*;

    #[test]
    fn timers() {
        // 24 MHz, 62.5 MHz, no clock.
        assert_eq!(timer_ticks(800, 24_000_000), 19);
        assert_eq!(timer_ticks(10_000, 62_500_000), 611);
        assert_eq!(timer_ticks(800, 0), 0x7fff_ffff);
        assert_eq!(timer_ticks(u64::MAX, 2), 0x7fff_ffff);
    }
}
