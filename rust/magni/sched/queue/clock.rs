// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The time that jobs have, and the watch over queues that have jobs.

use super::{
    Progress,
    Queue,
    Ring, //
};
use kernel::{
    sync::Arc,
    time::msecs_to_jiffies,
    workqueue::{
        DelayedOn,
        OwnedQueue,
        WorkItem, //
    }, //
};

/// How often a queue that has jobs is looked at, in milliseconds: so long a job takes at most whose
/// doorbell or whose interrupt got lost.
const CHECK_MS: u32 = 500;

/// Milliseconds until a timeout is reported again.
const RETRY_MS: u32 = 100;

impl Queue {
    /// Whether the oldest job has had all its time, and has not completed all the same.
    pub(crate) fn is_overdue(&self) -> bool {
        self.complete_jobs() != Progress::Some && self.ring.lock().timer.left(self.now()) == Some(0)
    }

    /// Gives the oldest job, which had all its time, more if it was `starved` of cores, now or
    /// before; returns whether it did, or it has completed in the meantime.
    pub(crate) fn extend_time(self: &Arc<Self>, starved: bool) -> bool {
        let _ = self.complete_jobs();
        let mut ring = self.ring.lock();
        let now = self.now();
        let more = ring.timer.extend(now, starved);
        self.arm_timer(&mut ring, now);
        more
    }

    /// Tells who traces that the oldest job had all its time.
    pub(crate) fn trace_timeout(&self) {
        if let Some(job) = self.ring.lock().jobs.front() {
            self.tag.timeout(job.seqno());
        }
    }

    /// The group is on the hardware, in slot `slot`, from now on; that it is resident is said.
    ///
    /// Returns whether a job came since [`take_up`](Self::take_up) that may have rung no doorbell.
    #[must_use]
    pub(crate) fn enter_hardware(self: &Arc<Self>, slot: u32) -> bool {
        let mut ring = self.ring.lock();
        ring.slot = Some(slot);
        if !ring.jobs.is_empty() {
            self.run_timer(&mut ring);
        }
        ring.shown != ring.insert
    }

    /// The group is off the hardware, but the oldest job waits for something that others do.
    pub(crate) fn resume_clock(self: &Arc<Self>) {
        let mut ring = self.ring.lock();
        if !ring.jobs.is_empty() {
            self.run_timer(&mut ring);
        }
    }

    /// The group is off the hardware from now on, or about to be: its jobs get no older.
    pub(crate) fn leave_hardware(&self) {
        let mut ring = self.ring.lock();
        ring.slot = None;
        ring.timer.stop(self.now());
    }

    /// Lets the oldest job's clock run, and sees to it that somebody looks at it.
    pub(super) fn run_timer(self: &Arc<Self>, ring: &mut Ring) {
        let now = self.now();
        ring.timer.run(now);
        self.arm_timer(ring, now);
    }

    /// Makes up for a doorbell or an interrupt that got lost.
    fn recheck(&self) {
        // First, and whatever comes of the jobs: the line would stay dead for everybody else.
        self.sched.dev.fw.recheck_interrupt();
        // Nonsense is left to whoever looks because the firmware reports something.
        let _ = self.complete_jobs();
        let slot = {
            let ring = self.ring.lock();
            ring.slot.filter(|_| !ring.jobs.is_empty())
        };
        let Some(slot) = slot else {
            return;
        };
        if self.has_unfetched().is_ok_and(|unfetched| unfetched) {
            // Should the slot be another's by now, that one is looked at.
            self.sched.dev.fw.ring_group_doorbell(slot as usize);
        }
    }

    /// Has the timer's work come in time, if the clock runs.
    fn arm_timer(self: &Arc<Self>, ring: &mut Ring, now: u64) {
        if let Some(left) = ring.timer.left(now) {
            self.set_alarm(ring, now, left.min(CHECK_MS));
        }
    }

    /// Has the timer's work come within `delay` milliseconds.
    fn set_alarm(self: &Arc<Self>, ring: &mut Ring, now: u64, delay: u32) {
        if ring.alarm.set(now, delay) {
            OwnedQueue::mod_delayed(self.clone(), msecs_to_jiffies(delay));
        }
    }
}

impl DelayedOn for Queue {
    fn delayed_on(&self) -> &OwnedQueue {
        &self.timeouts
    }
}

impl WorkItem for Queue {
    type Pointer = Arc<Queue>;

    /// The timer has fired: the oldest job may have run for too long.
    fn run(this: Arc<Queue>) {
        let left = {
            let mut ring = this.ring.lock();
            ring.alarm.fired();
            ring.timer.left(this.now())
        };
        if left != Some(0) {
            this.recheck();
            let mut ring = this.ring.lock();
            return this.arm_timer(&mut ring, this.now());
        }
        if this.complete_jobs() == Progress::Some {
            let mut ring = this.ring.lock();
            this.arm_timer(&mut ring, this.now());
        } else {
            this.jobs.report_fault();
            // Should the scheduler's oldest job be one that has ended and was not yet freed, it
            // has to be told again.
            let mut ring = this.ring.lock();
            if !ring.jobs.is_empty() {
                this.set_alarm(&mut ring, this.now(), RETRY_MS);
            }
        }
    }
}
