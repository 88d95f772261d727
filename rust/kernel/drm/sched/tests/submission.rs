// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The life of a job up to the ring: dependencies, order, pauses.

use super::mock::{
    bench,
    ended,
    foreign,
    Counts,
    Does, //
};
use crate::{
    bindings,
    dma_fence::Fence,
    dma_resv::{
        Resv,
        Usage, //
    },
    drm::sched::{
        pause_all,
        Job,
        JobQueue,
        Operations,
        TimedOut, //
    },
    macros::kunit_tests,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Completion, //
    },
    workqueue::OwnedQueue,
    ModuleMetadata,
    ThisModule, //
};
use core::cell::UnsafeCell;

/// A module that is being unloaded.
struct GoingModule(UnsafeCell<bindings::module>);

// SAFETY: Nobody changes it.
unsafe impl Sync for GoingModule {}

static GOING: GoingModule = GoingModule(UnsafeCell::new(bindings::module {
    state: bindings::module_state_MODULE_STATE_GOING,
    ..pin_init::zeroed()
}));

impl ModuleMetadata for GoingModule {
    const NAME: &'static CStr = c"going";
    // SAFETY: It is there for ever; and whoever sees its state does nothing with the rest.
    const THIS_MODULE: ThisModule = unsafe { ThisModule::from_ptr(GOING.0.get()) };
}

/// Jobs whose code is about to go.
struct Going;

impl Operations for Going {
    type Module = GoingModule;
    type Job = ();
    type Resources = ();

    fn run_job(_job: &Job<Self>, (): ()) -> Result<ARef<Fence>> {
        Err(ENODEV)
    }

    fn timed_out(_job: &Job<Self>) -> TimedOut {
        TimedOut::Finished
    }

    fn cancel_job(_job: &Job<Self>, _error: Error) {}
}

#[kunit_tests(magni_drm_sched_submission)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_job_may_be_dropped() -> Result {
        let bench = bench!(8);
        let other = foreign()?;
        let mut job = bench.job(1)?;
        job.add_dependency(other.fence().into())?;
        let place = job.reserve_dependency()?;
        job.fill_dependency(place, other.fence().into());
        drop(job);
        other.signal();
        assert_eq!(
            bench.finish(),
            Counts {
                freed: 1,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn an_armed_job_that_is_dropped_is_cancelled() -> Result {
        let bench = bench!(8);
        let job = bench.job(1)?;
        let mut submission = bench.queue.submission();
        let armed = submission.arm(job)?;
        let finished: ARef<Fence> = armed.finished().into();
        drop(armed);
        drop(submission);
        assert_eq!(ended(&finished), Some(Err(ECANCELED)));
        assert_eq!(
            bench.finish(),
            Counts {
                freed: 1,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn a_cancelled_job_ends_after_those_before_it() -> Result {
        let bench = bench!(8);
        let first = bench.submit(1)?;
        assert!(bench.hardware.runs(1));
        let job = bench.job(2)?;
        let mut submission = bench.queue.submission();
        let armed = submission.arm(job)?;
        let second: ARef<Fence> = armed.finished().into();
        drop(armed);
        drop(submission);
        bench.flush();
        assert_eq!(second.status(), None);
        bench.hardware.end(1, Ok(()));
        assert_eq!(ended(&first), Some(Ok(())));
        assert_eq!(ended(&second), Some(Err(ECANCELED)));
        assert_eq!(
            bench.finish(),
            Counts {
                runs: 1,
                freed: 2,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn a_job_of_another_queue_is_not_armed() -> Result {
        let bench = bench!(8);
        let other = JobQueue::new(bench.config(8)?)?;
        let job = bench.job_on(&other, 1, 1, Does::Run)?;
        assert_eq!(bench.queue.submission().arm(job).err(), Some(EINVAL));
        drop(other);
        assert_eq!(
            bench.finish(),
            Counts {
                freed: 1,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn two_jobs_with_nothing_in_between() -> Result {
        let bench = bench!(8);
        let (first, second) = (bench.job(1)?, bench.job(2)?);
        let mut submission = bench.queue.submission();
        let first = submission.arm(first)?.push();
        let second = submission.arm(second)?.push();
        drop(submission);
        assert_eq!(first.context(), second.context());
        assert_eq!(first.seqno() + 1, second.seqno());
        assert!(bench.hardware.runs(2));
        assert!(bench.hardware.ran(&[1, 2]));
        bench.hardware.end_all(EIO);
        assert_eq!(bench.finish(), Counts::ran(2));
        Ok(())
    }

    #[test]
    fn fences_count_in_the_order_of_running() -> Result {
        const EACH: u32 = 16;
        let bench = bench!(2 * EACH);
        // Two threads submit at once, each to the same queue.
        let workers = OwnedQueue::new_unbound().build(c"magni-test-submitters")?;
        let mut done = KVec::new();
        for thread in 0..2 {
            let finished = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
            done.push(finished.clone(), GFP_KERNEL)?;
            let mut jobs = KVec::new();
            for n in 0..EACH {
                jobs.push(bench.job(thread * EACH + n)?, GFP_KERNEL)?;
            }
            workers.try_spawn(GFP_KERNEL, move || {
                for job in jobs {
                    job.submit(|_| {});
                }
                finished.complete_all();
            })?;
        }
        for finished in &done {
            finished.wait_for_completion();
        }
        for id in 0..2 * EACH {
            assert!(bench.hardware.runs(id));
        }
        // The oldest job has the lowest number, and so on: no number is above that of a later job.
        let mut ordered = true;
        let mut before = 0;
        bench.queue.pause().for_each_pending(|job| {
            // SAFETY: A job on the ring was armed.
            let seqno = unsafe { job.finished() }.seqno();
            ordered &= seqno > before;
            before = seqno;
        });
        assert!(ordered);
        assert_eq!(before, u64::from(2 * EACH));
        bench.hardware.end_all(EIO);
        assert_eq!(
            bench.finish(),
            Counts {
                runs: 2 * EACH,
                freed: 2 * EACH,
                ..Counts::default()
            }
        );
        Ok(())
    }

    #[test]
    fn a_job_waits_for_what_it_depends_on() -> Result {
        let bench = bench!(8);
        let other = foreign()?;
        let mut job = bench.job(1)?;
        job.add_dependency(other.fence().into())?;
        let finished = job.submit(|_| {});
        bench.flush();
        assert!(!bench.hardware.has(1));
        other.signal();
        assert!(bench.hardware.runs(1));
        bench.hardware.end(1, Ok(()));
        assert_eq!(ended(&finished), Some(Ok(())));
        assert_eq!(bench.finish(), Counts::ran(1));
        Ok(())
    }

    #[test]
    fn a_job_waits_for_the_fences_of_a_buffer() -> Result {
        let bench = bench!(8);
        let resv = KBox::pin_init(Resv::new(), GFP_KERNEL)?;
        let (reader, writer) = (foreign()?, foreign()?);
        let (mut reads, mut writes) = (bench.job(1)?, bench.job(2)?);
        {
            let mut guard = resv.lock()?;
            guard.reserve(2)?;
            guard.add_fence(&reader, Usage::Read);
            guard.add_fence(&writer, Usage::Write);
            reads.add_resv_dependencies(guard.held(), Usage::to_wait_for(false))?;
            writes.add_resv_dependencies(guard.held(), Usage::to_wait_for(true))?;
        }
        let reads = reads.submit(|_| {});
        let writes = writes.submit(|_| {});
        bench.flush();
        assert_eq!(bench.hardware.counts().runs, 0);
        // Readers need not wait for each other.
        writer.signal();
        assert!(bench.hardware.runs(1));
        bench.flush();
        assert!(!bench.hardware.has(2));
        reader.signal();
        assert!(bench.hardware.runs(2));
        bench.hardware.end(1, Ok(()));
        bench.hardware.end(2, Ok(()));
        assert_eq!(ended(&reads), Some(Ok(())));
        assert_eq!(ended(&writes), Some(Ok(())));
        assert_eq!(bench.finish(), Counts::ran(2));
        Ok(())
    }

    #[test]
    fn a_job_waits_for_another_of_the_same_submission() -> Result {
        let bench = bench!(8);
        let queue = JobQueue::new(bench.config(8)?)?;
        let first = bench.job(1)?;
        let mut second = bench.job_on(&queue, 2, 1, Does::Run)?;
        let place = second.reserve_dependency()?;
        let left_empty = second.reserve_dependency()?;
        let first = first.submit(|_| {});
        second.fill_dependency(place, first.clone());
        let second = second.submit(|_| {});
        drop(left_empty);
        assert!(bench.hardware.runs(1));
        bench.flush();
        assert!(!bench.hardware.has(2));
        bench.hardware.end(1, Ok(()));
        assert!(bench.hardware.runs(2));
        bench.hardware.end(2, Ok(()));
        assert_eq!(ended(&second), Some(Ok(())));
        drop(queue);
        assert_eq!(bench.finish(), Counts::ran(2));
        Ok(())
    }

    #[test]
    fn a_place_is_of_no_use_with_another_job() -> Result {
        let bench = bench!(8);
        let (mut first, mut second) = (bench.job(1)?, bench.job(2)?);
        let mine = first.reserve_dependency()?;
        // In the same position among those of its job.
        let theirs = second.reserve_dependency()?;
        assert!(first.has_place(&mine) && second.has_place(&theirs));
        assert!(!first.has_place(&theirs) && !second.has_place(&mine));
        drop((first, second));
        assert_eq!(
            bench.finish(),
            Counts {
                freed: 2,
                ..Counts::default()
            }
        );
        Ok(())
    }

    /// What is made before the failure does not leak: kmemleak looks at the end.
    #[test]
    fn a_module_that_goes_makes_no_jobs() -> Result {
        let bench = bench!(8);
        let queue = JobQueue::<Going>::new(bench.config(8)?)?;
        assert_eq!(queue.new_job(1, 0, (), ()).err(), Some(ENODEV));
        drop(queue);
        assert_eq!(bench.finish(), Counts::default());
        Ok(())
    }

    #[test]
    fn a_fence_is_published_before_its_job_runs() -> Result {
        let bench = bench!(8);
        let mut seen = None;
        let job = bench.job_on(&bench.queue, 1, 1, Does::CompleteAtOnce)?;
        let finished = job.submit(|fence| seen = Some((fence.status(), bench.hardware.counts())));
        let (status, counts) = seen.ok_or(EINVAL)?;
        assert_eq!(status, None);
        assert_eq!(counts.runs, 0);
        assert_eq!(ended(&finished), Some(Ok(())));
        assert_eq!(bench.finish(), Counts::ran(1));
        Ok(())
    }

    #[test]
    fn nothing_runs_and_nothing_is_freed_in_a_pause() -> Result {
        let bench = bench!(8);
        let other = foreign()?;
        let first = bench.submit(1)?;
        let mut job = bench.job(2)?;
        job.add_dependency(other.fence().into())?;
        let second = job.submit(|_| {});
        assert!(bench.hardware.runs(1));

        let paused = bench.queue.pause();
        let again = bench.queue.pause();
        // All that has jobs run and freed: a push, a dependency, an end.
        let third = bench.submit(3)?;
        other.signal();
        bench.hardware.end(1, Ok(()));
        assert_eq!(ended(&first), Some(Ok(())));
        bench.flush();
        drop(paused);
        bench.flush();
        assert_eq!(bench.hardware.counts().runs, 1);
        assert_eq!(bench.hardware.counts().freed, 0);
        drop(again);

        assert!(bench.hardware.runs(3));
        assert!(bench.hardware.freed(1));
        bench.hardware.end(2, Ok(()));
        bench.hardware.end(3, Ok(()));
        assert_eq!(ended(&second), Some(Ok(())));
        assert_eq!(ended(&third), Some(Ok(())));
        assert_eq!(bench.finish(), Counts::ran(3));
        Ok(())
    }

    #[test]
    fn queues_are_paused_together() -> Result {
        let bench = bench!(8);
        let queue = JobQueue::new(bench.config(8)?)?;
        let both = [bench.queue.clone(), queue];
        let paused = pause_all(&both);
        let first = bench.submit(1)?;
        let second = bench.job_on(&both[1], 2, 1, Does::Run)?.submit(|_| {});
        bench.flush();
        assert_eq!(bench.hardware.counts().runs, 0);
        drop(paused);
        assert!(bench.hardware.runs(1) && bench.hardware.runs(2));
        bench.hardware.end_all(EIO);
        assert_eq!(ended(&first), Some(Err(EIO)));
        assert_eq!(ended(&second), Some(Err(EIO)));
        drop(both);
        assert_eq!(bench.finish(), Counts::ran(2));
        Ok(())
    }

    #[test]
    fn pending_jobs_are_those_on_the_ring() -> Result {
        let bench = bench!(3);
        let other = foreign()?;
        for id in 1..=3 {
            bench.submit(id)?;
        }
        let mut waits = bench.job(4)?;
        waits.add_dependency(other.fence().into())?;
        waits.submit(|_| {});
        assert!(bench.hardware.runs(3));
        {
            let paused = bench.queue.pause();
            // It has ended, and is still there.
            bench.hardware.end(1, Ok(()));
            let mut seen = KVec::with_capacity(4, GFP_KERNEL)?;
            paused.for_each_pending(|job| {
                let _ = seen.push_within_capacity((job.data().id, job.has_ended()));
            });
            assert_eq!(seen[..], [(1, true), (2, false), (3, false)]);
        }
        other.signal();
        assert!(bench.hardware.runs(4));
        bench.hardware.end_all(EIO);
        assert_eq!(bench.finish(), Counts::ran(4));
        Ok(())
    }
}
