// SPDX-License-Identifier: GPL-2.0 OR MIT

//! VM_CREATE and VM_DESTROY.

use anyhow::{ensure, Context, Result};
use guest::ioctl::{self, Errno};
use guest::uapi::panthor::{VmCreate, VmDestroy};
use guest::{Device, Vm};

use crate::cx::{refused, Change, Cx, Row, Tests, NO_HANDLE};

/// VMs that one file may have.
const MAX_VMS: u32 = 32;
/// Bytes of address space that must be left to the kernel.
const MIN_KERNEL_VA: u64 = 256 << 20;

pub(crate) fn tests(t: &mut Tests) {
    t.add("vm_create::default_range", default_range);
    t.add("vm_create::wanted_range", wanted_range);
    t.add("vm_create::at_most_32_per_file", limit);
    t.add_refusals("vm_create", create, CREATE);
    t.add("vm_destroy::twice", destroy_twice);
    t.add("vm_destroy::bad_argument_leaves_the_vm", destroy_bad_pad);
    t.add_refusals("vm_destroy", destroy, DESTROY);
}

fn create(cx: &Cx, change: Change<VmCreate>) -> ioctl::Result<()> {
    let mut args = VmCreate::default();
    change(cx, &mut args);
    cx.device.call(&mut args)?;
    cx.device.call(&mut VmDestroy {
        id: args.id,
        pad: 0,
    })
}

/// Bytes of GPU address space.
fn full_range(cx: &Cx) -> u64 {
    1 << cx.gpu.va_bits()
}

const CREATE: &[Row<VmCreate>] = &[
    ("flags", Errno::EINVAL, |_, a| a.flags = 1),
    ("high_flags", Errno::EINVAL, |_, a| a.flags = 1 << 31),
    ("range_beyond_the_gpu", Errno::EINVAL, |cx, a| {
        a.user_va_range = full_range(cx)
    }),
    (
        "range_that_leaves_too_little_to_the_kernel",
        Errno::EINVAL,
        |cx, a| a.user_va_range = full_range(cx) - MIN_KERNEL_VA + 1,
    ),
    ("largest_range", Errno::EINVAL, |_, a| {
        a.user_va_range = u64::MAX
    }),
];

fn default_range() -> Result<()> {
    let cx = Cx::new()?;
    let (range, full) = (cx.vm.user_va_range(), full_range(&cx));
    ensure!(cx.vm.id() != 0, "the id is 0");
    ensure!(
        range > 0 && range <= full - MIN_KERNEL_VA,
        "{range:#x} bytes out of {full:#x}"
    );
    Ok(())
}

fn wanted_range() -> Result<()> {
    let cx = Cx::new()?;
    let full = full_range(&cx);
    for want in [4096, 1 << 32, full / 2, full - MIN_KERNEL_VA] {
        let vm = Vm::with_range(&cx.device, want).with_context(|| format!("range {want:#x}"))?;
        let got = vm.user_va_range();
        ensure!(
            got >= want && got <= full - MIN_KERNEL_VA,
            "asked for {want:#x}, got {got:#x}"
        );
        // What the kernel keeps is a power of two.
        ensure!(
            (full - got).is_power_of_two(),
            "the kernel keeps {:#x}",
            full - got
        );
    }
    Ok(())
}

fn limit() -> Result<()> {
    let device = Device::open()?;
    let mut vms = Vec::new();
    for i in 0..MAX_VMS {
        vms.push(Vm::new(&device).with_context(|| format!("VM number {}", i + 1))?);
    }
    let mut ids: Vec<u32> = vms.iter().map(Vm::id).collect();
    ids.sort();
    ids.dedup();
    ensure!(ids.len() == vms.len(), "ids are not distinct: {ids:?}");
    refused(Vm::new(&device).map(|vm| vm.id()), Errno::EBUSY)?;
    // Another file has a limit of its own.
    Vm::new(&device.reopen()?).context("a VM of another file")?;
    vms.truncate(MAX_VMS as usize - 1);
    Vm::new(&device).context("a VM after one was destroyed")?;
    Ok(())
}

fn destroy(cx: &Cx, change: Change<VmDestroy>) -> ioctl::Result<()> {
    let mut vm = VmCreate::default();
    cx.device.call(&mut vm)?;
    let mut args = VmDestroy { id: vm.id, pad: 0 };
    change(cx, &mut args);
    cx.device.call(&mut args)
}

const DESTROY: &[Row<VmDestroy>] = &[
    ("pad", Errno::EINVAL, |_, a| a.pad = 1),
    ("id_0", Errno::EINVAL, |_, a| a.id = 0),
    ("unknown_id", Errno::EINVAL, |_, a| a.id = NO_HANDLE),
    ("largest_id", Errno::EINVAL, |_, a| a.id = u32::MAX),
];

fn destroy_twice() -> Result<()> {
    let device = Device::open()?;
    let mut vm = VmCreate::default();
    device.call(&mut vm)?;
    let mut args = VmDestroy { id: vm.id, pad: 0 };
    device.call(&mut args)?;
    refused(device.call(&mut args), Errno::EINVAL)
}

fn destroy_bad_pad() -> Result<()> {
    let device = Device::open()?;
    let mut vm = VmCreate::default();
    device.call(&mut vm)?;
    let mut args = VmDestroy { id: vm.id, pad: 1 };
    refused(device.call(&mut args), Errno::EINVAL)?;
    args.pad = 0;
    device.call(&mut args).context("the VM is gone")
}
