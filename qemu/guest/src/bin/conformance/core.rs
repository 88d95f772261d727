// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the DRM core does on the driver's behalf: version, capabilities, ioctl numbers.

use anyhow::{ensure, Result};
use guest::ioctl::{call_unchecked, request, Dir, Errno, Ioctl};
use guest::uapi::drm::{CAP_PRIME, CAP_SYNCOBJ, CAP_SYNCOBJ_TIMELINE};
use guest::uapi::panthor::{BoQueryInfo, VmCreate, VmDestroy};
use guest::Device;

use crate::cx::{refused, Cx, Tests};

pub(crate) fn tests(t: &mut Tests) {
    t.add("core::version", version);
    t.add("core::capabilities", capabilities);
    t.add("core::refuses_unknown_ioctl", unknown_ioctl);
    t.add("core::short_argument_is_filled_with_zeros", short_argument);
    t.add("core::long_argument_is_cut", long_argument);
    t.add("core::many_files_at_once", many_files);
}

fn version() -> Result<()> {
    let version = Device::open()?.version()?;
    ensure!(version.name == "panthor", "driver name is {}", version.name);
    ensure!(
        version.major == 1 && version.minor >= 9,
        "uAPI version is {}.{}",
        version.major,
        version.minor
    );
    ensure!(!version.desc.is_empty(), "the description is empty");
    Ok(())
}

fn capabilities() -> Result<()> {
    let device = Device::open()?;
    ensure!(device.cap(CAP_SYNCOBJ)? == 1, "no sync objects");
    ensure!(device.cap(CAP_SYNCOBJ_TIMELINE)? == 1, "no timelines");
    ensure!(device.cap(CAP_PRIME)? == 3, "no PRIME import and export");
    Ok(())
}

/// Issues a panthor ioctl by number; such a call writes at most `size` bytes to `arg`.
fn numbered(device: &Device, nr: u8, size: usize, arg: &mut [u64; 8]) -> Result<(), Errno> {
    assert!(size <= size_of_val(arg));
    // SAFETY: the number says that the argument has `size` bytes, which `arg` has, and the callers put no
    // pointers into it.
    unsafe { call_unchecked(device, request(Dir::ReadWrite, b'd', nr, size), arg) }
}

fn unknown_ioctl() -> Result<()> {
    let device = Device::open()?;
    let last = (BoQueryInfo::REQUEST & 0xff) as u8;
    for nr in [last + 1, last + 2, 0x9f] {
        refused(numbered(&device, nr, 16, &mut [0; 8]), Errno::EINVAL)?;
    }
    Ok(())
}

fn short_argument() -> Result<()> {
    let cx = Cx::new()?;
    let nr = (VmDestroy::REQUEST & 0xff) as u8;
    // Only the first of the two words; the second one in memory is not zero and must not be looked at.
    let mut args = [
        u64::from(cx.vm.id()) | (0xffff_ffff << 32),
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    numbered(&cx.device, nr, 4, &mut args)?;
    refused(numbered(&cx.device, nr, 4, &mut args), Errno::EINVAL)
}

fn long_argument() -> Result<()> {
    let device = Device::open()?;
    let nr = (VmCreate::REQUEST & 0xff) as u8;
    let mut args = [0, 0, u64::MAX, u64::MAX, 0, 0, 0, 0];
    numbered(&device, nr, 32, &mut args)?;
    ensure!(args[0] >> 32 != 0, "no VM id came back");
    ensure!(args[1] != 0, "no VA range came back");
    Ok(())
}

fn many_files() -> Result<()> {
    let first = Device::open()?;
    let files = (0..64)
        .map(|_| first.reopen())
        .collect::<Result<Vec<_>, _>>()?;
    for file in &files {
        ensure!(file.gpu_info()? == first.gpu_info()?, "the GPU differs");
    }
    Ok(())
}
