// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Handles are a file's own: another file must not get at what they name.

use anyhow::{ensure, Result};
use guest::ioctl::Errno;
use guest::uapi::drm::{GemClose, SyncobjDestroy};
use guest::uapi::panthor::{
    BoCreate, BoMmapOffset, GroupDestroy, GroupGetState, GroupSubmit, ObjArray, QueueSubmit,
    VmBind, VmBindOp, VmDestroy,
};
use guest::{Bo, Device, Group, GroupConfig, Job, Vm};

use crate::cx::{refused, Cx, Gpu, Tests};

pub(crate) fn tests(t: &mut Tests) {
    t.add("isolation::vm", vm);
    t.add("isolation::buffer", buffer);
    t.add("isolation::group", group);
    t.add("isolation::syncobj", syncobj);
    t.add("isolation::memory", memory);
    t.add_not_for_c("c_oopses::signal_of_another_file_s_syncobj", syncobj_signal);
}

/// A file without any handle.
fn stranger(cx: &Cx) -> Result<Device> {
    Ok(cx.device.reopen()?)
}

fn vm() -> Result<()> {
    let cx = Cx::new()?;
    let other = stranger(&cx)?;
    let id = cx.vm.id();
    refused(other.call(&mut VmDestroy { id, pad: 0 }), Errno::EINVAL)?;
    let mut bind = VmBind {
        vm_id: id,
        ..Default::default()
    };
    refused(other.call(&mut bind), Errno::EINVAL)?;
    let mut bo = BoCreate {
        size: 4096,
        exclusive_vm_id: id,
        ..Default::default()
    };
    refused(other.call(&mut bo), Errno::EINVAL)?;
    let config = GroupConfig::queues(1);
    let mut group = config.args(&cx.gpu, id);
    refused(other.call(&mut group), Errno::EINVAL)?;
    // It is still there for its owner.
    Bo::exclusive(&cx.vm, 4096, 0)?;
    Ok(())
}

fn buffer() -> Result<()> {
    let cx = Cx::new()?;
    let other = stranger(&cx)?;
    let other_vm = Vm::new(&other)?;
    let bo = Bo::new(&cx.device, 4096, 0)?;
    let mut offset = BoMmapOffset {
        handle: bo.handle(),
        ..Default::default()
    };
    refused(other.call(&mut offset), Errno::ENOENT)?;
    let op = VmBindOp {
        bo_handle: bo.handle(),
        va: 0x1000_0000,
        size: 4096,
        ..Default::default()
    };
    ensure!(
        other_vm.bind(&[op]) == Err((Errno::EINVAL, 0)),
        "another file mapped the buffer"
    );
    let mut close = GemClose {
        handle: bo.handle(),
        pad: 0,
    };
    refused(other.call(&mut close), Errno::EINVAL)?;
    bo.mmap_offset()?;
    Ok(())
}

fn group() -> Result<()> {
    let cx = Cx::new()?;
    let other = stranger(&cx)?;
    let group = Group::new(&cx.vm, &GroupConfig::queues(1))?;
    let mut state = GroupGetState {
        group_handle: group.handle(),
        ..Default::default()
    };
    refused(other.call(&mut state), Errno::EINVAL)?;
    let submits = [QueueSubmit::default()];
    let mut submit = GroupSubmit {
        group_handle: group.handle(),
        pad: 0,
        queue_submits: ObjArray::of(&submits),
    };
    refused(other.call(&mut submit), Errno::EINVAL)?;
    let mut destroy = GroupDestroy {
        group_handle: group.handle(),
        pad: 0,
    };
    refused(other.call(&mut destroy), Errno::EINVAL)?;
    group.state()?;
    Ok(())
}

fn syncobj() -> Result<()> {
    let cx = Cx::new()?;
    let other = stranger(&cx)?;
    let object = cx.syncobj()?;
    object.signal()?;
    let vm = Vm::new(&other)?;
    let group = Group::new(&vm, &GroupConfig::queues(1))?;
    refused(
        group.submit(&[Job::sync_point(0).sync(object.wait_op())]),
        Errno::ENOENT,
    )?;
    let mut destroy = SyncobjDestroy {
        handle: object.handle(),
        pad: 0,
    };
    refused(other.call(&mut destroy), Errno::EINVAL)?;
    object.status()?;
    Ok(())
}

fn syncobj_signal() -> Result<()> {
    let cx = Cx::new()?;
    let object = cx.syncobj()?;
    let vm = Vm::new(&stranger(&cx)?)?;
    let group = Group::new(&vm, &GroupConfig::queues(1))?;
    refused(
        group.submit(&[Job::sync_point(0).sync(object.signal_op())]),
        Errno::EINVAL,
    )
}

/// Two files use the same GPU addresses; each sees its own memory.
fn memory() -> Result<()> {
    let mut a = Gpu::new(1)?;
    let mut b = Gpu::new(1)?;
    ensure!(a.data.va() == b.data.va(), "the test wants equal addresses");
    let (in_a, in_b) = (a.store(0, 0xaaaa), b.store(0, 0xbbbb));
    a.run_ok(in_a.on(0))?;
    b.run_ok(in_b.on(0))?;
    let got: (u32, u32) = (a.data.read(0), b.data.read(0));
    ensure!(got == (0xaaaa, 0xbbbb), "the files see {got:x?}");
    Ok(())
}
