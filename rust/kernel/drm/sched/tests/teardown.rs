// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Taking queues down, with jobs in each place where they can be: on the ring, in the scheduler for
//! want of credits, in the entity for want of a fence.

use super::mock::{
    bench,
    ended,
    foreign,
    Bench,
    Counts,
    Does,
    OnTimeout, //
};
use crate::{
    dma_fence::{
        DriverFence,
        Fence, //
    },
    drm::sched::{
        JobQueue,
        TimedOut, //
    },
    macros::kunit_tests,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Completion, //
    },
    time::Jiffies,
    workqueue::OwnedQueue, //
};

/// A bench with room for one job on the ring, and a job in each place.
struct Full {
    bench: Bench,
    on_ring: ARef<Fence>,
    ready: ARef<Fence>,
    waits: ARef<Fence>,
    /// What the last job waits for.
    other: DriverFence,
}

impl Full {
    fn new(bench: Bench) -> Result<Self> {
        let other = foreign()?;
        let on_ring = bench.submit(1)?;
        let ready = bench.submit(2)?;
        let mut job = bench.job(3)?;
        job.add_dependency(other.fence().into())?;
        let waits = job.submit(|_| {});
        assert!(bench.hardware.runs(1));
        bench.flush();
        assert_eq!(bench.queue.live_jobs(), 3);
        Ok(Self {
            bench,
            on_ring,
            ready,
            waits,
            other,
        })
    }
}

/// Has somebody else complete the jobs of a [`Full`], one after the other, the last one with
/// `last`. Dropping the result waits for that.
fn complete_meanwhile(bench: &Bench, other: DriverFence, last: Result) -> Result<OwnedQueue> {
    let hardware = bench.hardware.clone();
    let worker = OwnedQueue::new_unbound().build(c"magni-test-hardware")?;
    worker.try_spawn(GFP_KERNEL, move || {
        for id in 1..=2 {
            let _ = hardware.runs(id);
            hardware.end(id, Ok(()));
        }
        other.signal();
        let _ = hardware.runs(3);
        hardware.end(3, last);
    })?;
    Ok(worker)
}

#[kunit_tests(magni_drm_sched_teardown)]
mod tests {
    use super::*;

    /// As Xe: all fences are signalled, and what is left drains behind the owner's back.
    #[test]
    fn signal_all_and_drain() -> Result {
        let full = Full::new(bench!(1))?;
        full.bench.queue.cancel_all(ENODEV);
        assert_eq!(ended(&full.on_ring), Some(Err(ENODEV)));
        assert_eq!(ended(&full.ready), Some(Err(ENODEV)));
        assert!(full.bench.hardware.freed(2));
        full.bench.flush();

        // The queue is its job's now, which waits for somebody else.
        let Bench {
            queue, hardware, ..
        } = &full.bench;
        assert_eq!(queue.live_jobs(), 1);
        assert!(!queue.wait_idle(1));
        assert_eq!(full.waits.status(), None);
        assert_eq!(hardware.counts().live, 1);
        full.other.signal();
        assert_eq!(ended(&full.waits), Some(Err(ENODEV)));
        assert_eq!(
            full.bench.finish(),
            Counts {
                runs: 1,
                cancels: 1,
                freed: 3,
                ..Counts::default()
            }
        );
        Ok(())
    }

    /// As Nouveau: jobs end one after the other, and the owner waits for the last.
    #[test]
    fn wait_until_empty() -> Result {
        let Full {
            bench,
            on_ring,
            ready,
            waits,
            other,
        } = Full::new(bench!(1))?;
        let _worker = complete_meanwhile(&bench, other, Err(EIO))?;
        assert!(bench.queue.wait_idle(Jiffies::MAX));
        assert_eq!(ended(&on_ring), Some(Ok(())));
        assert_eq!(ended(&ready), Some(Ok(())));
        assert_eq!(ended(&waits), Some(Err(EIO)));
        assert_eq!(bench.queue.live_jobs(), 0);
        assert_eq!(bench.hardware.counts().freed, 3);
        assert_eq!(bench.finish(), Counts::ran(3));
        Ok(())
    }

    #[test]
    fn waiting_has_an_end() -> Result {
        let full = Full::new(bench!(1))?;
        assert!(!full.bench.queue.wait_idle(1));
        full.other.signal();
        full.bench.queue.cancel_all(ECANCELED);
        assert!(full.bench.queue.wait_idle(Jiffies::MAX));
        assert_eq!(
            full.bench.finish(),
            Counts {
                runs: 1,
                cancels: 1,
                freed: 3,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn jobs_outlive_the_last_reference_to_their_queue() -> Result {
        let Full {
            bench,
            on_ring,
            ready,
            waits,
            other,
        } = Full::new(bench!(1))?;
        // `finish` drops the queue, then waits for its end; meanwhile the jobs go on.
        let _worker = complete_meanwhile(&bench, other, Ok(()))?;
        assert_eq!(bench.finish(), Counts::ran(3));
        for fence in [on_ring, ready, waits] {
            assert_eq!(ended(&fence), Some(Ok(())));
        }
        Ok(())
    }

    #[test]
    fn a_job_completes_while_it_is_cancelled() -> Result {
        let full = Full::new(bench!(1))?;
        full.bench.hardware.completes_in_cancel(1);
        full.other.signal();
        full.bench.queue.cancel_all(ENODEV);
        // What was done was done.
        assert_eq!(ended(&full.on_ring), Some(Ok(())));
        assert_eq!(ended(&full.ready), Some(Err(ENODEV)));
        assert_eq!(ended(&full.waits), Some(Err(ENODEV)));
        assert_eq!(
            full.bench.finish(),
            Counts {
                runs: 1,
                cancels: 1,
                freed: 3,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn jobs_complete_while_the_queue_is_taken_down() -> Result {
        const JOBS: u32 = 32;
        let bench = bench!(JOBS);
        let mut fences = KVec::new();
        for id in 0..JOBS {
            fences.push(bench.submit(id)?, GFP_KERNEL)?;
        }
        assert!(bench.hardware.runs(JOBS - 1));
        let hardware = bench.hardware.clone();
        let ready = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
        let go = ready.clone();
        let worker = OwnedQueue::new_unbound().build(c"magni-test-hardware")?;
        worker.try_spawn(GFP_KERNEL, move || {
            go.complete_all();
            for id in 0..JOBS {
                hardware.end(id, Ok(()));
            }
        })?;
        ready.wait_for_completion();
        bench.queue.cancel_all(ENODEV);
        assert!(bench.queue.wait_idle(Jiffies::MAX));
        // Each ended once, one way or the other.
        for fence in &fences {
            assert!(matches!(ended(fence), Some(Ok(()) | Err(ENODEV))));
        }
        worker.flush();
        let counts = bench.finish();
        assert_eq!((counts.runs, counts.freed, counts.live), (JOBS, JOBS, 0));
        Ok(())
    }

    #[test]
    fn a_queue_is_taken_down_while_a_job_times_out() -> Result {
        let full = Full::new(bench!(1))?;
        full.bench.hardware.on_timeout(OnTimeout::QueueReset);
        full.bench.queue.report_fault();
        assert_eq!(
            full.bench.hardware.timed_out(1),
            Some(TimedOut::ResetQueued)
        );
        full.bench.timeout.flush();
        full.other.signal();
        full.bench.queue.cancel_all(ENODEV);
        assert_eq!(ended(&full.on_ring), Some(Err(ENODEV)));
        // The first ban is the one that counts.
        assert_eq!(ended(&full.ready), Some(Err(ECANCELED)));
        assert_eq!(ended(&full.waits), Some(Err(ECANCELED)));
        assert_eq!(
            full.bench.finish(),
            Counts {
                runs: 1,
                timeouts: 1,
                cancels: 1,
                freed: 3,
                ..Counts::default()
            }
        );
        Ok(())
    }

    /// The job that times out is on no list meanwhile, and must not be forgotten.
    #[test]
    fn cancelling_waits_for_a_timeout_that_is_being_handled() -> Result {
        let bench = bench!(2);
        bench.hardware.on_timeout(OnTimeout::Hold);
        let held = bench.submit(1)?;
        let next = bench.submit(2)?;
        assert!(bench.hardware.runs(2));
        bench.queue.report_fault();
        assert!(bench.hardware.holds());

        let worker = OwnedQueue::new_unbound().build(c"magni-test-canceller")?;
        let (queue, hardware) = (bench.queue.clone(), bench.hardware.clone());
        worker.try_spawn(GFP_KERNEL, move || {
            queue.cancel_all(ENODEV);
            drop(queue);
            hardware.mark();
        })?;
        let too_soon = bench.hardware.is_marked_soon();
        bench.hardware.let_go();
        assert!(!too_soon);
        assert!(bench.hardware.marked());
        assert_eq!(held.status(), Some(Err(ENODEV)));
        assert_eq!(ended(&next), Some(Err(ENODEV)));
        drop(worker);
        assert_eq!(
            bench.finish(),
            Counts {
                runs: 2,
                timeouts: 1,
                cancels: 2,
                freed: 2,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn a_job_that_is_being_cancelled_times_out_no_more() -> Result {
        let bench = bench!(2);
        bench.hardware.times_out_in_cancel(&bench.timeout);
        let first = bench.submit(1)?;
        let second = bench.submit(2)?;
        assert!(bench.hardware.runs(2));
        bench.queue.cancel_all(ENODEV);
        assert_eq!(ended(&first), Some(Err(ENODEV)));
        assert_eq!(ended(&second), Some(Err(ENODEV)));
        // The driver was told once about each.
        assert_eq!(
            bench.finish(),
            Counts {
                runs: 2,
                cancels: 2,
                freed: 2,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn a_job_hangs_while_the_owner_waits() -> Result {
        let Full {
            bench,
            on_ring,
            ready,
            waits,
            other,
        } = Full::new(bench!(1))?;
        let worker = OwnedQueue::new_unbound().build(c"magni-test-watchdog")?;
        let queue = bench.queue.clone();
        worker.try_spawn(GFP_KERNEL, move || {
            queue.report_fault();
            other.signal();
        })?;
        assert!(bench.queue.wait_idle(Jiffies::MAX));
        drop(worker);
        assert_eq!(ended(&on_ring), Some(Err(ETIMEDOUT)));
        assert_eq!(ended(&ready), Some(Err(ECANCELED)));
        assert_eq!(ended(&waits), Some(Err(ECANCELED)));
        assert_eq!(
            bench.finish(),
            Counts {
                runs: 1,
                timeouts: 1,
                freed: 3,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn a_job_hangs_whose_queue_nobody_holds() -> Result {
        let bench = bench!(1);
        let mut config = bench.config(1)?;
        config.time_limit = Some(1);
        let queue = JobQueue::new(config)?;
        let hangs = bench.job_on(&queue, 1, 1, Does::Run)?.submit(|_| {});
        let queued = bench.job_on(&queue, 2, 1, Does::Run)?.submit(|_| {});
        drop(queue);
        assert_eq!(ended(&hangs), Some(Err(ETIMEDOUT)));
        assert_eq!(ended(&queued), Some(Err(ECANCELED)));
        assert_eq!(
            bench.finish(),
            Counts {
                runs: 1,
                timeouts: 1,
                freed: 2,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn a_job_completes_late_whose_queue_nobody_holds() -> Result {
        let bench = bench!(1);
        bench.hardware.on_timeout(OnTimeout::QueueReset);
        let queue = JobQueue::new(bench.config(1)?)?;
        let late = bench.job_on(&queue, 1, 1, Does::Run)?.submit(|_| {});
        let queued = bench.job_on(&queue, 2, 1, Does::Run)?.submit(|_| {});
        assert!(bench.hardware.runs(1));
        queue.report_fault();
        drop(queue);
        assert_eq!(bench.hardware.timed_out(1), Some(TimedOut::ResetQueued));
        bench.hardware.end(1, Ok(()));
        assert_eq!(ended(&late), Some(Ok(())));
        assert_eq!(ended(&queued), Some(Err(ECANCELED)));
        assert_eq!(
            bench.finish(),
            Counts {
                runs: 1,
                timeouts: 1,
                freed: 2,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn a_queue_that_is_cancelled_twice_is_cancelled_once() -> Result {
        let full = Full::new(bench!(1))?;
        full.bench.queue.cancel_all(EIO);
        full.bench.queue.cancel_all(ENODEV);
        full.other.signal();
        assert_eq!(ended(&full.on_ring), Some(Err(EIO)));
        assert_eq!(ended(&full.waits), Some(Err(EIO)));
        assert_eq!(full.bench.queue.banned(), Some(EIO));
        assert_eq!(
            full.bench.finish(),
            Counts {
                runs: 1,
                cancels: 1,
                freed: 3,
                ..Counts::default()
            }
        );
        Ok(())
    }

    /// What no driver gets to: C takes the scheduler down with jobs on the ring, one of which was
    /// never put there, and one in the entity.
    #[test]
    fn a_scheduler_that_goes_cancels_its_jobs() -> Result {
        let bench = bench!(3);
        let other = foreign()?;
        let first = bench.submit(1)?;
        let refused = bench
            .job_on(&bench.queue, 2, 1, Does::Refuse)?
            .submit(|_| {});
        let third = bench.submit(3)?;
        let mut job = bench.job(4)?;
        job.add_dependency(other.fence().into())?;
        let waits = job.submit(|_| {});
        assert!(bench.hardware.runs(3));
        bench.flush();

        // SAFETY: No other queue is on the scheduler, and nothing is submitted any more. The bench
        // keeps the queue, and forgets the scheduler below.
        unsafe { bench.queue.take_down() };
        assert_eq!(ended(&first), Some(Err(ECANCELED)));
        assert_eq!(ended(&refused), Some(Err(EIO)));
        assert_eq!(ended(&third), Some(Err(ECANCELED)));
        assert_eq!(bench.hardware.counts().freed, 3);
        // The entity's job was killed, and waits for what it might have used.
        assert_eq!(waits.status(), None);
        other.signal();
        assert!(ended(&waits).is_some_and(|status| status.is_err()));
        assert!(bench.hardware.freed(4));
        assert_eq!(
            bench.finish(),
            Counts {
                runs: 2,
                cancels: 2,
                freed: 4,
                ..Counts::default()
            }
        );
        Ok(())
    }
}
