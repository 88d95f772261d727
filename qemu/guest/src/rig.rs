// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What test programs start from: an open device with a VM, a group ready to run streams.

use std::time::Duration;

use anyhow::{ensure, Context, Result};

use crate::cs::{d, r, Builder, Scope};
use crate::group::{Stream, StreamBuffer};
use crate::sync::FenceStatus;
use crate::uapi::panthor::{CsifInfo, GpuInfo, VM_BIND_OP_MAP_NOEXEC};
use crate::{Buffer, Device, Group, GroupConfig, Job, Syncobj, Vm};

/// How long any fence may take. Generous: the host may be busy.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// Scoreboard slot of loads and stores in the streams of a [`Gpu`].
pub const LS: u8 = 0;
/// The bit of that slot in a WAIT.
pub const LS_MASK: u8 = 1 << LS;

/// An open device with a VM.
pub struct Cx {
    /// The device.
    pub device: Device,
    /// What it is.
    pub gpu: GpuInfo,
    /// Its command-stream interface.
    pub csif: CsifInfo,
    /// A VM of the device.
    pub vm: Vm,
}

impl Cx {
    /// Opens the device anew: each test has handles of its own.
    pub fn new() -> Result<Self> {
        Self::on(&Device::open()?)
    }

    /// A VM of its own on a file that is open already.
    pub fn on(device: &Device) -> Result<Self> {
        Ok(Self {
            gpu: device.gpu_info().context("GPU_INFO")?,
            csif: device.csif_info().context("CSIF_INFO")?,
            vm: Vm::new(device).context("create a VM")?,
            device: device.clone(),
        })
    }

    /// A new sync object.
    pub fn syncobj(&self) -> Result<Syncobj> {
        Syncobj::new(&self.device).context("create a sync object")
    }
}

/// A group with a data buffer, ready to run streams.
pub struct Gpu {
    /// The group.
    pub group: Group,
    /// Where its streams are put.
    pub streams: StreamBuffer,
    /// What its streams work on; not executable.
    pub data: Buffer,
    /// The device and the VM of all these.
    pub cx: Cx,
}

impl Gpu {
    /// A group of `queues` queues.
    pub fn new(queues: usize) -> Result<Self> {
        Self::with(&GroupConfig::queues(queues))
    }

    /// A group made to order.
    pub fn with(config: &GroupConfig) -> Result<Self> {
        Self::in_cx(Cx::new()?, config)
    }

    /// A group made to order, with a VM of its own on a file that is open already.
    pub fn on(device: &Device, config: &GroupConfig) -> Result<Self> {
        Self::in_cx(Cx::on(device)?, config)
    }

    fn in_cx(cx: Cx, config: &GroupConfig) -> Result<Self> {
        Ok(Self {
            streams: StreamBuffer::new(&cx.vm, 64 << 10).context("stream buffer")?,
            data: Buffer::new(&cx.vm, 64 << 10, VM_BIND_OP_MAP_NOEXEC).context("data buffer")?,
            group: Group::new(&cx.vm, config).context("create a group")?,
            cx,
        })
    }

    /// Another group in the same VM.
    pub fn another_group(&self, queues: usize) -> Result<Group> {
        self.group_like(&GroupConfig::queues(queues))
    }

    /// Another group in the same VM, made to order.
    pub fn group_like(&self, config: &GroupConfig) -> Result<Group> {
        Group::new(&self.cx.vm, config).context("create a group")
    }

    /// Puts a stream into memory; `f` gets the builder and the data buffer's GPU address.
    pub fn stream(&mut self, f: impl FnOnce(&mut Builder, u64)) -> Stream {
        let mut cs = Builder::new();
        cs.set_sb_entry(1, LS);
        f(&mut cs, self.data.va());
        self.streams.add(&cs)
    }

    /// A stream that stores `value` at a byte offset of the data buffer.
    pub fn store(&mut self, offset: u64, value: u32) -> Stream {
        let va = self.data.va() + offset;
        self.store_at(va, value)
    }

    /// A stream that stores `value` at a GPU address.
    pub fn store_at(&mut self, va: u64, value: u32) -> Stream {
        self.stream(|cs, _| {
            cs.move48(d(0), va)
                .move32(r(2), value)
                .store32(r(2), d(0), 0)
                .wait(LS_MASK);
        })
    }

    /// A stream that waits until the 64-bit sync object at `offset` of the data buffer is not zero.
    pub fn wait_for(&mut self, offset: u64) -> Stream {
        self.stream(|cs, va| {
            cs.move48(d(0), va + offset)
                .move48(d(2), 0)
                .sync_wait64_gt(d(0), d(2));
        })
    }

    /// A stream that sets the 64-bit sync object at `offset` of the data buffer to 1.
    pub fn release(&mut self, offset: u64) -> Stream {
        self.stream(|cs, va| {
            cs.move48(d(0), va + offset)
                .move48(d(2), 1)
                .sync_set64(d(0), d(2), Scope::System);
        })
    }

    /// Submits one job and waits for it; gives how it ended.
    pub fn run(&self, job: Job) -> Result<FenceStatus> {
        run_on(&self.cx, &self.group, job)
    }

    /// Runs one job that must end well.
    pub fn run_ok(&self, job: Job) -> Result<()> {
        run_ok_on(&self.cx, &self.group, job)
    }
}

/// Submits one job to `group` and waits for it; gives how it ended.
pub fn run_on(cx: &Cx, group: &Group, job: Job) -> Result<FenceStatus> {
    end(&submit(cx, group, job)?)
}

/// Runs one job on `group` that must end well.
pub fn run_ok_on(cx: &Cx, group: &Group, job: Job) -> Result<()> {
    ends_well(group, &submit(cx, group, job)?)
}

/// Submits one job to `group`; gives what gets its fence.
fn submit(cx: &Cx, group: &Group, job: Job) -> Result<Syncobj> {
    let done = cx.syncobj()?;
    group
        .submit(&[job.sync(done.signal_op())])
        .context("submit")?;
    Ok(done)
}

/// Waits for a job; gives how it ended.
fn end(done: &Syncobj) -> Result<FenceStatus> {
    done.wait(TIMEOUT).context("wait for the job")?;
    done.status().context("status of the job's fence")
}

/// Waits for a job of `group`, whose fence `done` gets and which must end well.
pub fn ends_well(group: &Group, done: &Syncobj) -> Result<()> {
    let status = end(done)?;
    ensure!(
        status == FenceStatus::Signaled,
        "the job ended with {status:?}, the group reports {:?}",
        group.state()
    );
    Ok(())
}
