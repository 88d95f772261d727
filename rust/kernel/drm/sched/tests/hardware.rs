// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A ring for several queues: the guilty one ends, the others' jobs run again.

use super::mock::{
    bench,
    ended,
    foreign,
    Counts,
    Does, //
};
use crate::{
    drm::sched::{
        hw::Priority,
        TimedOut, //
    },
    macros::kunit_tests,
    prelude::*, //
};

#[kunit_tests(magni_drm_sched_hardware)]
mod tests {
    use super::*;

    #[test]
    fn queues_share_a_ring() -> Result {
        let bench = bench!(8);
        let ring = bench.ring(2)?;
        let mine = ring.new_queue(Priority::Normal)?;
        let theirs = ring.new_queue(Priority::Normal)?;
        let first = bench.job_on(&mine, 1, 1, Does::Run)?.submit(|_| {});
        assert!(bench.hardware.runs(1));
        let second = bench.job_on(&theirs, 2, 1, Does::Run)?.submit(|_| {});
        assert!(bench.hardware.runs(2));
        let third = bench.job_on(&mine, 3, 1, Does::Run)?.submit(|_| {});
        bench.flush();
        // The room is shared, too.
        assert!(!bench.hardware.has(3));
        // They need not end in order.
        bench.hardware.end(2, Ok(()));
        assert_eq!(ended(&second), Some(Ok(())));
        assert_eq!(first.status(), None);
        assert!(bench.hardware.runs(3));
        bench.hardware.end(1, Ok(()));
        bench.hardware.end(3, Ok(()));
        assert_eq!(ended(&third), Some(Ok(())));
        drop((mine, theirs, ring));
        assert_eq!(bench.finish(), Counts::ran(3));
        Ok(())
    }

    #[test]
    fn urgent_queues_come_first() -> Result {
        let bench = bench!(8);
        let ring = bench.ring(1)?;
        let low = ring.new_queue(Priority::Low)?;
        let high = ring.new_queue(Priority::High)?;
        let paused = ring.pause();
        let later = bench.job_on(&low, 1, 1, Does::Run)?.submit(|_| {});
        let first = bench.job_on(&high, 2, 1, Does::Run)?.submit(|_| {});
        drop(paused);
        assert!(bench.hardware.runs(2));
        assert!(!bench.hardware.has(1));
        bench.hardware.end(2, Ok(()));
        assert_eq!(ended(&first), Some(Ok(())));
        assert!(bench.hardware.runs(1));
        bench.hardware.end(1, Ok(()));
        assert_eq!(ended(&later), Some(Ok(())));
        drop((low, high, ring));
        assert_eq!(bench.finish(), Counts::ran(2));
        Ok(())
    }

    #[test]
    fn survivors_run_again_with_their_fences() -> Result {
        let bench = bench!(8);
        let ring = bench.ring(4)?;
        let guilty = ring.new_queue(Priority::Normal)?;
        let innocent = ring.new_queue(Priority::Normal)?;
        let other = foreign()?;

        let hangs = bench.job_on(&guilty, 1, 1, Does::Run)?.submit(|_| {});
        assert!(bench.hardware.runs(1));
        let survivor = bench.job_on(&innocent, 2, 1, Does::Run)?.submit(|_| {});
        assert!(bench.hardware.runs(2));
        let behind = bench.job_on(&guilty, 3, 1, Does::Run)?.submit(|_| {});
        assert!(bench.hardware.runs(3));
        let second = bench.job_on(&innocent, 4, 1, Does::Run)?.submit(|_| {});
        assert!(bench.hardware.runs(4));
        // In the scheduler, and in the entity.
        let mut job = bench.job_on(&guilty, 5, 1, Does::Run)?;
        job.add_dependency(other.fence().into())?;
        let banned = job.submit(|_| {});
        let queued = bench.job_on(&innocent, 6, 1, Does::Run)?.submit(|_| {});

        guilty.report_fault();
        assert_eq!(bench.hardware.timed_out(1), Some(TimedOut::Ended));
        assert_eq!(ended(&hangs), Some(Err(ETIMEDOUT)));
        assert_eq!(ended(&behind), Some(Err(ECANCELED)));
        assert_eq!(survivor.status(), None);
        assert_eq!(second.status(), None);
        assert_eq!(guilty.banned(), Some(ECANCELED));
        assert_eq!(innocent.banned(), None);

        // The innocent queue goes on, in order, with the fences that were there before.
        assert!(bench.hardware.runs(6));
        assert!(bench.hardware.ran(&[1, 2, 3, 4, 2, 4, 6]));
        for (id, fence) in [(2, survivor), (4, second), (6, queued)] {
            assert!(bench.hardware.end(id, Ok(())));
            assert_eq!(ended(&fence), Some(Ok(())));
        }
        other.signal();
        assert_eq!(ended(&banned), Some(Err(ECANCELED)));
        // The other's next job finds a queue that works.
        let next = bench.job_on(&innocent, 7, 1, Does::Run)?.submit(|_| {});
        assert!(bench.hardware.runs(7));
        bench.hardware.end(7, Ok(()));
        assert_eq!(ended(&next), Some(Ok(())));
        drop((guilty, innocent, ring));
        assert_eq!(
            bench.finish(),
            Counts {
                runs: 6,
                reruns: 2,
                timeouts: 1,
                cancels: 2,
                resets: 1,
                freed: 7,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn survivors_that_have_completed_do_not_run_again() -> Result {
        let bench = bench!(8);
        let ring = bench.ring(4)?;
        let guilty = ring.new_queue(Priority::Normal)?;
        let innocent = ring.new_queue(Priority::Normal)?;
        let hangs = bench.job_on(&guilty, 1, 1, Does::Run)?.submit(|_| {});
        assert!(bench.hardware.runs(1));
        let done = bench.job_on(&innocent, 2, 1, Does::Run)?.submit(|_| {});
        let survivor = bench.job_on(&innocent, 3, 1, Does::Run)?.submit(|_| {});
        assert!(bench.hardware.runs(3));
        bench.hardware.completes_in_reset(2);
        guilty.report_fault();
        assert_eq!(bench.hardware.timed_out(1), Some(TimedOut::Ended));
        assert_eq!(ended(&hangs), Some(Err(ETIMEDOUT)));
        assert_eq!(ended(&done), Some(Ok(())));
        assert!(bench.hardware.ran(&[1, 2, 3, 3]));
        bench.hardware.end(3, Ok(()));
        assert_eq!(ended(&survivor), Some(Ok(())));
        drop((guilty, innocent, ring));
        assert_eq!(
            bench.finish(),
            Counts {
                runs: 3,
                reruns: 1,
                timeouts: 1,
                cancels: 1,
                resets: 1,
                freed: 3,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn a_job_that_has_completed_is_not_guilty() -> Result {
        let bench = bench!(8);
        let ring = bench.ring(4)?;
        let queue = ring.new_queue(Priority::Normal)?;
        let first = bench.job_on(&queue, 1, 1, Does::Run)?.submit(|_| {});
        assert!(bench.hardware.runs(1));
        {
            // Ended, and not freed: it is the oldest for which the timeout's work looks.
            let _paused = ring.pause();
            bench.hardware.end(1, Ok(()));
            queue.report_fault();
            bench.timeout.flush();
        }
        assert_eq!(ended(&first), Some(Ok(())));
        assert_eq!(queue.banned(), None);
        drop((queue, ring));
        assert_eq!(bench.finish(), Counts::ran(1));
        Ok(())
    }

    #[test]
    fn a_reset_hits_several_rings() -> Result {
        let bench = bench!(8);
        let (one, two) = (bench.ring(4)?, bench.ring(4)?);
        let guilty = one.new_queue(Priority::Normal)?;
        let innocent = two.new_queue(Priority::Normal)?;
        let hangs = bench.job_on(&guilty, 1, 1, Does::Run)?.submit(|_| {});
        let survivor = bench.job_on(&innocent, 2, 1, Does::Run)?.submit(|_| {});
        assert!(bench.hardware.runs(1) && bench.hardware.runs(2));
        guilty.report_fault();
        assert_eq!(bench.hardware.timed_out(1), Some(TimedOut::Ended));
        assert_eq!(ended(&hangs), Some(Err(ETIMEDOUT)));
        assert_eq!(bench.hardware.counts().reruns, 1);
        bench.hardware.end(2, Ok(()));
        assert_eq!(ended(&survivor), Some(Ok(())));
        drop((guilty, innocent, one, two));
        assert_eq!(
            bench.finish(),
            Counts {
                runs: 2,
                reruns: 1,
                timeouts: 1,
                cancels: 1,
                resets: 1,
                freed: 2,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn nobody_survives_a_reset_that_fails() -> Result {
        let bench = bench!(8);
        let ring = bench.ring(2)?;
        let guilty = ring.new_queue(Priority::Normal)?;
        let innocent = ring.new_queue(Priority::Normal)?;
        bench.hardware.reset_fails();
        let hangs = bench.job_on(&guilty, 1, 1, Does::Run)?.submit(|_| {});
        assert!(bench.hardware.runs(1));
        let other = bench.job_on(&innocent, 2, 1, Does::Run)?.submit(|_| {});
        assert!(bench.hardware.runs(2));
        let queued = bench.job_on(&innocent, 3, 1, Does::Run)?.submit(|_| {});
        guilty.report_fault();
        assert_eq!(bench.hardware.timed_out(1), Some(TimedOut::DeviceGone));
        assert_eq!(ended(&hangs), Some(Err(ENODEV)));
        assert_eq!(ended(&other), Some(Err(ENODEV)));
        assert_eq!(ended(&queued), Some(Err(ENODEV)));
        drop((guilty, innocent, ring));
        assert_eq!(
            bench.finish(),
            Counts {
                runs: 2,
                timeouts: 1,
                cancels: 2,
                resets: 1,
                freed: 3,
                ..Counts::default()
            }
        );
        Ok(())
    }

    /// Signal all and drain, on a ring that others go on using.
    #[test]
    fn one_queue_of_a_ring_is_cancelled() -> Result {
        let bench = bench!(8);
        let ring = bench.ring(4)?;
        let mine = ring.new_queue(Priority::Normal)?;
        let theirs = ring.new_queue(Priority::Normal)?;
        let ends = bench.job_on(&mine, 1, 1, Does::Run)?.submit(|_| {});
        let stays = bench.job_on(&theirs, 2, 1, Does::Run)?.submit(|_| {});
        assert!(bench.hardware.runs(1) && bench.hardware.runs(2));
        mine.cancel_all(ECANCELED);
        assert_eq!(ended(&ends), Some(Err(ECANCELED)));
        assert_eq!(stays.status(), None);
        assert!(mine.wait_idle(crate::time::Jiffies::MAX));
        drop(mine);
        bench.hardware.end(2, Ok(()));
        assert_eq!(ended(&stays), Some(Ok(())));
        assert!(theirs.wait_idle(crate::time::Jiffies::MAX));
        drop((theirs, ring));
        assert_eq!(
            bench.finish(),
            Counts {
                runs: 2,
                cancels: 1,
                freed: 2,
                ..Counts::default()
            }
        );
        Ok(())
    }
}
