// SPDX-License-Identifier: GPL-2.0 OR MIT

//! GPU address spaces.

use std::sync::{Arc, Mutex};

use crate::bo::Bo;
use crate::device::Device;
use crate::ioctl::Result;
use crate::uapi::panthor::{
    ObjArray, VmBind, VmBindOp, VmCreate, VmDestroy, VM_BIND_OP_TYPE_MAP, VM_BIND_OP_TYPE_UNMAP,
};

/// GPU page size in bytes.
pub const PAGE_SIZE: u64 = 4096;

/// Where [`Vm::reserve`] starts: addresses near zero stay free, so that wild pointers fault.
const FIRST_VA: u64 = 0x1000_0000;

#[derive(Debug)]
struct Inner {
    device: Device,
    id: u32,
    user_va_range: u64,
    next_va: Mutex<u64>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Fails only if a test destroyed the VM by its number, which is that test's business.
        let _ = self.device.call(&mut VmDestroy {
            id: self.id,
            pad: 0,
        });
    }
}

/// A GPU address space. Clones share it; the last one destroys it.
#[derive(Clone, Debug)]
pub struct Vm(Arc<Inner>);

impl Vm {
    /// Creates a VM with the default split between user and kernel addresses.
    pub fn new(device: &Device) -> Result<Self> {
        Self::with_range(device, 0)
    }

    /// Creates a VM with `user_va_range` bytes for the user.
    pub fn with_range(device: &Device, user_va_range: u64) -> Result<Self> {
        let mut args = VmCreate {
            user_va_range,
            ..Default::default()
        };
        device.call(&mut args)?;
        Ok(Self(Arc::new(Inner {
            device: device.clone(),
            id: args.id,
            user_va_range: args.user_va_range,
            next_va: Mutex::new(FIRST_VA),
        })))
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.0.device
    }

    /// Its number, never zero.
    pub fn id(&self) -> u32 {
        self.0.id
    }

    /// Bytes of address space for the user; it starts at 0.
    pub fn user_va_range(&self) -> u64 {
        self.0.user_va_range
    }

    /// Takes `size` bytes of address space that nothing else here uses, with an unmapped page after them.
    ///
    /// Addresses are not used twice, so a stale pointer faults.
    pub fn reserve(&self, size: u64) -> u64 {
        let mut next = self
            .0
            .next_va
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let va = *next;
        *next += size.next_multiple_of(PAGE_SIZE) + PAGE_SIZE;
        va
    }

    /// Performs `ops` in order; on failure gives the error and the index of the failed operation.
    pub fn bind(&self, ops: &[VmBindOp]) -> std::result::Result<(), (crate::Errno, u32)> {
        let mut args = VmBind {
            vm_id: self.id(),
            flags: 0,
            ops: ObjArray::of(ops),
        };
        self.device()
            .call(&mut args)
            .map_err(|e| (e, args.ops.count))
    }

    /// Maps `size` bytes of `bo` from `bo_offset` at `va`; `flags` of `VM_BIND_OP_MAP_*`.
    pub fn map(&self, bo: &Bo, bo_offset: u64, va: u64, size: u64, flags: u32) -> Result<()> {
        self.bind(&[VmBindOp {
            flags: VM_BIND_OP_TYPE_MAP | flags,
            bo_handle: bo.handle(),
            bo_offset,
            va,
            size,
            ..Default::default()
        }])
        .map_err(|(e, _)| e)
    }

    /// Unmaps `size` bytes at `va`.
    pub fn unmap(&self, va: u64, size: u64) -> Result<()> {
        self.bind(&[VmBindOp {
            flags: VM_BIND_OP_TYPE_UNMAP,
            va,
            size,
            ..Default::default()
        }])
        .map_err(|(e, _)| e)
    }
}
