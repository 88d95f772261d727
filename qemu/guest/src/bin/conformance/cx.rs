// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What tests share: their list, an open device, a group ready to run streams.

use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use guest::cs::{d, r, Builder};
use guest::group::{Stream, StreamBuffer};
use guest::ioctl::{self, Errno};
use guest::sync::FenceStatus;
use guest::uapi::panthor::{CsifInfo, GpuInfo, VM_BIND_OP_MAP_NOEXEC};
use guest::{Buffer, Device, Group, GroupConfig, Job, Syncobj, Vm};
use libtest_mimic::{Failed, Trial};

/// How long any fence may take. Generous: the host may be busy.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// Scoreboard slot of loads and stores in all streams here.
pub(crate) const LS: u8 = 0;
/// The bit of that slot in a WAIT.
pub(crate) const LS_MASK: u8 = 1 << LS;

/// A handle that no file has.
pub(crate) const NO_HANDLE: u32 = 0xdead;

/// The list of tests under construction.
pub(crate) struct Tests {
    /// Whether the device is served by the C driver.
    c_driver: bool,
    trials: Vec<Trial>,
}

impl Tests {
    /// An empty list.
    pub(crate) fn new(c_driver: bool) -> Self {
        Self {
            c_driver,
            trials: Vec::new(),
        }
    }

    /// Adds a test that is ignored on the C driver, since that driver gets it wrong; the name says how.
    pub(crate) fn add_not_for_c(&mut self, name: &str, test: fn() -> Result<()>) {
        self.add(name, test);
        if let Some(trial) = self.trials.pop() {
            self.trials.push(trial.with_ignored_flag(self.c_driver));
        }
    }

    /// Adds a test.
    pub(crate) fn add(&mut self, name: impl Into<String>, test: fn() -> Result<()>) {
        self.add_fn(name, test);
    }

    /// Adds a test that is a closure.
    pub(crate) fn add_fn(
        &mut self,
        name: impl Into<String>,
        test: impl FnOnce() -> Result<()> + Send + 'static,
    ) {
        self.trials.push(Trial::test(name, move || {
            test().map_err(|e| Failed::from(format!("{e:#}")))
        }));
    }

    /// Adds one test per row of a table of bad arguments.
    ///
    /// `attempt` makes the call with an argument that is right but for what it is given to change. The test passes
    /// if the unchanged call succeeds and the changed one fails with the errno of the row.
    pub(crate) fn add_refusals<T: 'static>(
        &mut self,
        family: &str,
        attempt: fn(&Cx, Change<T>) -> ioctl::Result<()>,
        rows: &'static [Row<T>],
    ) {
        for (name, want, change) in rows {
            self.add_fn(format!("{family}::refuses_{name}"), move || {
                let cx = Cx::new()?;
                attempt(&cx, |_, _| {}).context("the call with good arguments")?;
                refused(attempt(&cx, *change), *want)
            });
        }
    }

    /// The finished list.
    pub(crate) fn into_trials(self) -> Vec<Trial> {
        self.trials
    }
}

/// Spoils an argument.
pub(crate) type Change<T> = fn(&Cx, &mut T);

/// A bad argument: its name, the errno it must give, and how to make it.
pub(crate) type Row<T> = (&'static str, Errno, Change<T>);

/// Checks that a call failed with `want`.
pub(crate) fn refused<T: std::fmt::Debug>(result: ioctl::Result<T>, want: Errno) -> Result<()> {
    match result {
        Err(got) if got == want => Ok(()),
        Err(got) => bail!("failed with {got} instead of {want}"),
        Ok(value) => bail!("succeeded ({value:?}) instead of failing with {want}"),
    }
}

/// An open device with a VM.
pub(crate) struct Cx {
    pub(crate) device: Device,
    pub(crate) gpu: GpuInfo,
    pub(crate) csif: CsifInfo,
    pub(crate) vm: Vm,
}

impl Cx {
    /// Opens the device anew: each test has handles of its own.
    pub(crate) fn new() -> Result<Self> {
        let device = Device::open()?;
        Ok(Self {
            gpu: device.gpu_info().context("GPU_INFO")?,
            csif: device.csif_info().context("CSIF_INFO")?,
            vm: Vm::new(&device).context("create a VM")?,
            device,
        })
    }

    /// A new sync object.
    pub(crate) fn syncobj(&self) -> Result<Syncobj> {
        Syncobj::new(&self.device).context("create a sync object")
    }
}

/// A group with a data buffer, ready to run streams.
pub(crate) struct Gpu {
    pub(crate) group: Group,
    pub(crate) streams: StreamBuffer,
    pub(crate) data: Buffer,
    pub(crate) cx: Cx,
}

impl Gpu {
    /// A group of `queues` queues.
    pub(crate) fn new(queues: usize) -> Result<Self> {
        Self::with(&GroupConfig::queues(queues))
    }

    /// A group made to order.
    pub(crate) fn with(config: &GroupConfig) -> Result<Self> {
        let cx = Cx::new()?;
        Ok(Self {
            streams: StreamBuffer::new(&cx.vm, 64 << 10).context("stream buffer")?,
            data: Buffer::new(&cx.vm, 64 << 10, VM_BIND_OP_MAP_NOEXEC).context("data buffer")?,
            group: Group::new(&cx.vm, config).context("create a group")?,
            cx,
        })
    }

    /// Another group in the same VM.
    pub(crate) fn another_group(&self, queues: usize) -> Result<Group> {
        Group::new(&self.cx.vm, &GroupConfig::queues(queues)).context("create a group")
    }

    /// Puts a stream into memory; `f` gets the builder and the data buffer's GPU address.
    pub(crate) fn stream(&mut self, f: impl FnOnce(&mut Builder, u64)) -> Stream {
        let mut cs = Builder::new();
        cs.set_sb_entry(1, LS);
        f(&mut cs, self.data.va());
        self.streams.add(&cs)
    }

    /// A stream that stores `value` at a byte offset of the data buffer.
    pub(crate) fn store(&mut self, offset: u64, value: u32) -> Stream {
        let va = self.data.va() + offset;
        self.store_at(va, value)
    }

    /// A stream that stores `value` at a GPU address.
    pub(crate) fn store_at(&mut self, va: u64, value: u32) -> Stream {
        self.stream(|cs, _| {
            cs.move48(d(0), va)
                .move32(r(2), value)
                .store32(r(2), d(0), 0)
                .wait(LS_MASK);
        })
    }

    /// A stream that waits until the 64-bit sync object at `offset` of the data buffer is not zero.
    pub(crate) fn wait_for(&mut self, offset: u64) -> Stream {
        self.stream(|cs, va| {
            cs.move48(d(0), va + offset)
                .move48(d(2), 0)
                .sync_wait64_gt(d(0), d(2));
        })
    }

    /// A stream that sets the 64-bit sync object at `offset` of the data buffer to 1.
    pub(crate) fn release(&mut self, offset: u64) -> Stream {
        self.stream(|cs, va| {
            cs.move48(d(0), va + offset).move48(d(2), 1).sync_set64(
                d(0),
                d(2),
                guest::cs::Scope::System,
            );
        })
    }

    /// Submits one job and waits for it; gives how it ended.
    pub(crate) fn run(&self, job: Job) -> Result<FenceStatus> {
        run_on(&self.cx, &self.group, job)
    }

    /// Runs one job that must end well.
    pub(crate) fn run_ok(&self, job: Job) -> Result<()> {
        run_ok_on(&self.cx, &self.group, job)
    }
}

/// Submits one job to `group` and waits for it; gives how it ended.
pub(crate) fn run_on(cx: &Cx, group: &Group, job: Job) -> Result<FenceStatus> {
    let done = cx.syncobj()?;
    group
        .submit(&[job.sync(done.signal_op())])
        .context("submit")?;
    done.wait(TIMEOUT).context("wait for the job")?;
    done.status().context("status of the job's fence")
}

/// Runs one job on `group` that must end well.
pub(crate) fn run_ok_on(cx: &Cx, group: &Group, job: Job) -> Result<()> {
    let status = run_on(cx, group, job)?;
    ensure!(
        status == FenceStatus::Signaled,
        "the job ended with {status:?}, the group reports {:?}",
        group.state()
    );
    Ok(())
}
