// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Asynchronous VM_BIND, sparse mappings, VM_GET_STATE.

use anyhow::{ensure, Context, Result};
use guest::ioctl::{self, Errno};
use guest::sync::FenceStatus;
use guest::uapi::panthor::{
    ObjArray, SyncOp, VmBind, VmBindOp, VmGetState, VM_BIND_ASYNC, VM_BIND_OP_MAP_NOEXEC,
    VM_BIND_OP_MAP_SPARSE, VM_BIND_OP_TYPE_SYNC_ONLY, VM_BIND_OP_TYPE_UNMAP,
};
use guest::{Bo, Syncobj, Vm};

use crate::cx::{refused, Change, Cx, Gpu, Row, Tests, NO_HANDLE, TIMEOUT};

const PAGE: u64 = 4096;
const VA: u64 = 0x4000_0000;

pub(crate) fn tests(t: &mut Tests) {
    t.add_refusals("later::vm_bind_async", bind_one, ASYNC);
    t.add_refusals("later::vm_bind_sync_only", sync_only, SYNC_ONLY);
    t.add("later::vm_bind_async::map_then_job", map_then_job);
    t.add("later::vm_bind_async::waits_for_a_job", waits_for_job);
    t.add("later::vm_bind_async::ops_in_order", in_order);
    t.add("later::vm_bind_async::all_or_nothing", all_or_nothing);
    t.add("later::vm_bind_async::refuses_unknown_vm", unknown_vm);
    t.add("later::sparse::loads_and_stores", sparse);
    t.add("later::sparse::wider_than_its_dummy", sparse_wide);
    t.add("later::vm_get_state::of_a_new_vm", state);
    t.add("later::vm_get_state::refuses_unknown_vm", state_unknown);
}

fn bind(vm: &Vm, ops: &[VmBindOp]) -> ioctl::Result<()> {
    vm.device().call(&mut VmBind {
        vm_id: vm.id(),
        flags: VM_BIND_ASYNC,
        ops: ObjArray::of(ops),
    })
}

fn map(bo: &Bo, va: u64, syncs: &[SyncOp]) -> VmBindOp {
    VmBindOp {
        bo_handle: bo.handle(),
        va,
        size: bo.size(),
        syncs: ObjArray::of(syncs),
        ..Default::default()
    }
}

fn unmap(va: u64, size: u64, syncs: &[SyncOp]) -> VmBindOp {
    VmBindOp {
        flags: VM_BIND_OP_TYPE_UNMAP,
        va,
        size,
        syncs: ObjArray::of(syncs),
        ..Default::default()
    }
}

/// Maps a page, changed, and waits for it.
fn bind_one(cx: &Cx, change: Change<VmBindOp>) -> ioctl::Result<()> {
    let bo = Bo::new(&cx.device, PAGE, 0)?;
    let done = Syncobj::new(&cx.device)?;
    let syncs = [done.signal_op()];
    let mut op = map(&bo, VA, &syncs);
    change(cx, &mut op);
    bind(&cx.vm, &[op])?;
    done.wait(TIMEOUT)
}

const ASYNC: &[Row<VmBindOp>] = &[
    ("misaligned_va", Errno::EINVAL, |_, o| o.va += 8),
    ("size_beyond_the_buffer", Errno::EINVAL, |_, o| {
        o.size += PAGE
    }),
    ("va_beyond_the_user_range", Errno::EINVAL, |cx, o| {
        o.va = cx.vm.user_va_range()
    }),
    ("unknown_handle", Errno::EINVAL, |_, o| {
        o.bo_handle = NO_HANDLE
    }),
    ("unknown_flag", Errno::EINVAL, |_, o| o.flags |= 1 << 4),
    ("type_3", Errno::EINVAL, |_, o| o.flags = 3 << 28),
    ("syncs_nowhere", Errno::EFAULT, |_, o| o.syncs.array = 0x10),
    ("short_sync_stride", Errno::EINVAL, |_, o| {
        o.syncs.stride = 8
    }),
    ("wait_on_an_unknown_handle", Errno::ENOENT, |_, o| {
        static SYNC: SyncOp = SyncOp {
            flags: 0,
            handle: NO_HANDLE,
            timeline_value: 0,
        };
        o.syncs = ObjArray::of(std::slice::from_ref(&SYNC));
    }),
];

fn sync_only(cx: &Cx, change: Change<VmBindOp>) -> ioctl::Result<()> {
    let done = Syncobj::new(&cx.device)?;
    let syncs = [done.signal_op()];
    let mut op = VmBindOp {
        flags: VM_BIND_OP_TYPE_SYNC_ONLY,
        syncs: ObjArray::of(&syncs),
        ..Default::default()
    };
    change(cx, &mut op);
    bind(&cx.vm, &[op])?;
    done.wait(TIMEOUT)
}

const SYNC_ONLY: &[Row<VmBindOp>] = &[
    ("no_syncs", Errno::EINVAL, |_, o| o.syncs.count = 0),
    ("a_va", Errno::EINVAL, |_, o| o.va = PAGE),
    ("a_size", Errno::EINVAL, |_, o| o.size = PAGE),
    ("a_handle", Errno::EINVAL, |_, o| o.bo_handle = 1),
    ("an_offset", Errno::EINVAL, |_, o| o.bo_offset = PAGE),
    ("map_flags", Errno::EINVAL, |_, o| {
        o.flags |= VM_BIND_OP_MAP_NOEXEC
    }),
];

fn map_then_job() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let bo = Bo::new(&gpu.cx.device, PAGE, 0)?;
    let cpu = bo.mmap()?;
    let bound = gpu.cx.syncobj()?;
    let stream = gpu.store_at(VA, 7);
    bind(&gpu.cx.vm, &[map(&bo, VA, &[bound.signal_op()])])?;
    gpu.run_ok(stream.on(0).sync(bound.wait_op()))?;
    ensure!(cpu.read::<u32>(0) == 7, "the store went elsewhere");
    Ok(())
}

fn waits_for_job() -> Result<()> {
    let mut gpu = Gpu::new(2)?;
    let blocked = gpu.wait_for(0);
    let release = gpu.release(0);
    let (job, bound) = (gpu.cx.syncobj()?, gpu.cx.syncobj()?);
    gpu.group.submit(&[blocked.on(0).sync(job.signal_op())])?;
    let bo = Bo::new(&gpu.cx.device, PAGE, 0)?;
    let syncs = [job.wait_op(), bound.signal_op()];
    bind(&gpu.cx.vm, &[map(&bo, VA, &syncs)])?;
    let status = bound.status()?;
    ensure!(status == FenceStatus::Active, "the bind is {status:?}");
    gpu.run_ok(release.on(1))?;
    bound.wait(TIMEOUT)?;
    let store = gpu.store_at(VA, 1);
    gpu.run_ok(store.on(1))
}

fn in_order() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let (a, b) = (
        Bo::new(&gpu.cx.device, PAGE, 0)?,
        Bo::new(&gpu.cx.device, PAGE, 0)?,
    );
    let (cpu_a, cpu_b) = (a.mmap()?, b.mmap()?);
    let done = gpu.cx.syncobj()?;
    let signal = [done.signal_op()];
    bind(
        &gpu.cx.vm,
        &[
            map(&a, VA, &[]),
            unmap(VA, PAGE, &[]),
            map(&b, VA, &[]),
            map(&a, VA + PAGE, &signal),
        ],
    )?;
    done.wait(TIMEOUT)?;
    for (va, value) in [(VA, 1), (VA + PAGE, 2)] {
        let store = gpu.store_at(va, value);
        gpu.run_ok(store.on(0))?;
    }
    let got: (u32, u32) = (cpu_a.read(0), cpu_b.read(0));
    ensure!(got == (2, 1), "the buffers hold {got:?}");
    Ok(())
}

fn all_or_nothing() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let bo = Bo::new(&gpu.cx.device, PAGE, 0)?;
    let done = gpu.cx.syncobj()?;
    let signal = [done.signal_op()];
    refused(
        bind(&gpu.cx.vm, &[map(&bo, VA, &signal), map(&bo, VA + 8, &[])]),
        Errno::EINVAL,
    )?;
    refused(done.status(), Errno::EINVAL).context("the fence of a refused bind")?;
    let store = gpu.store_at(VA, 1);
    let status = gpu.run(store.on(0))?;
    ensure!(
        matches!(status, FenceStatus::Failed(_)),
        "the first of two operations was done: {status:?}"
    );
    Ok(())
}

fn unknown_vm() -> Result<()> {
    let cx = Cx::new()?;
    let mut args = VmBind {
        vm_id: NO_HANDLE,
        flags: VM_BIND_ASYNC,
        ops: ObjArray::default(),
    };
    refused(cx.device.call(&mut args), Errno::EINVAL)
}

fn map_sparse(cx: &Cx, va: u64, size: u64) -> Result<()> {
    cx.vm
        .bind(&[VmBindOp {
            flags: VM_BIND_OP_MAP_SPARSE | VM_BIND_OP_MAP_NOEXEC,
            va,
            size,
            ..Default::default()
        }])
        .map_err(|(e, _)| e)
        .context("sparse map")
}

fn sparse() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    map_sparse(&gpu.cx, VA, 16 * PAGE)?;
    let store = gpu.store_at(VA + 5 * PAGE, 1);
    gpu.run_ok(store.on(0))?;
    // A real page over it works as one.
    let bo = Bo::new(&gpu.cx.device, PAGE, 0)?;
    let cpu = bo.mmap()?;
    gpu.cx.vm.map(&bo, 0, VA + 5 * PAGE, PAGE, 0)?;
    gpu.run_ok(store.on(0))?;
    ensure!(cpu.read::<u32>(0) == 1, "the store went elsewhere");
    Ok(())
}

fn sparse_wide() -> Result<()> {
    const MIB: u64 = 1 << 20;
    let mut gpu = Gpu::new(1)?;
    map_sparse(&gpu.cx, VA + PAGE, 7 * MIB)?;
    for place in [PAGE, 2 * MIB, 4 * MIB + PAGE, 7 * MIB] {
        let store = gpu.store_at(VA + place, 1);
        gpu.run_ok(store.on(0))
            .with_context(|| format!("at {place:#x}"))?;
    }
    gpu.cx.vm.unmap(VA + PAGE, 7 * MIB)?;
    Ok(())
}

fn state() -> Result<()> {
    let cx = Cx::new()?;
    let mut args = VmGetState {
        vm_id: cx.vm.id(),
        state: u32::MAX,
    };
    cx.device.call(&mut args)?;
    ensure!(args.state == 0, "a new VM is in state {}", args.state);
    Ok(())
}

fn state_unknown() -> Result<()> {
    let cx = Cx::new()?;
    for vm_id in [0, NO_HANDLE] {
        let mut args = VmGetState { vm_id, state: 0 };
        refused(cx.device.call(&mut args), Errno::EINVAL)?;
    }
    Ok(())
}
