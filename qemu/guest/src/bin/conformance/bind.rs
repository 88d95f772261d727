// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Synchronous VM_BIND: arguments, and what the GPU sees afterwards.

use anyhow::{ensure, Context, Result};
use guest::cs::{d, r};
use guest::ioctl::{self, Errno};
use guest::uapi::panthor::{
    ObjArray, SyncOp, VmBind, VmBindOp, VM_BIND_OP_MAP_NOEXEC, VM_BIND_OP_MAP_READONLY,
    VM_BIND_OP_MAP_SPARSE, VM_BIND_OP_MAP_UNCACHED, VM_BIND_OP_TYPE_MAP, VM_BIND_OP_TYPE_SYNC_ONLY,
    VM_BIND_OP_TYPE_UNMAP,
};
use guest::{Bo, Buffer, Vm};

use crate::cx::{refused, Change, Cx, Gpu, Row, Tests, LS_MASK, NO_HANDLE};

const PAGE: u64 = 4096;
/// Bytes of the buffer in the calls here.
const SIZE: u64 = 4 * PAGE;
/// Where it is mapped.
const VA: u64 = 0x4000_0000;

pub(crate) fn tests(t: &mut Tests) {
    t.add_refusals("vm_bind", map_op, MAP);
    t.add_refusals("vm_bind_unmap", unmap_op, UNMAP);
    t.add("vm_bind::refuses_unknown_vm", unknown_vm);
    t.add(
        "vm_bind::refuses_foreign_exclusive_buffer",
        foreign_exclusive,
    );
    t.add("vm_bind::refuses_handle_0_and_unknown_ones", bad_handles);
    t.add("vm_bind::size_0_does_nothing", size_0);
    t.add("vm_bind::no_ops_do_nothing", no_ops);
    t.add("vm_bind::flags", flags);
    t.add("vm_bind::failed_op_is_told", failed_op);
    t.add("vm_bind::map_is_seen_by_the_gpu", gpu_sees_map);
    t.add("vm_bind::offset_is_honoured", gpu_sees_offset);
    t.add("vm_bind::map_over_a_map", map_over);
    t.add("vm_bind::unmap_the_middle", unmap_middle);
    t.add("vm_bind::unmap_nothing", unmap_nothing);
    t.add("vm_bind::map_outlives_the_handle", outlives_handle);
    t.add("vm_bind::one_buffer_in_two_vms", two_vms);
    t.add("vm_bind::read_only_can_be_read", read_only);
    t.add("vm_bind::large_buffer_with_2m_blocks", large);
    t.add("vm_bind::many_small_maps", many);
}

fn bind_one(cx: &Cx, op: VmBindOp) -> ioctl::Result<()> {
    cx.vm.bind(&[op]).map_err(|(e, _)| e)
}

fn map_op(cx: &Cx, change: Change<VmBindOp>) -> ioctl::Result<()> {
    let bo = Bo::new(&cx.device, SIZE, 0)?;
    let mut op = VmBindOp {
        flags: VM_BIND_OP_TYPE_MAP,
        bo_handle: bo.handle(),
        va: VA,
        size: SIZE,
        ..Default::default()
    };
    change(cx, &mut op);
    bind_one(cx, op)
}

const MAP: &[Row<VmBindOp>] = &[
    ("misaligned_va", Errno::EINVAL, |_, o| o.va += 64),
    ("misaligned_size", Errno::EINVAL, |_, o| o.size -= 64),
    ("misaligned_offset", Errno::EINVAL, |_, o| {
        o.size = PAGE;
        o.bo_offset = 64;
    }),
    ("va_beyond_the_user_range", Errno::EINVAL, |cx, o| {
        o.va = cx.vm.user_va_range()
    }),
    ("end_beyond_the_user_range", Errno::EINVAL, |cx, o| {
        o.va = cx.vm.user_va_range() - SIZE + PAGE
    }),
    ("va_that_overflows", Errno::EINVAL, |_, o| {
        o.va = u64::MAX - PAGE + 1
    }),
    ("size_that_overflows", Errno::EINVAL, |_, o| {
        o.size = u64::MAX - PAGE + 1
    }),
    ("size_beyond_the_buffer", Errno::EINVAL, |_, o| {
        o.size += PAGE
    }),
    ("offset_beyond_the_buffer", Errno::EINVAL, |_, o| {
        o.size = PAGE;
        o.bo_offset = SIZE;
    }),
    ("end_beyond_the_buffer", Errno::EINVAL, |_, o| {
        o.bo_offset = PAGE
    }),
    ("offset_that_overflows", Errno::EINVAL, |_, o| {
        o.bo_offset = u64::MAX - PAGE + 1
    }),
    ("unknown_flag", Errno::EINVAL, |_, o| o.flags |= 1 << 4),
    ("unknown_high_flag", Errno::EINVAL, |_, o| {
        o.flags |= 1 << 27
    }),
    ("type_3", Errno::EINVAL, |_, o| o.flags = 3 << 28),
    ("type_15", Errno::EINVAL, |_, o| o.flags = 15 << 28),
    ("sparse_without_noexec", Errno::EINVAL, |_, o| {
        o.flags = VM_BIND_OP_MAP_SPARSE;
        o.bo_handle = 0;
    }),
    ("sparse_with_a_handle", Errno::EINVAL, |_, o| {
        o.flags = VM_BIND_OP_MAP_SPARSE | VM_BIND_OP_MAP_NOEXEC
    }),
    ("sparse_with_an_offset", Errno::EINVAL, |_, o| {
        o.flags = VM_BIND_OP_MAP_SPARSE | VM_BIND_OP_MAP_NOEXEC;
        o.bo_handle = 0;
        o.bo_offset = PAGE;
    }),
    ("syncs", Errno::EINVAL, |_, o| {
        static SYNC: SyncOp = SyncOp {
            flags: 0,
            handle: NO_HANDLE,
            timeline_value: 0,
        };
        o.syncs = ObjArray::of(std::slice::from_ref(&SYNC));
    }),
    ("sync_only_with_a_range", Errno::EINVAL, |_, o| {
        o.flags = VM_BIND_OP_TYPE_SYNC_ONLY;
        o.bo_handle = 0;
    }),
];

fn unmap_op(cx: &Cx, change: Change<VmBindOp>) -> ioctl::Result<()> {
    let mut op = VmBindOp {
        flags: VM_BIND_OP_TYPE_UNMAP,
        va: VA,
        size: SIZE,
        ..Default::default()
    };
    change(cx, &mut op);
    bind_one(cx, op)
}

const UNMAP: &[Row<VmBindOp>] = &[
    ("a_handle", Errno::EINVAL, |_, o| o.bo_handle = 1),
    ("an_offset", Errno::EINVAL, |_, o| o.bo_offset = PAGE),
    ("map_flags", Errno::EINVAL, |_, o| {
        o.flags |= VM_BIND_OP_MAP_READONLY
    }),
    ("misaligned_va", Errno::EINVAL, |_, o| o.va += 64),
    ("misaligned_size", Errno::EINVAL, |_, o| o.size += 64),
    ("va_beyond_the_user_range", Errno::EINVAL, |cx, o| {
        o.va = cx.vm.user_va_range()
    }),
    ("syncs", Errno::EINVAL, |_, o| o.syncs.count = 1),
];

fn unknown_vm() -> Result<()> {
    let cx = Cx::new()?;
    for vm_id in [0, NO_HANDLE, u32::MAX] {
        let mut args = VmBind {
            vm_id,
            ..Default::default()
        };
        refused(cx.device.call(&mut args), Errno::EINVAL)?;
    }
    Ok(())
}

fn foreign_exclusive() -> Result<()> {
    let cx = Cx::new()?;
    let other = Vm::new(&cx.device)?;
    let bo = Bo::exclusive(&other, SIZE, 0)?;
    refused(cx.vm.map(&bo, 0, VA, SIZE, 0), Errno::EINVAL)?;
    other
        .map(&bo, 0, VA, SIZE, 0)
        .context("map it in the VM it is for")
}

fn bad_handles() -> Result<()> {
    let cx = Cx::new()?;
    for bo_handle in [0, NO_HANDLE, u32::MAX] {
        let op = VmBindOp {
            bo_handle,
            va: VA,
            size: PAGE,
            ..Default::default()
        };
        refused(bind_one(&cx, op), Errno::EINVAL)?;
    }
    Ok(())
}

fn size_0() -> Result<()> {
    let cx = Cx::new()?;
    // Nothing else is looked at.
    let op = VmBindOp {
        flags: u32::MAX,
        bo_handle: NO_HANDLE,
        bo_offset: 1,
        va: 1,
        ..Default::default()
    };
    bind_one(&cx, op).context("an operation of no size")
}

fn no_ops() -> Result<()> {
    let cx = Cx::new()?;
    let mut args = VmBind {
        vm_id: cx.vm.id(),
        flags: 0,
        ops: ObjArray {
            stride: 0,
            count: 0,
            array: 0x10,
        },
    };
    cx.device.call(&mut args).context("no operations")
}

fn flags() -> Result<()> {
    let cx = Cx::new()?;
    let bo = Bo::new(&cx.device, SIZE, 0)?;
    for flags in 0..8 {
        assert!(flags <= VM_BIND_OP_MAP_READONLY | VM_BIND_OP_MAP_NOEXEC | VM_BIND_OP_MAP_UNCACHED);
        cx.vm
            .map(&bo, 0, VA, SIZE, flags)
            .with_context(|| format!("flags {flags:#x}"))?;
    }
    Ok(())
}

fn failed_op() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let bo = Bo::new(&gpu.cx.device, PAGE, 0)?;
    let mapping = bo.mmap()?;
    let good = VmBindOp {
        bo_handle: bo.handle(),
        va: VA,
        size: PAGE,
        ..Default::default()
    };
    let bad = VmBindOp { va: VA + 1, ..good };
    let later = VmBindOp {
        va: VA + PAGE,
        ..good
    };
    let result = gpu.cx.vm.bind(&[good, bad, later]);
    ensure!(
        result == Err((Errno::EINVAL, 1)),
        "the second of three bad operations gave {result:?}"
    );
    // The first one was done.
    let stream = gpu.store_at(VA, 0x600d);
    gpu.run_ok(stream.on(0))?;
    ensure!(
        mapping.read::<u32>(0) == 0x600d,
        "the first operation was not done"
    );
    Ok(())
}

fn gpu_sees_map() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let bo = Bo::new(&gpu.cx.device, SIZE, 0)?;
    let mapping = bo.mmap()?;
    gpu.cx.vm.map(&bo, 0, VA, SIZE, VM_BIND_OP_MAP_NOEXEC)?;
    for page in 0..4 {
        let stream = gpu.store_at(VA + page * PAGE, 0x100 + page as u32);
        gpu.run_ok(stream.on(0))?;
    }
    for page in 0..4u32 {
        let got: u32 = mapping.read(page as usize * PAGE as usize);
        ensure!(got == 0x100 + page, "page {page} holds {got:#x}");
    }
    Ok(())
}

fn gpu_sees_offset() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let bo = Bo::new(&gpu.cx.device, SIZE, 0)?;
    let mapping = bo.mmap()?;
    gpu.cx.vm.map(&bo, 2 * PAGE, VA, PAGE, 0)?;
    let stream = gpu.store_at(VA + 8, 0xabc);
    gpu.run_ok(stream.on(0))?;
    let got: u32 = mapping.read(2 * PAGE as usize + 8);
    ensure!(got == 0xabc, "the third page holds {got:#x}");
    ensure!(mapping.read::<u32>(8) == 0, "the first page was written");
    Ok(())
}

fn map_over() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let old = Bo::new(&gpu.cx.device, SIZE, 0)?;
    let new = Bo::new(&gpu.cx.device, PAGE, 0)?;
    let (old_cpu, new_cpu) = (old.mmap()?, new.mmap()?);
    gpu.cx.vm.map(&old, 0, VA, SIZE, 0)?;
    let stream = gpu.store_at(VA + PAGE, 1);
    gpu.run_ok(stream.on(0))?;
    gpu.cx.vm.map(&new, 0, VA + PAGE, PAGE, 0)?;
    for (page, value) in [(0, 10), (1, 11), (2, 12)] {
        let stream = gpu.store_at(VA + page * PAGE, value);
        gpu.run_ok(stream.on(0))?;
    }
    let olds: Vec<u32> = (0..3).map(|p| old_cpu.read(p * PAGE as usize)).collect();
    ensure!(olds == [10, 1, 12], "the old buffer holds {olds:?}");
    let got: u32 = new_cpu.read(0);
    ensure!(got == 11, "the new buffer holds {got}");
    Ok(())
}

fn unmap_middle() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let bo = Bo::new(&gpu.cx.device, 3 * PAGE, 0)?;
    let mapping = bo.mmap()?;
    gpu.cx.vm.map(&bo, 0, VA, 3 * PAGE, 0)?;
    gpu.cx.vm.unmap(VA + PAGE, PAGE)?;
    for page in [0, 2] {
        let stream = gpu.store_at(VA + page * PAGE, 7 + page as u32);
        gpu.run_ok(stream.on(0))?;
    }
    let got: Vec<u32> = (0..3).map(|p| mapping.read(p * PAGE as usize)).collect();
    ensure!(got == [7, 0, 9], "the buffer holds {got:?}");
    Ok(())
}

fn unmap_nothing() -> Result<()> {
    let cx = Cx::new()?;
    cx.vm
        .unmap(VA, SIZE)
        .context("a range with nothing mapped")?;
    let bo = Bo::new(&cx.device, PAGE, 0)?;
    cx.vm.map(&bo, 0, VA + PAGE, PAGE, 0)?;
    cx.vm
        .unmap(VA, SIZE)
        .context("a range with a hole on each side")
}

fn outlives_handle() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let bo = Bo::new(&gpu.cx.device, PAGE, 0)?;
    let mapping = bo.mmap()?;
    gpu.cx.vm.map(&bo, 0, VA, PAGE, 0)?;
    drop(bo);
    let stream = gpu.store_at(VA, 5);
    gpu.run_ok(stream.on(0))?;
    ensure!(mapping.read::<u32>(0) == 5, "the store went elsewhere");
    Ok(())
}

fn two_vms() -> Result<()> {
    let mut a = Gpu::new(1)?;
    let other = Vm::new(&a.cx.device)?;
    let bo = Bo::new(&a.cx.device, PAGE, 0)?;
    let mapping = bo.mmap()?;
    a.cx.vm.map(&bo, 0, VA, PAGE, 0)?;
    other.map(&bo, 0, 2 * VA, PAGE, 0)?;

    let stream = a.store_at(VA, 1);
    a.run_ok(stream.on(0))?;
    let mut streams = guest::group::StreamBuffer::new(&other, 4096)?;
    let mut cs = guest::cs::Builder::new();
    cs.set_sb_entry(1, 0)
        .move48(d(0), 2 * VA)
        .load32(r(2), d(0), 0)
        .wait(LS_MASK)
        .add_imm32(r(2), r(2), 41)
        .store32(r(2), d(0), 4)
        .wait(LS_MASK);
    let stream = streams.add(&cs);
    let group = guest::Group::new(&other, &guest::GroupConfig::queues(1))?;
    crate::cx::run_ok_on(&a.cx, &group, stream.on(0))?;
    let got: u32 = mapping.read(4);
    ensure!(got == 42, "the second VM made {got} of it");
    Ok(())
}

fn read_only() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let source = Buffer::new(&gpu.cx.vm, PAGE, VM_BIND_OP_MAP_READONLY)?;
    source.write(16, 0x0123_4567u32);
    let va = source.va();
    let stream = gpu.stream(|cs, data| {
        cs.move48(d(0), va)
            .move48(d(2), data)
            .load32(r(4), d(0), 16)
            .wait(LS_MASK)
            .store32(r(4), d(2), 0)
            .wait(LS_MASK);
    });
    gpu.run_ok(stream.on(0))?;
    let got: u32 = gpu.data.read(0);
    ensure!(got == 0x0123_4567, "the GPU read {got:#x}");
    Ok(())
}

fn large() -> Result<()> {
    const MIB: u64 = 1 << 20;
    let mut gpu = Gpu::new(1)?;
    let bo = Bo::new(&gpu.cx.device, 8 * MIB, 0)?;
    let mapping = bo.mmap()?;
    gpu.cx.vm.map(&bo, 0, VA, 8 * MIB, 0)?;
    // A hole within a block of 2 MiB, so that a block entry must be split.
    gpu.cx.vm.unmap(VA + 3 * MIB, PAGE)?;
    let places = [0, 2 * MIB, 3 * MIB - 4, 3 * MIB + PAGE, 8 * MIB - 4];
    for (i, place) in places.iter().enumerate() {
        let stream = gpu.store_at(VA + place, i as u32 + 1);
        gpu.run_ok(stream.on(0))?;
    }
    for (i, place) in places.iter().enumerate() {
        let got: u32 = mapping.read(*place as usize);
        ensure!(got == i as u32 + 1, "at {place:#x} is {got}");
    }
    Ok(())
}

fn many() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let bo = Bo::new(&gpu.cx.device, PAGE, 0)?;
    let mapping = bo.mmap()?;
    let map = |n: u64| VmBindOp {
        bo_handle: bo.handle(),
        va: VA + n * 7 * PAGE,
        size: PAGE,
        ..Default::default()
    };
    let ops: Vec<VmBindOp> = (0..500).map(map).collect();
    gpu.cx
        .vm
        .bind(&ops)
        .map_err(|(e, n)| anyhow::anyhow!("operation {n}: {e}"))?;
    // The same page, seen through the last of them.
    let stream = gpu.store_at(VA + 499 * 7 * PAGE, 0x77);
    gpu.run_ok(stream.on(0))?;
    ensure!(mapping.read::<u32>(0) == 0x77, "the store went elsewhere");
    gpu.cx.vm.unmap(VA, 500 * 7 * PAGE)?;
    Ok(())
}
