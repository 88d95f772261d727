// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Trace events: those that every driver has, under the name of its module, and Magni's own.
//!
//! Without tracefs they are ignored.

mod tick;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use guest::cs::{d, r, Condition, Scope};
use guest::group::Stream;
use guest::ioctl::Errno;
use guest::kernel::poll;
use guest::sync::FenceStatus;
use guest::uapi::panthor::GROUP_PRIORITY_HIGH;
use guest::{Device, Group, GroupConfig, Syncobj};

use crate::cx::{ends_well, Gpu, Tests, LS_MASK, TIMEOUT};

const ROOT: &str = "/sys/kernel/tracing";

pub(crate) fn tests(t: &mut Tests) {
    t.add_if(
        has("gpu_job_irq"),
        "trace::fields_of_both_events",
        both_events,
    );
    t.add_if(
        has("gpu_job_irq"),
        "trace::the_firmwares_interrupt",
        job_irq,
    );
    let own = has("magni_job_run");
    t.add_if(own, "trace::a_job_from_submission_to_end", job);
    t.add_if(own, "trace::the_tick_stops", tick::stops);
    t.add_if(
        own,
        "trace::the_tick_stops_while_groups_wait_for_sync_objects",
        tick::stops_while_blocked,
    );
    t.add_if(own, "trace::a_job_that_runs_too_long", too_long);
    t.add_if(own, "trace::an_update_wakes_those_who_wait", woken);
    t.add_if(own, "trace::those_who_wait_are_looked_at", looked_at);
}

/// The folder of the driver's events.
fn events() -> Option<PathBuf> {
    let module = Device::open().ok()?.module_name()?;
    Some(Path::new(ROOT).join("events").join(module))
}

fn has(event: &str) -> bool {
    events().is_some_and(|dir| dir.join(event).exists())
}

/// Records events in an instance of its own, which goes when this is dropped.
struct Recorder(PathBuf);

impl Recorder {
    fn new(names: &[&str]) -> Result<Self> {
        let system = Device::open()?.module_name().context("no module")?;
        let dir = Path::new(ROOT)
            .join("instances")
            .join(format!("conformance{}", std::process::id()));
        fs::create_dir(&dir).context("make a tracing instance")?;
        let this = Self(dir);
        for name in names {
            let path = this.0.join("events").join(&system).join(name);
            fs::write(path.join("enable"), "1").with_context(|| format!("enable {name}"))?;
        }
        Ok(this)
    }

    /// What was recorded so far, oldest first: names and what follows them.
    fn lines(&self) -> Result<Vec<(String, String)>> {
        let text = fs::read_to_string(self.0.join("trace")).context("read the trace")?;
        Ok(text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let mut parts = line.splitn(4, ": ");
                let name = parts.nth(1)?;
                let rest = parts.nth(1)?;
                Some((name.trim().to_owned(), rest.to_owned()))
            })
            .collect())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// The value of `key=` in an event's text.
fn value<'a>(text: &'a str, key: &str) -> Result<&'a str> {
    text.split(' ')
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
        .with_context(|| format!("no {key} in {text:?}"))
}

fn both_events() -> Result<()> {
    let dir = events().context("no events")?;
    for (event, fields) in [
        (
            "gpu_power_status",
            &[
                "dev_name",
                "u64 shader_bitmap",
                "u64 tiler_bitmap",
                "u64 l2_bitmap",
            ][..],
        ),
        (
            "gpu_job_irq",
            &["dev_name", "u32 events", "u32 duration_ns"],
        ),
    ] {
        let format = fs::read_to_string(dir.join(event).join("format"))?;
        for field in fields {
            ensure!(
                format.contains(&format!("{field};")),
                "{event} has no field {field}: {format}"
            );
        }
    }
    Ok(())
}

fn job_irq() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let recorder = Recorder::new(&["gpu_job_irq"])?;
    let stream = gpu.store(0, 1);
    // The event comes after the fence: of the last job it may still be missing.
    for _ in 0..8 {
        gpu.run_ok(stream.on(0))?;
    }
    let lines = recorder.lines()?;
    ensure!(!lines.is_empty(), "jobs complete without an interrupt");
    for (_, text) in &lines {
        let bits = value(text, "events")?.trim_start_matches("0x");
        ensure!(
            u32::from_str_radix(bits, 16).context(text.clone())? != 0,
            "an interrupt without an event: {text}"
        );
        let nanos: u32 = value(text, "duration_ns")?.parse()?;
        ensure!(nanos > 0, "an interrupt takes no time: {text}");
    }
    Ok(())
}

fn job() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let recorder = Recorder::new(&[
        "magni_job_queue",
        "magni_job_run",
        "magni_group_state",
        "magni_job_done",
    ])?;
    let stream = gpu.store(0, 1);
    gpu.run_ok(stream.on(0))?;
    let lines = recorder.lines()?;
    let at = |name: &str| {
        let found = lines.iter().position(|(event, _)| event == name);
        found.with_context(|| format!("no {name} in {lines:?}"))
    };
    let (queue, run, done) = (
        at("magni_job_queue")?,
        at("magni_job_run")?,
        at("magni_job_done")?,
    );
    ensure!(queue < run && run < done, "out of order: {lines:?}");
    let text = |at: usize| lines[at].1.as_str();
    ensure!(
        value(text(queue), "start")? == format!("{:#x}", stream.va),
        "another stream: {}",
        text(queue)
    );
    for event in [queue, run, done] {
        ensure!(
            value(text(event), "group")? == value(text(queue), "group")?,
            "another group: {lines:?}"
        );
    }
    ensure!(value(text(run), "seqno")? == "1", "{}", text(run));
    ensure!(value(text(done), "seqno")? == "1", "{}", text(done));
    ensure!(value(text(done), "error")? == "0", "{}", text(done));
    // Whether it has told by then that it is resident depends on who is faster.
    let state = at("magni_group_state")?;
    ensure!(
        state < done && value(text(state), "group")? == value(text(queue), "group")?,
        "the job has completed without its group doing anything: {lines:?}"
    );
    Ok(())
}

/// A job that is ended since it had all its time.
fn too_long() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let recorder = Recorder::new(&["magni_job_queue", "magni_timeout", "magni_job_done"])?;
    let stream = gpu.wait_for(0);
    let status = gpu.run(stream.on(0))?;
    ensure!(
        status == FenceStatus::Failed(Errno::ETIMEDOUT),
        "the endless job ended with {status:?}"
    );
    let lines = recorder.lines()?;
    let text = |name: &str| {
        let mut found = lines.iter().filter(|(event, _)| event == name);
        let (_, text) = found
            .next()
            .with_context(|| format!("no {name} in {lines:?}"))?;
        ensure!(found.next().is_none(), "{name} twice: {lines:?}");
        Ok(text)
    };
    let (queue, timeout, done) = (
        text("magni_job_queue")?,
        text("magni_timeout")?,
        text("magni_job_done")?,
    );
    for key in ["group", "queue"] {
        ensure!(
            value(timeout, key)? == value(queue, key)?,
            "another {key}: {lines:?}"
        );
    }
    ensure!(value(timeout, "seqno")? == "1", "{timeout}");
    ensure!(
        value(done, "error")? == format!("{}", -libc::ETIMEDOUT),
        "{done}"
    );
    Ok(())
}

/// The values of `key=` in all events named `event`, oldest first.
fn values<'a>(lines: &'a [(String, String)], event: &str, key: &str) -> Result<Vec<&'a str>> {
    let events = lines.iter().filter(|(name, _)| name == event);
    events.map(|(_, text)| value(text, key)).collect()
}

/// A stream that is busy until the word at `offset` is not zero.
fn busy_until(gpu: &mut Gpu, offset: usize) -> Stream {
    gpu.stream(|cs, va| {
        let again = cs.here();
        cs.move48(d(0), va + offset as u64)
            .load32(r(2), d(0), 0)
            .wait(LS_MASK)
            .branch(Condition::Equal, r(2), again);
    })
}

/// Bytes between two sync objects.
const LINE: u64 = 64;
/// Byte offset of the address of the sync object that is to be set.
const OBJECT: usize = 8192;
/// Byte offset of the word that says what is to be done now: [`SET`] or [`END`], or nothing more.
const ORDER: usize = OBJECT + 8;
/// Byte offset of the word that has the busy groups stop.
const GO: usize = ORDER + 64;
/// The object is to be set.
const SET: u32 = 1;
/// Nothing is to be done any more.
const END: u32 = 2;

/// A stream that sets the sync objects that the CPU names, and that has something to do all the time: neither a
/// submission nor idleness has anybody look.
fn setter(gpu: &mut Gpu) -> Stream {
    gpu.stream(|cs, va| {
        cs.move48(d(0), va).move48(d(2), 1).move32(r(8), 0);
        let again = cs.here();
        let end = cs.label();
        cs.load32(r(6), d(0), ORDER as i16)
            .wait(LS_MASK)
            .branch(Condition::Equal, r(6), again)
            .add_imm32(r(6), r(6), -(END as i32))
            .branch(Condition::Equal, r(6), end)
            .load64(d(4), d(0), OBJECT as i16)
            .wait(LS_MASK)
            .sync_set64(d(4), d(2), Scope::System)
            .store32(r(8), d(0), ORDER as i16)
            .wait(LS_MASK)
            .branch(Condition::Always, r(6), again)
            .bind(end);
    })
}

/// The groups whose jobs were submitted, in that order.
fn submitted(lines: &[(String, String)]) -> Result<Vec<u32>> {
    let groups = values(lines, "magni_job_queue", "group")?;
    groups.iter().map(|group| Ok(group.parse()?)).collect()
}

/// Where the states of a group are in the trace, and what they are.
fn states(lines: &[(String, String)], group: u32) -> Result<Vec<(usize, &str)>> {
    let mut states = Vec::new();
    for (at, (name, text)) in lines.iter().enumerate() {
        if name == "magni_group_state" && value(text, "group")? == group.to_string() {
            states.push((at, value(text, "state")?));
        }
    }
    Ok(states)
}

/// Whether the group has no slot since it waits for a sync object.
fn is_blocked(lines: &[(String, String)], group: u32) -> Result<bool> {
    Ok(states(lines, group)?
        .last()
        .is_some_and(|(_, state)| *state == "blocked"))
}

/// Why the scheduler looked when it last put the group on the hardware; `None` while it has not said so.
fn cause_of_last_start(lines: &[(String, String)], group: u32) -> Result<Option<&str>> {
    let states = states(lines, group)?;
    let start = states.iter().rfind(|(_, state)| *state == "resident");
    let (at, _) = start.context("the group never was on the hardware")?;
    let tick = lines[*at..].iter().find(|(name, _)| name == "magni_tick");
    tick.map(|(_, text)| value(text, "cause")).transpose()
}

/// As many groups as slots that wait for sync objects, and have lost their slots to others without jobs.
struct Evicted {
    gpu: Gpu,
    recorder: Recorder,
    /// Groups, their jobs' fences, and what the trace calls them. The object of group N is N [`LINE`]s into the data.
    groups: Vec<(Group, Syncobj)>,
    names: Vec<u32>,
    _idle: Vec<(Group, Syncobj)>,
}

impl Evicted {
    fn new() -> Result<Self> {
        let mut gpu = Gpu::new(1)?;
        let slots = gpu.cx.csif.csg_slot_count;
        let recorder = Recorder::new(&["magni_job_queue", "magni_group_state", "magni_tick"])?;
        let mut groups = Vec::new();
        for n in 0..slots {
            let wait = gpu.wait_for(u64::from(n) * LINE);
            groups.push((wait, gpu.another_group(1)?, gpu.cx.syncobj()?));
        }
        for (wait, group, done) in &groups {
            group.submit(&[wait.on(0).sync(done.signal_op())])?;
        }
        let names = submitted(&recorder.lines()?)?;
        // As many busy groups take the slots, and keep them without jobs: with jobs they would take turns.
        let busy = busy_until(&mut gpu, GO);
        let busy = (0..slots)
            .map(|_| {
                let (group, done) = (gpu.another_group(1)?, gpu.cx.syncobj()?);
                group.submit(&[busy.on(0).sync(done.signal_op())])?;
                Ok((group, done))
            })
            .collect::<Result<Vec<_>>>()?;
        let settled = poll(TIMEOUT, || {
            let lines = recorder.lines()?;
            let mut blocked = names.iter().map(|group| is_blocked(&lines, *group));
            blocked.try_fold(true, |all, one| Ok(all && one?))
        })?;
        ensure!(settled, "groups that wait keep their slots from others");
        gpu.data.write(GO, 1u32);
        for (group, done) in &busy {
            ends_well(group, done)?;
        }
        Ok(Self {
            gpu,
            recorder,
            groups: groups
                .into_iter()
                .map(|(_, group, done)| (group, done))
                .collect(),
            names,
            _idle: busy,
        })
    }

    /// What had the scheduler look when it gave each group a slot again.
    fn causes(&self) -> Result<Vec<String>> {
        let mut causes = Vec::new();
        let told = poll(TIMEOUT, || {
            let lines = self.recorder.lines()?;
            causes.clear();
            for group in &self.names {
                causes.extend(cause_of_last_start(&lines, *group)?.map(str::to_owned));
            }
            Ok(causes.len() == self.names.len())
        })?;
        ensure!(told, "a look begins and does not end: {causes:?}");
        Ok(causes)
    }
}

/// Sync objects that the GPU sets: that it did has the scheduler look, which else would do so after a while all the
/// same.
fn woken() -> Result<()> {
    let mut evicted = Evicted::new()?;
    let gpu = &mut evicted.gpu;
    let (setter, end) = (setter(gpu), gpu.cx.syncobj()?);
    // It does not take turns with those that it wakes.
    let mut config = GroupConfig::queues(1);
    config.priority = GROUP_PRIORITY_HIGH;
    let urgent = gpu.group_like(&config)?;
    urgent
        .submit(&[setter.on(0).sync(end.signal_op())])
        .context("submit the job that sets sync objects")?;

    for (n, (group, done)) in evicted.groups.iter().enumerate() {
        let object = gpu.data.va() + n as u64 * LINE;
        gpu.data.write(OBJECT, object);
        gpu.data.write(ORDER, SET);
        ends_well(group, done).with_context(|| format!("group {n}"))?;
        let taken = poll(TIMEOUT, || Ok(gpu.data.read::<u32>(ORDER) == 0))?;
        ensure!(taken, "the order for group {n} stays");
    }
    gpu.data.write(ORDER, END);
    end.wait(TIMEOUT)?;

    let causes = evicted.causes()?;
    // Now and then it may be time to look just when an object was set.
    let by_event = causes.iter().filter(|cause| *cause == "event").count();
    ensure!(
        4 * by_event >= 3 * causes.len(),
        "of {} groups {by_event} were woken by what they waited for: {causes:?}",
        causes.len()
    );
    Ok(())
}

/// Sync objects that the CPU sets, of which nobody is told: the scheduler looks now and then.
fn looked_at() -> Result<()> {
    let evicted = Evicted::new()?;
    // What followed the end of the busy groups is over.
    let quiet = poll(TIMEOUT, || {
        let lines = evicted.recorder.lines()?;
        Ok(values(&lines, "magni_tick", "cause")?.ends_with(&["recheck"; 2]))
    })?;
    ensure!(quiet, "nobody looks, or the scheduler does so all the time");
    for n in 0..evicted.groups.len() {
        evicted.gpu.data.write(n * LINE as usize, 1u64);
    }
    for (n, (group, done)) in evicted.groups.iter().enumerate() {
        ends_well(group, done).with_context(|| format!("group {n}"))?;
    }
    let causes = evicted.causes()?;
    // One that goes on may have others looked at as well.
    ensure!(
        causes.iter().any(|cause| cause == "recheck"),
        "nothing happened that could have woken them, but they were: {causes:?}"
    );
    Ok(())
}
