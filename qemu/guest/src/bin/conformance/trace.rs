// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Trace events: those that every driver has, under the name of its module, and Magni's own.
//!
//! Without tracefs they are ignored.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use guest::ioctl::Errno;
use guest::kernel::poll;
use guest::sync::FenceStatus;
use guest::uapi::panthor::GROUP_PRIORITY_MEDIUM;
use guest::Device;

use crate::cx::{Gpu, Tests, TIMEOUT};

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
    t.add_if(own, "trace::the_tick_stops", tick_stops);
    t.add_if(own, "trace::a_job_that_runs_too_long", too_long);
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

/// What the scheduler says about who shares the slots.
#[derive(Debug, Default)]
struct Seen {
    /// The groups that were chosen to come.
    came: BTreeSet<u32>,
    /// Priorities of the chosen ones.
    priorities: BTreeSet<u32>,
    /// One was chosen that had a slot.
    stayed: bool,
    /// The slots in use at some time, those that got a group, and those that lost one.
    masks: [u32; 3],
    /// The most groups that waited.
    waiting: usize,
}

impl Seen {
    fn in_lines(lines: &[(String, String)]) -> Result<Self> {
        let mut seen = Self::default();
        for (name, text) in lines {
            if name == "magni_tick_pick" {
                let slot: i32 = value(text, "slot")?.parse()?;
                seen.stayed |= slot >= 0;
                seen.priorities.insert(value(text, "priority")?.parse()?);
                if slot < 0 {
                    seen.came.insert(value(text, "group")?.parse()?);
                }
            } else if name == "magni_tick" {
                seen.waiting = seen.waiting.max(value(text, "waiting")?.parse()?);
                for (mask, key) in seen
                    .masks
                    .iter_mut()
                    .zip(["resident", "started", "stopped"])
                {
                    let digits = value(text, key)?.trim_start_matches("0x");
                    *mask |= u32::from_str_radix(digits, 16).context(text.clone())?;
                }
            }
        }
        Ok(seen)
    }

    /// Whether that is all that has to be said when two groups more than `slots` share them.
    fn is_all(&self, slots: usize) -> bool {
        let [resident, started, stopped] = self.masks;
        self.came.len() == slots + 2
            && self.priorities == BTreeSet::from([u32::from(GROUP_PRIORITY_MEDIUM)])
            && self.stayed
            && resident == (1 << slots) - 1
            && started == resident
            && stopped != 0
            && self.waiting >= 2
    }
}

/// More groups than slots, all with jobs: the tick runs; when all have ended it does not.
fn tick_stops() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let slots = gpu.cx.csif.csg_slot_count as usize;
    let recorder = Recorder::new(&["magni_tick_timer", "magni_tick", "magni_tick_pick"])?;
    let stream = gpu.stream(|cs, va| {
        let again = cs.here();
        cs.move48(guest::cs::d(0), va)
            .load32(guest::cs::r(2), guest::cs::d(0), 0)
            .wait(crate::cx::LS_MASK)
            .branch(guest::cs::Condition::Equal, guest::cs::r(2), again);
    });
    let timers = || -> Result<Vec<String>> {
        let lines = recorder.lines()?;
        lines
            .iter()
            .filter(|(name, _)| name == "magni_tick_timer")
            .map(|(_, text)| Ok(value(text, "on")?.to_owned()))
            .collect()
    };
    let mut groups = Vec::new();
    for _ in 0..slots + 2 {
        let group = gpu.another_group(1)?;
        let done = gpu.cx.syncobj()?;
        group.submit(&[stream.on(0).sync(done.signal_op())])?;
        groups.push((group, done));
    }
    let who = || -> Result<Seen> { Seen::in_lines(&recorder.lines()?) };
    let all = poll(TIMEOUT, || Ok(who()?.is_all(slots)))?;
    ensure!(
        all,
        "{} groups share {slots} slots, and this is said of it: {:?}",
        slots + 2,
        who()?
    );
    // They share the slots, so all of them have run once one more has.
    gpu.data.write(0, 1u32);
    for (_, done) in &groups {
        done.wait(TIMEOUT)?;
    }
    drop(groups);
    // Its job passes the scheduler after all that.
    let last = gpu.store(8, 1);
    gpu.run_ok(last.on(0))?;
    let seen = timers()?;
    ensure!(
        seen.iter().any(|on| on == "1"),
        "groups wait for slots, and there is no tick: {seen:?}"
    );
    ensure!(
        seen.last().is_some_and(|on| on == "0"),
        "nobody waits, and the tick goes on: {seen:?}"
    );
    Ok(())
}
