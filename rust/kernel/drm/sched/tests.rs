// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests on a ring that a test plays itself.
//!
//! Each test ends by dropping the guard of its own [`ModuleQueue`], which waits until every queue
//! has been taken down, and so every job freed: a leak hangs the test.

use super::*;
use crate::{
    device,
    dma_fence::{
        DriverFence,
        FenceAlloc,
        FenceContext,
        FenceNames, //
    },
    faux,
    macros::kunit_tests,
    new_mutex,
    str::CString,
    sync::{
        Arc,
        Completion,
        Mutex, //
    },
    workqueue::{
        ModuleQueue,
        ModuleQueueGuard,
        OwnedQueue, //
    },
};
use core::sync::atomic::{
    AtomicU32,
    Ordering, //
};

struct Names;

impl FenceNames for Names {
    const DRIVER: &'static CStr = c"mock";
    const TIMELINE: &'static CStr = c"mock";
}

/// The hardware, and what it saw.
#[pin_data]
struct Ring {
    context: FenceContext,
    /// The fence of the job that runs.
    #[pin]
    running: Mutex<Option<DriverFence>>,
    /// The first job has begun to run.
    #[pin]
    started: Completion,
    /// The second job has.
    #[pin]
    second: Completion,
    runs: AtomicU32,
    timeouts: AtomicU32,
    frees: AtomicU32,
}

impl Ring {
    fn end(&self, result: Result) {
        let fence = self.running.lock().take();
        match (fence, result) {
            (Some(fence), Ok(())) => fence.signal(),
            (Some(fence), Err(error)) => fence.signal_error(error),
            (None, _) => {}
        }
    }
}

struct Data(Arc<Ring>);

impl Drop for Data {
    fn drop(&mut self) {
        self.0.frees.fetch_add(1, Ordering::Relaxed);
    }
}

struct Mock;

impl Operations for Mock {
    type Job = Data;
    type Resources = FenceAlloc;

    fn run_job(job: &Job<Self>, fence: FenceAlloc) -> Result<ARef<Fence>> {
        let ring = &job.data().0;
        let run = ring.runs.fetch_add(1, Ordering::Relaxed);
        let fence = fence.init(&ring.context, u64::from(run) + 1);
        let shared = fence.fence().into();
        *ring.running.lock() = Some(fence);
        match run {
            0 => ring.started.complete_all(),
            _ => ring.second.complete_all(),
        }
        Ok(shared)
    }

    fn timed_out(job: &Job<Self>) {
        let _paused = job.queue().pause();
        let ring = &job.data().0;
        ring.timeouts.fetch_add(1, Ordering::Relaxed);
        ring.end(Err(ETIMEDOUT));
    }

    fn cancel_job(job: &Job<Self>) {
        job.data().0.end(Err(ECANCELED));
    }
}

/// What a test needs; dropped in this order.
struct Bench {
    queue: ARef<JobQueue<Mock>>,
    submit: Arc<OwnedQueue>,
    ring: Arc<Ring>,
    _dev: faux::Registration,
    _cleanup: ModuleQueueGuard,
}

impl Bench {
    fn new(cleanup: &'static ModuleQueue, credit_limit: u32) -> Result<Self> {
        let guard = cleanup.init(c"magni-test-cleanup")?;
        let dev = faux::Registration::new(c"magni-test", None)?;
        let ring = Arc::pin_init(
            pin_init!(Ring {
                context: FenceContext::new::<Names>(),
                running <- new_mutex!(None),
                started <- Completion::new(),
                second <- Completion::new(),
                runs: AtomicU32::new(0),
                timeouts: AtomicU32::new(0),
                frees: AtomicU32::new(0),
            }),
            GFP_KERNEL,
        )?;
        let queue = || -> Result<Arc<OwnedQueue>> {
            let queue = OwnedQueue::new_ordered().mem_reclaim();
            Ok(Arc::new(queue.build(c"magni-test")?, GFP_KERNEL)?)
        };
        let submit = queue()?;
        let faux: &faux::Device<device::Bound> = dev.as_ref();
        let bound: &device::Device<device::Bound> = faux.as_ref();
        Ok(Self {
            queue: JobQueue::new(Config {
                name: CString::try_from_fmt(fmt!("magni-test"))?,
                dev: bound,
                credit_limit,
                submit: submit.clone(),
                timeout: queue()?,
                teardown: cleanup.hold()?,
            })?,
            submit,
            ring,
            _dev: dev,
            _cleanup: guard,
        })
    }

    /// Waits until the jobs that are on the submit queue by now have been run.
    fn flush(&self) -> Result {
        let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
        let theirs = done.clone();
        self.submit
            .try_spawn(GFP_KERNEL, move || theirs.complete_all())?;
        done.wait_for_completion();
        Ok(())
    }

    fn job(&self, credits: u32) -> Result<PendingJob<Mock>> {
        let fence = FenceAlloc::new(GFP_KERNEL)?;
        self.queue
            .new_job(credits, 0, fence, Data(self.ring.clone()))
    }

    fn push(&self, job: PendingJob<Mock>) -> ARef<Fence> {
        let job = job.arm();
        let finished = job.finished().into();
        job.push();
        finished
    }

    /// Drops everything, and waits until it has been freed; returns what the ring saw: runs,
    /// timeouts, freed jobs.
    fn finish(self) -> (u32, u32, u32) {
        let ring = self.ring.clone();
        drop(self);
        (
            ring.runs.load(Ordering::Relaxed),
            ring.timeouts.load(Ordering::Relaxed),
            ring.frees.load(Ordering::Relaxed),
        )
    }
}

#[kunit_tests(magni_drm_sched)]
mod tests {
    use super::*;

    #[test]
    fn a_job_runs_and_ends() -> Result {
        static CLEANUP: ModuleQueue = ModuleQueue::new();
        let bench = Bench::new(&CLEANUP, 8)?;
        let finished = bench.push(bench.job(1)?);
        bench.ring.started.wait_for_completion();
        assert_eq!(finished.status(), None);
        bench.ring.end(Ok(()));
        finished.wait_interruptible()?;
        assert_eq!(finished.status(), Some(Ok(())));
        assert_eq!(bench.finish(), (1, 0, 1));
        Ok(())
    }

    #[test]
    fn the_error_of_a_job_is_that_of_its_fence() -> Result {
        static CLEANUP: ModuleQueue = ModuleQueue::new();
        let bench = Bench::new(&CLEANUP, 8)?;
        let finished = bench.push(bench.job(1)?);
        bench.ring.started.wait_for_completion();
        bench.ring.end(Err(EIO));
        finished.wait_interruptible()?;
        assert_eq!(finished.status(), Some(Err(EIO)));
        assert_eq!(bench.finish(), (1, 0, 1));
        Ok(())
    }

    #[test]
    fn a_pending_job_may_be_dropped() -> Result {
        static CLEANUP: ModuleQueue = ModuleQueue::new();
        let bench = Bench::new(&CLEANUP, 8)?;
        drop(bench.job(1)?);
        assert_eq!(bench.finish(), (0, 0, 1));
        Ok(())
    }

    #[test]
    fn an_armed_job_that_is_dropped_is_cancelled() -> Result {
        static CLEANUP: ModuleQueue = ModuleQueue::new();
        let bench = Bench::new(&CLEANUP, 8)?;
        let job = bench.job(1)?.arm();
        let finished: ARef<Fence> = job.finished().into();
        drop(job);
        finished.wait_interruptible()?;
        assert_eq!(finished.status(), Some(Err(ECANCELED)));
        assert_eq!(bench.finish(), (0, 0, 1));
        Ok(())
    }

    #[test]
    fn a_cancelled_job_ends_after_those_before_it() -> Result {
        static CLEANUP: ModuleQueue = ModuleQueue::new();
        let bench = Bench::new(&CLEANUP, 8)?;
        let first = bench.push(bench.job(1)?);
        bench.ring.started.wait_for_completion();
        let job = bench.job(1)?.arm();
        let second: ARef<Fence> = job.finished().into();
        drop(job);
        // The queue is ordered: behind the job that is cancelled, and everything before.
        bench.flush()?;
        assert_eq!(second.status(), None);
        bench.ring.end(Ok(()));
        second.wait_interruptible()?;
        assert_eq!(first.status(), Some(Ok(())));
        assert_eq!(second.status(), Some(Err(ECANCELED)));
        assert_eq!(bench.finish(), (1, 0, 2));
        Ok(())
    }

    #[test]
    fn a_job_waits_for_what_it_depends_on() -> Result {
        static CLEANUP: ModuleQueue = ModuleQueue::new();
        let bench = Bench::new(&CLEANUP, 8)?;
        let other = FenceAlloc::new(GFP_KERNEL)?.init(&FenceContext::new::<Names>(), 1);
        let mut job = bench.job(1)?;
        job.add_dependency(other.fence().into())?;
        let finished = bench.push(job);
        assert_eq!(bench.ring.runs.load(Ordering::Relaxed), 0);
        other.signal();
        bench.ring.started.wait_for_completion();
        bench.ring.end(Ok(()));
        finished.wait_interruptible()?;
        assert_eq!(bench.finish(), (1, 0, 1));
        Ok(())
    }

    #[test]
    fn a_job_that_hangs_is_ended_and_freed() -> Result {
        static CLEANUP: ModuleQueue = ModuleQueue::new();
        let bench = Bench::new(&CLEANUP, 8)?;
        let finished = bench.push(bench.job(1)?);
        bench.ring.started.wait_for_completion();
        bench.queue.report_fault();
        finished.wait_interruptible()?;
        assert_eq!(finished.status(), Some(Err(ETIMEDOUT)));
        assert_eq!(bench.finish(), (1, 1, 1));
        Ok(())
    }

    #[test]
    fn a_job_outlives_the_last_reference_to_its_queue() -> Result {
        static CLEANUP: ModuleQueue = ModuleQueue::new();
        let bench = Bench::new(&CLEANUP, 8)?;
        let ring = bench.ring.clone();
        let finished = bench.push(bench.job(1)?);
        let Bench {
            queue,
            _dev: dev,
            _cleanup: cleanup,
            ..
        } = bench;
        drop(queue);
        ring.started.wait_for_completion();
        ring.end(Ok(()));
        finished.wait_interruptible()?;
        drop((cleanup, dev));
        assert_eq!(ring.frees.load(Ordering::Relaxed), 1);
        Ok(())
    }

    #[test]
    fn credits_hold_jobs_back() -> Result {
        static CLEANUP: ModuleQueue = ModuleQueue::new();
        let bench = Bench::new(&CLEANUP, 8)?;
        let first = bench.push(bench.job(8)?);
        let second = bench.push(bench.job(1)?);
        bench.ring.started.wait_for_completion();
        assert_eq!(bench.ring.runs.load(Ordering::Relaxed), 1);
        bench.ring.end(Ok(()));
        first.wait_interruptible()?;
        bench.ring.second.wait_for_completion();
        bench.ring.end(Ok(()));
        second.wait_interruptible()?;
        assert_eq!(bench.finish(), (2, 0, 2));
        Ok(())
    }

    #[test]
    fn credits_that_cannot_be_are_refused() -> Result {
        static CLEANUP: ModuleQueue = ModuleQueue::new();
        let bench = Bench::new(&CLEANUP, 8)?;
        assert_eq!(bench.job(0).err(), Some(EINVAL));
        assert_eq!(bench.job(9).err(), Some(EINVAL));
        assert_eq!(bench.finish(), (0, 0, 2));
        Ok(())
    }
}
