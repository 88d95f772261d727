// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Memory runs out: at each single allocation of an operation, and for everybody.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use guest::group::StreamBuffer;
use guest::ioctl::Errno;
use guest::kernel::{meminfo, Binding};
use guest::rig::{Cx, Gpu};
use guest::sync::FenceStatus;
use guest::uapi::panthor::VM_BIND_OP_MAP_NOEXEC;
use guest::{Bo, Buffer, Device, Group, GroupConfig, Syncobj, Vm};

use crate::baseline::Baseline;
use crate::bystander::Fate;
use crate::device::Back;
use crate::frame::{self, ends, works, Frame, Line};
use crate::killed::ready;
use crate::Tests;

/// Name of the role of the process that takes the memory.
pub(crate) const ROLE: &str = "balloon";
/// Faults on request, per task.
const FAIL_NTH: &str = "/proc/thread-self/fail-nth";
/// How long a walk goes from one allocation to the next; then its steps grow with the way.
const PATIENCE: Duration = Duration::from_secs(60);
/// No operation allocates so often.
const TOO_MANY: u32 = 20_000;

pub(crate) fn tests(t: &mut Tests) {
    // These need the debug kernel; the list is asked for on another machine.
    t.add("allocation_fails_in_vm_create", || walk(vm_create));
    t.add("allocation_fails_in_bo_create", || walk(bo_create));
    t.add("allocation_fails_in_vm_bind", || walk(vm_bind));
    t.add("allocation_fails_in_group_create", || walk(group_create));
    t.add("allocation_fails_in_group_submit", || walk(group_submit));
    t.add("allocation_fails_in_probe", probe);
    t.add("memory_pressure_while_jobs_run", pressure);
}

/// Lets the failures concern every kind of allocation, quietly.
fn prepare() -> Result<()> {
    for (name, settings) in [
        // Counted too: it answers EFAULT.
        ("fail_usercopy", &[("verbose", "0")][..]),
        ("failslab", &[("ignore-gfp-wait", "N"), ("verbose", "0")]),
        (
            "fail_page_alloc",
            &[
                ("ignore-gfp-wait", "N"),
                ("ignore-gfp-highmem", "N"),
                ("min-order", "0"),
                ("verbose", "0"),
            ],
        ),
    ] {
        for (file, value) in settings {
            let path = Path::new("/sys/kernel/debug").join(name).join(file);
            fs::write(&path, value).with_context(|| format!("write {}", path.display()))?;
        }
    }
    Ok(())
}

/// Which allocation fails after number `n`, when the walk has taken `time`.
fn next(n: u32, time: Duration) -> u32 {
    match time < PATIENCE {
        true => n + 1,
        false => n + 1 + n / 8,
    }
}

/// Runs `operation` with its `n`th allocation failing; says whether it had so many.
fn with_failure<T>(n: u32, operation: impl FnOnce() -> T) -> Result<(T, bool)> {
    fs::write(FAIL_NTH, n.to_string()).context("ask for a failure")?;
    let result = operation();
    // Where the operation had less, these have the one that fails.
    let left = fs::read_to_string(FAIL_NTH);
    fs::write(FAIL_NTH, "0")
        .or_else(|_| fs::write(FAIL_NTH, "0"))
        .context("ask for no more failures")?;
    Ok((result, left.is_ok_and(|left| left.trim() == "0")))
}

/// What operations need.
struct Ready {
    gpu: Gpu,
    bo: Bo,
    done: Syncobj,
    va: u64,
}

type Operation = fn(&mut Ready) -> guest::ioctl::Result<()>;

fn vm_create(ready: &mut Ready) -> guest::ioctl::Result<()> {
    Vm::new(&ready.gpu.cx.device).map(drop)
}

fn bo_create(ready: &mut Ready) -> guest::ioctl::Result<()> {
    Bo::new(&ready.gpu.cx.device, 3 << 20, 0).map(drop)
}

fn vm_bind(ready: &mut Ready) -> guest::ioctl::Result<()> {
    let vm = &ready.gpu.cx.vm;
    vm.map(
        &ready.bo,
        0,
        ready.va,
        ready.bo.size(),
        VM_BIND_OP_MAP_NOEXEC,
    )?;
    vm.unmap(ready.va + 4096, ready.bo.size() - 8192)
}

fn group_create(ready: &mut Ready) -> guest::ioctl::Result<()> {
    Group::new(&ready.gpu.cx.vm, &GroupConfig::queues(2)).map(drop)
}

fn group_submit(ready: &mut Ready) -> guest::ioctl::Result<()> {
    let store = ready.gpu.streams.next_va();
    // An empty job and one that runs: nothing is at the end of the buffer but zeros, which do nothing.
    let run = guest::Job::new(0, store, 64).sync(ready.done.signal_op());
    ready
        .gpu
        .group
        .submit(&[guest::Job::sync_point(1).sync(ready.done.signal_op()), run])
}

/// Lets each allocation of an operation fail in turn. It says so, or does without; nothing else happens.
fn walk(operation: Operation) -> Result<Line> {
    prepare()?;
    let frame = Frame::new()?;
    let start = Instant::now();
    let (mut n, mut points, mut failed) = (1, 0, 0);
    loop {
        // A file of its own: when the answer of a call cannot be written, or the call that takes an
        // object back cannot be read, the object stays until the file is closed.
        let device = frame.device.reopen()?;
        let gpu = Gpu::on(&device, &GroupConfig::queues(2))?;
        let va = gpu.cx.vm.reserve(4 << 20);
        let mut ready = Ready {
            bo: Bo::new(&device, 3 << 20, 0)?,
            done: gpu.cx.syncobj()?,
            gpu,
            va,
        };
        let (result, struck) = with_failure(n, || operation(&mut ready))?;
        match result {
            Ok(()) => {}
            // The last is what the kernel's own file system in memory says when there is none.
            Err(Errno::ENOMEM | Errno::EFAULT | Errno::ENOSPC) if struck => failed += 1,
            Err(error) => {
                bail!("allocation {n} fails (or not: {struck}) and so the call, with {error}")
            }
        }
        // The same again, with memory; a job first, which shows that the group is as good as before.
        let store = ready.gpu.store(0, n);
        ready
            .gpu
            .run_ok(store.on(0))
            .with_context(|| format!("a job after allocation {n} had failed"))?;
        if result.is_err() {
            // What was half done may be there still.
            let _ = ready.gpu.cx.vm.unmap(ready.va, ready.bo.size());
            operation(&mut ready)
                .with_context(|| format!("again after allocation {n} had failed"))?;
        }
        if !struck {
            break;
        }
        points += 1;
        n = next(n, start.elapsed());
        ensure!(n < TOO_MANY, "there is no end of allocations");
    }
    ensure!(failed > 0, "no allocation that failed made the call fail");
    let mut line = Line {
        errors: format!("ENOMEM*{failed}_of_{points}_points"),
        state: "none".to_owned(),
        ..Line::default()
    };
    frame.end(&mut line, Fate::Unharmed)?;
    Ok(line)
}

/// Lets the allocations of probe fail in turn.
fn probe() -> Result<Line> {
    prepare()?;
    let device = Device::open()?;
    works(&device)?;
    let binding = Binding::of(&device)?;
    let module = device.module_name();
    drop(device);
    let before = Baseline::take(module.as_deref(), None)?;
    let start = Instant::now();
    let (mut n, mut points, mut failed) = (1, 0, 0);
    let _back = Back(&binding);
    loop {
        binding
            .unbind()
            .with_context(|| format!("unbind before allocation {n}"))?;
        let (result, struck) = with_failure(n, || binding.bind())?;
        if let Err(error) = &result {
            // The last one is the kernel's own, for an interrupt that it has no memory to map.
            ensure!(
                struck
                    && matches!(
                        error.raw_os_error(),
                        Some(libc::ENOMEM | libc::EFAULT | libc::ENOSPC | libc::ENXIO)
                    ),
                "allocation {n} fails (or not: {struck}) and so bind, with {error}"
            );
            failed += 1;
        }
        if !binding.is_bound() {
            binding
                .bind()
                .with_context(|| format!("bind again after allocation {n} had failed"))?;
        }
        if !struck {
            break;
        }
        points += 1;
        n = next(n, start.elapsed());
        ensure!(n < TOO_MANY, "there is no end of allocations");
    }
    ensure!(failed > 0, "no allocation that failed made probe fail");
    works(&Device::open()?).context("in the end")?;
    before.is_back(None)?;
    Ok(Line {
        errors: format!("ENOMEM*{failed}_of_{points}_points"),
        state: "none".to_owned(),
        bystander: "-".to_owned(),
        ..Line::default()
    })
}

/// Takes nearly all memory, and lets go when it is told to: `KIB`, what is to be left.
pub(crate) fn play(rest: &[String]) -> Result<()> {
    let [left] = rest else {
        bail!("the role {ROLE} needs to know how much memory to leave");
    };
    let left: u64 = left.parse()?;
    let mut taken: Vec<Vec<u8>> = Vec::new();
    while meminfo("MemAvailable")? > left {
        taken.push(vec![1; 4 << 20]);
    }
    ready()
}

/// Sets `vm.min_free_kbytes` for a while.
struct MinFree(String);

impl MinFree {
    const PATH: &'static str = "/proc/sys/vm/min_free_kbytes";

    fn set(kib: u64) -> Result<Self> {
        let before = fs::read_to_string(Self::PATH).context("read min_free_kbytes")?;
        fs::write(Self::PATH, kib.to_string()).context("write min_free_kbytes")?;
        Ok(Self(before))
    }
}

impl Drop for MinFree {
    fn drop(&mut self) {
        // The tests after this one go on with less memory, and do not fail for it.
        let _ = fs::write(Self::PATH, self.0.trim());
    }
}

/// Jobs are submitted and buffers come and go while hardly any memory is free and the kernel reclaims all the time.
fn pressure() -> Result<Line> {
    const LEFT_KIB: u64 = 160 << 10;
    const RESERVED_KIB: u64 = 48 << 10;
    const ROUNDS: u32 = 60;

    let frame = Frame::new()?;
    frame::expect("page allocation failure");
    let cx = Cx::on(&frame.device)?;
    let group = Group::new(&cx.vm, &GroupConfig::queues(2))?;
    let mut balloon = Command::new(env::current_exe()?)
        .args(["--role", ROLE, &LEFT_KIB.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start the balloon")?;
    let mut line = String::new();
    if let Some(stdout) = balloon.stdout.take() {
        use std::io::{BufRead, BufReader};
        BufReader::new(stdout).read_line(&mut line)?;
    }
    ensure!(line.trim() == "ready", "the balloon: {line:?}");
    let reserve = MinFree::set(RESERVED_KIB)?;
    let start = Instant::now();
    let (mut refused, mut ended) = (0, Vec::new());
    for n in 0..ROUNDS {
        match round(&cx, &group, n) {
            Ok(status) => ended.push(status),
            Err(Errno::ENOMEM) => refused += 1,
            Err(error) => bail!("round {n}: {error}"),
        }
    }
    let measured = start.elapsed();
    drop(reserve);
    drop(balloon.stdin.take());
    balloon.wait().context("wait for the balloon")?;
    ensure!(
        ended.iter().all(|status| *status == FenceStatus::Signaled),
        "jobs ended with {}",
        ends(&ended)
    );
    ensure!(!ended.is_empty(), "all rounds were refused");
    drop((group, cx));
    let mut line = Line {
        errors: format!("{}+{refused}_refused", ends(&ended)),
        bound: frame.times.patience(),
        measured,
        state: "none".to_owned(),
        ..Line::default()
    };
    frame.end(&mut line, Fate::Unharmed)?;
    Ok(line)
}

/// Allocates, maps, runs a job there, and checks it.
fn round(cx: &Cx, group: &Group, n: u32) -> guest::ioctl::Result<FenceStatus> {
    use guest::cs::{d, r, Builder};

    let data = Buffer::new(&cx.vm, 2 << 20, VM_BIND_OP_MAP_NOEXEC)?;
    let mut streams = StreamBuffer::new(&cx.vm, 4096)?;
    let mut cs = Builder::new();
    cs.set_sb_entry(1, 0)
        .move48(d(0), data.va())
        .move32(r(2), n + 1)
        .store32(r(2), d(0), 0)
        .wait(1);
    let store = streams.add(&cs);
    let done = Syncobj::new(&cx.device)?;
    group.submit(&[store.on(n % 2).sync(done.signal_op())])?;
    done.wait(guest::rig::TIMEOUT)?;
    let status = done.status()?;
    match data.read::<u32>(0) == n + 1 {
        true => Ok(status),
        // No call returns it, so it says what it is.
        false => Err(Errno::EFAULT),
    }
}
