// SPDX-License-Identifier: GPL-2.0 OR MIT

//! BO_CREATE, BO_MMAP_OFFSET and mmap, of buffers and of the flush-id page.

use anyhow::{bail, ensure, Context, Result};
use guest::device::{map, Pages};
use guest::ioctl::{self, Errno};
use guest::uapi::drm::GemClose;
use guest::uapi::panthor::{BoCreate, BoMmapOffset, BO_NO_MMAP, BO_WB_MMAP, USER_FLUSH_ID_OFFSET};
use guest::{Bo, Device};

use crate::cx::{refused, Change, Cx, Row, Tests, NO_HANDLE};

const PAGE: usize = 4096;

pub(crate) fn tests(t: &mut Tests) {
    t.add("bo_create::size_is_rounded_to_pages", rounding);
    t.add("bo_create::flags", flags);
    t.add("bo_create::handles_are_distinct", distinct);
    t.add("bo_create::refuses_absurd_size", absurd_size);
    t.add_refusals("bo_create", create, CREATE);
    t.add_refusals("bo_mmap_offset", mmap_offset, MMAP_OFFSET);
    t.add("bo_mmap_offset::refuses_no_mmap_buffer", no_mmap);
    t.add("bo_mmap_offset::is_stable", offset_is_stable);
    t.add("mmap::buffer_is_zeroed_and_keeps_data", data_is_kept);
    t.add("mmap::cached_buffer", cached);
    t.add("mmap::part_of_a_buffer", part);
    t.add("mmap::outlives_the_handle", outlives_handle);
    t.add("mmap::refuses_more_than_the_buffer", too_long);
    t.add("mmap::refuses_private", private);
    t.add("mmap::refuses_unknown_offset", unknown_offset);
    t.add("mmap::refuses_another_file", another_file);
    t.add("mmap::flush_id", flush_id);
    t.add("mmap::flush_id_refuses_write", || {
        flush_id_refused(libc::PROT_READ | libc::PROT_WRITE)
    });
    t.add("mmap::flush_id_refuses_exec", || {
        flush_id_refused(libc::PROT_READ | libc::PROT_EXEC)
    });
    t.add("mmap::flush_id_refuses_private", flush_id_private);
    t.add("mmap::flush_id_refuses_two_pages", flush_id_two_pages);
    t.add("mmap::flush_id_refuses_other_offsets", flush_id_offsets);
    t.add("mmap::flush_id_refuses_mprotect_write", flush_id_mprotect);
}

fn create(cx: &Cx, change: Change<BoCreate>) -> ioctl::Result<()> {
    let mut args = BoCreate {
        size: 8192,
        ..Default::default()
    };
    change(cx, &mut args);
    cx.device.call(&mut args)?;
    cx.device.call(&mut GemClose {
        handle: args.handle,
        pad: 0,
    })
}

const CREATE: &[Row<BoCreate>] = &[
    ("size_0", Errno::EINVAL, |_, a| a.size = 0),
    ("pad", Errno::EINVAL, |_, a| a.pad = 1),
    ("unknown_flag", Errno::EINVAL, |_, a| a.flags = 1 << 2),
    ("high_flag", Errno::EINVAL, |_, a| a.flags = 1 << 31),
    ("no_mmap_with_wb_mmap", Errno::EINVAL, |_, a| {
        a.flags = BO_NO_MMAP | BO_WB_MMAP
    }),
    ("unknown_exclusive_vm", Errno::EINVAL, |_, a| {
        a.exclusive_vm_id = NO_HANDLE
    }),
];

fn absurd_size() -> Result<()> {
    let device = Device::open()?;
    for size in [u64::MAX, 1 << 63] {
        let mut args = BoCreate {
            size,
            ..Default::default()
        };
        ensure!(
            device.call(&mut args).is_err(),
            "{size:#x} bytes were allocated"
        );
    }
    Ok(())
}

fn rounding() -> Result<()> {
    let device = Device::open()?;
    for (want, got) in [(1, 4096), (4096, 4096), (4097, 8192), (1 << 20, 1 << 20)] {
        let bo = Bo::new(&device, want, 0)?;
        ensure!(bo.handle() != 0, "the handle is 0");
        ensure!(bo.size() == got, "{want} bytes became {}", bo.size());
    }
    Ok(())
}

fn flags() -> Result<()> {
    let cx = Cx::new()?;
    for flags in [0, BO_NO_MMAP, BO_WB_MMAP] {
        Bo::new(&cx.device, 4096, flags).with_context(|| format!("flags {flags}"))?;
        Bo::exclusive(&cx.vm, 4096, flags).with_context(|| format!("exclusive, flags {flags}"))?;
    }
    Ok(())
}

fn distinct() -> Result<()> {
    let device = Device::open()?;
    let bos = (0..100)
        .map(|_| Bo::new(&device, 4096, 0))
        .collect::<Result<Vec<_>, _>>()?;
    let mut handles: Vec<u32> = bos.iter().map(Bo::handle).collect();
    let mut offsets = bos
        .iter()
        .map(Bo::mmap_offset)
        .collect::<Result<Vec<_>, _>>()?;
    handles.sort();
    handles.dedup();
    offsets.sort();
    offsets.dedup();
    ensure!(handles.len() == bos.len(), "handles repeat");
    ensure!(offsets.len() == bos.len(), "mmap offsets repeat");
    Ok(())
}

fn mmap_offset(cx: &Cx, change: Change<BoMmapOffset>) -> ioctl::Result<()> {
    let bo = Bo::new(&cx.device, 4096, 0)?;
    let mut args = BoMmapOffset {
        handle: bo.handle(),
        ..Default::default()
    };
    change(cx, &mut args);
    cx.device.call(&mut args)
}

const MMAP_OFFSET: &[Row<BoMmapOffset>] = &[
    ("pad", Errno::EINVAL, |_, a| a.pad = 1),
    ("handle_0", Errno::ENOENT, |_, a| a.handle = 0),
    ("unknown_handle", Errno::ENOENT, |_, a| a.handle = NO_HANDLE),
    ("pad_before_handle", Errno::EINVAL, |_, a| {
        *a = BoMmapOffset {
            handle: NO_HANDLE,
            pad: 1,
            offset: 0,
        }
    }),
];

fn no_mmap() -> Result<()> {
    let device = Device::open()?;
    let bo = Bo::new(&device, 4096, BO_NO_MMAP)?;
    refused(bo.mmap_offset(), Errno::EPERM)
}

fn offset_is_stable() -> Result<()> {
    let device = Device::open()?;
    let bo = Bo::new(&device, 4096, 0)?;
    let offset = bo.mmap_offset()?;
    ensure!(
        offset % PAGE as u64 == 0,
        "offset {offset:#x} is not aligned"
    );
    ensure!(
        offset < USER_FLUSH_ID_OFFSET,
        "offset {offset:#x} is among the registers'"
    );
    ensure!(bo.mmap_offset()? == offset, "the offset changed");
    Ok(())
}

fn data_is_kept() -> Result<()> {
    let device = Device::open()?;
    let bo = Bo::new(&device, 1 << 20, 0)?;
    let mapping = bo.mmap()?;
    ensure!(
        mapping
            .read_all::<u64>(0, mapping.len() / 8)
            .iter()
            .all(|w| *w == 0),
        "a new buffer is not zeroed"
    );
    for i in 0..mapping.len() / 8 {
        mapping.write(i * 8, !(i as u64));
    }
    drop(mapping);
    let words: Vec<u64> = bo.mmap()?.read_all(0, (1 << 20) / 8);
    ensure!(
        words.iter().enumerate().all(|(i, w)| *w == !(i as u64)),
        "the data changed between two mappings"
    );
    Ok(())
}

fn cached() -> Result<()> {
    let device = Device::open()?;
    let mapping = Bo::new(&device, 8192, BO_WB_MMAP)?.mmap()?;
    ensure!(mapping.read::<u64>(4096) == 0, "a new buffer is not zeroed");
    mapping.write(4096, 0x55u64);
    ensure!(mapping.read::<u64>(4096) == 0x55, "the data is gone");
    Ok(())
}

/// Maps shared, for reading and writing.
fn map_shared(device: &Device, len: usize, offset: u64) -> ioctl::Result<Pages> {
    map(
        device,
        len,
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_SHARED,
        offset,
    )
}

fn part() -> Result<()> {
    let device = Device::open()?;
    let bo = Bo::new(&device, 4 * PAGE as u64, 0)?;
    map_shared(&device, 2 * PAGE, bo.mmap_offset()?)?;
    // A mapping starts at the buffer's start.
    refused(
        map_shared(&device, PAGE, bo.mmap_offset()? + PAGE as u64).map(|_| ()),
        Errno::EINVAL,
    )
}

fn outlives_handle() -> Result<()> {
    let device = Device::open()?;
    let bo = Bo::new(&device, 4096, 0)?;
    let mapping = bo.mmap()?;
    mapping.write(0, 0x1234_5678u32);
    drop(bo);
    drop(device);
    ensure!(mapping.read::<u32>(0) == 0x1234_5678, "the data is gone");
    mapping.write(4092, 1u32);
    Ok(())
}

fn too_long() -> Result<()> {
    let device = Device::open()?;
    let bo = Bo::new(&device, PAGE as u64, 0)?;
    refused(
        map_shared(&device, 2 * PAGE, bo.mmap_offset()?).map(|_| ()),
        Errno::EINVAL,
    )
}

fn private() -> Result<()> {
    let device = Device::open()?;
    let bo = Bo::new(&device, PAGE as u64, 0)?;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    refused(
        map(&device, PAGE, prot, libc::MAP_PRIVATE, bo.mmap_offset()?).map(|_| ()),
        Errno::EINVAL,
    )
}

fn unknown_offset() -> Result<()> {
    let device = Device::open()?;
    let bo = Bo::new(&device, PAGE as u64, 0)?;
    let offset = bo.mmap_offset()?;
    drop(bo);
    refused(map_shared(&device, PAGE, offset).map(|_| ()), Errno::EINVAL)?;
    refused(map_shared(&device, PAGE, 0).map(|_| ()), Errno::EINVAL)
}

fn another_file() -> Result<()> {
    let device = Device::open()?;
    let bo = Bo::new(&device, PAGE as u64, 0)?;
    refused(
        map_shared(&device.reopen()?, PAGE, bo.mmap_offset()?).map(|_| ()),
        Errno::EACCES,
    )
}

fn flush_id() -> Result<()> {
    let id = Device::open()?.map_flush_id()?.read();
    // What is read here goes into a job's latest_flush, where bits 30:24 must be zero.
    ensure!(
        id & 0x7f00_0000 == 0,
        "flush id {id:#x} cannot be submitted"
    );
    Ok(())
}

fn map_flush_id(len: usize, prot: i32, flags: i32, offset: u64) -> Result<ioctl::Result<Pages>> {
    Ok(map(&Device::open()?, len, prot, flags, offset))
}

fn flush_id_refused(prot: i32) -> Result<()> {
    let result = map_flush_id(PAGE, prot, libc::MAP_SHARED, USER_FLUSH_ID_OFFSET)?;
    refused(result.map(|_| ()), Errno::EINVAL)
}

fn flush_id_private() -> Result<()> {
    let result = map_flush_id(
        PAGE,
        libc::PROT_READ,
        libc::MAP_PRIVATE,
        USER_FLUSH_ID_OFFSET,
    )?;
    refused(result.map(|_| ()), Errno::EINVAL)
}

fn flush_id_two_pages() -> Result<()> {
    let result = map_flush_id(
        2 * PAGE,
        libc::PROT_READ,
        libc::MAP_SHARED,
        USER_FLUSH_ID_OFFSET,
    )?;
    refused(result.map(|_| ()), Errno::EINVAL)
}

fn flush_id_offsets() -> Result<()> {
    for pages in [1, 2, 1 << 20] {
        let offset = USER_FLUSH_ID_OFFSET + pages * PAGE as u64;
        let result = map_flush_id(PAGE, libc::PROT_READ, libc::MAP_SHARED, offset)?;
        refused(result.map(|_| ()), Errno::EINVAL)?;
    }
    Ok(())
}

fn flush_id_mprotect() -> Result<()> {
    let pages = map_flush_id(
        PAGE,
        libc::PROT_READ,
        libc::MAP_SHARED,
        USER_FLUSH_ID_OFFSET,
    )??;
    // SAFETY: the pages are mapped, and more rights to them harm nothing.
    let ret = unsafe {
        libc::mprotect(
            pages.start().as_ptr().cast(),
            pages.len(),
            libc::PROT_READ | libc::PROT_WRITE,
        )
    };
    match (ret, Errno::last()) {
        (0, _) => bail!("the page became writable"),
        (_, Errno::EACCES) => Ok(()),
        (_, e) => bail!("failed with {e} instead of EACCES"),
    }
}
