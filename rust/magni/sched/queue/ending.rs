// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How jobs end: well, with a fault of their own, or with their queue.

use super::{
    sample_offset,
    InFlight,
    Queue,
    IFACE_EXTRACT,
    SYNC_BYTES,
    SYNC_STATUS, //
};
use crate::profiling::{
    Mask,
    Sample, //
};
use kernel::{
    dma_fence::SignallingSection,
    prelude::*,
    sync::{
        atomic::Release,
        barrier::{
            dma_mb,
            Read, //
        }, //
    }, //
};

/// How far a queue had got: the value of its sync object.
#[derive(Clone, Copy)]
pub(crate) struct Reached(u64);

/// What came of looking for jobs that have completed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing has completed, though there are jobs.
    None,
    /// Jobs have completed, or there was none.
    Some,
    /// The sync object holds a value that the ring's jobs cannot have led to.
    Nonsense,
}

impl Queue {
    /// How far the queue has got.
    ///
    /// A fault is reported before the sync object passes the job that it was in: so who reads this,
    /// then serves the faults that are reported, knows of all jobs so far which of them have failed.
    pub(crate) fn reached(&self) -> Reached {
        // It is inside of the buffer.
        let seqno = self.syncs.cpu().read64(self.index * SYNC_BYTES);
        // Faults, and what the jobs wrote, are read after this.
        dma_mb(Read);
        Reached(seqno.unwrap_or(0))
    }

    /// How many jobs have completed since the queue was made.
    pub(crate) fn completed(&self) -> u64 {
        let Reached(seqno) = self.reached();
        seqno
    }

    /// Signals the jobs that have completed, in order, those that failed with their error.
    pub(crate) fn complete_jobs(&self) -> Progress {
        let reached = self.reached();
        self.sched.serve_faults(self);
        self.complete_to(reached)
    }

    /// Signals the jobs that had completed at `reached`, in order. The faults that were reported by
    /// then have been served.
    pub(crate) fn complete_to(&self, Reached(done): Reached) -> Progress {
        let _section = SignallingSection::enter();
        let mut progress = Progress::None;
        loop {
            let ending = self.ending.lock();
            let job = {
                let mut ring = self.ring.lock();
                if done > ring.seqno && ring.dead.is_none() {
                    return Progress::Nonsense;
                }
                let completed = ring.jobs.front().is_some_and(|job| job.seqno() <= done);
                let job = completed.then(|| ring.jobs.pop()).flatten();
                if ring.jobs.is_empty() {
                    self.at_work.store(false, Release);
                    ring.timer.clear();
                    progress = Progress::Some;
                } else if job.is_some() {
                    ring.timer.progress(self.now());
                    progress = Progress::Some;
                }
                job
            };
            let Some(job) = job else {
                return progress;
            };
            self.account(&job);
            let power = job.end(&self.tag, None);
            drop(ending);
            // May take the power away, which takes longer.
            drop(power);
        }
    }

    /// Adds what a job that has completed has used to its file's usage.
    fn account(&self, job: &InFlight) {
        if job.measured == Mask::NONE {
            return;
        }
        let at = sample_offset(u64::from(job.start()) & (self.ring_bo.size() - 1));
        let read = |offset: u64| self.samples.cpu().read64(at + offset as usize);
        // It is inside of the buffer.
        if let (Ok(cycles_before), Ok(cycles_after), Ok(ticks_before), Ok(ticks_after)) = (
            read(Sample::CYCLES_BEFORE),
            read(Sample::CYCLES_AFTER),
            read(Sample::TICKS_BEFORE),
            read(Sample::TICKS_AFTER),
        ) {
            let sample = Sample {
                cycles: (cycles_before, cycles_after),
                ticks: (ticks_before, ticks_after),
            };
            self.usage.add(job.measured, &sample);
        }
    }

    /// The firmware has reported that a job failed; the queue goes on behind it.
    ///
    /// As far as is known the firmware is still at that job, because it waits for the report to be
    /// accepted. Should it not have waited, the sync object says that the job before failed.
    pub(crate) fn fault_current(&self, error: Error) -> Result {
        let at = self.index * SYNC_BYTES;
        let extract = self.iface.cpu().read64(IFACE_EXTRACT)?;
        let done = self.syncs.cpu().read64(at)?;
        let failed = self.syncs.cpu().read32(at + SYNC_STATUS)? != 0;

        let mut ring = self.ring.lock();
        let passed = ring
            .jobs
            .find_mut(|job| failed && job.seqno() == done && !job.faulted);
        if let Some(job) = passed {
            job.faulted = true;
            job.fence.set_error(error);
            return Ok(());
        }
        let insert = ring.insert;
        // How far everything is from the end, which is no more than a ring: that does not wrap.
        let Some(left) = insert
            .checked_sub(extract)
            .filter(|left| *left <= self.ring_bo.size())
        else {
            return Ok(());
        };
        let left = left as u32;
        let behind = |at: u32| (insert as u32).wrapping_sub(at);
        if let Some(job) = ring.jobs.find_mut(|job| behind(job.end) < left) {
            if left <= behind(job.start()) {
                job.faulted = true;
                job.fence.set_error(error);
            }
        }
        Ok(())
    }

    /// Ends all jobs with `error`, and refuses those that come.
    ///
    /// Only when the GPU can no longer write to what belongs to the jobs. Those on the GPU who
    /// wait for the queue's sync object are let go.
    pub(crate) fn kill(&self, error: Error) {
        // Jobs that have completed did not fail.
        let _ = self.complete_jobs();

        let _section = SignallingSection::enter();
        loop {
            let ending = self.ending.lock();
            let job = {
                let mut ring = self.ring.lock();
                ring.dead.get_or_insert(error);
                ring.timer.clear();
                let job = ring.jobs.pop();
                self.at_work.store(!ring.jobs.is_empty(), Release);
                job
            };
            let Some(job) = job else {
                break;
            };
            let power = job.end(&self.tag, Some(error));
            drop(ending);
            drop(power);
        }

        let seqno = self.ring.lock().seqno;
        let at = self.index * SYNC_BYTES;
        // Both are inside the buffer.
        let _ = self.syncs.cpu().write32(at + SYNC_STATUS, u32::MAX);
        let _ = self.syncs.cpu().write64(at, seqno);
    }
}
