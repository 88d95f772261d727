// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What happens when a job runs for too long.
//!
//! The firmware ends the whole group, so the whole group pays: it is banned (nothing can be
//! submitted, what was submitted ends with an error), taken off the hardware, and then, when the
//! GPU can write no more, the fences of all its jobs are signalled. The jobs are freed in the
//! ordinary way. A group that the firmware does not let go of stays as it is until the GPU has been
//! reset; no fence is signalled before.

use super::group::{
    Fate,
    Group, //
};
use kernel::{
    dma_fence::SignallingSection,
    drm::sched::pause_all,
    prelude::*,
    sync::Arc, //
};

/// A job of `group` has run for too long.
///
/// Runs on the queue for timeouts; waits for the firmware, for a bounded time, and for nothing
/// else.
pub(super) fn timed_out(group: &Arc<Group>) {
    let _section = SignallingSection::enter();
    // Nothing is run or freed meanwhile, so that what is seen stays true.
    let _paused = pause_all(group.job_queues());

    // It may have ended just now. If it did, so did the reason for this call: each queue's timer
    // starts anew with each job that completes.
    let mut starved = None;
    let mut overdue = group.queues().iter().filter(|queue| queue.is_overdue());
    let queue = overdue.find(|queue| {
        let starved = *starved.get_or_insert_with(|| group.scheduler().starved(group));
        !queue.extend_time(starved & 1 << queue.index() != 0)
    });
    let Some(queue) = queue else {
        return;
    };
    queue.trace_timeout();

    if group.can_run() {
        dev_warn!(
            group.device().dev,
            "process {}: a job ran for too long; its group is ended\n",
            group.pid()
        );
        group.ban(Fate::TimedOut);
    }
    group.scheduler().end_now(group);
}
