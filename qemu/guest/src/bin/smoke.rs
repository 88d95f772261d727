// SPDX-License-Identifier: GPL-2.0 OR MIT

//! First proof of life of a GPU driver: queries, buffers, a stream that computes, queues that wait for each other.
//!
//! Each step checks what the GPU left in memory and says how long it took. The exit status is 0 only if all passed.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use clap::Parser;
use guest::cs::{d, r, Builder, Condition, Scope};
use guest::device::{gpu_name, FlushId};
use guest::group::{Stream, StreamBuffer};
use guest::uapi::panthor::{CsifInfo, GpuInfo, VM_BIND_OP_MAP_NOEXEC};
use guest::{Buffer, Device, Group, GroupConfig, Syncobj, Vm};

/// Scoreboard slot of loads and stores.
const LS: u8 = 0;
/// The bit of that slot in a WAIT.
const LS_MASK: u8 = 1 << LS;

/// Runs the smallest complete set of GPU jobs and checks their results.
#[derive(Parser, Debug)]
#[command(version)]
struct Args {
    /// How long to wait for any one fence, in seconds.
    #[arg(long, default_value_t = 30)]
    timeout: u64,
    /// Length of the timeline chain, in jobs.
    #[arg(long, default_value_t = 100)]
    chain: u32,
    /// Go through all steps this many times, each time with a file of its own.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
}

/// What the steps share.
struct Bench {
    vm: Vm,
    csif: CsifInfo,
    streams: StreamBuffer,
    data: Buffer,
    flush_id: FlushId,
    timeout: Duration,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let start = Instant::now();
    for round in 0..args.rounds {
        if args.rounds > 1 {
            println!("smoke: round {} of {}", round + 1, args.rounds);
        }
        if let Err(e) = run(&args) {
            println!("smoke: FAILED after {:.1?}: {e:#}", start.elapsed());
            return ExitCode::FAILURE;
        }
    }
    println!("smoke: passed in {:.1?}", start.elapsed());
    ExitCode::SUCCESS
}

/// Runs one step and reports its time and what it says.
fn step<T>(name: &str, f: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
    let start = Instant::now();
    let (value, note) = f().with_context(|| name.to_owned())?;
    let ms = start.elapsed().as_secs_f64() * 1e3;
    println!("  ok  {name:<12} {ms:>8.1} ms  {note}");
    Ok(value)
}

fn run(args: &Args) -> Result<()> {
    let device = step("open", || {
        let device = Device::open()?;
        let note = format!("{}: {}", device.path().display(), device.version()?);
        Ok((device, note))
    })?;
    let csif = step("query", || query(&device))?;
    let mut bench = step("buffers", || {
        let vm = Vm::new(&device).context("create a VM")?;
        let bench = Bench {
            csif,
            streams: StreamBuffer::new(&vm, 64 << 10).context("stream buffer")?,
            data: Buffer::new(&vm, 64 << 10, VM_BIND_OP_MAP_NOEXEC).context("data buffer")?,
            flush_id: device.map_flush_id().context("map the flush-id page")?,
            timeout: Duration::from_secs(args.timeout),
            vm,
        };
        ensure!(
            bench
                .data
                .cpu()
                .read_all::<u64>(0, 8192)
                .iter()
                .all(|w| *w == 0),
            "a new buffer is not zeroed"
        );
        let note = format!(
            "VM {} of {:#x} bytes, 2 buffers, flush id {:#x}",
            bench.vm.id(),
            bench.vm.user_va_range(),
            bench.flush_id.read()
        );
        Ok((bench, note))
    })?;
    step("compute", || compute(&mut bench))?;
    step("sync-wait", || sync_wait(&mut bench))?;
    step("chain", || chain(&mut bench, args.chain))?;
    step("clean-up", || clean_up(bench))
}

fn query(device: &Device) -> Result<(CsifInfo, String)> {
    let gpu: GpuInfo = device.gpu_info().context("GPU_INFO")?;
    let csif = device.csif_info().context("CSIF_INFO")?;
    let (major, minor, rev) = gpu.arch();
    let (r, p, _) = gpu.version();
    let (hw, mcu) = (gpu.cshw(), gpu.mcu());
    ensure!(gpu.shader_present != 0, "the GPU has no shader cores");
    ensure!(gpu.as_present != 0, "the GPU has no address spaces");
    ensure!(
        csif.csg_slot_count > 0 && csif.cs_slot_count > 0,
        "the firmware has no slots: {csif:?}"
    );
    println!(
        "      GPU          {} r{r}p{p}, id {:#010x}, arch {major}.{minor}.{rev}, cores {:#x}, {} VA bits",
        gpu_name(&gpu),
        gpu.gpu_id,
        gpu.shader_present,
        gpu.va_bits()
    );
    println!(
        "      firmware     CS hardware {}.{}.{}, MCU {}.{}.{}",
        hw.0, hw.1, hw.2, mcu.0, mcu.1, mcu.2
    );
    let note = format!(
        "{} groups x {} queues, {} registers, {} scoreboard slots",
        csif.csg_slot_count, csif.cs_slot_count, csif.cs_reg_count, csif.scoreboard_slot_count
    );
    Ok((csif, note))
}

/// One queue: loads two numbers, adds them in a loop of branches, stores the results.
fn compute(bench: &mut Bench) -> Result<((), String)> {
    const A: u32 = 0x1234;
    const B: u32 = 77;
    const MIN_WITH: u32 = 0x1250;
    const MARK: u64 = 0xfeed_face_cafe_f00d;
    const OUT: usize = 64;

    bench.data.write(0, A);
    bench.data.write(4, B);
    let flush_id = bench.flush_id.read();

    let (base, a, b, turns) = (d(0), r(2), r(3), r(4));
    let mut cs = Builder::new();
    cs.set_sb_entry(1, LS)
        .move48(base, bench.data.va())
        .raw(guest::cs::insn::load_multiple(a, 0b11, base, 0))
        .move32(turns, 0)
        .wait(LS_MASK);
    // a + b by counting b down: there is no add of two registers.
    let done = cs.label();
    let top = cs.here();
    cs.branch(Condition::Equal, b, done)
        .add_imm32(a, a, 1)
        .add_imm32(b, b, -1)
        .add_imm32(turns, turns, 1)
        .branch(Condition::Always, r(0), top)
        .bind(done);
    let (cap, low, far, mark) = (r(5), r(6), d(8), d(10));
    cs.move32(cap, MIN_WITH)
        .umin32(low, a, cap)
        .add_imm64(far, base, 0x1000)
        .move64(mark, MARK)
        .store32(a, base, OUT as i16)
        .store32(turns, base, OUT as i16 + 4)
        .store32(low, base, OUT as i16 + 8)
        .store64(mark, far, 0)
        .wait(LS_MASK);
    let stream = bench.streams.add(&cs);

    let group = Group::new(&bench.vm, &GroupConfig::queues(1)).context("create a group")?;
    let done = Syncobj::new(bench.vm.device())?;
    group
        .submit(&[stream.on(0).flush_id(flush_id).sync(done.signal_op())])
        .context("submit")?;
    done.wait(bench.timeout).context("wait for the job")?;

    let sum: u32 = bench.data.read(OUT);
    ensure!(sum == A + B, "{A} + {B} gave {sum}");
    let turns: u32 = bench.data.read(OUT + 4);
    ensure!(turns == B, "the loop made {turns} turns instead of {B}");
    let low: u32 = bench.data.read(OUT + 8);
    ensure!(low == MIN_WITH, "min({}, {MIN_WITH}) gave {low}", A + B);
    let mark: u64 = bench.data.read(0x1000);
    ensure!(mark == MARK, "64-bit store left {mark:#x}");
    let state = group.state().context("group state")?;
    ensure!(state == Default::default(), "the group reports {state:?}");
    group.destroy().context("destroy the group")?;
    Ok((
        (),
        format!("{A} + {B} = {sum} on the GPU, loop of {turns} turns"),
    ))
}

/// Two queues: the second, submitted first, waits by SYNC_WAIT for what the first stores.
fn sync_wait(bench: &mut Bench) -> Result<((), String)> {
    ensure!(
        bench.csif.cs_slot_count >= 2,
        "the firmware has a single queue per group"
    );
    const SYNC: u64 = 0x2000;
    const MESSAGE: u64 = 0x2040;
    const COPY: usize = 0x2080;
    const TEXT: u64 = 0x4d41_474e_4921_2121;

    let va = bench.data.va();
    let (base, sync, value, text) = (d(0), d(2), d(4), d(6));

    let mut waiter = Builder::new();
    waiter
        .set_sb_entry(1, LS)
        .move48(base, va)
        .move48(sync, va + SYNC)
        .move48(value, 0)
        .sync_wait64_gt(sync, value)
        .load64(text, base, MESSAGE as i16)
        .wait(LS_MASK)
        .store64(text, base, COPY as i16)
        .wait(LS_MASK);
    let mut setter = Builder::new();
    setter
        .set_sb_entry(1, LS)
        .move48(base, va)
        .move48(sync, va + SYNC)
        .move64(text, TEXT)
        .store64(text, base, MESSAGE as i16)
        .wait(LS_MASK)
        .move48(value, 1)
        .sync_set64(sync, value, Scope::System);
    let waiter = bench.streams.add(&waiter);
    let setter = bench.streams.add(&setter);

    let group = Group::new(&bench.vm, &GroupConfig::queues(2)).context("create a group")?;
    let waited = Syncobj::new(bench.vm.device())?;
    let set = Syncobj::new(bench.vm.device())?;
    group
        .submit(&[waiter.on(1).sync(waited.signal_op())])
        .context("submit the waiter")?;
    group
        .submit(&[setter.on(0).sync(set.signal_op())])
        .context("submit the setter")?;
    set.wait(bench.timeout).context("wait for the setter")?;
    waited.wait(bench.timeout).context("wait for the waiter")?;

    let copy: u64 = bench.data.read(COPY);
    ensure!(
        copy == TEXT,
        "the waiter read {copy:#x} instead of {TEXT:#x}"
    );
    group.destroy().context("destroy the group")?;
    Ok(((), "queue 1 waited for queue 0 on the GPU".into()))
}

/// `count` jobs over all queues; job i waits for points i and, across, i - 5 of a timeline and signals i + 1.
fn chain(bench: &mut Bench, count: u32) -> Result<((), String)> {
    const COUNTER: i16 = 0x3000;
    const SEEN: usize = 0x4000;
    const SEEN_MAX: u32 = 0x2000;
    /// Jobs per GROUP_SUBMIT, varied so that waits are resolved both inside and across submissions.
    const BATCHES: [usize; 4] = [1, 7, 13, 3];

    ensure!(count <= SEEN_MAX, "at most {SEEN_MAX} jobs");
    let queues = bench.csif.cs_slot_count.min(8);
    let group =
        Group::new(&bench.vm, &GroupConfig::queues(queues as usize)).context("create a group")?;
    let timeline = Syncobj::new(bench.vm.device())?;

    let mut streams = StreamBuffer::new(&bench.vm, u64::from(count) * 128)?;
    let jobs: Vec<_> = (0..count)
        .map(|i| {
            let seen = SEEN as u64 + u64::from(i) * 4;
            let stream = chain_link(&mut streams, bench.data.va(), COUNTER, seen);
            let job = stream
                .on(i * 3 % queues)
                .sync(timeline.signal_point_op(u64::from(i) + 1));
            let job = match i {
                0 => job,
                _ => job.sync(timeline.wait_point_op(u64::from(i))),
            };
            match i.checked_sub(5) {
                None | Some(0) => job,
                Some(earlier) => job.sync(timeline.wait_point_op(u64::from(earlier))),
            }
        })
        .collect();

    let mut rest = &jobs[..];
    let mut submits = 0;
    for size in BATCHES.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at(rest.len().min(*size));
        group
            .submit(now)
            .with_context(|| format!("submit jobs {}..", count as usize - rest.len()))?;
        rest = later;
        submits += 1;
    }
    timeline
        .wait_point(u64::from(count), bench.timeout)
        .with_context(|| match timeline.query() {
            Ok(point) => format!("wait for point {count}; the timeline is at {point}"),
            Err(e) => format!("wait for point {count}; asking where it is: {e}"),
        })?;

    let counter: u32 = bench.data.read(COUNTER as usize);
    ensure!(counter == count, "counter is {counter} instead of {count}");
    let seen: Vec<u32> = bench.data.cpu().read_all(SEEN, count as usize);
    for (i, seen) in (0u32..).zip(&seen) {
        ensure!(*seen == i, "job {i} ran when the counter was {seen}");
    }
    let last = timeline.query()?;
    ensure!(
        last == u64::from(count),
        "the timeline stands at {last} instead of {count}"
    );
    group.destroy().context("destroy the group")?;
    Ok((
        (),
        format!("{count} jobs over {queues} queues in {submits} submissions, each in its turn"),
    ))
}

/// The stream that notes the counter at `seen` and adds one to it.
fn chain_link(streams: &mut StreamBuffer, va: u64, counter: i16, seen: u64) -> Stream {
    let (base, value, at) = (d(0), r(2), d(4));
    let mut cs = Builder::new();
    cs.set_sb_entry(1, LS)
        .move48(base, va)
        .load32(value, base, counter)
        .move48(at, va + seen)
        .wait(LS_MASK)
        .store32(value, at, 0)
        .add_imm32(value, value, 1)
        .store32(value, base, counter)
        .wait(LS_MASK);
    streams.add(&cs)
}

fn clean_up(bench: Bench) -> Result<((), String)> {
    let vm = bench.vm.clone();
    vm.unmap(bench.data.va(), bench.data.bo().size())
        .context("unmap the data buffer")?;
    drop(bench);
    let device = vm.device().clone();
    let id = vm.id();
    drop(vm);
    let mut args = guest::uapi::panthor::VmDestroy { id, pad: 0 };
    ensure!(
        device.call(&mut args).is_err(),
        "VM {id} is still there after it was destroyed"
    );
    Ok(((), "VM, buffers and groups are gone".into()))
}
