// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Binding: from a node in the device tree to a DRM device, and back.

use crate::{
    device::{
        BoundDevice,
        Device,
        Upcall, //
    },
    fdinfo,
    file::File,
    flush_id::FlushIdPage,
    fw::{
        Firmware,
        JobIrq,
        McuEvents, //
    },
    gem::Bo,
    gpu::{
        info::GpuInfo,
        Gpu,
        GpuIrq,
        PowerWatch, //
    },
    ioctl,
    irq::{
        IrqThread,
        Service, //
    },
    lifecycle::{
        Lifecycle,
        Sleeper, //
    },
    mmio::Mmio,
    mmu::{
        Mmu,
        MmuIrq, //
    },
    params::AUTOSUSPEND_DELAY_MS,
    power::Supplies,
    profiling::{
        Profiling,
        ProfilingFile, //
    },
    regs::gpu::COHERENCY_FEATURES,
    reset::Reset,
    sched::Scheduler, //
};
use kernel::{
    device::{
        Bound,
        Core,
        DeviceContext, //
    },
    dma::{
        self,
        Device as _,
        DmaMask, //
    },
    drm::{
        self,
        fdinfo::FdInfo,
        ioctl::RENDER_ALLOW,
        registration::{
            EarlyRegistration,
            Unplugger, //
        },
        table::{
            self,
            features,
            DriverTable,
            IoPage,
            StandIn, //
        },
        Registered,
        UnregisteredDevice, //
    },
    irq::{
        DevresThreaded,
        Flags, //
    },
    magni_trace::PowerStatusRegistration,
    of,
    platform,
    pm::runtime::{
        self,
        ActiveRef, //
    },
    prelude::*,
    static_lock_class,
    sync::Arc,
    sysfs::NumberFile,
    uapi, //
};

/// The platform driver.
pub(crate) struct MagniPlatform;

/// The DRM driver.
pub(crate) struct MagniDrm;

/// A DRM device of this driver.
pub(crate) type DrmDevice<Ctx = drm::Normal> = drm::Device<MagniDrm, Ctx>;

/// An open file of this driver.
pub(crate) type DrmFile = drm::File<File>;

/// What differs between systems on chip.
pub(crate) struct SocInfo {
    /// The hash that spreads addresses over L2 slices, where it is not the default one.
    pub(crate) asn_hash: Option<[u32; 3]>,
}

const DEFAULT_SOC: SocInfo = SocInfo { asn_hash: None };
const MT8196: SocInfo = SocInfo {
    asn_hash: Some([0xb, 0xe, 0x0]),
};

kernel::of_device_table!(
    OF_TABLE,
    <MagniPlatform as platform::Driver>::IdInfo,
    [
        (of::DeviceId::new(c"mediatek,mt8196-mali"), MT8196),
        (of::DeviceId::new(c"rockchip,rk3588-mali"), DEFAULT_SOC),
        (of::DeviceId::new(c"arm,mali-valhall-csf"), DEFAULT_SOC),
    ]
);

/// The file that says what is measured.
type ProfilingAttribute = Pin<KBox<NumberFile<ProfilingFile>>>;

/// Watches the units' power while somebody traces it.
type PowerTracing = Pin<KBox<PowerStatusRegistration<PowerWatch>>>;

/// An interrupt line that is being served.
type Irq<T> = DevresThreaded<IrqThread<T>>;

/// What exists while the device is bound.
///
/// When it is unbound everything is dropped, in this order: first user space is kept out and waited
/// for, then the hardware is stopped, with its interrupts still served, then everything is turned
/// off.
pub(crate) struct BoundData<'bound> {
    _registration: EarlyRegistration<MagniDrm>,
    _profiling: ProfilingAttribute,
    _power_watch: Option<PowerTracing>,
    _shutdown: Shutdown<'bound>,
    _irqs: Irqs,
    _power_off: PowerOff,
    _supplies: Supplies,
}

/// Ends the accesses to registers when it is dropped, before the supplies are turned off.
struct PowerOff(Arc<Mmio>);

impl Drop for PowerOff {
    fn drop(&mut self) {
        self.0.turn_off();
    }
}

/// The interrupt lines.
struct Irqs {
    _job: Irq<JobIrq>,
    _mmu: Irq<MmuIrq>,
    _gpu: Irq<GpuIrq>,
}

/// Stops the hardware when it is dropped, as far as it was started.
struct Shutdown<'bound> {
    dev: &'bound kernel::device::Device<Bound>,
    mmio: Arc<Mmio>,
    /// The GPU may be asleep.
    runtime: Option<runtime::Registration<'bound>>,
    gpu: Arc<Gpu>,
    mmu: Arc<Mmu>,
    lifecycle: Option<Arc<Lifecycle>>,
    fw: Option<Arc<Firmware>>,
    device: Option<Arc<Device>>,
    sched: Option<Arc<Scheduler>>,
}

impl Drop for Shutdown<'_> {
    fn drop(&mut self) {
        // Awake for the last time, if it does wake up. A GPU that does not is off already.
        let _awake = self.runtime.take().map(|runtime| {
            let awake = ActiveRef::get(self.dev).inspect_err(|_| self.mmio.turn_off());
            drop(runtime);
            awake
        });
        if let Some(lifecycle) = self.lifecycle.take() {
            lifecycle.disconnect();
        }
        if let Some(device) = self.device.take() {
            device.shutdown();
        }
        if let Some(sched) = &self.sched {
            sched.pre_unplug();
        }
        if let Some(fw) = self.fw.take() {
            fw.unplug();
        }
        self.mmu.unplug();
        // Whatever did not stop by then writes to no memory from here on, before jobs end whose
        // groups the firmware did not let go of, and before the firmware's memory is freed.
        let _ = self.gpu.soft_reset();
        if let Some(sched) = self.sched.take() {
            sched.unplug();
        }

        // Errors have been reported, and nothing more can be done.
        let _ = self.gpu.l2_off();
        let _ = self.gpu.disable_irq();
    }
}

fn request_irq<T: Service + 'static>(
    pdev: &platform::Device<Bound>,
    name: &'static CStr,
    label: &'static CStr,
    service: T,
) -> Result<Irq<T>> {
    DevresThreaded::new(pdev, name, Flags::SHARED, label, IrqThread(service)).inspect_err(|error| {
        if *error != EPROBE_DEFER {
            dev_err!(
                pdev,
                "device tree: interrupt {name:?} is missing, or taken: {error:?}\n"
            );
        }
    })
}

impl Irqs {
    fn request(
        pdev: &platform::Device<Bound>,
        gpu: &Arc<Gpu>,
        mmu: &Arc<Mmu>,
        events: &Arc<McuEvents>,
        upcall: &Arc<Upcall>,
        reset: &Arc<Reset>,
    ) -> Result<Self> {
        let job = JobIrq {
            dev: pdev.as_ref().into(),
            events: events.clone(),
            upcall: upcall.clone(),
            reset: reset.clone(),
        };
        let gpu = GpuIrq {
            gpu: gpu.clone(),
            mcu: events.clone(),
            reset: reset.clone(),
        };
        let fault = MmuIrq {
            mmu: mmu.clone(),
            upcall: upcall.clone(),
        };

        Ok(Self {
            _job: request_irq(pdev, c"job", c"magni-job", job)?,
            _mmu: request_irq(pdev, c"mmu", c"magni-mmu", fault)?,
            _gpu: request_irq(pdev, c"gpu", c"magni-gpu", gpu)?,
        })
    }
}

/// Decides how the GPU and the CPU share memory: the coherency protocol, and whether there is one.
fn choose_coherency(pdev: &platform::Device<Bound>, mmio: &Mmio) -> Result<(u32, bool)> {
    if !dma::is_coherent(pdev.as_ref()) {
        let none = uapi::drm_panthor_gpu_coherency_DRM_PANTHOR_GPU_COHERENCY_NONE;
        return Ok((none, false));
    }

    if !mmio.read(COHERENCY_FEATURES)?.ace_lite() {
        dev_err!(
            pdev,
            "device tree: the GPU is marked as coherent, but it has no ACE-Lite: mark it as \"dma-noncoherent\"\n"
        );
        return Err(ENOTSUPP);
    }

    let ace_lite = uapi::drm_panthor_gpu_coherency_DRM_PANTHOR_GPU_COHERENCY_ACE_LITE;
    Ok((ace_lite, true))
}

fn set_dma_limits(pdev: &platform::Device<Core<'_>>, info: &GpuInfo) -> Result {
    let mask = DmaMask::try_new(info.pa_bits()).inspect_err(|_| {
        dev_err!(pdev, "the GPU has {} PA bits\n", info.pa_bits());
    })?;

    // SAFETY: Nothing was mapped or allocated for the device yet; this is the only thread that
    // could do so.
    unsafe {
        pdev.dma_set_mask_and_coherent(mask)?;
        pdev.dma_set_max_seg_size(u32::MAX);
    }

    Ok(())
}

impl platform::Driver for MagniPlatform {
    type IdInfo = SocInfo;
    type Data<'bound> = BoundData<'bound>;
    const OF_ID_TABLE: Option<of::IdTable<Self::IdInfo>> = Some(&OF_TABLE);

    fn probe<'bound>(
        pdev: &'bound platform::Device<Core<'_>>,
        soc: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        let dev: &'bound kernel::device::Device<Bound> = pdev.as_ref();

        let supplies = Supplies::enable(dev)?;
        let mmio = Arc::new(Mmio::new(pdev)?, GFP_KERNEL)?;
        let power_off = PowerOff(mmio.clone());
        let id = GpuInfo::identify(dev, &mmio)?;

        let gpu = Gpu::new(dev, mmio.clone())?;
        gpu.disable_irq()?;
        gpu.soft_reset()?;

        let (coherency, coherent) = choose_coherency(pdev, &mmio)?;
        let info = GpuInfo::read(&mmio, id, coherency)?;
        set_dma_limits(pdev, &info)?;

        let reset = Reset::new(dev)?;
        let mmu = Mmu::new(
            dev,
            mmio.clone(),
            gpu.clone(),
            reset.clone(),
            &info,
            coherent,
        )?;
        let events = McuEvents::new(mmio.clone())?;
        let upcall = Upcall::new()?;
        let irqs = Irqs::request(pdev, &gpu, &mmu, &events, &upcall, &reset)?;

        // Declared after the interrupts, so that it is dropped before them if probing fails.
        let mut shutdown = Shutdown {
            dev,
            mmio: mmio.clone(),
            runtime: None,
            gpu: gpu.clone(),
            mmu: mmu.clone(),
            lifecycle: None,
            fw: None,
            device: None,
            sched: None,
        };
        gpu.enable_irq()?;
        mmu.enable_irq()?;
        gpu.set_up_l2(&info, coherency, soc.and_then(|soc| soc.asn_hash));
        gpu.l2_on()?;
        // Later architectures have these events elsewhere.
        let power_watch = match info.id().arch_major().get() < 14 {
            true => {
                let registration = PowerStatusRegistration::new(PowerWatch(gpu.clone()));
                Some(KBox::pin_init(registration, GFP_KERNEL)?)
            }
            false => None,
        };

        let drm = UnregisteredDevice::<MagniDrm>::new(pdev, FlushIdPage::new())?;
        table::install(&drm)?;
        let cx = BoundDevice { drm: &drm, dev };

        let fw = Firmware::new(
            cx,
            &mmio,
            &mmu,
            &events,
            &info,
            supplies.clocks().core_rate(),
        )?;
        shutdown.fw = Some(fw.clone());

        info.log(dev);

        let profiling = Profiling::new(supplies.clocks().core_rate())?;
        let profiling_file = KBox::pin_init(
            NumberFile::new(dev, ProfilingFile(profiling.clone()), static_lock_class!()),
            GFP_KERNEL,
        )?;

        let device = Device::new(dev, mmio, gpu, mmu, fw, info, reset, profiling)?;
        shutdown.device = Some(device.clone());
        let sched = Scheduler::new(&device)?;
        shutdown.sched = Some(sched.clone());
        let unplugger = Unplugger::new()?;
        let lifecycle = Lifecycle::new(&sched, supplies.clocks(), unplugger.clone())?;
        shutdown.lifecycle = Some(lifecycle.clone());
        lifecycle.start();
        upcall.connect(&sched);

        let sleeper = Sleeper {
            lifecycle,
            clocks: supplies.clocks().clone(),
            drm: (&*drm).into(),
        };
        let (runtime, _awake) = runtime::Registration::new(
            dev,
            Arc::new(sleeper, GFP_KERNEL)?,
            AUTOSUSPEND_DELAY_MS.get(),
        )?;
        shutdown.runtime = Some(runtime);

        let registration = EarlyRegistration::new(dev, drm, Ok::<_, Error>(sched), 0, &unplugger)?;

        Ok(BoundData {
            _registration: registration,
            _profiling: profiling_file,
            _power_watch: power_watch,
            _shutdown: shutdown,
            _irqs: irqs,
            _power_off: power_off,
            _supplies: supplies,
        })
    }
}

/// Where the table of the driver's devices lives.
static TABLE: table::Storage = table::Storage::new();

impl DriverTable for MagniDrm {
    const FEATURES: u32 = features::SYNCOBJ | features::SYNCOBJ_TIMELINE;

    fn storage() -> &'static table::Storage {
        &TABLE
    }

    fn show_fdinfo(dev: &DrmDevice<Registered>, file: &DrmFile, out: &mut FdInfo<'_>) {
        dev.registration_data_with(|sched| fdinfo::show(sched, &file.inner(), out));
    }

    fn io_base(file: &DrmFile) -> u64 {
        file.inner().mmio_base()
    }

    fn io_page(dev: &DrmDevice<Registered>, offset: u64, map: impl FnOnce(IoPage)) -> Result {
        let window = dev.registration_data_with(|sched| sched.device().mmio.start());
        dev.map(window, offset, map)
    }

    fn stand_in(data: &FlushIdPage) -> &StandIn {
        data.stand_in()
    }
}

// User space looks at the name and the version: they are those of the C driver, whose interface
// this is.
const INFO: drm::DriverInfo = drm::DriverInfo {
    major: 1,
    minor: 9,
    patchlevel: 0,
    name: c"panthor",
    desc: c"Magni, for Arm Mali CSF GPUs",
};

#[vtable]
impl drm::Driver for MagniDrm {
    type Data = FlushIdPage;
    type RegistrationData<'a> = Arc<Scheduler>;
    type Object = Bo;
    type File = File;
    type ParentDevice<Ctx: DeviceContext> = platform::Device<Ctx>;

    const INFO: drm::DriverInfo = INFO;
    const FEAT_RENDER: bool = true;

    kernel::declare_ioctls! {
        (PANTHOR_DEV_QUERY, drm_panthor_dev_query, RENDER_ALLOW, ioctl::query::dev_query),
        (PANTHOR_VM_CREATE, drm_panthor_vm_create, RENDER_ALLOW, ioctl::vm::create),
        (PANTHOR_VM_DESTROY, drm_panthor_vm_destroy, RENDER_ALLOW, ioctl::vm::destroy),
        (PANTHOR_VM_BIND, drm_panthor_vm_bind, RENDER_ALLOW, ioctl::vm::bind),
        (PANTHOR_VM_GET_STATE, drm_panthor_vm_get_state, RENDER_ALLOW, ioctl::vm::get_state),
        (PANTHOR_BO_CREATE, drm_panthor_bo_create, RENDER_ALLOW, ioctl::bo::create),
        (PANTHOR_BO_MMAP_OFFSET, drm_panthor_bo_mmap_offset, RENDER_ALLOW, ioctl::bo::mmap_offset),
        (PANTHOR_GROUP_CREATE, drm_panthor_group_create, RENDER_ALLOW, ioctl::group::create),
        (PANTHOR_GROUP_DESTROY, drm_panthor_group_destroy, RENDER_ALLOW, ioctl::group::destroy),
        (PANTHOR_GROUP_SUBMIT, drm_panthor_group_submit, RENDER_ALLOW, ioctl::group::submit),
        (PANTHOR_GROUP_GET_STATE, drm_panthor_group_get_state, RENDER_ALLOW, ioctl::group::get_state),
        (PANTHOR_TILER_HEAP_CREATE, drm_panthor_tiler_heap_create, RENDER_ALLOW, ioctl::heap::create),
        (PANTHOR_TILER_HEAP_DESTROY, drm_panthor_tiler_heap_destroy, RENDER_ALLOW, ioctl::heap::destroy),
        (PANTHOR_BO_SET_LABEL, drm_panthor_bo_set_label, RENDER_ALLOW, ioctl::bo::set_label),
        (PANTHOR_SET_USER_MMIO_OFFSET, drm_panthor_set_user_mmio_offset, RENDER_ALLOW, ioctl::mmio::set_offset),
        (PANTHOR_BO_SYNC, drm_panthor_bo_sync, RENDER_ALLOW, ioctl::bo::sync),
        (PANTHOR_BO_QUERY_INFO, drm_panthor_bo_query_info, RENDER_ALLOW, ioctl::bo::query_info),
    }
}
