// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Taking one queue of a shared ring down, with jobs in each place where they can be, while others
//! go on using the ring.
//!
//! Jobs end in any order there, but they are freed in the order of running.

use super::mock::{
    bench,
    ended,
    foreign,
    Bench,
    Counts,
    Does,
    Mock,
    OnTimeout, //
};
use crate::{
    dma_fence::{
        DriverFence,
        Fence, //
    },
    drm::sched::{
        hw::{
            Priority,
            Ring, //
        },
        JobQueue,
        TimedOut, //
    },
    macros::kunit_tests,
    prelude::*,
    sync::aref::ARef,
    time::Jiffies,
    workqueue::OwnedQueue, //
};

/// A ring with room for two jobs, and two queues on it. One has a job in each place (1 on the ring,
/// 3 in the scheduler, 4 in the entity), the other has one on the ring (2).
struct Shared {
    bench: Bench,
    ring: Ring<Mock>,
    mine: ARef<JobQueue<Mock>>,
    theirs: ARef<JobQueue<Mock>>,
    on_ring: ARef<Fence>,
    ready: ARef<Fence>,
    waits: ARef<Fence>,
    /// What the last job waits for.
    other: DriverFence,
    neighbour: ARef<Fence>,
}

impl Shared {
    fn new(bench: Bench) -> Result<Self> {
        let ring = bench.ring(2)?;
        let mine = ring.new_queue(Priority::Normal)?;
        let theirs = ring.new_queue(Priority::Normal)?;
        let other = foreign()?;
        let on_ring = bench.job_on(&mine, 1, 1, Does::Run)?.submit(|_| {});
        assert!(bench.hardware.runs(1));
        let neighbour = bench.job_on(&theirs, 2, 1, Does::Run)?.submit(|_| {});
        assert!(bench.hardware.runs(2));
        let ready = bench.job_on(&mine, 3, 1, Does::Run)?.submit(|_| {});
        let mut job = bench.job_on(&mine, 4, 1, Does::Run)?;
        job.add_dependency(other.fence().into())?;
        let waits = job.submit(|_| {});
        bench.flush();
        assert_eq!(bench.hardware.counts().runs, 2);
        assert_eq!((mine.live_jobs(), theirs.live_jobs()), (3, 1));
        Ok(Self {
            bench,
            ring,
            mine,
            theirs,
            on_ring,
            ready,
            waits,
            other,
            neighbour,
        })
    }
}

/// The neighbour's job, which runs still, ends well, and so does everything.
fn finish(bench: Bench, neighbour: &Fence, rest: impl Sized) -> Counts {
    assert_eq!(neighbour.status(), None);
    assert!(bench.hardware.end(2, Ok(())));
    finish_all(bench, neighbour, rest)
}

/// The neighbour's job has ended well, and so does everything.
fn finish_all(bench: Bench, neighbour: &Fence, rest: impl Sized) -> Counts {
    assert_eq!(ended(neighbour), Some(Ok(())));
    drop(rest);
    bench.finish()
}

#[kunit_tests(magni_drm_sched_shared_teardown)]
mod tests {
    use super::*;

    #[test]
    fn signal_all_and_drain() -> Result {
        let shared = Shared::new(bench!(1))?;
        shared.mine.cancel_all(ENODEV);
        assert_eq!(ended(&shared.on_ring), Some(Err(ENODEV)));
        assert_eq!(ended(&shared.ready), Some(Err(ENODEV)));
        // The second is behind the neighbour's.
        assert!(shared.bench.hardware.freed(1));
        assert!(!shared.mine.wait_idle(1));
        assert_eq!(shared.waits.status(), None);
        assert_eq!(shared.theirs.banned(), None);
        // Nobody waits: the last job ends when it may.
        drop(shared.mine);
        shared.other.signal();
        assert_eq!(ended(&shared.waits), Some(Err(ENODEV)));
        assert_eq!(
            finish(
                shared.bench,
                &shared.neighbour,
                (shared.theirs, shared.ring)
            ),
            Counts {
                runs: 2,
                cancels: 1,
                freed: 4,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn wait_until_empty() -> Result {
        let shared = Shared::new(bench!(1))?;
        let worker = OwnedQueue::new_unbound().build(c"magni-test-hardware")?;
        let (hardware, other) = (shared.bench.hardware.clone(), shared.other);
        worker.try_spawn(GFP_KERNEL, move || {
            hardware.end(1, Ok(()));
            let _ = hardware.runs(3);
            hardware.end(3, Err(EFAULT));
            other.signal();
            let _ = hardware.runs(4);
            hardware.end(4, Ok(()));
            hardware.end(2, Ok(()));
        })?;
        assert!(shared.mine.wait_idle(Jiffies::MAX));
        drop(worker);
        assert_eq!(ended(&shared.on_ring), Some(Ok(())));
        assert_eq!(ended(&shared.ready), Some(Err(EFAULT)));
        assert_eq!(ended(&shared.waits), Some(Ok(())));
        assert_eq!(
            finish_all(
                shared.bench,
                &shared.neighbour,
                (shared.mine, shared.theirs, shared.ring)
            ),
            Counts::ran(4)
        );
        Ok(())
    }

    #[test]
    fn a_job_hangs_while_the_owner_waits() -> Result {
        let shared = Shared::new(bench!(1))?;
        let worker = OwnedQueue::new_unbound().build(c"magni-test-watchdog")?;
        let (queue, other) = (shared.mine.clone(), shared.other);
        let hardware = shared.bench.hardware.clone();
        worker.try_spawn(GFP_KERNEL, move || {
            queue.report_fault();
            let _ = hardware.timed_out(1);
            other.signal();
            hardware.end(2, Ok(()));
        })?;
        assert!(shared.mine.wait_idle(Jiffies::MAX));
        drop(worker);
        assert_eq!(ended(&shared.on_ring), Some(Err(ETIMEDOUT)));
        assert_eq!(ended(&shared.ready), Some(Err(ECANCELED)));
        assert_eq!(ended(&shared.waits), Some(Err(ECANCELED)));
        assert_eq!(
            finish_all(
                shared.bench,
                &shared.neighbour,
                (shared.mine, shared.theirs, shared.ring)
            ),
            Counts {
                runs: 2,
                reruns: 1,
                timeouts: 1,
                cancels: 1,
                resets: 1,
                freed: 4,
                ..Counts::default()
            }
        );
        Ok(())
    }

    /// The driver's reset takes its time, and the job is done before it.
    #[test]
    fn a_job_completes_late() -> Result {
        let shared = Shared::new(bench!(1))?;
        shared.bench.hardware.on_timeout(OnTimeout::QueueReset);
        shared.mine.report_fault();
        assert_eq!(
            shared.bench.hardware.timed_out(1),
            Some(TimedOut::ResetQueued)
        );
        drop(shared.mine);
        assert_eq!(shared.on_ring.status(), None);
        shared.bench.hardware.end(1, Ok(()));
        shared.other.signal();
        assert_eq!(ended(&shared.on_ring), Some(Ok(())));
        assert_eq!(ended(&shared.ready), Some(Err(ECANCELED)));
        assert_eq!(ended(&shared.waits), Some(Err(ECANCELED)));
        assert_eq!(
            finish(
                shared.bench,
                &shared.neighbour,
                (shared.theirs, shared.ring)
            ),
            Counts {
                runs: 2,
                timeouts: 1,
                freed: 4,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn jobs_complete_while_they_are_cancelled() -> Result {
        let shared = Shared::new(bench!(1))?;
        shared.bench.hardware.completes_in_cancel(1);
        shared.other.signal();
        shared.mine.cancel_all(ENODEV);
        assert_eq!(ended(&shared.on_ring), Some(Ok(())));
        assert_eq!(ended(&shared.ready), Some(Err(ENODEV)));
        assert_eq!(ended(&shared.waits), Some(Err(ENODEV)));
        assert_eq!(
            finish(
                shared.bench,
                &shared.neighbour,
                (shared.mine, shared.theirs, shared.ring)
            ),
            Counts {
                runs: 2,
                cancels: 1,
                freed: 4,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn jobs_outlive_the_last_reference_to_their_queue() -> Result {
        let shared = Shared::new(bench!(1))?;
        let (bench, mine) = (shared.bench, shared.mine);
        drop(mine);
        bench.hardware.end(1, Ok(()));
        assert!(bench.hardware.runs(3));
        bench.hardware.end(3, Ok(()));
        shared.other.signal();
        assert!(bench.hardware.runs(4));
        bench.hardware.end(4, Err(EFAULT));
        assert_eq!(ended(&shared.on_ring), Some(Ok(())));
        assert_eq!(ended(&shared.ready), Some(Ok(())));
        assert_eq!(ended(&shared.waits), Some(Err(EFAULT)));
        assert_eq!(
            finish(bench, &shared.neighbour, (shared.theirs, shared.ring)),
            Counts::ran(4)
        );
        Ok(())
    }
}
