// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A ring for each queue, and a firmware: jobs that complete, fault, hang, complete late.

use super::mock::{
    bench,
    ended,
    foreign,
    Counts,
    Does,
    OnTimeout, //
};
use crate::{
    drm::sched::{
        JobQueue,
        TimedOut, //
    },
    macros::kunit_tests,
    prelude::*,
    time::msecs_to_jiffies, //
};

#[kunit_tests(magni_drm_sched_firmware)]
mod tests {
    use super::*;

    #[test]
    fn a_job_completes() -> Result {
        let bench = bench!(8);
        let finished = bench.submit(1)?;
        assert!(bench.hardware.runs(1));
        assert_eq!(finished.status(), None);
        assert!(bench.hardware.end(1, Ok(())));
        assert_eq!(ended(&finished), Some(Ok(())));
        assert_eq!(bench.finish(), Counts::ran(1));
        Ok(())
    }

    #[test]
    fn a_job_faults() -> Result {
        let bench = bench!(8);
        let finished = bench.submit(1)?;
        assert!(bench.hardware.runs(1));
        assert!(bench.hardware.end(1, Err(EFAULT)));
        assert_eq!(ended(&finished), Some(Err(EFAULT)));
        assert_eq!(bench.finish(), Counts::ran(1));
        Ok(())
    }

    #[test]
    fn jobs_end_before_run_job_returns() -> Result {
        let bench = bench!(8);
        let good = bench.job_on(&bench.queue, 1, 1, Does::CompleteAtOnce)?;
        let bad = bench.job_on(&bench.queue, 2, 1, Does::FaultAtOnce)?;
        let good = good.submit(|_| {});
        let bad = bad.submit(|_| {});
        assert_eq!(ended(&good), Some(Ok(())));
        assert_eq!(ended(&bad), Some(Err(EFAULT)));
        assert_eq!(bench.finish(), Counts::ran(2));
        Ok(())
    }

    #[test]
    fn a_job_that_cannot_be_run_ends_after_those_before_it() -> Result {
        let bench = bench!(8);
        let first = bench.submit(1)?;
        let refused = bench
            .job_on(&bench.queue, 2, 1, Does::Refuse)?
            .submit(|_| {});
        let third = bench.submit(3)?;
        // The queue is in order: when the third runs the second has been refused.
        assert!(bench.hardware.runs(3));
        assert_eq!(refused.status(), None);
        bench.hardware.end(1, Ok(()));
        assert_eq!(ended(&first), Some(Ok(())));
        assert_eq!(ended(&refused), Some(Err(EIO)));
        assert_eq!(third.status(), None);
        bench.hardware.end(3, Ok(()));
        assert_eq!(ended(&third), Some(Ok(())));
        assert_eq!(
            bench.finish(),
            Counts {
                runs: 2,
                freed: 3,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn credits_hold_jobs_back() -> Result {
        let bench = bench!(8);
        let first = bench.job_on(&bench.queue, 1, 8, Does::Run)?.submit(|_| {});
        let second = bench.submit(2)?;
        assert!(bench.hardware.runs(1));
        bench.flush();
        assert!(!bench.hardware.has(2));
        bench.hardware.end(1, Ok(()));
        assert_eq!(ended(&first), Some(Ok(())));
        assert!(bench.hardware.runs(2));
        bench.hardware.end(2, Ok(()));
        assert_eq!(ended(&second), Some(Ok(())));
        assert_eq!(bench.finish(), Counts::ran(2));
        Ok(())
    }

    #[test]
    fn credits_that_cannot_be_are_refused() -> Result {
        let bench = bench!(8);
        let job = |credits| bench.job_on(&bench.queue, 1, credits, Does::Run);
        assert_eq!(job(0).err(), Some(EINVAL));
        assert_eq!(job(9).err(), Some(EINVAL));
        assert_eq!(
            bench.finish(),
            Counts {
                freed: 2,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn one_queue_for_jobs_and_timeouts_is_refused() -> Result {
        let bench = bench!(8);
        let mut config = bench.config(8)?;
        config.timeout = config.submit.clone();
        assert_eq!(
            JobQueue::<super::super::mock::Mock>::new(config).err(),
            Some(EINVAL)
        );
        assert_eq!(bench.finish(), Counts::default());
        Ok(())
    }

    #[test]
    fn a_job_that_hangs_ends_the_queue() -> Result {
        let bench = bench!(2);
        let guilty = bench.submit(1)?;
        let on_ring = bench.submit(2)?;
        let queued = bench.submit(3)?;
        assert!(bench.hardware.runs(2));
        bench.queue.report_fault();
        assert_eq!(bench.hardware.timed_out(1), Some(TimedOut::Ended));
        assert_eq!(ended(&guilty), Some(Err(ETIMEDOUT)));
        assert_eq!(ended(&on_ring), Some(Err(ECANCELED)));
        assert_eq!(ended(&queued), Some(Err(ECANCELED)));
        // What comes later is not run either.
        let later = bench.submit(4)?;
        assert_eq!(ended(&later), Some(Err(ECANCELED)));
        assert_eq!(
            bench.finish(),
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
    fn the_schedulers_own_timer_finds_a_job_that_hangs() -> Result {
        let bench = bench!(8, Some(msecs_to_jiffies(1)));
        let finished = bench.submit(1)?;
        assert_eq!(bench.hardware.timed_out(1), Some(TimedOut::Ended));
        assert_eq!(ended(&finished), Some(Err(ETIMEDOUT)));
        assert_eq!(
            bench.finish(),
            Counts {
                runs: 1,
                timeouts: 1,
                freed: 1,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn a_job_completes_while_it_times_out() -> Result {
        let bench = bench!(8);
        bench.hardware.on_timeout(OnTimeout::CompleteMeanwhile);
        let finished = bench.submit(1)?;
        let next = bench.submit(2)?;
        assert!(bench.hardware.runs(2));
        bench.queue.report_fault();
        assert_eq!(bench.hardware.timed_out(1), Some(TimedOut::Finished));
        assert_eq!(ended(&finished), Some(Ok(())));
        // The job that timed out is freed all the same, and the queue goes on.
        assert!(bench.hardware.freed(1));
        assert_eq!(next.status(), None);
        bench.hardware.end(2, Ok(()));
        assert_eq!(ended(&next), Some(Ok(())));
        assert_eq!(
            bench.finish(),
            Counts {
                runs: 2,
                timeouts: 1,
                freed: 2,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn a_job_that_timed_out_completes_late() -> Result {
        let bench = bench!(8);
        bench.hardware.on_timeout(OnTimeout::QueueReset);
        let finished = bench.submit(1)?;
        assert!(bench.hardware.runs(1));
        bench.queue.report_fault();
        assert_eq!(bench.hardware.timed_out(1), Some(TimedOut::ResetQueued));
        // Nothing is signalled as long as the hardware may write to the job's memory.
        assert_eq!(finished.status(), None);
        bench.hardware.end(1, Ok(()));
        assert_eq!(ended(&finished), Some(Ok(())));
        bench.hardware.end_all(ENODEV);
        assert!(bench.hardware.freed(1));
        assert_eq!(
            bench.finish(),
            Counts {
                runs: 1,
                timeouts: 1,
                freed: 1,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn a_reset_ends_what_did_not_stop() -> Result {
        let bench = bench!(1);
        bench.hardware.on_timeout(OnTimeout::QueueReset);
        let finished = bench.submit(1)?;
        let queued = bench.submit(2)?;
        assert!(bench.hardware.runs(1));
        // As often as somebody likes to say so.
        for n in 1..=3 {
            bench.queue.report_fault();
            assert_eq!(bench.hardware.timed_out(n), Some(TimedOut::ResetQueued));
            // The timeout's work puts the job back after that.
            bench.timeout.flush();
        }
        assert_eq!(finished.status(), None);
        bench.hardware.end_all(ETIMEDOUT);
        assert_eq!(ended(&finished), Some(Err(ETIMEDOUT)));
        assert_eq!(ended(&queued), Some(Err(ECANCELED)));
        assert_eq!(
            bench.finish(),
            Counts {
                runs: 1,
                timeouts: 3,
                freed: 2,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn the_device_goes() -> Result {
        let bench = bench!(2);
        bench.hardware.on_timeout(OnTimeout::Gone);
        let other = foreign()?;
        let finished = bench.submit(1)?;
        let mut job = bench.job(2)?;
        job.add_dependency(other.fence().into())?;
        let waits = job.submit(|_| {});
        assert!(bench.hardware.runs(1));
        bench.queue.report_fault();
        assert_eq!(bench.hardware.timed_out(1), Some(TimedOut::DeviceGone));
        assert_eq!(ended(&finished), Some(Err(ENODEV)));
        // It may use what the other still writes to.
        assert_eq!(waits.status(), None);
        other.signal();
        assert_eq!(ended(&waits), Some(Err(ENODEV)));
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
    fn a_job_that_was_not_ended_is_kept() -> Result {
        let bench = bench!(8);
        bench.hardware.on_timeout(OnTimeout::Lie);
        let finished = bench.submit(1)?;
        assert!(bench.hardware.runs(1));
        bench.queue.report_fault();
        assert_eq!(bench.hardware.timed_out(1), Some(TimedOut::Ended));
        bench.timeout.flush();
        bench.flush();
        assert_eq!(bench.hardware.counts().live, 1);
        bench.hardware.end(1, Ok(()));
        assert_eq!(ended(&finished), Some(Ok(())));
        assert_eq!(
            bench.finish(),
            Counts {
                runs: 1,
                timeouts: 1,
                freed: 1,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn a_fault_without_jobs_means_nothing() -> Result {
        let bench = bench!(8);
        bench.queue.report_fault();
        bench.timeout.flush();
        assert_eq!(bench.finish(), Counts::default());
        Ok(())
    }
}
