// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Many jobs over many queues in many processes, every result checked.
//!
//! Each job loads a number that the CPU chose, adds a constant of its slot, notes its place in the queue's order and
//! stores both. A job is checked when its slot is used again, and all are checked at the end, so nothing that the
//! GPU did goes unseen. Now and then a job also waits for its neighbour queue's newest job.

use std::env;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use clap::Parser;
use guest::cs::{d, r, Builder, Condition};
use guest::group::{Stream, StreamBuffer};
use guest::uapi::panthor::VM_BIND_OP_MAP_NOEXEC;
use guest::{Buffer, Device, Group, GroupConfig, Job, Syncobj, Vm};

/// Scoreboard slot of loads and stores.
const LS: u8 = 0;
/// The bit of that slot in a WAIT.
const LS_MASK: u8 = 1 << LS;
/// Bytes of a slot's data: input, output, place in the order, unused.
const SLOT: usize = 16;
/// Where a queue's slots start; its counter is before them.
const SLOTS: usize = 64;

/// Runs many jobs and checks all their results.
#[derive(Parser, Clone, Debug)]
#[command(version)]
struct Args {
    /// Jobs in all.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    jobs: u64,
    /// Processes, each with a file and a VM of its own.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=256))]
    processes: u64,
    /// Groups per process.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=128))]
    groups: u32,
    /// Queues per group.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=32))]
    queues: u32,
    /// Jobs in flight per queue.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=4096))]
    depth: u64,
    /// Jobs per submission.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1024))]
    batch: u64,
    /// Every how many jobs of a queue one waits for the neighbour queue; 0 for never.
    #[arg(long, default_value_t = 16)]
    cross: u64,
    /// Turns of a loop in each job, to make it longer.
    #[arg(long, default_value_t = 0)]
    work: u32,
    /// How long to wait for any one fence, in seconds.
    #[arg(long, default_value_t = 60)]
    timeout: u64,
    /// The number of this process among the workers; set by the program itself.
    #[arg(long, hide = true)]
    worker: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.worker {
        Some(index) => worker(&args, index),
        None => run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            match args.worker {
                Some(index) => eprintln!("stress: process {index}: {e:#}"),
                None => println!("stress: FAILED: {e:#}"),
            }
            ExitCode::FAILURE
        }
    }
}

/// The jobs of one process out of all.
fn share(args: &Args, index: u64) -> u64 {
    args.jobs / args.processes + u64::from(index < args.jobs % args.processes)
}

/// Starts the workers and waits for all of them.
fn run(args: &Args) -> Result<()> {
    let queues = args.processes * u64::from(args.groups) * u64::from(args.queues);
    println!(
        "stress: {} jobs over {queues} queues in {} processes, {} groups of {} queues each, {} in flight per queue",
        args.jobs, args.processes, args.groups, args.queues, args.depth
    );
    let start = Instant::now();
    let exe = env::current_exe().context("find this program's file")?;
    let mut workers: Vec<Child> = Vec::new();
    for index in 0..args.processes {
        let child = Command::new(&exe)
            .args(env::args_os().skip(1))
            .args(["--worker", &index.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("start process {index}"))?;
        workers.push(child);
    }
    let mut failed = 0;
    for (index, mut child) in workers.into_iter().enumerate() {
        let status = child
            .wait()
            .with_context(|| format!("wait for process {index}"))?;
        if !status.success() {
            println!("stress: process {index} ended with {status}");
            failed += 1;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    if failed > 0 {
        bail!("{failed} of {} processes failed", args.processes);
    }
    println!(
        "stress: passed: {} jobs, all results right, in {seconds:.2} s: {:.0} jobs/s",
        args.jobs,
        args.jobs as f64 / seconds
    );
    Ok(())
}

/// One queue with its streams and what is known of its jobs.
struct Queue {
    group: usize,
    index: u32,
    timeline: Syncobj,
    streams: Vec<Stream>,
    /// Byte offset of this queue's part of the data buffer.
    base: usize,
    /// Jobs it has to do in all.
    total: u64,
    submitted: u64,
    checked: u64,
}

/// What the GPU adds to a slot's input.
fn addend(slot: u64) -> i32 {
    0x0101 * (slot as i32 + 1)
}

/// The input of job `n` on the queue whose data starts at `base`: any numbers do, if they differ.
fn input(base: usize, n: u64) -> u32 {
    (n as u32)
        .wrapping_mul(0x9e37_79b9)
        .wrapping_add(base as u32)
}

impl Queue {
    fn left(&self) -> u64 {
        self.total - self.submitted
    }

    fn in_flight(&self) -> u64 {
        self.submitted - self.checked
    }

    fn slot_offset(&self, n: u64) -> (u64, usize) {
        let slot = n % self.streams.len() as u64;
        (slot, self.base + SLOTS + slot as usize * SLOT)
    }

    /// Makes the next job. `data` is only written where no job in flight looks.
    fn next_job(&mut self, data: &Buffer) -> Job {
        let n = self.submitted;
        let (slot, offset) = self.slot_offset(n);
        data.write(offset, input(self.base, n));
        data.write(offset + 4, 0u32);
        data.write(offset + 8, u32::MAX);
        self.submitted += 1;
        self.streams[slot as usize]
            .on(self.index)
            .sync(self.timeline.signal_point_op(self.submitted))
    }

    /// Waits for the oldest `count` jobs and checks what they did.
    fn check(&mut self, data: &Buffer, count: u64, timeout: Duration) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let last = self.checked + count;
        self.timeline.wait_point(last, timeout).with_context(|| {
            format!(
                "wait for job {last} of {} on queue {} of group {}; it is at {:?}",
                self.total,
                self.index,
                self.group,
                self.timeline.query()
            )
        })?;
        for n in self.checked..last {
            let (slot, offset) = self.slot_offset(n);
            let want = input(self.base, n).wrapping_add_signed(addend(slot));
            let got: u32 = data.read(offset + 4);
            let place: u32 = data.read(offset + 8);
            ensure!(
                got == want && place == n as u32,
                "job {n} on queue {} of group {}: result {got:#x}, expected {want:#x}; place {place}, expected {n}",
                self.index,
                self.group
            );
        }
        self.checked = last;
        Ok(())
    }
}

/// The stream of one slot.
fn slot_stream(streams: &mut StreamBuffer, queue_va: u64, slot: u64, work: u32) -> Stream {
    let (counter, at, value, place, turns) = (d(0), d(2), r(4), r(5), r(6));
    let slot_va = queue_va + (SLOTS + slot as usize * SLOT) as u64;
    let mut cs = Builder::new();
    cs.set_sb_entry(1, LS)
        .move48(counter, queue_va)
        .move48(at, slot_va)
        .load32(value, at, 0)
        .load32(place, counter, 0);
    if work > 0 {
        cs.move32(turns, work);
        let top = cs.here();
        cs.add_imm32(turns, turns, -1)
            .branch(Condition::Greater, turns, top);
    }
    cs.wait(LS_MASK)
        .add_imm32(value, value, addend(slot))
        .store32(value, at, 4)
        .store32(place, at, 8)
        .wait(LS_MASK)
        .add_imm32(place, place, 1)
        .store32(place, counter, 0)
        .wait(LS_MASK);
    streams.add(&cs)
}

fn worker(args: &Args, index: u64) -> Result<()> {
    let timeout = Duration::from_secs(args.timeout);
    let device = Device::open()?;
    let csif = device.csif_info().context("CSIF_INFO")?;
    ensure!(
        args.queues <= csif.cs_slot_count,
        "the firmware has {} queues per group",
        csif.cs_slot_count
    );
    let vm = Vm::new(&device).context("create a VM")?;
    let queue_count = u64::from(args.groups) * u64::from(args.queues);
    let queue_bytes = (SLOTS + args.depth as usize * SLOT).next_multiple_of(64);
    let data = Buffer::new(&vm, queue_bytes as u64 * queue_count, VM_BIND_OP_MAP_NOEXEC)
        .context("data buffer")?;
    let mut streams =
        StreamBuffer::new(&vm, queue_count * args.depth * 192).context("stream buffer")?;

    let mut groups = Vec::new();
    for _ in 0..args.groups {
        let config = GroupConfig::queues(args.queues as usize);
        groups.push(Group::new(&vm, &config).context("create a group")?);
    }
    let jobs = share(args, index);
    let mut queues = Vec::new();
    for n in 0..queue_count {
        let base = n as usize * queue_bytes;
        let queue_va = data.va() + base as u64;
        queues.push(Queue {
            group: (n / u64::from(args.queues)) as usize,
            index: (n % u64::from(args.queues)) as u32,
            timeline: Syncobj::new(&device)?,
            streams: (0..args.depth)
                .map(|slot| slot_stream(&mut streams, queue_va, slot, args.work))
                .collect(),
            base,
            total: jobs / queue_count + u64::from(n < jobs % queue_count),
            submitted: 0,
            checked: 0,
        });
    }

    while queues.iter().any(|q| q.left() > 0) {
        for (g, group) in groups.iter().enumerate() {
            let first = g * args.queues as usize;
            let last = first + args.queues as usize;
            let batch = make_batch(args, &mut queues[first..last], &data, timeout)?;
            if batch.is_empty() {
                continue;
            }
            group
                .submit(&batch)
                .with_context(|| format!("submit {} jobs to group {g}", batch.len()))?;
        }
    }
    for queue in &mut queues {
        queue.check(&data, queue.in_flight(), timeout)?;
    }
    let done: u64 = queues.iter().map(|q| q.checked).sum();
    ensure!(done == jobs, "checked {done} jobs instead of {jobs}");
    for (g, group) in groups.into_iter().enumerate() {
        let state = group.state().context("group state")?;
        ensure!(state == Default::default(), "group {g} reports {state:?}");
        group.destroy().context("destroy a group")?;
    }
    Ok(())
}

/// Makes up to `args.batch` jobs for the queues of one group, turn by turn.
fn make_batch(
    args: &Args,
    queues: &mut [Queue],
    data: &Buffer,
    timeout: Duration,
) -> Result<Vec<Job>> {
    // Room first: what waits here must not depend on jobs that are only in the batch.
    for queue in queues.iter_mut() {
        let wanted = args.batch.min(queue.left()).min(args.depth);
        let free = args.depth - queue.in_flight();
        queue.check(data, wanted.saturating_sub(free), timeout)?;
    }
    let mut batch = Vec::new();
    loop {
        let before = batch.len();
        for i in 0..queues.len() {
            let queue = &queues[i];
            if batch.len() as u64 == args.batch {
                return Ok(batch);
            }
            if queue.left() == 0 || queue.in_flight() == args.depth {
                continue;
            }
            let crosses = args.cross > 0 && (queue.submitted + 1) % args.cross == 0;
            let neighbour = &queues[(i + 1) % queues.len()];
            let wait = (crosses && queues.len() > 1 && neighbour.submitted > 0)
                .then(|| neighbour.timeline.wait_point_op(neighbour.submitted));
            let job = queues[i].next_job(data);
            batch.push(match wait {
                Some(op) => job.sync(op),
                None => job,
            });
        }
        if batch.len() == before {
            return Ok(batch);
        }
    }
}
