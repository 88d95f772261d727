// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the GPU is and what it has.

use crate::{
    mmio::Mmio,
    regs::gpu::*, //
};
use kernel::{
    device::Device,
    io::register::Array,
    prelude::*,
    uapi, //
};

/// Architectures that the driver knows: 10 to 13 have the same power control.
const ARCHITECTURES: core::ops::RangeInclusive<u32> = 10..=13;

/// The properties that user space can query.
#[derive(Clone, Copy)]
pub(crate) struct GpuInfo(pub(crate) uapi::drm_panthor_gpu_info);

impl GpuInfo {
    /// Reads the identity and refuses what the driver does not know.
    ///
    /// # Errors
    ///
    /// `ENXIO` if there is no GPU (an identity of zero or all ones), `EOPNOTSUPP` for an unknown
    /// architecture.
    pub(crate) fn identify(dev: &Device, mmio: &Mmio) -> Result<GPU_ID> {
        let id = mmio.read(GPU_ID)?;
        let raw = id.into_raw();

        if raw == 0 || raw == !0 {
            dev_err!(
                dev,
                "no GPU answers (id {raw:#x}): check its clocks and power\n"
            );
            return Err(ENXIO);
        }
        if !ARCHITECTURES.contains(&id.arch_major().get()) {
            dev_err!(
                dev,
                "GPU id {raw:#x}: architecture {}.{} is not known to this driver\n",
                id.arch_major().get(),
                id.arch_minor().get()
            );
            return Err(EOPNOTSUPP);
        }

        Ok(id)
    }

    /// Reads all properties. `coherency` is the protocol that is going to be used.
    pub(crate) fn read(mmio: &Mmio, id: GPU_ID, coherency: u32) -> Result<Self> {
        let mut texture_features = [0; 4];
        for (index, features) in texture_features.iter_mut().enumerate() {
            *features = mmio
                .read(TEXTURE_FEATURES::try_at(index).ok_or(EINVAL)?)?
                .into_raw();
        }

        Ok(Self(uapi::drm_panthor_gpu_info {
            gpu_id: id.into_raw(),
            gpu_rev: mmio.read(REVIDR)?.into_raw(),
            csf_id: mmio.read(CSF_ID)?.into_raw(),
            l2_features: mmio.read(L2_FEATURES)?.into_raw(),
            tiler_features: mmio.read(TILER_FEATURES)?.into_raw(),
            mem_features: mmio.read(MEM_FEATURES)?.into_raw(),
            mmu_features: mmio.read(MMU_FEATURES)?.into_raw(),
            thread_features: mmio.read(THREAD_FEATURES)?.into_raw(),
            max_threads: mmio.read(THREAD_MAX_THREADS)?.into_raw(),
            thread_max_workgroup_size: mmio.read(THREAD_MAX_WORKGROUP_SIZE)?.into_raw(),
            thread_max_barrier_size: mmio.read(THREAD_MAX_BARRIER_SIZE)?.into_raw(),
            coherency_features: mmio.read(COHERENCY_FEATURES)?.into_raw(),
            texture_features,
            as_present: mmio.read(AS_PRESENT)?.into_raw(),
            selected_coherency: coherency,
            shader_present: mmio.read64(SHADER_PRESENT)?,
            l2_present: mmio.read64(L2_PRESENT)?,
            tiler_present: mmio.read64(TILER_PRESENT)?,
            core_features: mmio.read(CORE_FEATURES)?.into_raw(),
            pad: 0,
            gpu_features: mmio.read64(GPU_FEATURES)?,
        }))
    }

    /// The identity.
    pub(crate) fn id(&self) -> GPU_ID {
        GPU_ID::from_raw(self.0.gpu_id)
    }

    fn mmu_features(&self) -> MMU_FEATURES {
        MMU_FEATURES::from_raw(self.0.mmu_features)
    }

    /// Bits of a GPU virtual address.
    pub(crate) fn va_bits(&self) -> u32 {
        self.mmu_features().va_bits().get()
    }

    /// Bits of a physical address.
    pub(crate) fn pa_bits(&self) -> u32 {
        self.mmu_features().pa_bits().get()
    }

    /// The product's name.
    pub(crate) fn model(&self) -> &'static str {
        let id = self.id();
        let cores = self.0.shader_present.count_ones();
        let ray_tracing = self.0.gpu_features & (1 << 2) != 0;

        match (id.arch_major().get(), id.product_major().get()) {
            (10, 2) => "Mali-G710",
            (10, 3) => "Mali-G510",
            (10, 4) => "Mali-G310",
            (10, 7) => "Mali-G610",
            (11, 2) if cores >= 10 && ray_tracing => "Mali-G715-Immortalis",
            (11, 2) if cores >= 7 => "Mali-G715",
            (11, 2 | 3) => "Mali-G615",
            (12, 0) if cores >= 10 && ray_tracing => "Mali-G720-Immortalis",
            (12, 0) if cores >= 6 => "Mali-G720",
            (12, 0 | 1) => "Mali-G620",
            (13, 0) if cores >= 10 && ray_tracing => "Mali-G925-Immortalis",
            (13, 0) if cores >= 6 => "Mali-G725",
            (13, 0 | 1) => "Mali-G625",
            _ => "unknown Mali",
        }
    }

    /// Writes what the GPU is to the log.
    pub(crate) fn log(&self, dev: &Device) {
        let id = self.id();

        dev_info!(
            dev,
            "{} id {:#x} r{}p{} status {:#x}\n",
            self.model(),
            self.0.gpu_id >> 16,
            id.version_major().get(),
            id.version_minor().get(),
            id.version_status().get()
        );
        dev_info!(
            dev,
            "shader_present {:#x} l2_present {:#x} tiler_present {:#x} as_present {:#x}, {} VA and {} PA bits\n",
            self.0.shader_present,
            self.0.l2_present,
            self.0.tiler_present,
            self.0.as_present,
            self.va_bits(),
            self.pa_bits()
        );
    }
}
