// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DEV_QUERY: GPU_INFO and CSIF_INFO, and the rules for sizes and pointers.

use anyhow::{ensure, Result};
use guest::ioctl::{call_unchecked, Errno, Ioctl};
use guest::uapi::panthor::{CsifInfo, DevQuery, GpuInfo, DEV_QUERY_CSIF_INFO, DEV_QUERY_GPU_INFO};
use guest::Device;

use crate::cx::{refused, Tests};

/// Bytes of GPU_INFO in the first version of the uAPI: up to `tiler_present`.
const GPU_INFO_MIN: usize = 96;
/// An address that is never mapped.
const BAD_POINTER: u64 = 0x10;

pub(crate) fn tests(t: &mut Tests) {
    t.add("dev_query::gpu_info", gpu_info);
    t.add("dev_query::csif_info", csif_info);
    t.add("dev_query::null_pointer_asks_for_the_size", sizes);
    t.add("dev_query::refuses_unknown_type", unknown_type);
    t.add("dev_query::refuses_size_under_the_minimum", too_small);
    t.add("dev_query::minimum_size_is_enough", minimum);
    t.add("dev_query::size_between_minimum_and_full", between);
    t.add("dev_query::larger_buffer_has_its_tail_zeroed", larger);
    t.add("dev_query::size_is_left_alone", size_is_left_alone);
    t.add("dev_query::refuses_bad_pointer", bad_pointer);
    t.add("dev_query::answers_are_stable", stable);
}

/// DEV_QUERY with a pointer that is NULL or never mapped: it cannot write anywhere.
fn query_nowhere(device: &Device, args: &mut DevQuery) -> Result<(), Errno> {
    assert!(args.pointer == 0 || args.pointer == BAD_POINTER || args.pointer >> 63 == 1);
    // SAFETY: the pointer leads to no memory of this process.
    unsafe { call_unchecked(device, DevQuery::REQUEST, args) }
}

fn gpu_info() -> Result<()> {
    let gpu = Device::open()?.gpu_info()?;
    ensure!(gpu.gpu_id != 0, "no GPU id");
    ensure!(gpu.arch().0 >= 10, "{:?} is no CSF arch", gpu.arch());
    ensure!(gpu.shader_present != 0, "no shader cores");
    ensure!(gpu.l2_present == 1, "l2_present is {:#x}", gpu.l2_present);
    ensure!(gpu.tiler_present != 0, "no tiler");
    ensure!(
        gpu.as_present.count_ones() >= 2,
        "as_present is {:#x}",
        gpu.as_present
    );
    ensure!(gpu.va_bits() >= 32, "{} VA bits", gpu.va_bits());
    ensure!(gpu.csf_id != 0, "no CSF id");
    ensure!(gpu.max_threads != 0, "no threads");
    ensure!(
        matches!(gpu.selected_coherency, 0 | 1 | 31),
        "selected_coherency is {}",
        gpu.selected_coherency
    );
    ensure!(gpu.pad == 0, "pad is {}", gpu.pad);
    Ok(())
}

fn csif_info() -> Result<()> {
    let csif = Device::open()?.csif_info()?;
    ensure!((1..=31).contains(&csif.csg_slot_count), "{csif:?}");
    ensure!((1..=32).contains(&csif.cs_slot_count), "{csif:?}");
    ensure!((1..=255).contains(&csif.cs_reg_count), "{csif:?}");
    ensure!((1..=32).contains(&csif.scoreboard_slot_count), "{csif:?}");
    // The kernel needs one 64-bit and one 32-bit register to call a stream.
    ensure!(
        csif.unpreserved_cs_reg_count >= 3 && csif.unpreserved_cs_reg_count < csif.cs_reg_count,
        "{csif:?}"
    );
    ensure!(csif.pad == 0, "{csif:?}");
    Ok(())
}

fn sizes() -> Result<()> {
    let device = Device::open()?;
    for (kind, want) in [
        (DEV_QUERY_GPU_INFO, size_of::<GpuInfo>()),
        (DEV_QUERY_CSIF_INFO, size_of::<CsifInfo>()),
    ] {
        let got = device.query_size(kind)?;
        ensure!(
            got as usize == want,
            "query {kind}: {got} bytes instead of {want}"
        );
    }
    Ok(())
}

fn unknown_type() -> Result<()> {
    let device = Device::open()?;
    for kind in [5, 64, u32::MAX] {
        refused(device.query_size(kind), Errno::EINVAL)?;
        refused(device.query_bytes(kind, &mut [0; 256]), Errno::EINVAL)?;
    }
    Ok(())
}

fn too_small() -> Result<()> {
    let device = Device::open()?;
    for (kind, min) in [
        (DEV_QUERY_GPU_INFO, GPU_INFO_MIN),
        (DEV_QUERY_CSIF_INFO, size_of::<CsifInfo>()),
    ] {
        for size in [0, 1, min - 1] {
            let mut buffer = vec![0xa5; size];
            // A Vec of no bytes has a pointer, though it leads nowhere; it must not be NULL here.
            buffer.reserve(1);
            refused(device.query_bytes(kind, &mut buffer), Errno::EINVAL)?;
            ensure!(buffer.iter().all(|b| *b == 0xa5), "the buffer was written");
        }
    }
    Ok(())
}

fn prefix_is_right(size: usize) -> Result<()> {
    let device = Device::open()?;
    let whole = device.gpu_info()?;
    let mut buffer = [0xa5u8; size_of::<GpuInfo>()];
    device.query_bytes(DEV_QUERY_GPU_INFO, &mut buffer[..size])?;
    ensure!(
        buffer[..size] == bytemuck::bytes_of(&whole)[..size],
        "the first {size} bytes differ from the whole answer"
    );
    ensure!(
        buffer[size..].iter().all(|b| *b == 0xa5),
        "the kernel wrote past {size} bytes"
    );
    Ok(())
}

fn minimum() -> Result<()> {
    prefix_is_right(GPU_INFO_MIN)
}

fn between() -> Result<()> {
    (GPU_INFO_MIN + 1..size_of::<GpuInfo>()).try_for_each(prefix_is_right)
}

fn larger() -> Result<()> {
    let device = Device::open()?;
    let whole = device.gpu_info()?;
    for extra in [1, 8, 5000] {
        let mut buffer = vec![0xa5u8; size_of::<GpuInfo>() + extra];
        device.query_bytes(DEV_QUERY_GPU_INFO, &mut buffer)?;
        let (start, tail) = buffer.split_at(size_of::<GpuInfo>());
        ensure!(start == bytemuck::bytes_of(&whole), "the answer differs");
        ensure!(tail.iter().all(|b| *b == 0), "the tail is not zeroed");
    }
    Ok(())
}

fn size_is_left_alone() -> Result<()> {
    let device = Device::open()?;
    for size in [GPU_INFO_MIN, size_of::<GpuInfo>(), 256] {
        let mut buffer = vec![0u8; size];
        let mut args = DevQuery {
            kind: DEV_QUERY_GPU_INFO,
            size: size as u32,
            pointer: buffer.as_mut_ptr() as u64,
        };
        // SAFETY: the buffer has `size` bytes.
        unsafe { call_unchecked(&device, DevQuery::REQUEST, &mut args)? };
        ensure!(
            args.size as usize == size,
            "size {size} came back as {}",
            args.size
        );
    }
    Ok(())
}

fn bad_pointer() -> Result<()> {
    let device = Device::open()?;
    for pointer in [BAD_POINTER, 0xffff_8000_0000_0000, u64::MAX - 4095] {
        for kind in [DEV_QUERY_GPU_INFO, DEV_QUERY_CSIF_INFO] {
            let mut args = DevQuery {
                kind,
                size: 112,
                pointer,
            };
            refused(query_nowhere(&device, &mut args), Errno::EFAULT)?;
        }
    }
    // A bad type is found before the pointer is used.
    let mut args = DevQuery {
        kind: 77,
        size: 112,
        pointer: BAD_POINTER,
    };
    refused(query_nowhere(&device, &mut args), Errno::EINVAL)
}

fn stable() -> Result<()> {
    let device = Device::open()?;
    let first = (device.gpu_info()?, device.csif_info()?);
    for _ in 0..100 {
        ensure!(
            (device.gpu_info()?, device.csif_info()?) == first,
            "answers changed"
        );
    }
    Ok(())
}
