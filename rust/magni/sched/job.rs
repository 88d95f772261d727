// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Jobs: what the DRM scheduler is given, and what it calls.

use super::{
    group::Group,
    queue::{
        CallArgs,
        Names, //
    },
    timeout, //
};
use crate::{
    power::PowerRef,
    profiling::Mask,
    Magni, //
};
use kernel::{
    dma_fence::{
        Fence,
        FenceAlloc,
        SignallingSection, //
    },
    drm::sched::{
        self,
        Operations,
        PendingJob,
        TimedOut, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
};

/// The driver's operations on jobs.
pub(crate) struct Jobs;

/// What the driver knows about a job.
pub(crate) struct JobData {
    /// Holds the queue, the VM and the device.
    group: Arc<Group>,
    queue: u32,
    call: Option<CallArgs>,
}

impl JobData {
    /// A job for queue `index` of `group`, which gets a place in the queue's ring if there is a
    /// call. Sleeps.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such queue; `ENOMEM`.
    fn new(group: &Arc<Group>, index: u32, call: Option<CallArgs>) -> Result<Self> {
        let queue = group.queue(index as usize).ok_or(EINVAL)?;
        let data = Self {
            group: group.clone(),
            queue: index,
            call,
        };
        // It is taken back when `data` is dropped.
        if data.call.is_some() {
            queue.expect_job()?;
        }
        Ok(data)
    }

    /// Tells who traces that the job goes to the DRM scheduler.
    pub(crate) fn trace_queued(&self) {
        if let Some(queue) = self.group.queue(self.queue as usize) {
            let (start, size) = self
                .call
                .map_or((0, 0), |call| (call.start, call.size.get()));
            queue.tag().job_queue(start, size);
        }
    }
}

impl Drop for JobData {
    fn drop(&mut self) {
        // The job has ended, and left the ring before that; or never got there.
        if let (Some(_), Some(queue)) = (self.call, self.group.queue(self.queue as usize)) {
            queue.job_is_gone();
        }
    }
}

/// What a job needs to run, beyond its place in the ring.
pub(crate) struct Resources {
    pub(crate) fence: FenceAlloc<Names>,
    /// Taken in the ioctl, so that a doorbell always meets a powered GPU.
    pub(crate) power: PowerRef,
    /// What the job is measured for.
    pub(crate) measure: Mask,
}

impl Operations for Jobs {
    type Module = Magni;
    type Job = JobData;
    /// A job without a call needs nothing.
    type Resources = Option<Resources>;

    fn run_job(job: &sched::Job<Self>, resources: Option<Resources>) -> Result<ARef<Fence>> {
        let _section = SignallingSection::enter();
        let data = job.data();
        let queue = data.group.queue(data.queue as usize).ok_or(EINVAL)?;
        match (&data.call, resources) {
            (Some(call), Some(resources)) => data.group.run(queue, call, resources),
            // Nothing to execute: it has ended when all before it have.
            _ => queue.newest_fence(),
        }
    }

    fn timed_out(job: &sched::Job<Self>) -> TimedOut {
        let group = &job.data().group;
        timeout::timed_out(group);
        if job.has_ended() {
            TimedOut::Ended
        } else if group.device().reset.is_pending() {
            TimedOut::ResetQueued
        } else {
            TimedOut::Finished
        }
    }

    fn cancel_job(job: &sched::Job<Self>, error: Error) {
        let data = job.data();
        if let Some(queue) = data.group.queue(data.queue as usize) {
            queue.kill(error);
        }
    }
}

/// Makes a job for queue `queue` of `group`, for the file numbered `client`.
///
/// Without `call` it executes nothing, and ends when those before it have. Takes a power
/// reference, which may sleep.
///
/// # Errors
///
/// `EINVAL` if there is no such queue, or the group can no longer run; `ENODEV` if the GPU is lost;
/// `ENOMEM`; the error of the
/// GPU's power-up.
pub(crate) fn create(
    group: &Arc<Group>,
    queue: u32,
    call: Option<CallArgs>,
    client: u64,
) -> Result<PendingJob<Jobs>> {
    if group.scheduler().is_lost() {
        return Err(ENODEV);
    }
    if !group.can_run() {
        return Err(EINVAL);
    }
    let measure = group.device().profiling.mask();
    let data = JobData::new(group, queue, call)?;
    let jobs = group.queue(queue as usize).ok_or(EINVAL)?.jobs();
    let resources = match call {
        Some(_) => Some(Resources {
            fence: FenceAlloc::new(GFP_KERNEL)?,
            power: group.device().power_get()?,
            measure,
        }),
        None => None,
    };
    let credits = match call {
        Some(_) => super::stream::job_instrs(measure) as u32,
        None => 1,
    };
    jobs.new_job(credits, client, resources, data)
}
