// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Buffers, their CPU mappings, and buffers mapped for both sides.

use bytemuck::Pod;

use crate::device::{self, Device, Pages};
use crate::ioctl::Result;
use crate::uapi::drm::GemClose;
use crate::uapi::panthor::{BoCreate, BoMmapOffset};
use crate::vm::Vm;

/// A buffer (GEM) object; its handle is closed on drop.
#[derive(Debug)]
pub struct Bo {
    device: Device,
    handle: u32,
    size: u64,
}

impl Drop for Bo {
    fn drop(&mut self) {
        // Fails only if a test closed the handle by its number, which is that test's business.
        let _ = self.device.call(&mut GemClose {
            handle: self.handle,
            pad: 0,
        });
    }
}

impl Bo {
    /// Creates a buffer that any VM may map; `flags` of `BO_*`.
    pub fn new(device: &Device, size: u64, flags: u32) -> Result<Self> {
        Self::create(device, size, flags, 0)
    }

    /// Creates a buffer that only `vm` may map.
    pub fn exclusive(vm: &Vm, size: u64, flags: u32) -> Result<Self> {
        Self::create(vm.device(), size, flags, vm.id())
    }

    fn create(device: &Device, size: u64, flags: u32, exclusive_vm_id: u32) -> Result<Self> {
        let mut args = BoCreate {
            size,
            flags,
            exclusive_vm_id,
            ..Default::default()
        };
        device.call(&mut args)?;
        Ok(Self {
            device: device.clone(),
            handle: args.handle,
            size: args.size,
        })
    }

    /// Takes over a handle, such as an imported one, of `size` bytes.
    pub fn from_handle(device: &Device, handle: u32, size: u64) -> Self {
        Self {
            device: device.clone(),
            handle,
            size,
        }
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// GEM handle, never zero.
    pub fn handle(&self) -> u32 {
        self.handle
    }

    /// Bytes, whole pages.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// File offset for mmap.
    pub fn mmap_offset(&self) -> Result<u64> {
        let mut args = BoMmapOffset {
            handle: self.handle,
            ..Default::default()
        };
        self.device.call(&mut args)?;
        Ok(args.offset)
    }

    /// Maps the whole buffer for reading and writing.
    pub fn mmap(&self) -> Result<Mapping> {
        let offset = self.mmap_offset()?;
        let pages = device::map(
            &self.device,
            self.size as usize,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            offset,
        )?;
        Ok(Mapping { pages })
    }
}

/// A buffer mapped for the CPU. The GPU may change it at any time, so access is by copies, volatile.
#[derive(Debug)]
pub struct Mapping {
    pages: Pages,
}

// SAFETY: the mapping is plain shared memory; every access is a volatile copy, whoever makes it.
unsafe impl Send for Mapping {}
// SAFETY: as above; races with other threads are like races with the GPU, and as harmless to the types used (`Pod`).
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Bytes mapped.
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Whether nothing is mapped (never the case).
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Checks that a `T` fits at `offset`, aligned, and gives its address.
    fn address<T>(&self, offset: usize) -> *mut T {
        let end = offset
            .checked_add(size_of::<T>())
            .expect("offset overflows");
        assert!(end <= self.len(), "access past the end of the buffer");
        assert!(offset % align_of::<T>() == 0, "misaligned access");
        self.pages.start().as_ptr().wrapping_add(offset).cast()
    }

    /// Reads a value at a byte offset.
    ///
    /// # Panics
    ///
    /// If it does not lie wholly in the buffer, or is not aligned.
    pub fn read<T: Pod>(&self, offset: usize) -> T {
        // SAFETY: `address` has checked bounds and alignment, and any bytes are a valid `T`.
        unsafe { self.address::<T>(offset).read_volatile() }
    }

    /// Writes a value at a byte offset.
    ///
    /// # Panics
    ///
    /// As [`Mapping::read`].
    pub fn write<T: Pod>(&self, offset: usize, value: T) {
        // SAFETY: `address` has checked bounds and alignment.
        unsafe { self.address::<T>(offset).write_volatile(value) }
    }

    /// Writes a run of values from a byte offset on.
    ///
    /// # Panics
    ///
    /// As [`Mapping::read`].
    pub fn write_all<T: Pod>(&self, offset: usize, values: &[T]) {
        for (i, value) in values.iter().enumerate() {
            self.write(offset + i * size_of::<T>(), *value);
        }
    }

    /// Reads `count` values from a byte offset on.
    ///
    /// # Panics
    ///
    /// As [`Mapping::read`].
    pub fn read_all<T: Pod>(&self, offset: usize, count: usize) -> Vec<T> {
        (0..count)
            .map(|i| self.read(offset + i * size_of::<T>()))
            .collect()
    }
}

/// A buffer that is mapped both for the CPU and in a VM; unmapped from both on drop.
#[derive(Debug)]
pub struct Buffer {
    vm: Vm,
    bo: Bo,
    mapping: Mapping,
    va: u64,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Fails only if a test destroyed the VM by its number; then nothing is mapped any more.
        let _ = self.vm.unmap(self.va, self.bo.size());
    }
}

impl Buffer {
    /// Allocates `size` bytes, zeroed, at an address of its own; `map_flags` of `VM_BIND_OP_MAP_*`.
    pub fn new(vm: &Vm, size: u64, map_flags: u32) -> Result<Self> {
        let bo = Bo::exclusive(vm, size, 0)?;
        Self::from_bo(vm, bo, map_flags)
    }

    /// Maps an existing buffer.
    pub fn from_bo(vm: &Vm, bo: Bo, map_flags: u32) -> Result<Self> {
        let mapping = bo.mmap()?;
        let va = vm.reserve(bo.size());
        vm.map(&bo, 0, va, bo.size(), map_flags)?;
        Ok(Self {
            vm: vm.clone(),
            bo,
            mapping,
            va,
        })
    }

    /// GPU address of its first byte.
    pub fn va(&self) -> u64 {
        self.va
    }

    /// The buffer object.
    pub fn bo(&self) -> &Bo {
        &self.bo
    }

    /// The CPU's view.
    pub fn cpu(&self) -> &Mapping {
        &self.mapping
    }

    /// Reads a value at a byte offset; panics as [`Mapping::read`].
    pub fn read<T: Pod>(&self, offset: usize) -> T {
        self.mapping.read(offset)
    }

    /// Writes a value at a byte offset; panics as [`Mapping::read`].
    pub fn write<T: Pod>(&self, offset: usize, value: T) {
        self.mapping.write(offset, value);
    }
}
