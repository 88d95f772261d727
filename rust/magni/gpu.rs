// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The GPU as a whole: reset, L2 power, cache maintenance, faults.

use crate::{
    fw::McuEvents,
    irq::{
        IrqLine,
        Service, //
    },
    mmio::Mmio,
    mmu::fault,
    regs::gpu::*,
    reset::Reset,
    trace, //
};
use kernel::{
    device::Device,
    io::{
        poll::read_poll_timeout,
        register::Array, //
    },
    magni_trace::PowerStatusListener, //
    new_mutex,
    new_spinlock,
    prelude::*,
    static_lock_class,
    sync::{
        aref::ARef,
        wait::WaitQueue,
        Arc,
        Mutex,
        SetOnce,
        SpinLock, //
    },
    time::{
        msecs_to_jiffies,
        Delta, //
    },
};

pub(crate) mod info;

/// How long a soft reset may take.
const RESET_TIMEOUT: Delta = Delta::from_millis(500);
/// How long a change of the L2's power state may take.
const POWER_TIMEOUT: Delta = Delta::from_millis(100);
/// How often a cache flush is looked at that its interrupt has not ended, and every how many
/// milliseconds. Silicon needs far less than one; the rest is for the thread that serves the
/// interrupt, on a busy machine.
const FLUSH_LOOKS: u32 = 20;
const FLUSH_LOOK_MS: u32 = 50;

/// The L2 cache that is used: of the first, and usually only, core group.
const L2: u64 = 1;

/// What the L2 cache is powered on with.
struct L2Setup {
    /// Coherency protocol.
    coherency: u32,
    /// The hash that spreads addresses over its slices, where it is not the default one.
    asn_hash: Option<[u32; 3]>,
}

/// The GPU control block.
#[pin_data]
pub(crate) struct Gpu {
    dev: ARef<Device>,
    mmio: Arc<Mmio>,
    l2: SetOnce<L2Setup>,
    #[pin]
    line: IrqLine,
    /// Cache flushes that were asked for and are not done yet.
    #[pin]
    flushing: SpinLock<bool>,
    #[pin]
    flushed: WaitQueue,
    /// One flush at a time.
    #[pin]
    flush: Mutex<()>,
}

impl Gpu {
    /// Makes the block's state; touches no register.
    pub(crate) fn new(dev: &Device, mmio: Arc<Mmio>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                dev: dev.into(),
                mmio: mmio.clone(),
                l2: SetOnce::new(),
                line <- IrqLine::new(mmio.clone(), IRQ, c"magni::irq::gpu", static_lock_class!()),
                flushing <- new_spinlock!(false),
                flushed <- WaitQueue::new(c"magni::gpu::flushed", static_lock_class!()),
                flush <- new_mutex!(()),
            }),
            GFP_KERNEL,
        )
    }

    /// Serves the block's interrupts from now on.
    pub(crate) fn enable_irq(&self) -> Result {
        let events = irq::FAULT
            | irq::PROTECTED_FAULT
            | irq::CLEAN_CACHES_COMPLETED
            | irq::MCU_STATUS_CHANGED;
        self.line.clear(events)?;
        self.line.enable(events)
    }

    /// Masks the block's interrupts.
    pub(crate) fn disable_irq(&self) -> Result {
        self.line.disable(!0)
    }

    /// Serves no interrupt until [`open_irq`](Self::open_irq): see [`IrqLine::close`]. Nothing may
    /// be flushed meanwhile.
    pub(crate) fn close_irq(&self) {
        self.line.close();
    }

    /// Serves the block's interrupts again.
    pub(crate) fn open_irq(&self) -> Result {
        self.line.open()
    }

    /// Resets the GPU and waits until it is done. May sleep.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` if the GPU does not answer, `ENODEV` if it is gone.
    pub(crate) fn soft_reset(&self) -> Result {
        self.line.clear(irq::RESET_COMPLETED)?;
        self.mmio
            .write(GPU_COMMAND, GPU_COMMAND::from(Command::SoftReset))?;

        read_poll_timeout(
            || self.line.raw(),
            |raw| raw & irq::RESET_COMPLETED != 0,
            Delta::from_millis(1),
            RESET_TIMEOUT,
        )
        .inspect_err(|error| {
            dev_err!(
                self.dev,
                "the GPU does not answer to a soft reset ({error:?}): check its clocks and power\n"
            );
        })?;

        self.line.clear(irq::RESET_COMPLETED)
    }

    /// Says how the L2 cache is to be powered on: with `coherency` as coherency protocol, and with
    /// addresses spread over its slices by `asn_hash`. A GPU that cannot do the latter works all
    /// the same. What was said first counts.
    pub(crate) fn set_up_l2(
        &self,
        info: &info::GpuInfo,
        coherency: u32,
        asn_hash: Option<[u32; 3]>,
    ) {
        let can_hash = info.id().arch_major().get() >= 11;
        if asn_hash.is_some() && !can_hash {
            dev_err!(
                self.dev,
                "this GPU cannot be given a hash for its L2 slices; it goes on without\n"
            );
        }

        self.l2.populate(L2Setup {
            coherency,
            asn_hash: asn_hash.filter(|_| can_hash),
        });
    }

    /// Powers the L2 cache on, after a reset or a loss of power. The firmware powers the other
    /// blocks. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` before [`set_up_l2`](Self::set_up_l2), `ETIMEDOUT` if the cache does not come up,
    /// `ENODEV` if the GPU is gone.
    pub(crate) fn l2_on(&self) -> Result {
        let setup = self.l2.as_ref().ok_or(EINVAL)?;

        if let Some(hash) = setup.asn_hash {
            for (index, word) in hash.into_iter().enumerate() {
                let location = ASN_HASH::try_at(index).ok_or(EINVAL)?;
                self.mmio.write(location, ASN_HASH::from_raw(word))?;
            }
            let config = self.mmio.read(L2_CONFIG)?;
            self.mmio
                .write(L2_CONFIG, config.with_asn_hash_enable(true))?;
        }
        self.mmio.write(
            COHERENCY_PROTOCOL,
            COHERENCY_PROTOCOL::from_raw(setup.coherency),
        )?;

        self.wait_l2(L2_PWRTRANS, |transition| transition & L2 == 0)?;
        self.mmio.write64(L2_PWRON, L2)?;
        self.wait_l2(L2_READY, |ready| ready & L2 == L2)
    }

    /// Powers the L2 cache off. May sleep.
    pub(crate) fn l2_off(&self) -> Result {
        self.wait_l2(L2_PWRTRANS, |transition| transition & L2 == 0)?;
        self.mmio.write64(L2_PWROFF, L2)?;
        self.wait_l2(L2_PWRTRANS, |transition| transition & L2 == 0)
    }

    /// Powers the L2 cache off, and makes sure that it is: nothing of the GPU reaches memory then.
    /// May sleep.
    pub(crate) fn cut_off_memory(&self) -> Result {
        self.l2_off()?;
        self.wait_l2(L2_READY, |ready| ready & L2 == 0)
    }

    fn wait_l2(&self, reg: crate::regs::Reg64, mut done: impl FnMut(u64) -> bool) -> Result {
        read_poll_timeout(
            || self.mmio.read64(reg),
            |value| done(*value),
            Delta::from_micros(100),
            POWER_TIMEOUT,
        )
        .inspect_err(|error| {
            dev_err!(
                self.dev,
                "the L2 cache does not change its power state: {error:?}\n"
            );
        })?;

        Ok(())
    }

    /// Writes back and invalidates the GPU's caches and waits until that is done. Sleeps; takes
    /// no lock that is held across an allocation.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` if it takes more than a second: only a reset helps. `ENODEV` if the GPU is gone.
    pub(crate) fn flush_caches(&self) -> Result {
        let _one_at_a_time = self.flush.lock();

        *self.flushing.lock() = true;
        self.mmio
            .write(GPU_COMMAND, GPU_COMMAND::from(Command::FlushCaches))?;

        for _ in 0..FLUSH_LOOKS {
            let done = self
                .flushed
                .wait_timeout(msecs_to_jiffies(FLUSH_LOOK_MS), || !*self.flushing.lock());
            if done {
                return Ok(());
            }
            if self.take_flush()? {
                dev_warn!(
                    self.dev,
                    "the interrupt of a cache flush is late, or lost\n"
                );
                return Ok(());
            }
        }

        *self.flushing.lock() = false;
        dev_err!(
            self.dev,
            "a cache flush is not done after {} ms\n",
            FLUSH_LOOKS * FLUSH_LOOK_MS
        );
        Err(ETIMEDOUT)
    }

    /// Ends a flush that is done, without the interrupt's thread; returns whether it is.
    fn take_flush(&self) -> Result<bool> {
        if self.line.raw()? & irq::CLEAN_CACHES_COMPLETED == 0 {
            return Ok(false);
        }
        // Not while the thread serves the event, which it would take for the next flush's then.
        // Opening the line has other events served whose interrupt was lost with it.
        self.line.close();
        *self.flushing.lock() = false;
        self.line.clear(irq::CLEAN_CACHES_COMPLETED)?;
        self.line.open()?;

        Ok(true)
    }

    /// System timestamp and its offset, in ticks of the system counter.
    pub(crate) fn timestamp(&self) -> Result<u64> {
        self.mmio.read64_counter(TIMESTAMP)
    }

    /// What to add to a GPU timestamp to get a system timestamp.
    pub(crate) fn timestamp_offset(&self) -> Result<u64> {
        self.mmio.read64(TIMESTAMP_OFFSET)
    }

    /// Cycles since the last reset.
    pub(crate) fn cycle_count(&self) -> Result<u64> {
        self.mmio.read64_counter(CYCLE_COUNT)
    }

    fn trace_power_status(&self) {
        if !trace::wants_power_status() {
            return;
        }
        if let (Ok(shaders), Ok(tilers), Ok(l2)) = (
            self.mmio.read64(SHADER_READY),
            self.mmio.read64(TILER_READY),
            self.mmio.read64(L2_READY),
        ) {
            trace::gpu_power_status(&self.dev, shaders, tilers, l2);
        }
    }

    fn report_fault(&self) {
        let (Ok(status), Ok(address)) = (
            self.mmio.read(GPU_FAULT_STATUS),
            self.mmio.read64(GPU_FAULT_ADDRESS),
        ) else {
            return;
        };

        dev_warn!(
            self.dev,
            "GPU fault {:#010x} ({}) at {:#x}\n",
            status.into_raw(),
            fault::exception_name(status.exception().get()),
            address
        );
    }
}

/// Watches the units' power while somebody traces it.
///
/// Otherwise the events are masked: there are many of them, and nothing depends on them.
pub(crate) struct PowerWatch(pub(crate) Arc<Gpu>);

impl PowerStatusListener for PowerWatch {
    fn set(&self, on: bool) {
        let events = irq::POWER_CHANGED | irq::POWER_CHANGED_ALL;
        let line = &self.0.line;
        // An error means that the device is gone, and with it what could be traced.
        let _ = match on {
            true => line.enable_anew(events),
            false => line.disable(events),
        };
    }
}

/// Serves interrupt line "gpu".
pub(crate) struct GpuIrq {
    /// The block.
    pub(crate) gpu: Arc<Gpu>,
    /// Knows what the firmware should be doing.
    pub(crate) mcu: Arc<McuEvents>,
    /// Asked for when it does not.
    pub(crate) reset: Arc<Reset>,
}

impl Service for GpuIrq {
    fn line(&self) -> &IrqLine {
        &self.gpu.line
    }

    fn serve(&self, events: u32) -> u32 {
        let gpu = &self.gpu;
        // Before the event is cleared: the next fault's cause takes the place of this one's then.
        if events & irq::FAULT != 0 {
            gpu.report_fault();
        }
        let _ = gpu.line.clear(events);

        if events & (irq::POWER_CHANGED | irq::POWER_CHANGED_ALL) != 0 {
            gpu.trace_power_status();
        }
        if events & irq::PROTECTED_FAULT != 0 {
            dev_warn!(gpu.dev, "GPU fault in protected mode\n");
        }
        if events & irq::MCU_STATUS_CHANGED != 0 {
            self.mcu.check_status(&self.reset);
        }
        if events & irq::CLEAN_CACHES_COMPLETED != 0 {
            *gpu.flushing.lock() = false;
            gpu.flushed.wake_all();
        }
        0
    }
}
