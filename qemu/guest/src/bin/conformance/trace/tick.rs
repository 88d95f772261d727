// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the scheduler says of its looks, and of its tick.

use std::collections::BTreeSet;

use anyhow::{ensure, Context, Result};
use guest::kernel::poll;
use guest::uapi::panthor::GROUP_PRIORITY_MEDIUM;

use super::{busy_until, value, values, Recorder};
use crate::cx::{ends_well, Gpu, TIMEOUT};

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

/// When the periodic tick started and when it stopped, in that order: "1" and "0".
fn timers(recorder: &Recorder) -> Result<Vec<String>> {
    let lines = recorder.lines()?;
    let on = values(&lines, "magni_tick_timer", "on")?;
    Ok(on.into_iter().map(str::to_owned).collect())
}

/// More groups than slots, all with jobs: the tick runs; when all have ended it does not.
pub(super) fn stops() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let slots = gpu.cx.csif.csg_slot_count as usize;
    let recorder = Recorder::new(&["magni_tick_timer", "magni_tick", "magni_tick_pick"])?;
    let stream = busy_until(&mut gpu, 0);
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
    let seen = timers(&recorder)?;
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

/// Byte offset of the sync object that both groups wait for.
const OBJECT: u64 = 64;

/// Two groups have slots, and jobs that wait for a sync object: they are looked at now and then, without a tick. When
/// they go on they take turns.
pub(super) fn stops_while_blocked() -> Result<()> {
    let mut gpu = Gpu::new(1)?;
    let recorder = Recorder::new(&["magni_tick_timer", "magni_tick"])?;
    let (wait, busy) = (gpu.wait_for(OBJECT), busy_until(&mut gpu, 0));
    let mut groups = Vec::new();
    for _ in 0..2 {
        let (group, done) = (gpu.another_group(1)?, gpu.cx.syncobj()?);
        group.submit(&[wait.on(0), busy.on(0).sync(done.signal_op())])?;
        groups.push((group, done));
    }
    let mut causes: Vec<String> = Vec::new();
    let settled = poll(TIMEOUT, || {
        let lines = recorder.lines()?;
        let seen = values(&lines, "magni_tick", "cause")?;
        causes = seen.iter().map(|cause| (*cause).to_owned()).collect();
        Ok(seen.ends_with(&["recheck"; 2]))
    })?;
    ensure!(
        settled,
        "the scheduler looks at groups that can do nothing: {:?}",
        &causes[causes.len().saturating_sub(20)..]
    );
    ensure!(
        timers(&recorder)?.last().is_none_or(|on| on == "0"),
        "the tick goes on for groups that can do nothing"
    );

    let release = gpu.release(OBJECT);
    gpu.run_ok(release.on(0))?;
    let on = |seen: Vec<String>| seen.last().is_some_and(|on| on == "1");
    let turns = poll(TIMEOUT, || Ok(on(timers(&recorder)?)))?;
    ensure!(turns, "two busy groups take no turns");
    gpu.data.write(0, 1u32);
    for (group, done) in &groups {
        ends_well(group, done)?;
    }
    Ok(())
}
