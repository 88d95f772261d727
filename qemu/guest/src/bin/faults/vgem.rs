// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A foreign fence: one of the kernel's `vgem` driver, that userspace signals (`vgem_drm.h`, `dma-buf.h`).

use std::fs;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::process::Command;

use anyhow::{ensure, Context, Result};
use bytemuck::{Pod, Zeroable};
use guest::ioctl::{call_unchecked, request, Dir};
use guest::uapi::drm::{GemClose, PrimeHandleToFd};
use guest::Device;

/// Where the guest keeps the module.
const MODULE: &str = "/lib/magni/modules/vgem.ko";

/// `DRM_IOCTL_MODE_CREATE_DUMB`.
#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
struct CreateDumb {
    height: u32,
    width: u32,
    bpp: u32,
    flags: u32,
    handle: u32,
    pitch: u32,
    size: u64,
}

/// `DRM_IOCTL_VGEM_FENCE_ATTACH`.
#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
struct FenceAttach {
    handle: u32,
    flags: u32,
    out_fence: u32,
    pad: u32,
}

/// `DRM_IOCTL_VGEM_FENCE_SIGNAL`.
#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
struct FenceSignal {
    fence: u32,
    flags: u32,
}

/// `DMA_BUF_IOCTL_EXPORT_SYNC_FILE`.
#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
struct ExportSyncFile {
    flags: u32,
    fd: i32,
}

/// The fence belongs to a write.
const FENCE_WRITE: u32 = 1;
/// Fences of reads and writes.
const SYNC_RW: u32 = 3;

/// A fence that is signalled by [`Fence::signal`], when it is dropped, or by itself after ten seconds.
pub(crate) struct Fence {
    device: Device,
    id: u32,
}

impl Fence {
    /// Makes a fence, and a sync file of it.
    pub(crate) fn new() -> Result<(Self, OwnedFd)> {
        let device = open()?;
        let mut dumb = CreateDumb {
            height: 64,
            width: 64,
            bpp: 32,
            ..Default::default()
        };
        let nr = |kind, nr, size| request(Dir::ReadWrite, kind, nr, size);
        // SAFETY: these ioctls have no pointers; the kernel writes to the argument only.
        unsafe { call_unchecked(&device, nr(b'd', 0xb2, size_of::<CreateDumb>()), &mut dumb) }
            .context("create a dumb buffer of vgem")?;
        let mut attach = FenceAttach {
            handle: dumb.handle,
            flags: FENCE_WRITE,
            ..Default::default()
        };
        let number = nr(b'd', 0x41, size_of::<FenceAttach>());
        // SAFETY: as above.
        unsafe { call_unchecked(&device, number, &mut attach) }.context("attach a vgem fence")?;
        let mut prime = PrimeHandleToFd {
            handle: dumb.handle,
            flags: libc::O_CLOEXEC as u32,
            fd: -1,
        };
        device.call(&mut prime).context("export the dumb buffer")?;
        // SAFETY: the kernel has just made this descriptor for us.
        let buffer = unsafe { OwnedFd::from_raw_fd(prime.fd) };
        let mut export = ExportSyncFile {
            flags: SYNC_RW,
            fd: -1,
        };
        let number = nr(b'b', 2, size_of::<ExportSyncFile>());
        // SAFETY: as above.
        unsafe { call_unchecked(&buffer, number, &mut export) }.context("export the fence")?;
        // SAFETY: the kernel has just made this descriptor for us.
        let sync_file = unsafe { OwnedFd::from_raw_fd(export.fd) };
        // The fence is in the sync file; the buffer is of no use any more.
        let _ = device.call(&mut GemClose {
            handle: dumb.handle,
            pad: 0,
        });
        Ok((
            Self {
                device,
                id: attach.out_fence,
            },
            sync_file,
        ))
    }

    /// Signals it.
    pub(crate) fn signal(&self) -> Result<()> {
        let mut args = FenceSignal {
            fence: self.id,
            flags: 0,
        };
        let number = request(Dir::Write, b'd', 0x42, size_of::<FenceSignal>());
        // SAFETY: this ioctl has no pointers.
        unsafe { call_unchecked(&self.device, number, &mut args) }.context("signal the vgem fence")
    }
}

/// Opens vgem's device; loads the module if it is not there.
fn open() -> Result<Device> {
    if !Path::new("/sys/module/vgem").exists() {
        let status = Command::new("insmod").arg(MODULE).status();
        ensure!(
            status.is_ok_and(|status| status.success()),
            "insmod {MODULE} failed; without vgem there is no foreign fence"
        );
    }
    for entry in fs::read_dir("/dev/dri").context("list /dev/dri")?.flatten() {
        let path = entry.path();
        let is_card = entry.file_name().to_string_lossy().starts_with("card");
        if let (true, Ok(device)) = (is_card, Device::open_node(&path)) {
            if device.version().is_ok_and(|version| version.name == "vgem") {
                return Ok(device);
            }
        }
    }
    anyhow::bail!("vgem is loaded, but has no node in /dev/dri")
}
