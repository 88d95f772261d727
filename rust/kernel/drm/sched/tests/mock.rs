// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A ring and its firmware, as a test wants them to be.

use crate::{
    device,
    dma_fence::{
        DriverFence,
        Fence,
        FenceAlloc,
        FenceContext,
        FenceNames, //
    },
    drm::sched::{
        hw::{
            Ring,
            RingOperations, //
        },
        Config,
        Job,
        JobQueue,
        Operations,
        PendingJob,
        TimedOut, //
    },
    faux,
    new_mutex,
    new_spinlock,
    prelude::*,
    static_lock_class,
    str::CString,
    sync::{
        aref::ARef,
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        wait::WaitQueue,
        Arc,
        Mutex,
        SpinLock, //
    },
    time::{
        msecs_to_jiffies,
        Jiffies, //
    },
    workqueue::{
        ModuleQueue,
        ModuleQueueGuard,
        OwnedQueue,
        SignallingQueue, //
    },
    ModuleMetadata,
    ThisModule, //
};

/// The module of the tests: none, as if they were built in.
pub(crate) struct NoModule;

impl ModuleMetadata for NoModule {
    const NAME: &'static CStr = c"mock";
    // SAFETY: A null pointer means that there is no module.
    const THIS_MODULE: ThisModule = unsafe { ThisModule::from_ptr(core::ptr::null_mut()) };
}

pub(crate) struct Names;

impl FenceNames for Names {
    type Module = NoModule;
    const DRIVER: &'static CStr = c"mock";
    const TIMELINE: &'static CStr = c"mock";
}

/// How long a test waits at most for what is bound to happen.
const PATIENCE_MS: u32 = 30_000;

/// The most jobs on the ring.
const PLACES: usize = 64;

/// What a job does when it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// Stays on the ring until the test ends it: [`Hardware::end`].
    Run,
    /// Has completed before `run_job` returns.
    CompleteAtOnce,
    /// Has faulted before `run_job` returns.
    FaultAtOnce,
    /// Cannot be put on the ring.
    Refuse,
}

/// What the driver does when a job has run for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnTimeout {
    /// The firmware lets go of the ring, and the driver ends all of its jobs.
    End,
    /// The job completes at that very moment.
    CompleteMeanwhile,
    /// The firmware does not answer: a reset is queued.
    QueueReset,
    /// The device is gone.
    Gone,
    /// The driver claims to have ended the job, and has not.
    Lie,
    /// The ring is shared: the others are saved.
    Recover,
    /// Takes until the test [lets go](Hardware::let_go), and then finds that the job makes progress.
    Hold,
}

/// What the hardware and the driver saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) runs: u32,
    pub(crate) reruns: u32,
    pub(crate) timeouts: u32,
    pub(crate) cancels: u32,
    pub(crate) resets: u32,
    /// Jobs that were made, and then freed.
    pub(crate) freed: u32,
    /// Jobs that were made, and not freed.
    pub(crate) live: u32,
}

impl Counts {
    /// `jobs` were run once each and freed, and nothing else happened.
    pub(crate) fn ran(jobs: u32) -> Self {
        Self {
            runs: jobs,
            freed: jobs,
            ..Self::default()
        }
    }
}

/// A job on the ring.
struct Place {
    id: u32,
    /// The queue that it came from.
    queue: usize,
    fence: DriverFence,
}

struct State {
    ring: KVec<Place>,
    /// Jobs in the order of running, and again when they run again.
    order: KVec<u32>,
    counts: Counts,
    on_timeout: OnTimeout,
    reset_fails: bool,
    /// A job that completes while the hardware is being reset.
    completes_in_reset: Option<u32>,
    /// A job that completes while it is being cancelled.
    completes_in_cancel: Option<u32>,
    /// What `timed_out` returned last.
    outcome: Option<TimedOut>,
    /// `timed_out` has begun, and is held.
    held: bool,
    /// It is to go on.
    let_go: bool,
    /// What the test made somebody else do is done.
    marked: bool,
}

/// The hardware, and the driver's view of it.
#[pin_data]
pub(crate) struct Hardware {
    context: FenceContext<Names>,
    seqno: Atomic<u64>,
    #[pin]
    state: SpinLock<State>,
    #[pin]
    changed: WaitQueue,
    /// The rings that a reset hits.
    #[pin]
    pub(crate) rings: Mutex<KVec<Ring<Mock>>>,
    /// Where a timeout is handled that comes while a job is cancelled.
    #[pin]
    times_out_in_cancel: Mutex<Option<Arc<SignallingQueue>>>,
}

fn signal(fence: DriverFence, result: Result) {
    match result {
        Ok(()) => fence.signal(),
        Err(error) => fence.signal_error(error),
    }
}

impl Hardware {
    fn new() -> Result<Arc<Self>> {
        let state = State {
            ring: KVec::with_capacity(PLACES, GFP_KERNEL)?,
            order: KVec::with_capacity(8 * PLACES, GFP_KERNEL)?,
            counts: Counts::default(),
            on_timeout: OnTimeout::End,
            reset_fails: false,
            completes_in_reset: None,
            completes_in_cancel: None,
            outcome: None,
            held: false,
            let_go: false,
            marked: false,
        };
        // What is locked by `timed_out` is not locked for an allocation.
        let rings = KVec::with_capacity(4, GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                context: FenceContext::new(),
                seqno: Atomic::new(0),
                state <- new_spinlock!(state),
                changed <- WaitQueue::new(c"mock::Hardware::changed", static_lock_class!()),
                rings <- new_mutex!(rings),
                times_out_in_cancel <- new_mutex!(None),
            }),
            GFP_KERNEL,
        )
    }

    /// Changes the state, and wakes who waits for that.
    fn update<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let result = f(&mut self.state.lock());
        self.changed.wake_all();
        result
    }

    fn wait(&self, condition: impl Fn(&State) -> bool) -> bool {
        self.changed
            .wait_timeout(msecs_to_jiffies(PATIENCE_MS), || {
                condition(&self.state.lock())
            })
    }

    /// Waits until job `id` is on the ring.
    #[must_use]
    pub(crate) fn runs(&self, id: u32) -> bool {
        self.wait(|state| state.ring.iter().any(|place| place.id == id))
    }

    /// Waits until `n` calls of `timed_out` have returned; returns what the last one said.
    pub(crate) fn timed_out(&self, n: u32) -> Option<TimedOut> {
        self.wait(|state| state.counts.timeouts == n && state.outcome.is_some());
        self.update(|state| state.outcome.take())
    }

    /// Waits until a call of `timed_out` is held.
    #[must_use]
    pub(crate) fn holds(&self) -> bool {
        self.wait(|state| state.held)
    }

    /// Lets it go on.
    pub(crate) fn let_go(&self) {
        self.update(|state| state.let_go = true);
    }

    /// Somebody else has done what a test made him do.
    pub(crate) fn mark(&self) {
        self.update(|state| state.marked = true);
    }

    /// Waits until then.
    #[must_use]
    pub(crate) fn marked(&self) -> bool {
        self.wait(|state| state.marked)
    }

    /// Whether it happens within a moment: for what must not, and of which there is no event.
    pub(crate) fn is_marked_soon(&self) -> bool {
        self.changed
            .wait_timeout(msecs_to_jiffies(200), || self.state.lock().marked)
    }

    /// Waits until `n` jobs have been freed.
    #[must_use]
    pub(crate) fn freed(&self, n: u32) -> bool {
        self.wait(|state| state.counts.freed == n)
    }

    /// Whether job `id` is on the ring.
    pub(crate) fn has(&self, id: u32) -> bool {
        self.state.lock().ring.iter().any(|place| place.id == id)
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state.lock().counts
    }

    /// Whether the jobs have run in the order of `ids`.
    pub(crate) fn ran(&self, ids: &[u32]) -> bool {
        self.state.lock().order[..] == *ids
    }

    /// Ends job `id`; returns whether it was on the ring.
    pub(crate) fn end(&self, id: u32, result: Result) -> bool {
        let place = self.update(|state| {
            let at = state.ring.iter().position(|place| place.id == id)?;
            state.ring.remove(at).ok()
        });
        match place {
            Some(place) => {
                signal(place.fence, result);
                true
            }
            None => false,
        }
    }

    /// Ends all jobs of `queue`, `first` with the first error and the others with the second.
    fn end_queue(&self, queue: usize, first: u32, guilty: Error, others: Error) {
        self.end(first, Err(guilty));
        while let Some(id) = {
            let state = self.state.lock();
            let id = state.ring.iter().find(|place| place.queue == queue);
            id.map(|place| place.id)
        } {
            self.end(id, Err(others));
        }
    }

    /// Ends everything that is on the ring: what a reset does that saves nobody.
    pub(crate) fn end_all(&self, error: Error) {
        while let Some(id) = {
            let state = self.state.lock();
            let id = state.ring.first().map(|place| place.id);
            id
        } {
            self.end(id, Err(error));
        }
    }

    pub(crate) fn on_timeout(&self, what: OnTimeout) {
        self.update(|state| state.on_timeout = what);
    }

    pub(crate) fn reset_fails(&self) {
        self.update(|state| state.reset_fails = true);
    }

    pub(crate) fn completes_in_reset(&self, id: u32) {
        self.update(|state| state.completes_in_reset = Some(id));
    }

    pub(crate) fn completes_in_cancel(&self, id: u32) {
        self.update(|state| state.completes_in_cancel = Some(id));
    }
}

impl Hardware {
    /// When the next job is cancelled a timeout is handled, on `queue`, before that has had an
    /// effect.
    pub(crate) fn times_out_in_cancel(&self, queue: &Arc<SignallingQueue>) {
        *self.times_out_in_cancel.lock() = Some(queue.clone());
    }
}

/// What the driver knows about a job.
pub(crate) struct Data {
    hardware: Arc<Hardware>,
    pub(crate) id: u32,
    does: Does,
}

impl Data {
    fn new(hardware: &Arc<Hardware>, id: u32, does: Does) -> Self {
        hardware.update(|state| state.counts.live += 1);
        Self {
            hardware: hardware.clone(),
            id,
            does,
        }
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        self.hardware.update(|state| {
            state.counts.live -= 1;
            state.counts.freed += 1;
        });
    }
}

fn queue_id(job: &Job<Mock>) -> usize {
    core::ptr::from_ref(&**job.queue()).addr()
}

pub(crate) struct Mock;

impl Operations for Mock {
    type Module = NoModule;
    type Job = Data;
    type Resources = FenceAlloc<Names>;

    fn run_job(job: &Job<Self>, fence: FenceAlloc<Names>) -> Result<ARef<Fence>> {
        let Data {
            hardware, id, does, ..
        } = job.data();
        if *does == Does::Refuse {
            return Err(EIO);
        }
        let seqno = hardware.seqno.fetch_add(1, Relaxed) + 1;
        let fence = fence.init(&hardware.context, seqno);
        let shared = fence.fence().into();
        let place = Place {
            id: *id,
            queue: queue_id(job),
            fence,
        };
        let done = hardware.update(|state| {
            state.counts.runs += 1;
            let _ = state.order.push_within_capacity(*id);
            match does {
                Does::Run => {
                    // The credits of a test are fewer than places.
                    let _ = state.ring.push_within_capacity(place);
                    None
                }
                _ => Some(place),
            }
        });
        if let Some(place) = done {
            signal(
                place.fence,
                match does {
                    Does::FaultAtOnce => Err(EFAULT),
                    _ => Ok(()),
                },
            );
        }
        Ok(shared)
    }

    fn timed_out(job: &Job<Self>) -> TimedOut {
        let Data { hardware, id, .. } = job.data();
        let what = hardware.state.lock().on_timeout;
        let outcome = match what {
            OnTimeout::End => {
                let _paused = job.queue().pause();
                job.queue().ban(ECANCELED);
                hardware.end_queue(queue_id(job), *id, ETIMEDOUT, ECANCELED);
                TimedOut::Ended
            }
            OnTimeout::CompleteMeanwhile => {
                let _paused = job.queue().pause();
                hardware.end(*id, Ok(()));
                TimedOut::Finished
            }
            OnTimeout::QueueReset => {
                job.queue().ban(ECANCELED);
                TimedOut::ResetQueued
            }
            OnTimeout::Gone => {
                let _paused = job.queue().pause();
                job.queue().ban(ENODEV);
                hardware.end_all(ENODEV);
                TimedOut::DeviceGone
            }
            OnTimeout::Lie => TimedOut::Ended,
            OnTimeout::Hold => {
                hardware.update(|state| state.held = true);
                hardware.wait(|state| state.let_go);
                TimedOut::Finished
            }
            OnTimeout::Recover => {
                let rings = hardware.rings.lock();
                Ring::recover(&rings, job)
            }
        };
        hardware.update(|state| {
            state.counts.timeouts += 1;
            state.outcome = Some(outcome);
        });
        outcome
    }

    fn cancel_job(job: &Job<Self>, error: Error) {
        let Data { hardware, id, .. } = job.data();
        let times_out = hardware.times_out_in_cancel.lock().take();
        if let Some(queue) = times_out {
            job.queue().report_fault();
            queue.flush();
        }
        let result = hardware.update(|state| {
            state.counts.cancels += 1;
            match state.completes_in_cancel {
                Some(other) if other == *id => Ok(()),
                _ => Err(error),
            }
        });
        hardware.end(*id, result);
    }
}

impl RingOperations for Mock {
    fn reset(guilty: &Job<Self>) -> Result {
        let hardware = &guilty.data().hardware;
        let (completes, fails) = hardware.update(|state| {
            state.counts.resets += 1;
            (state.completes_in_reset.take(), state.reset_fails)
        });
        if let Some(id) = completes {
            hardware.end(id, Ok(()));
        }
        if fails {
            return Err(EIO);
        }
        Ok(())
    }

    fn rerun_job(job: &Job<Self>) {
        let Data { hardware, id, .. } = job.data();
        hardware.update(|state| {
            state.counts.reruns += 1;
            let _ = state.order.push_within_capacity(*id);
        });
    }
}

/// What a test needs; dropped in this order.
pub(crate) struct Bench {
    pub(crate) queue: ARef<JobQueue<Mock>>,
    pub(crate) hardware: Arc<Hardware>,
    pub(crate) submit: Arc<SignallingQueue>,
    pub(crate) timeout: Arc<SignallingQueue>,
    dev: faux::Registration,
    teardown: &'static ModuleQueue,
    cleanup: ModuleQueueGuard,
}

/// A [`Bench`] with a cleanup queue of its own: `bench!(credits)`.
macro_rules! bench {
    ($credits:expr) => {
        bench!($credits, None)
    };
    ($credits:expr, $limit:expr) => {{
        static CLEANUP: $crate::workqueue::ModuleQueue = $crate::workqueue::ModuleQueue::new();
        $crate::drm::sched::tests::mock::Bench::new(&CLEANUP, $credits, $limit)?
    }};
}
pub(crate) use bench;

pub(crate) fn signalling_queue() -> Result<Arc<SignallingQueue>> {
    let queue = OwnedQueue::new_ordered().mem_reclaim();
    Ok(Arc::new(
        queue.build_signalling(c"magni-test")?,
        GFP_KERNEL,
    )?)
}

impl Bench {
    pub(crate) fn new(
        teardown: &'static ModuleQueue,
        credits: u32,
        limit: Option<Jiffies>,
    ) -> Result<Self> {
        let cleanup = teardown.init(c"magni-test-cleanup")?;
        // One that a failed test has left must not be in the way of the next.
        static NUMBER: Atomic<u32> = Atomic::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let name = CString::try_from_fmt(fmt!("magni-test-{number}"))?;
        let dev = faux::Registration::new(&name, None)?;
        let (submit, timeout) = (signalling_queue()?, signalling_queue()?);
        let config = config(&dev, teardown, credits, limit, &submit, &timeout)?;
        Ok(Self {
            queue: JobQueue::new(config)?,
            hardware: Hardware::new()?,
            submit,
            timeout,
            dev,
            teardown,
            cleanup,
        })
    }

    /// What a further queue or ring is made of.
    pub(crate) fn config(&self, credits: u32) -> Result<Config<'_>> {
        config(
            &self.dev,
            self.teardown,
            credits,
            None,
            &self.submit,
            &self.timeout,
        )
    }

    /// Makes a ring that a reset hits.
    pub(crate) fn ring(&self, credits: u32) -> Result<Ring<Mock>> {
        let ring = Ring::new(self.config(credits)?)?;
        self.hardware.on_timeout(OnTimeout::Recover);
        let mut rings = self.hardware.rings.lock();
        rings
            .push_within_capacity(ring.clone())
            .map_err(|_| ENOSPC)?;
        drop(rings);
        Ok(ring)
    }

    /// Makes job `id` for `queue`.
    pub(crate) fn job_on(
        &self,
        queue: &ARef<JobQueue<Mock>>,
        id: u32,
        credits: u32,
        does: Does,
    ) -> Result<PendingJob<Mock>> {
        let fence = FenceAlloc::new(GFP_KERNEL)?;
        queue.new_job(credits, 0, fence, Data::new(&self.hardware, id, does))
    }

    /// Makes job `id` for the bench's own queue.
    pub(crate) fn job(&self, id: u32) -> Result<PendingJob<Mock>> {
        self.job_on(&self.queue, id, 1, Does::Run)
    }

    /// Submits job `id` to the bench's own queue.
    pub(crate) fn submit(&self, id: u32) -> Result<ARef<Fence>> {
        Ok(self.job(id)?.submit(|_| {}))
    }

    /// Waits until what is on the submit queue by now has been done.
    pub(crate) fn flush(&self) {
        self.submit.flush();
    }

    /// Drops everything, and waits until it has been freed; returns what the hardware saw.
    pub(crate) fn finish(self) -> Counts {
        let Self {
            queue,
            hardware,
            submit,
            timeout,
            dev,
            cleanup,
            ..
        } = self;
        hardware.rings.lock().clear();
        drop((queue, submit, timeout));
        // Waits for every queue and ring.
        drop(cleanup);
        drop(dev);
        assert_empty(&hardware);
        hardware.counts()
    }
}

/// Nobody waits for hardware that has nothing to do.
fn assert_empty(hardware: &Hardware) {
    let left = hardware.state.lock().ring.len();
    if left != 0 {
        pr_err!("{left} jobs are left on the ring\n");
        hardware.update(|state| state.counts.live += 1000);
    }
}

fn config<'a>(
    dev: &'a faux::Registration,
    teardown: &'static ModuleQueue,
    credit_limit: u32,
    time_limit: Option<Jiffies>,
    submit: &Arc<SignallingQueue>,
    timeout: &Arc<SignallingQueue>,
) -> Result<Config<'a>> {
    let faux: &faux::Device<device::Bound> = dev.as_ref();
    let bound: &device::Device<device::Bound> = faux.as_ref();
    Ok(Config {
        name: CString::try_from_fmt(fmt!("magni-test"))?,
        dev: bound,
        credit_limit,
        time_limit,
        submit: submit.clone(),
        timeout: timeout.clone(),
        teardown: teardown.hold()?,
    })
}

/// How `fence` has signalled, after waiting for it.
pub(crate) fn ended(fence: &Fence) -> Option<Result> {
    fence.wait_timeout(msecs_to_jiffies(PATIENCE_MS));
    fence.status()
}

/// A fence of somebody else, whose code the driver does not know.
pub(crate) fn foreign() -> Result<DriverFence> {
    Ok(FenceAlloc::<Names>::new(GFP_KERNEL)?.init(&FenceContext::new(), 1))
}
