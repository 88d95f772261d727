// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Groups, queues and jobs for all scenarios.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use guest::cs::insn::{run_compute, store_state};
use guest::cs::{d, r, Axis, Builder, Condition, Defer, Selects, State};
use guest::group::{Stream, StreamBuffer};
use guest::sync::wait_all;
use guest::uapi::panthor::VM_BIND_OP_MAP_NOEXEC;
use guest::{Buffer, Device, Group, GroupConfig, Job, Syncobj, Vm};

/// Any wait that takes longer than this is a failure.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Scoreboard slots of memory accesses and of endpoint jobs.
const MEMORY: u8 = 0;
const ENDPOINT: u8 = 1;

/// Bytes that a job writes: the GPU's time, and the job's mark.
const SLOT: usize = 16;
/// Bytes of a stream in its buffer, at most.
const STREAM: u64 = 256;

/// What a job shall find done when it has ended.
fn mark(job: usize) -> u32 {
    0x6d61_0000 | job as u32
}

/// One queue.
pub(crate) struct Lane {
    /// Which of the groups it is in.
    pub(crate) group: usize,
    /// Which queue of that group it is.
    pub(crate) queue: u32,
    /// Gets the fence of the newest job.
    pub(crate) done: Syncobj,
    streams: Vec<Stream>,
    base: usize,
}

/// Groups with queues, and streams for their jobs.
pub(crate) struct Work {
    pub(crate) device: Device,
    pub(crate) groups: Vec<Group>,
    pub(crate) lanes: Vec<Lane>,
    data: Buffer,
    _streams: StreamBuffer,
}

/// How jobs and groups look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Groups.
    pub(crate) groups: usize,
    /// Queues in each.
    pub(crate) queues: usize,
    /// Jobs in flight in each.
    pub(crate) jobs: usize,
    /// `GROUP_PRIORITY_*`.
    pub(crate) priority: u8,
    /// Endpoint jobs in each job, which each take the emulated GPU's `run_time_us`.
    pub(crate) runs: u16,
}

impl Work {
    /// Makes everything, in `vm`.
    pub(crate) fn new(vm: &Vm, shape: Shape) -> Result<Self> {
        let device = vm.device().clone();
        let lanes = shape.groups * shape.queues;
        let bytes = lanes * shape.jobs * SLOT;
        let data = Buffer::new(vm, bytes as u64, VM_BIND_OP_MAP_NOEXEC).context("data buffer")?;
        let mut streams =
            StreamBuffer::new(vm, (lanes * shape.jobs) as u64 * STREAM).context("stream buffer")?;
        let mut config = GroupConfig::queues(shape.queues);
        config.priority = shape.priority;
        let mut work = Self {
            groups: (0..shape.groups)
                .map(|_| Group::new(vm, &config).context("create a group"))
                .collect::<Result<_>>()?,
            lanes: Vec::new(),
            device,
            data,
            _streams: StreamBuffer::new(vm, STREAM)?,
        };
        for lane in 0..lanes {
            let base = lane * shape.jobs * SLOT;
            work.lanes.push(Lane {
                group: lane / shape.queues,
                queue: (lane % shape.queues) as u32,
                done: Syncobj::new(&work.device)?,
                streams: (0..shape.jobs)
                    .map(|job| {
                        let va = work.data.va() + (base + job * SLOT) as u64;
                        streams.add(&job_stream(va, mark(job), shape.runs))
                    })
                    .collect(),
                base,
            });
        }
        work._streams = streams;
        Ok(work)
    }

    /// Job `job` of a lane, without fences.
    pub(crate) fn job(&self, lane: usize, job: usize) -> Job {
        let lane = &self.lanes[lane];
        lane.streams[job].on(lane.queue)
    }

    /// Submits jobs to the group of a lane.
    pub(crate) fn submit(&self, lane: usize, jobs: &[Job]) -> Result<()> {
        let lane = &self.lanes[lane];
        self.groups[lane.group]
            .submit(jobs)
            .with_context(|| format!("submit to queue {} of group {}", lane.queue, lane.group))
    }

    /// Waits for the newest job of every lane.
    pub(crate) fn wait(&self) -> Result<()> {
        let objects: Vec<&Syncobj> = self.lanes.iter().map(|lane| &lane.done).collect();
        wait_all(&self.device, &objects, LIMIT).context("wait for the jobs")
    }

    /// Runs one job in every lane, so that everything is there that is made for the first one.
    pub(crate) fn warm_up(&self) -> Result<()> {
        for lane in 0..self.lanes.len() {
            let job = self.job(lane, 0).sync(self.lanes[lane].done.signal_op());
            self.submit(lane, &[job])?;
        }
        self.wait()?;
        self.check(1)?;
        self.clear();
        for lane in &self.lanes {
            lane.done.reset()?;
        }
        Ok(())
    }

    /// Forgets that any job has run.
    pub(crate) fn clear(&self) {
        let words = self.data.bo().size() as usize / SLOT;
        for slot in 0..words {
            self.data.write(slot * SLOT, [0u64; 2]);
        }
    }

    /// The GPU's time at the begin of a job.
    pub(crate) fn started(&self, lane: usize, job: usize) -> u64 {
        self.data.read(self.lanes[lane].base + job * SLOT)
    }

    /// Checks that the first `jobs` jobs of every lane have run, and all is well.
    pub(crate) fn check(&self, jobs: usize) -> Result<()> {
        for (index, lane) in self.lanes.iter().enumerate() {
            for job in 0..jobs {
                let got: u32 = self.data.read(lane.base + job * SLOT + 8);
                ensure!(
                    got == mark(job) && self.started(index, job) != 0,
                    "job {job} of queue {} in group {} has not run: {got:#x}",
                    lane.queue,
                    lane.group
                );
            }
        }
        for (index, group) in self.groups.iter().enumerate() {
            let state = group.state().context("state of a group")?;
            ensure!(
                state == Default::default(),
                "group {index} reports {state:?}"
            );
        }
        Ok(())
    }
}

/// Notes the GPU's time, runs `runs` endpoint jobs one after the other, writes the mark.
fn job_stream(va: u64, mark: u32, runs: u16) -> Builder {
    let (at, value, left) = (d(0), r(4), r(6));
    let mut cs = Builder::new();
    cs.set_sb_entry(ENDPOINT, MEMORY)
        .move48(at, va)
        .raw(store_state(at, 0, State::Timestamp, Defer::No));
    if runs > 0 {
        cs.move32(left, runs.into());
        let top = cs.here();
        run_endpoint(&mut cs);
        cs.add_imm32(left, left, -1)
            .branch(Condition::Greater, left, top);
    }
    cs.move32(value, mark)
        .store32(value, at, 8)
        .wait(1 << MEMORY);
    cs
}

/// Has an endpoint do something, and waits for its end.
fn run_endpoint(cs: &mut Builder) {
    cs.raw(run_compute(1, Axis::X, Selects::default(), false))
        .wait(1 << ENDPOINT);
}

/// A job that runs until it is told to end, so that the GPU stays awake; or for ever.
///
/// It does next to nothing: it waits for one endpoint job after the other.
pub(crate) struct Keeper {
    group: Group,
    flag: Buffer,
    stream: Stream,
    done: Syncobj,
    _streams: StreamBuffer,
}

impl Keeper {
    /// Makes the job, for a group of its own, in a VM and a file of its own.
    pub(crate) fn new(device: &Device, priority: u8) -> Result<Self> {
        // A file has a limited number of groups.
        let device = device.reopen()?;
        let vm = &Vm::new(&device).context("create the keeper's VM")?;
        let flag = Buffer::new(vm, 4096, VM_BIND_OP_MAP_NOEXEC)?;
        let mut streams = StreamBuffer::new(vm, 4096)?;
        let (at, value) = (d(0), r(4));
        let mut cs = Builder::new();
        cs.set_sb_entry(ENDPOINT, MEMORY).move48(at, flag.va());
        let top = cs.here();
        run_endpoint(&mut cs);
        cs.load32(value, at, 0)
            .wait(1 << MEMORY)
            .branch(Condition::Equal, value, top)
            .move32(value, 1)
            .store32(value, at, 8)
            .wait(1 << MEMORY);
        let mut config = GroupConfig::queues(1);
        config.priority = priority;
        Ok(Self {
            group: Group::new(vm, &config).context("create the keeper's group")?,
            stream: streams.add(&cs),
            flag,
            done: Syncobj::new(&device)?,
            _streams: streams,
        })
    }

    /// Starts the job. It must end within five seconds, or it counts as hung.
    pub(crate) fn start(&self) -> Result<()> {
        self.flag.write(0, 0u32);
        self.flag.write(8, 0u32);
        let job = self.stream.on(0).sync(self.done.signal_op());
        self.group.submit(&[job]).context("start the keeper")
    }

    /// Its group.
    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    /// Gets the fence of the job.
    pub(crate) fn done(&self) -> &Syncobj {
        &self.done
    }

    /// Lets the job end, and waits for that.
    pub(crate) fn stop(&self) -> Result<()> {
        self.flag.write(0, 1u32);
        self.done.wait(LIMIT).context("wait for the keeper")?;
        ensure!(
            self.flag.read::<u32>(8) == 1,
            "the keeper has ended before its time: the round took too long"
        );
        Ok(())
    }
}
