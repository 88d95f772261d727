// SPDX-License-Identifier: GPL-2.0 OR MIT

//! BO_SET_LABEL, BO_SYNC, BO_QUERY_INFO, SET_USER_MMIO_OFFSET and PRIME.

use std::os::fd::AsRawFd;

use anyhow::{ensure, Context, Result};
use guest::device::map;
use guest::ioctl::{self, Errno};
use guest::uapi::panthor::{
    BoQueryInfo, BoSetLabel, BoSync, BoSyncOp, ObjArray, SetUserMmioOffset, BO_NO_MMAP,
    BO_SYNC_FLUSH, BO_SYNC_FLUSH_AND_INVALIDATE, BO_WB_MMAP, USER_MMIO_OFFSET_32BIT,
    USER_MMIO_OFFSET_64BIT,
};
use guest::{Bo, Device};

use crate::cx::{refused, Change, Cx, Gpu, Row, Tests, NO_HANDLE};

const PAGE: u64 = 4096;
/// Bytes of the longest label with its NUL.
const LABEL_MAX: usize = 4096;

pub(crate) fn tests(t: &mut Tests) {
    t.add_refusals("later::bo_set_label", set_label, LABEL);
    t.add("later::bo_set_label::lengths", label_lengths);
    t.add_refusals("later::bo_sync", sync, SYNC);
    t.add("later::bo_sync::ranges", sync_ranges);
    t.add("later::bo_sync::no_ops_do_nothing", sync_nothing);
    t.add("later::bo_sync::cached_buffer_and_gpu", sync_and_gpu);
    t.add("later::bo_query_info::flags", query_info);
    t.add(
        "later::bo_query_info::refuses_unknown_handle",
        query_unknown,
    );
    t.add("later::set_user_mmio_offset::refuses_others", mmio_refused);
    t.add("later::set_user_mmio_offset::moves_the_page", mmio_moves);
    t.add(
        "later::prime::same_file_gives_the_same_handle",
        prime_same_file,
    );
    t.add("later::prime::shared_with_another_file", prime_shared);
    t.add("later::prime::refuses_exclusive_buffer", prime_exclusive);
    t.add("later::prime::refuses_what_is_no_dma_buf", prime_no_dma_buf);
}

fn set_label(cx: &Cx, change: Change<BoSetLabel>) -> ioctl::Result<()> {
    let bo = Bo::new(&cx.device, PAGE, 0)?;
    let mut args = BoSetLabel {
        handle: bo.handle(),
        pad: 0,
        label: c"a label".as_ptr() as u64,
    };
    change(cx, &mut args);
    cx.device.call(&mut args)
}

const LABEL: &[Row<BoSetLabel>] = &[
    ("pad", Errno::EINVAL, |_, a| a.pad = 1),
    ("handle_0", Errno::ENOENT, |_, a| a.handle = 0),
    ("unknown_handle", Errno::ENOENT, |_, a| a.handle = NO_HANDLE),
    ("bad_pointer", Errno::EFAULT, |_, a| a.label = 0x10),
];

fn label_lengths() -> Result<()> {
    let cx = Cx::new()?;
    let bo = Bo::new(&cx.device, PAGE, 0)?;
    let label = |text: Option<&[u8]>| {
        cx.device.call(&mut BoSetLabel {
            handle: bo.handle(),
            pad: 0,
            label: text.map_or(0, |t| t.as_ptr() as u64),
        })
    };
    let of_length = |chars: usize| {
        let mut text = vec![b'x'; chars];
        text.push(0);
        text
    };
    label(None).context("no label")?;
    label(Some(&[0])).context("an empty label")?;
    label(Some(&of_length(LABEL_MAX - 1))).context("the longest label")?;
    refused(label(Some(&of_length(LABEL_MAX))), Errno::E2BIG)?;
    refused(label(Some(&of_length(3 * LABEL_MAX))), Errno::E2BIG)?;
    label(None).context("no label any more")
}

fn sync_op(cx: &Cx, op: BoSyncOp) -> ioctl::Result<()> {
    let ops = [op];
    cx.device.call(&mut BoSync {
        ops: ObjArray::of(&ops),
    })
}

fn sync(cx: &Cx, change: Change<BoSyncOp>) -> ioctl::Result<()> {
    let bo = Bo::new(&cx.device, 2 * PAGE, BO_WB_MMAP)?;
    let mut op = BoSyncOp {
        handle: bo.handle(),
        kind: BO_SYNC_FLUSH,
        offset: 0,
        size: 2 * PAGE,
    };
    change(cx, &mut op);
    sync_op(cx, op)
}

const SYNC: &[Row<BoSyncOp>] = &[
    ("unknown_type", Errno::EINVAL, |_, o| o.kind = 2),
    ("largest_type", Errno::EINVAL, |_, o| o.kind = u32::MAX),
    ("handle_0", Errno::ENOENT, |_, o| o.handle = 0),
    ("unknown_handle", Errno::ENOENT, |_, o| o.handle = NO_HANDLE),
    ("size_beyond_the_buffer", Errno::EINVAL, |_, o| o.size += 1),
    ("offset_beyond_the_buffer", Errno::EINVAL, |_, o| {
        o.offset = 1
    }),
    ("range_that_overflows", Errno::EINVAL, |_, o| {
        o.offset = u64::MAX - PAGE
    }),
];

fn sync_ranges() -> Result<()> {
    let cx = Cx::new()?;
    for flags in [0, BO_WB_MMAP] {
        let bo = Bo::new(&cx.device, 4 * PAGE, flags)?;
        let cpu = bo.mmap()?;
        cpu.write(0, 1u32);
        for kind in [BO_SYNC_FLUSH, BO_SYNC_FLUSH_AND_INVALIDATE] {
            for (offset, size) in [
                (0, 4 * PAGE),
                (0, 0),
                (4 * PAGE, 0),
                (1, 1),
                (PAGE - 1, 2),
                (3 * PAGE, PAGE),
            ] {
                let op = BoSyncOp {
                    handle: bo.handle(),
                    kind,
                    offset,
                    size,
                };
                sync_op(&cx, op).with_context(|| format!("{op:?}"))?;
            }
        }
        ensure!(cpu.read::<u32>(0) == 1, "the data is gone");
    }
    Ok(())
}

fn sync_nothing() -> Result<()> {
    let cx = Cx::new()?;
    let mut args = BoSync {
        ops: ObjArray {
            stride: 0,
            count: 0,
            array: 0x10,
        },
    };
    cx.device.call(&mut args).context("no operations")
}

fn sync_and_gpu() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let bo = Bo::new(&gpu.cx.device, PAGE, BO_WB_MMAP)?;
    let va = gpu.cx.vm.reserve(PAGE);
    gpu.cx.vm.map(&bo, 0, va, PAGE, 0)?;
    let cpu = bo.mmap()?;
    cpu.write(0, 0x1111u32);
    let whole = |kind| BoSyncOp {
        handle: bo.handle(),
        kind,
        offset: 0,
        size: PAGE,
    };
    sync_op(&gpu.cx, whole(BO_SYNC_FLUSH))?;
    let stream = gpu.store_at(va, 0x2222);
    gpu.run_ok(stream.on(0))?;
    sync_op(&gpu.cx, whole(BO_SYNC_FLUSH_AND_INVALIDATE))?;
    let got: u32 = cpu.read(0);
    ensure!(got == 0x2222, "the CPU sees {got:#x}");
    Ok(())
}

fn query_info() -> Result<()> {
    let cx = Cx::new()?;
    for flags in [0, BO_NO_MMAP, BO_WB_MMAP] {
        let bo = Bo::new(&cx.device, PAGE, flags)?;
        let mut args = BoQueryInfo {
            handle: bo.handle(),
            extra_flags: u32::MAX,
            create_flags: u32::MAX,
            pad: 0,
        };
        cx.device.call(&mut args)?;
        ensure!(
            args.create_flags == flags && args.extra_flags == 0 && args.pad == 0,
            "flags {flags} came back as {args:?}"
        );
    }
    Ok(())
}

fn query_unknown() -> Result<()> {
    let cx = Cx::new()?;
    for handle in [0, NO_HANDLE] {
        let mut args = BoQueryInfo {
            handle,
            ..Default::default()
        };
        refused(cx.device.call(&mut args), Errno::ENOENT)?;
    }
    Ok(())
}

fn mmio_refused() -> Result<()> {
    let device = Device::open()?;
    for offset in [0, 1, 1 << 42, (1 << 43) + 4096, 1 << 57, u64::MAX] {
        refused(
            device.call(&mut SetUserMmioOffset { offset }),
            Errno::EINVAL,
        )?;
    }
    Ok(())
}

fn mmio_moves() -> Result<()> {
    let device = Device::open()?;
    let flush_id = |offset| {
        map(
            &device,
            PAGE as usize,
            libc::PROT_READ,
            libc::MAP_SHARED,
            offset,
        )
        .map(|_| ())
    };
    flush_id(USER_MMIO_OFFSET_64BIT)?;
    device.call(&mut SetUserMmioOffset {
        offset: USER_MMIO_OFFSET_32BIT,
    })?;
    flush_id(USER_MMIO_OFFSET_32BIT)?;
    refused(flush_id(USER_MMIO_OFFSET_64BIT), Errno::EINVAL)?;
    device.call(&mut SetUserMmioOffset {
        offset: USER_MMIO_OFFSET_64BIT,
    })?;
    flush_id(USER_MMIO_OFFSET_64BIT)?;
    Ok(())
}

fn prime_same_file() -> Result<()> {
    let device = Device::open()?;
    let bo = Bo::new(&device, PAGE, 0)?;
    let fd = device.export_dma_buf(bo.handle())?;
    let handle = device.import_dma_buf(&fd)?;
    ensure!(
        handle == bo.handle(),
        "buffer {} came back as {handle}",
        bo.handle()
    );
    Ok(())
}

fn prime_shared() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let other = gpu.cx.device.reopen()?;
    let bo = Bo::new(&other, PAGE, 0)?;
    let cpu = bo.mmap()?;
    let fd = other.export_dma_buf(bo.handle())?;
    let handle = gpu.cx.device.import_dma_buf(&fd)?;
    drop(fd);
    let imported = Bo::from_handle(&gpu.cx.device, handle, PAGE);
    let va = gpu.cx.vm.reserve(PAGE);
    gpu.cx.vm.map(&imported, 0, va, PAGE, 0)?;
    drop(bo);
    let stream = gpu.store_at(va, 0x77);
    gpu.run_ok(stream.on(0))?;
    let got: u32 = cpu.read(0);
    ensure!(got == 0x77, "the other file sees {got:#x}");
    let mut info = BoQueryInfo {
        handle,
        ..Default::default()
    };
    gpu.cx.device.call(&mut info)?;
    ensure!(info.extra_flags == 0, "its own buffer is foreign: {info:?}");
    Ok(())
}

fn prime_exclusive() -> Result<()> {
    let cx = Cx::new()?;
    let bo = Bo::exclusive(&cx.vm, PAGE, 0)?;
    refused(
        cx.device
            .export_dma_buf(bo.handle())
            .map(|fd| fd.as_raw_fd()),
        Errno::EINVAL,
    )
}

fn prime_no_dma_buf() -> Result<()> {
    let device = Device::open()?;
    let file = std::fs::File::open("/proc/self/exe")?;
    refused(device.import_dma_buf(&file), Errno::EINVAL)?;
    refused(
        device.export_dma_buf(NO_HANDLE).map(|fd| fd.as_raw_fd()),
        Errno::ENOENT,
    )
}
