// SPDX-License-Identifier: GPL-2.0 OR MIT

//! An open render node.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::ioctl::{self, Errno, Ioctl, ReadOnlyIoctl, Result};
use crate::uapi::{drm, panthor};

/// The driver name of this uAPI.
pub const DRIVER_NAME: &str = "panthor";

/// Bytes of the page that holds the flush id.
const FLUSH_ID_PAGE: usize = 4096;

/// Why there is no device to use.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No render node answers to the driver's name.
    #[error(
        "no render node of driver \"{DRIVER_NAME}\" in {dir} (found: {found}); \
         load the driver and look for its probe messages in the kernel log"
    )]
    NotFound {
        /// Folder searched.
        dir: PathBuf,
        /// Nodes there, with their drivers.
        found: String,
    },
    /// A node cannot be opened or asked.
    #[error("{path}: {source}")]
    Node {
        /// The node.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// Driver name and version as the kernel reports them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverVersion {
    /// Driver name, "panthor".
    pub name: String,
    /// Description.
    pub desc: String,
    /// Major version of the uAPI.
    pub major: i32,
    /// Minor version of the uAPI.
    pub minor: i32,
    /// Patch level.
    pub patch: i32,
}

impl fmt::Display for DriverVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}.{}.{} ({})",
            self.name, self.major, self.minor, self.patch, self.desc
        )
    }
}

#[derive(Debug)]
struct Inner {
    file: File,
    path: PathBuf,
}

/// An open render node. Clones share the file; [`Device::reopen`] opens another one.
#[derive(Clone, Debug)]
pub struct Device(Arc<Inner>);

impl AsRawFd for Device {
    fn as_raw_fd(&self) -> RawFd {
        self.0.file.as_raw_fd()
    }
}

impl Device {
    /// Opens the first render node that this uAPI's driver serves.
    pub fn open() -> std::result::Result<Self, OpenError> {
        Self::find(Path::new("/dev/dri"))
    }

    fn find(dir: &Path) -> std::result::Result<Self, OpenError> {
        let mut nodes: Vec<PathBuf> = match fs::read_dir(dir) {
            Ok(entries) => entries
                .flatten()
                .map(|e| e.path())
                .filter(|p| {
                    p.file_name()
                        .is_some_and(|n| n.to_string_lossy().starts_with("renderD"))
                })
                .collect(),
            Err(_) => Vec::new(),
        };
        nodes.sort();

        let mut found = Vec::new();
        for path in nodes {
            match Self::open_node(&path) {
                Ok(device) => {
                    let version = device.version().map_err(|e| OpenError::Node {
                        path: path.clone(),
                        source: io::Error::from_raw_os_error(e.0),
                    })?;
                    if version.name == DRIVER_NAME {
                        return Ok(device);
                    }
                    found.push(format!("{}: {}", path.display(), version.name));
                }
                Err(e) => found.push(e.to_string()),
            }
        }
        if found.is_empty() {
            found.push("none".into());
        }
        Err(OpenError::NotFound {
            dir: dir.into(),
            found: found.join(", "),
        })
    }

    /// Opens `path`, whatever driver serves it.
    pub fn open_node(path: &Path) -> std::result::Result<Self, OpenError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|source| OpenError::Node {
                path: path.into(),
                source,
            })?;
        Ok(Self(Arc::new(Inner {
            file,
            path: path.into(),
        })))
    }

    /// Opens the same node once more: another file, with handles of its own.
    pub fn reopen(&self) -> std::result::Result<Self, OpenError> {
        Self::open_node(self.path())
    }

    /// Path of the node.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Name of the kernel module that drives the device, if sysfs tells.
    pub fn module_name(&self) -> Option<String> {
        let device = self.0.file.metadata().ok()?.rdev();
        let link = format!(
            "/sys/dev/char/{}:{}/device/driver/module",
            libc::major(device),
            libc::minor(device)
        );
        let module = fs::canonicalize(link).ok()?;
        Some(module.file_name()?.to_str()?.to_owned())
    }

    /// Issues an ioctl.
    pub fn call<T: ReadOnlyIoctl>(&self, arg: &mut T) -> Result<()> {
        ioctl::call(self, arg)
    }

    /// Driver name and version.
    pub fn version(&self) -> Result<DriverVersion> {
        let mut name = [0u8; 64];
        let mut desc = [0u8; 256];
        let mut args = drm::Version {
            name_len: name.len() as u64,
            name: name.as_mut_ptr() as u64,
            desc_len: desc.len() as u64,
            desc: desc.as_mut_ptr() as u64,
            ..Default::default()
        };
        // SAFETY: the kernel writes at most `name_len` and `desc_len` bytes to these buffers, and no date.
        unsafe { ioctl::call_unchecked(self, drm::Version::REQUEST, &mut args)? };
        let text = |bytes: &[u8], len: u64| {
            String::from_utf8_lossy(&bytes[..bytes.len().min(len as usize)]).into_owned()
        };
        Ok(DriverVersion {
            name: text(&name, args.name_len),
            desc: text(&desc, args.desc_len),
            major: args.version_major,
            minor: args.version_minor,
            patch: args.version_patchlevel,
        })
    }

    /// A DRM capability (`drm::CAP_*`).
    pub fn cap(&self, capability: u64) -> Result<u64> {
        let mut args = drm::GetCap {
            capability,
            value: 0,
        };
        self.call(&mut args)?;
        Ok(args.value)
    }

    /// The size in bytes of the answer to a query, as the kernel knows it.
    pub fn query_size(&self, kind: u32) -> Result<u32> {
        let mut args = panthor::DevQuery {
            kind,
            ..Default::default()
        };
        // SAFETY: with a NULL pointer the kernel writes to `args` only.
        unsafe { ioctl::call_unchecked(self, panthor::DevQuery::REQUEST, &mut args)? };
        Ok(args.size)
    }

    /// Queries into `buffer`, which also is the input where a query has one.
    pub fn query_bytes(&self, kind: u32, buffer: &mut [u8]) -> Result<()> {
        let mut args = panthor::DevQuery {
            kind,
            size: buffer.len() as u32,
            pointer: buffer.as_mut_ptr() as u64,
        };
        // SAFETY: the kernel writes at most `size` bytes to `pointer`.
        unsafe { ioctl::call_unchecked(self, panthor::DevQuery::REQUEST, &mut args) }
    }

    fn query<T: Pod + Zeroable>(&self, kind: u32, mut value: T) -> Result<T> {
        self.query_bytes(kind, bytemuck::bytes_of_mut(&mut value))?;
        Ok(value)
    }

    /// GPU identity and features.
    pub fn gpu_info(&self) -> Result<panthor::GpuInfo> {
        self.query(panthor::DEV_QUERY_GPU_INFO, Zeroable::zeroed())
    }

    /// Command-stream interface.
    pub fn csif_info(&self) -> Result<panthor::CsifInfo> {
        self.query(panthor::DEV_QUERY_CSIF_INFO, Zeroable::zeroed())
    }

    /// Times; `flags` of `panthor::TIMESTAMP_*`.
    pub fn timestamp_info(&self, flags: u32) -> Result<panthor::TimestampInfo> {
        let input = panthor::TimestampInfo {
            flags,
            ..Default::default()
        };
        self.query(panthor::DEV_QUERY_TIMESTAMP_INFO, input)
    }

    /// Priorities this process may use.
    pub fn group_priorities_info(&self) -> Result<panthor::GroupPrioritiesInfo> {
        self.query(panthor::DEV_QUERY_GROUP_PRIORITIES_INFO, Zeroable::zeroed())
    }

    /// MMU page sizes.
    pub fn mmu_info(&self) -> Result<panthor::MmuInfo> {
        self.query(panthor::DEV_QUERY_MMU_INFO, Zeroable::zeroed())
    }

    /// Imports a dma-buf; gives a GEM handle.
    pub fn import_dma_buf(&self, fd: &impl AsRawFd) -> Result<u32> {
        let mut args = drm::PrimeFdToHandle {
            fd: fd.as_raw_fd(),
            ..Default::default()
        };
        self.call(&mut args)?;
        Ok(args.handle)
    }

    /// Exports a GEM handle as a dma-buf.
    pub fn export_dma_buf(&self, handle: u32) -> Result<OwnedFd> {
        let mut args = drm::PrimeHandleToFd {
            handle,
            flags: (libc::O_CLOEXEC | libc::O_RDWR) as u32,
            fd: -1,
        };
        self.call(&mut args)?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(unsafe { OwnedFd::from_raw_fd(args.fd) })
    }

    /// Maps the page that holds LATEST_FLUSH_ID.
    pub fn map_flush_id(&self) -> Result<FlushId> {
        let page = map(
            self,
            FLUSH_ID_PAGE,
            libc::PROT_READ,
            libc::MAP_SHARED,
            panthor::USER_FLUSH_ID_OFFSET,
        )?;
        Ok(FlushId { page })
    }
}

/// The mapped LATEST_FLUSH_ID page.
#[derive(Debug)]
pub struct FlushId {
    page: Pages,
}

impl FlushId {
    /// The latest flush id. While the GPU sleeps this is a fixed non-zero value.
    pub fn read(&self) -> u32 {
        // SAFETY: the page is mapped readable for as long as `self` lives, and the register is its first word.
        unsafe { AtomicU32::from_ptr(self.page.start.as_ptr().cast()) }.load(Ordering::Relaxed)
    }
}

/// Pages mapped from a device, unmapped on drop.
#[derive(Debug)]
pub struct Pages {
    start: NonNull<u8>,
    len: usize,
}

impl Pages {
    /// Address of the first byte.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Bytes mapped.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is mapped (never the case).
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: these pages were mapped by `map` and nobody else unmaps them.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Maps `len` bytes of the device's file at an address the kernel picks; `prot` and `flags` as for mmap(2).
pub fn map(device: &Device, len: usize, prot: i32, flags: i32, offset: u64) -> Result<Pages> {
    const PLACED: i32 = libc::MAP_FIXED;
    assert!(flags & PLACED == 0, "the kernel picks the address");
    // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            prot,
            flags,
            device.as_raw_fd(),
            offset as libc::off_t,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    let start = NonNull::new(start.cast()).ok_or(Errno::EFAULT)?;
    Ok(Pages { start, len })
}

/// The marketing name of a GPU.
pub fn gpu_name(info: &panthor::GpuInfo) -> String {
    let name = match (info.arch().0, info.product_major()) {
        (10, 2) => "Mali-G710",
        (10, 3) => "Mali-G510",
        (10, 4) => "Mali-G310",
        (10, 7) => "Mali-G610",
        (11, 2) => "Mali-G715",
        (11, 3) => "Mali-G615",
        (12, 0) => "Mali-G720",
        (12, 1) => "Mali-G620",
        (13, 0) => "Mali-G725",
        (13, 1) => "Mali-G625",
        (14, 0) => "Mali-G1-Ultra",
        (14, 1) => "Mali-G1-Premium",
        (14, 3) => "Mali-G1-Pro",
        _ => "unknown Mali",
    };
    format!("{name} MC{}", info.shader_present.count_ones())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_folder_is_a_clear_error() {
        let err = Device::find(Path::new("/nonexistent-dri")).unwrap_err();
        assert!(matches!(err, OpenError::NotFound { .. }));
        assert!(err.to_string().contains("load the driver"), "{err}");
    }

    #[test]
    fn name_of_the_emulated_gpu() {
        let info = panthor::GpuInfo {
            gpu_id: 0xa867_0000,
            shader_present: 0x50005,
            ..Default::default()
        };
        assert_eq!(gpu_name(&info), "Mali-G610 MC4");
    }
}
