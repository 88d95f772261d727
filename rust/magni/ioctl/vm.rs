// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Virtual memories.

use super::uobj::get_array;
use crate::{
    device::BoundDevice,
    driver::{
        DrmDevice,
        DrmFile, //
    },
    gem::Bo,
    mmu::{
        MapFlags,
        Vm,
        VmKind, //
    },
    sched::Scheduler, //
};
use kernel::{
    drm::{
        gem::BaseObject,
        Registered, //
    },
    prelude::*,
    sizes::{
        SZ_256M,
        SZ_4K, //
    },
    sync::Arc,
    task::current_task_size,
    uapi, //
};

/// The least that the kernel needs of a VM for its own buffers, in bytes.
const MIN_KERNEL_RANGE: u64 = SZ_256M as u64;

const TYPE_MASK: u32 = uapi::drm_panthor_vm_bind_op_flags_DRM_PANTHOR_VM_BIND_OP_TYPE_MASK as u32;
const TYPE_MAP: u32 = uapi::drm_panthor_vm_bind_op_flags_DRM_PANTHOR_VM_BIND_OP_TYPE_MAP as u32;
const TYPE_UNMAP: u32 = uapi::drm_panthor_vm_bind_op_flags_DRM_PANTHOR_VM_BIND_OP_TYPE_UNMAP as u32;
const MAP_SPARSE: u32 = uapi::drm_panthor_vm_bind_op_flags_DRM_PANTHOR_VM_BIND_OP_MAP_SPARSE as u32;
const ASYNC: u32 = uapi::drm_panthor_vm_bind_flags_DRM_PANTHOR_VM_BIND_ASYNC;

/// Splits a VM of `full` bytes: returns where user space's part ends and the kernel's starts.
///
/// `wanted` is what user space asks for, 0 for a default: as much as its own address space has, so
/// that it can use the same addresses on both sides, or half of what there is. The kernel's part is
/// a power of two.
fn split(full: u64, wanted: u64, task_size: u64) -> Result<u64> {
    let most = full.checked_sub(MIN_KERNEL_RANGE).ok_or(EINVAL)?;

    let user = if wanted != 0 {
        if wanted > most {
            return Err(EINVAL);
        }
        wanted
    } else if task_size < full {
        task_size.min(most)
    } else if full > (1 << 32) {
        full / 2
    } else {
        most
    };

    let kernel = full - user;
    Ok(full - (1 << kernel.ilog2()))
}

/// `VM_CREATE`.
pub(crate) fn create(
    drm: &DrmDevice<Registered>,
    sched: &Arc<Scheduler>,
    args: &mut uapi::drm_panthor_vm_create,
    file: &DrmFile,
) -> Result<u32> {
    let device = sched.device();
    if args.flags != 0 {
        return Err(EINVAL);
    }

    let user_end = split(
        device.mmu.va_size(),
        args.user_va_range,
        current_task_size(),
    )?;
    let vm = Vm::new(drm.into(), &device.mmu, VmKind::User(user_end))?;

    args.id = file.inner().vms().add(vm)?;
    args.user_va_range = user_end;

    Ok(0)
}

/// `VM_DESTROY`.
pub(crate) fn destroy(
    _drm: &DrmDevice<Registered>,
    _sched: &Arc<Scheduler>,
    args: &mut uapi::drm_panthor_vm_destroy,
    file: &DrmFile,
) -> Result<u32> {
    if args.pad != 0 {
        return Err(EINVAL);
    }
    file.inner().vms().destroy(args.id)?;

    Ok(0)
}

/// `VM_GET_STATE`.
pub(crate) fn get_state(
    _drm: &DrmDevice<Registered>,
    _sched: &Arc<Scheduler>,
    args: &mut uapi::drm_panthor_vm_get_state,
    file: &DrmFile,
) -> Result<u32> {
    let vm = file.inner().vms().get(args.vm_id)?;

    args.state = if vm.is_unusable() {
        uapi::drm_panthor_vm_state_DRM_PANTHOR_VM_STATE_UNUSABLE
    } else {
        uapi::drm_panthor_vm_state_DRM_PANTHOR_VM_STATE_USABLE
    };

    Ok(0)
}

/// `VM_BIND`.
///
/// # Errors
///
/// If an operation fails, the count of operations says which one it was; those before it are done.
/// `EOPNOTSUPP` for asynchronous operations and for sparse mappings.
pub(crate) fn bind(
    drm: &DrmDevice<Registered>,
    _sched: &Arc<Scheduler>,
    args: &mut uapi::drm_panthor_vm_bind,
    file: &DrmFile,
) -> Result<u32> {
    let vm = file.inner().vms().get(args.vm_id)?;
    let ops = get_array::<uapi::drm_panthor_vm_bind_op>(&args.ops)?;

    if args.flags & ASYNC != 0 {
        return Err(EOPNOTSUPP);
    }

    for (index, op) in ops.iter().enumerate() {
        if let Err(error) = execute(drm.into(), &vm, file, op) {
            args.ops.count = index as u32;
            return Err(error);
        }
    }

    Ok(0)
}

/// Executes one operation at once.
fn execute(
    cx: BoundDevice<'_>,
    vm: &Arc<Vm>,
    file: &DrmFile,
    op: &uapi::drm_panthor_vm_bind_op,
) -> Result {
    if op.syncs.count != 0 || vm.is_destroyed() || vm.is_unusable() {
        return Err(EINVAL);
    }
    if op.size == 0 {
        return Ok(());
    }

    let page = SZ_4K as u64;
    let end = op.va.checked_add(op.size).ok_or(EINVAL)?;
    if (op.va | op.size | op.bo_offset) % page != 0 || end > vm.user_end() {
        return Err(EINVAL);
    }

    let flags = op.flags & !TYPE_MASK;
    match op.flags & TYPE_MASK {
        TYPE_MAP => map(cx, vm, file, op, flags),
        TYPE_UNMAP => {
            if flags != 0 || op.bo_handle != 0 || op.bo_offset != 0 {
                return Err(EINVAL);
            }
            vm.unmap(cx.dev, op.va, op.size)
        }
        // An operation that only synchronises has nothing to do at once.
        _ => Err(EINVAL),
    }
}

fn map(
    cx: BoundDevice<'_>,
    vm: &Arc<Vm>,
    file: &DrmFile,
    op: &uapi::drm_panthor_vm_bind_op,
    flags: u32,
) -> Result {
    let map_flags = MapFlags::from_user(flags & !MAP_SPARSE)?;
    if flags & MAP_SPARSE != 0 {
        if !map_flags.contains(MapFlags::NOEXEC) || op.bo_handle != 0 || op.bo_offset != 0 {
            return Err(EINVAL);
        }
        return Err(EOPNOTSUPP);
    }
    // Without a buffer of this name there is nothing to map: EINVAL, as in the C driver.
    let bo = Bo::lookup_handle(file, op.bo_handle).map_err(|_| EINVAL)?;

    vm.map(cx, &bo, op.bo_offset, op.size, op.va, map_flags)
}

#[kunit_tests(magni_ioctl_vm)]
mod tests {
    use super::*;

    const FULL: u64 = 1 << 48;

    #[test]
    fn the_default_follows_the_task() -> Result {
        assert_eq!(split(FULL, 0, 1 << 47)?, 1 << 47);
        assert_eq!(split(FULL, 0, 1 << 32)?, 1 << 47);
        assert_eq!(split(FULL, 0, 1 << 48)?, 1 << 47);
        assert_eq!(split(1 << 32, 0, 1 << 48)?, (1 << 32) - MIN_KERNEL_RANGE);
        Ok(())
    }

    #[test]
    fn the_kernel_keeps_its_part() -> Result {
        assert_eq!(
            split(FULL, FULL - MIN_KERNEL_RANGE, 0)?,
            FULL - MIN_KERNEL_RANGE
        );
        assert!(split(FULL, FULL - MIN_KERNEL_RANGE + 1, 0).is_err());
        assert!(split(FULL, u64::MAX, 0).is_err());
        assert!(split(MIN_KERNEL_RANGE - 1, 0, 0).is_err());
        Ok(())
    }
}
