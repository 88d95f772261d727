// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Getting the firmware file and putting its sections into memory.

use super::image::{
    self,
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
    device::Device,
    firmware,
    fmt,
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
    /// Makes memory for `section` in `vm` and loads it.
    fn new(cx: BoundDevice<'_>, vm: &Arc<Vm>, section: &image::Section<'_>) -> Result<Self> {
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
        )?;
        let mut data = Vec::new();
        data.extend_from_slice(section.data, GFP_KERNEL)?;

        let section = Self {
            memory: Arc::new(memory, GFP_KERNEL)?,
            flags: section.flags,
            data,
        };
        section.load()?;

        Ok(section)
    }

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

/// The firmware file for a GPU, and what to tell of it.
pub(super) struct FirmwareFile {
    path: CString,
    /// The revision that it was built from, where it says so.
    revision: KVec<u8>,
}

impl FirmwareFile {
    /// The file for the GPU `id`.
    pub(super) fn new(id: GPU_ID) -> Result<Self> {
        Ok(Self {
            path: CString::try_from_fmt(fmt!(
                "arm/mali/arch{}.{}/mali_csffw.bin",
                id.arch_major().get(),
                id.arch_minor().get()
            ))?,
            revision: KVec::new(),
        })
    }

    /// Says that `what` is wrong with the file, and what to do.
    pub(super) fn complain(&self, dev: &Device, what: impl fmt::Display) {
        dev_err!(
            dev,
            "firmware {}: {what}; install it from package firmware-misc-nonfree (linux-firmware elsewhere)\n",
            &*self.path
        );
    }

    /// Writes where the firmware is from to the log.
    pub(super) fn log(&self, dev: &Device) {
        let revision = core::str::from_utf8(&self.revision).unwrap_or_default();

        dev_info!(dev, "firmware {} {revision}\n", &*self.path);
    }

    /// Requests the file and loads its sections into `vm`.
    ///
    /// # Errors
    ///
    /// Each comes with one line in the log that names the file. `ENOENT` if it is missing,
    /// `EINVAL` if it is not what it should be.
    pub(super) fn load(&mut self, cx: BoundDevice<'_>, vm: &Arc<Vm>) -> Result<KVec<Section>> {
        let file = firmware::Firmware::request_nowarn(&self.path, cx.dev).inspect_err(|error| {
            self.complain(cx.dev, fmt!("it cannot be read ({error:?})"));
        })?;
        let image = Image::parse(file.data()).inspect_err(|error| self.complain(cx.dev, error))?;

        let mut sections = KVec::with_capacity(image.sections.len(), GFP_KERNEL)?;
        for section in &image.sections {
            let section = Section::new(cx, vm, section).inspect_err(|error| {
                let start = section.va.start;
                self.complain(
                    cx.dev,
                    fmt!("its section at {start:#x} cannot be loaded ({error:?})"),
                );
            })?;
            sections.push(section, GFP_KERNEL)?;
        }
        if let Some(revision) = image.revision {
            self.revision.extend_from_slice(revision, GFP_KERNEL)?;
        }

        Ok(sections)
    }
}
