// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A fence that the CPU signals, from the kernel's vgem device.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use anyhow::{bail, ensure, Context, Result};
use bytemuck::{Pod, Zeroable};
use guest::device::Device;
use guest::ioctl::{request, Dir, Ioctl, ReadOnlyIoctl};
use guest::Syncobj;

use crate::clock;

/// vgem signals its fences by itself, as failed, after 10 s.
const LIFETIME_NS: u64 = 9_000_000_000;

/// `struct drm_mode_create_dumb`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
struct CreateDumb {
    height: u32,
    width: u32,
    bpp: u32,
    flags: u32,
    handle: u32,
    pitch: u32,
    size: u64,
}

impl Ioctl for CreateDumb {
    const REQUEST: u64 = request(Dir::ReadWrite, b'd', 0xb2, size_of::<Self>());
}
// SAFETY: the argument holds no pointer.
unsafe impl ReadOnlyIoctl for CreateDumb {}

/// `struct drm_vgem_fence_attach`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
struct FenceAttach {
    handle: u32,
    flags: u32,
    out_fence: u32,
    pad: u32,
}

impl Ioctl for FenceAttach {
    const REQUEST: u64 = request(Dir::ReadWrite, b'd', 0x41, size_of::<Self>());
}
// SAFETY: the argument holds no pointer.
unsafe impl ReadOnlyIoctl for FenceAttach {}

/// `struct drm_vgem_fence_signal`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
struct FenceSignal {
    fence: u32,
    flags: u32,
}

impl Ioctl for FenceSignal {
    const REQUEST: u64 = request(Dir::Write, b'd', 0x42, size_of::<Self>());
}
// SAFETY: the argument holds no pointer.
unsafe impl ReadOnlyIoctl for FenceSignal {}

/// `VGEM_FENCE_WRITE`.
const WRITE: u32 = 1;

/// `struct dma_buf_export_sync_file`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
struct ExportSyncFile {
    flags: u32,
    fd: i32,
}

impl Ioctl for ExportSyncFile {
    const REQUEST: u64 = request(Dir::ReadWrite, b'b', 2, size_of::<Self>());
}
// SAFETY: the argument holds no pointer.
unsafe impl ReadOnlyIoctl for ExportSyncFile {}

/// `DMA_BUF_SYNC_READ`: what a reader has to wait for.
const READ: u32 = 1;

/// `struct drm_syncobj_handle` for the import of a sync file into an existing object.
const IMPORT_SYNC_FILE: u32 = 1;

/// Opens vgem's primary node.
fn open() -> Result<Device> {
    let mut nodes: Vec<PathBuf> = fs::read_dir("/dev/dri")
        .context("list /dev/dri")?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains("/card"))
        .collect();
    nodes.sort();
    for path in nodes {
        let device = Device::open_node(&path)?;
        if device.version()?.name == "vgem" {
            return Ok(device);
        }
    }
    bail!("there is no vgem device: is vgem.ko loaded?")
}

/// A fence that has not been signalled.
pub(crate) struct Gate {
    vgem: Device,
    fence: u32,
    attached: u64,
    /// Holds the fence, for jobs to wait for.
    pub(crate) syncobj: Syncobj,
}

impl Gate {
    /// Makes a gate for jobs of `device`. It must be opened within nine seconds.
    pub(crate) fn new(device: &Device) -> Result<Self> {
        let vgem = open()?;
        let mut buffer = CreateDumb {
            height: 1,
            width: 1024,
            bpp: 32,
            ..Default::default()
        };
        vgem.call(&mut buffer).context("make a vgem buffer")?;
        let dma_buf = vgem.export_dma_buf(buffer.handle).context("export it")?;
        let mut attach = FenceAttach {
            handle: buffer.handle,
            flags: WRITE,
            ..Default::default()
        };
        let attached = clock::now();
        vgem.call(&mut attach).context("attach a vgem fence")?;
        let mut export = ExportSyncFile {
            flags: READ,
            fd: -1,
        };
        guest::ioctl::call(&dma_buf, &mut export).context("export the fence")?;
        // SAFETY: the kernel has just made this descriptor for us.
        let file =
            unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(export.fd) };
        let syncobj = Syncobj::new(device)?;
        let mut import = guest::uapi::drm::SyncobjFdToHandle {
            handle: syncobj.handle(),
            flags: IMPORT_SYNC_FILE,
            fd: file.as_raw_fd(),
            ..Default::default()
        };
        device.call(&mut import).context("import the fence")?;
        Ok(Self {
            vgem,
            fence: attach.out_fence,
            attached,
            syncobj,
        })
    }

    /// Signals the fence; returns the time just before, CLOCK_MONOTONIC in ns.
    pub(crate) fn open(&self) -> Result<u64> {
        let released = clock::now();
        self.vgem
            .call(&mut FenceSignal {
                fence: self.fence,
                flags: 0,
            })
            .context("signal the fence")?;
        ensure!(
            released - self.attached < LIFETIME_NS,
            "the jobs were not ready within 9 s: the fence has failed by itself"
        );
        Ok(released)
    }
}
