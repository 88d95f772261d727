// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Trace events: `include/magni_trace.h` says what they mean.
//!
//! They cost nothing while nobody listens, and may be called with any lock held, where fences are
//! signalled, and in interrupts. `dev` is the hardware's device.

use kernel::{
    declare_trace,
    device::Device,
    prelude::*,
    sync::aref::ARef,
    time::{
        Instant,
        Monotonic, //
    },
    trace_enabled, //
};

declare_trace! {
    /// Which shader cores, tilers and L2 slices are on now, a bit each.
    pub(crate) fn gpu_power_status(dev: &Device, shader: u64, tiler: u64, l2: u64);

    /// The firmware's interrupt was served.
    fn gpu_job_irq(dev: &Device, events: u32, duration_ns: u32);

    fn magni_job_queue(dev: &Device, group: u32, queue: u32, start: u64, size: u32);
    fn magni_job_run(dev: &Device, group: u32, queue: u32, seqno: u64, slot: i32);
    fn magni_job_done(dev: &Device, group: u32, queue: u32, seqno: u64, error: i32);
    fn magni_timeout(dev: &Device, group: u32, queue: u32, seqno: u64);
    fn magni_tick(
        dev: &Device,
        cause: u32,
        waiting: u32,
        resident: u32,
        started: u32,
        stopped: u32
    );
    fn magni_tick_pick(dev: &Device, group: u32, priority: u32, slot: i32);
    fn magni_tick_timer(dev: &Device, on: bool);
    fn magni_group_state(dev: &Device, group: u32, state: u32, slot: i32);
    fn magni_reset(dev: &Device, stage: u32);
}

/// Whether somebody wants to know which units are powered.
pub(crate) fn wants_power_status() -> bool {
    trace_enabled!(gpu_power_status)
}

/// Measures how long the firmware's interrupt is served, if somebody wants to know.
pub(crate) struct JobIrqTimer(Option<Instant<Monotonic>>);

impl JobIrqTimer {
    /// It begins.
    pub(crate) fn start() -> Self {
        Self(trace_enabled!(gpu_job_irq).then(Instant::now))
    }

    /// It has ended: these events, a bit each, were served.
    pub(crate) fn stop(self, dev: &Device, events: u32) {
        if let Self(Some(start)) = self {
            let nanos = start.elapsed().as_nanos();
            gpu_job_irq(dev, events, nanos.clamp(0, u32::MAX.into()) as u32);
        }
    }
}

/// `slot` as the events have it.
fn slot_number(slot: Option<usize>) -> i32 {
    slot.and_then(|slot| slot.try_into().ok()).unwrap_or(-1)
}

/// What the events call a queue.
pub(crate) struct QueueTag {
    dev: ARef<Device>,
    group: u32,
    queue: u32,
}

impl QueueTag {
    /// For the queue with this index in group `group`.
    pub(crate) fn new(dev: &Device, group: u32, queue: usize) -> Self {
        Self {
            dev: dev.into(),
            group,
            queue: queue as u32,
        }
    }

    /// A job was submitted, which is to call `size` bytes at `start`.
    #[inline(always)]
    pub(crate) fn job_queue(&self, start: u64, size: u32) {
        magni_job_queue(&self.dev, self.group, self.queue, start, size);
    }

    /// A job was put in the ring; the group is in `slot`.
    #[inline(always)]
    pub(crate) fn job_run(&self, seqno: u64, slot: Option<u32>) {
        let slot = slot_number(slot.map(|slot| slot as usize));
        magni_job_run(&self.dev, self.group, self.queue, seqno, slot);
    }

    /// A job has ended.
    #[inline(always)]
    pub(crate) fn job_done(&self, seqno: u64, error: Option<Error>) {
        let error = error.map_or(0, Error::to_errno);
        magni_job_done(&self.dev, self.group, self.queue, seqno, error);
    }

    /// A job had all its time.
    #[inline(always)]
    pub(crate) fn timeout(&self, seqno: u64) {
        magni_timeout(&self.dev, self.group, self.queue, seqno);
    }
}

/// Why the scheduler looks at everybody. The numbers are those in `include/magni_trace.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum TickCause {
    /// Something has happened.
    Event = 0,
    /// A period has passed while groups shared slots.
    Period = 1,
    /// Groups off the hardware wait for sync objects, which a CPU may have written.
    Recheck = 2,
}

/// The scheduler looked at everybody: `waiting` groups wanted a slot; which groups were in which
/// slots before that, and which are now.
#[inline(always)]
pub(crate) fn tick(
    dev: &Device,
    cause: TickCause,
    waiting: usize,
    before: &[Option<u32>],
    now: &[Option<u32>],
) {
    if trace_enabled!(magni_tick) {
        let (resident, started, stopped) = changes(before, now);
        magni_tick(
            dev,
            cause as u32,
            waiting as u32,
            resident,
            started,
            stopped,
        );
    }
}

/// The slots, a bit each, that have a group now, that got one, and that lost one.
fn changes(before: &[Option<u32>], now: &[Option<u32>]) -> (u32, u32, u32) {
    let (mut resident, mut started, mut stopped) = (0, 0, 0);
    for (slot, (before, now)) in before.iter().zip(now).enumerate().take(32) {
        let changed = before != now;
        resident |= u32::from(now.is_some()) << slot;
        started |= u32::from(changed && now.is_some()) << slot;
        stopped |= u32::from(changed && before.is_some()) << slot;
    }
    (resident, started, stopped)
}

/// The scheduler has chosen `group`, which is in `slot` already or nowhere yet.
#[inline(always)]
pub(crate) fn tick_pick(dev: &Device, group: u32, priority: u32, slot: Option<usize>) {
    magni_tick_pick(dev, group, priority, slot_number(slot));
}

/// The periodic tick starts or stops.
#[inline(always)]
pub(crate) fn tick_timer(dev: &Device, on: bool) {
    magni_tick_timer(dev, on);
}

/// What may become of a group. The numbers are those in `include/magni_trace.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum GroupState {
    /// It wants a slot.
    Waiting = 0,
    /// It has one.
    Resident = 1,
    /// Its slot was taken; the firmware has saved its state.
    Suspended = 2,
    /// It is off the hardware until a sync object is updated.
    Blocked = 3,
    /// It will not run any more.
    Ended = 4,
}

/// A group has changed its state.
#[inline(always)]
pub(crate) fn group_state(dev: &Device, group: u32, state: GroupState, slot: Option<usize>) {
    magni_group_state(dev, group, state as u32, slot_number(slot));
}

/// How far a reset has come. The numbers are those in `include/magni_trace.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum ResetStage {
    /// Somebody has asked for it.
    Scheduled = 0,
    /// It begins.
    Begun = 1,
    /// The groups that could be saved are.
    Suspended = 2,
    /// The firmware and the address spaces are stopped.
    Stopped = 3,
    /// The firmware is started again as it is.
    Fast = 4,
    /// The GPU is reset and the firmware loaded again.
    Slow = 5,
    /// The firmware runs.
    Restarted = 6,
    /// It has ended well.
    Done = 7,
    /// It has not.
    Failed = 8,
}

/// A reset has come to a stage.
#[inline(always)]
pub(crate) fn reset(dev: &Device, stage: ResetStage) {
    magni_reset(dev, stage as u32);
}

#[kunit_tests(magni_trace)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_changes_hands_is_lost_and_given() {
        let before = [Some(1), Some(2), None, Some(4)];
        let now = [Some(1), Some(3), Some(5), None];
        assert_eq!(changes(&before, &now), (0b0111, 0b0110, 0b1010));
    }

    #[test]
    fn no_slot_is_minus_one() {
        assert_eq!(slot_number(None), -1);
        assert_eq!(slot_number(Some(7)), 7);
    }
}
