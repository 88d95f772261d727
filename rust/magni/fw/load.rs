// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Getting the firmware file and putting its sections into memory.

use super::image::{
    Image,
    SectionFlags,
    SHARED_START, //
};
use crate::{
    device::BoundDevice,
    gem::{
        KernelBo,
        Va, //
    },
    mmu::{
        MapFlags,
        Vm, //
    },
    regs::gpu::GPU_ID,
};
use kernel::{
    alloc::allocator::KVmalloc,
    firmware,
    prelude::*,
    str::CString,
    sync::Arc, //
};

/// A section in memory.
pub(super) struct Section {
    memory: Arc<KernelBo>,
    flags: SectionFlags,
    /// What the section starts with.
    data: Vec<u8, KVmalloc>,
}

impl Section {
    /// Writes the section's initial contents.
    pub(super) fn load(&self) -> Result {
        let cpu = self.memory.cpu();
        cpu.write(0, &self.data)?;

        if self.flags.zeroed() {
            let whole = self.data.len().next_multiple_of(8);
            for byte in self.data.len()..whole.min(self.memory.size() as usize) {
                cpu.write8(byte, 0)?;
            }
            cpu.zero_from(whole)?;
        }

        Ok(())
    }

    /// The section with the interfaces.
    pub(super) fn is_shared(&self) -> bool {
        self.memory.va() == u64::from(SHARED_START)
    }

    /// The section's memory.
    pub(super) fn memory(&self) -> &Arc<KernelBo> {
        &self.memory
    }
}

/// Requests the firmware for the GPU `id` and loads its sections into `vm`.
///
/// # Errors
///
/// Each comes with one line in the log that names the file. `ENOENT` if it is missing, `EINVAL` if
/// it is not what it should be.
pub(super) fn load(cx: BoundDevice<'_>, vm: &Arc<Vm>, id: GPU_ID) -> Result<KVec<Section>> {
    let path = CString::try_from_fmt(fmt!(
        "arm/mali/arch{}.{}/mali_csffw.bin",
        id.arch_major().get(),
        id.arch_minor().get()
    ))?;

    let file = firmware::Firmware::request_nowarn(&path, cx.dev).inspect_err(|error| {
        dev_err!(
            cx.dev,
            "firmware {}: cannot be loaded ({error:?}); it is in package firmware-misc-nonfree (linux-firmware elsewhere)\n",
            &*path
        );
    })?;
    let image = Image::parse(file.data()).inspect_err(|error| {
        dev_err!(
            cx.dev,
            "firmware {}: {error}; install package firmware-misc-nonfree (linux-firmware elsewhere) anew\n",
            &*path
        );
    })?;

    let mut sections = KVec::with_capacity(image.sections.len(), GFP_KERNEL)?;
    for section in &image.sections {
        let mut flags = MapFlags::default();
        if !section.flags.writable() {
            flags = flags.and(MapFlags::READONLY);
        }
        if !section.flags.executable() {
            flags = flags.and(MapFlags::NOEXEC);
        }
        if !section.flags.cached() {
            flags = flags.and(MapFlags::UNCACHED);
        }

        let memory = KernelBo::new(
            cx,
            vm,
            (section.va.end - section.va.start).into(),
            flags,
            Va::Fixed(section.va.start.into()),
        )
        .inspect_err(|error| {
            dev_err!(
                cx.dev,
                "firmware {}: no memory for the section at {:#x}: {error:?}\n",
                &*path,
                section.va.start
            );
        })?;

        let mut data = Vec::new();
        data.extend_from_slice(section.data, GFP_KERNEL)?;
        let section = Section {
            memory: Arc::new(memory, GFP_KERNEL)?,
            flags: section.flags,
            data,
        };
        section.load()?;
        sections.push(section, GFP_KERNEL)?;
    }

    if let Some(revision) = image
        .revision
        .and_then(|text| core::str::from_utf8(text).ok())
    {
        dev_info!(cx.dev, "firmware {} revision {revision}\n", &*path);
    }

    Ok(sections)
}
