// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A queue: a ring of instructions, and the jobs in it.

mod clock;
mod ending;

pub(crate) use ending::Progress;

use super::{
    fifo::{
        Fifo,
        Room, //
    },
    job::{
        Jobs,
        Resources, //
    },
    residency::Residency,
    stream::{
        self,
        Abi,
        Call,
        MAX_INSTRS,
        MIN_BYTES, //
    },
    timer::{
        Alarm,
        JobTimer, //
    },
    Scheduler, //
};
use crate::{
    gem::KernelBo,
    power::PowerRef,
    profiling::{
        Mask,
        Sample,
        Usage, //
    },
    trace::QueueTag,
    Magni, //
};
use core::num::NonZero;
use kernel::{
    dma_fence::{
        DriverFence,
        Fence,
        FenceContext,
        FenceNames, //
    },
    drm::sched::JobQueue,
    impl_has_delayed_work, new_delayed_work, new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Atomic,
            AtomicFlag,
            Relaxed,
            Release, //
        },
        barrier::{
            dma_mb,
            Write, //
        },
        Arc,
        SpinLock, //
    },
    time::{
        Instant,
        Monotonic, //
    },
    workqueue::{
        DelayedWork,
        SignallingQueue, //
    },
};

/// How big a ring may be, in bytes: a power of two in this range.
pub(crate) const RING_SIZES: core::ops::RangeInclusive<u32> = 4096..=65536;

/// Bytes of one sync object: a sequence number, a status, and padding.
pub(crate) const SYNC_BYTES: usize = 16;

/// Where the status is in it: not zero when the job that updated it last has failed.
const SYNC_STATUS: usize = 8;

/// The page that the kernel writes: INSERT and EXTRACT, in bytes, ever growing.
const IFACE_INSERT: usize = 0;
const IFACE_EXTRACT_INIT: usize = 8;

/// The page that the firmware writes: EXTRACT.
const IFACE_OUTPUT: usize = 4096;
const IFACE_EXTRACT: usize = IFACE_OUTPUT;

/// How many jobs there are places for at first, once there is a job.
const FIRST_PLACES: usize = 4;

/// A job in the ring. A queue may have places for as many as its ring can hold, so this is small.
struct InFlight {
    /// Its number is the value of the sync object once the job has completed.
    fence: DriverFence,
    /// Where the job ends, in bytes since the queue was made; wraps.
    end: u32,
    /// It has failed, and its fence says so already.
    faulted: bool,
    /// What is in its sample.
    measured: Mask,
    /// Keeps the GPU powered until the fence has signalled.
    power: PowerRef,
}

const _: () = assert!(size_of::<Option<InFlight>>() <= 32);

impl InFlight {
    /// The value of the sync object once the job has completed.
    fn seqno(&self) -> u64 {
        self.fence.fence().seqno()
    }

    /// Where the job starts, in bytes since the queue was made; wraps.
    fn start(&self) -> u32 {
        let size = stream::job_instrs(self.measured) * size_of::<u64>();
        self.end.wrapping_sub(size as u32)
    }

    /// Signals the fence; what is left is to be dropped without locks.
    fn end(self, tag: &QueueTag, error: Option<Error>) -> PowerRef {
        tag.job_done(self.seqno(), error);
        match error {
            None => self.fence.signal(),
            Some(error) => self.fence.signal_error(error),
        }
        self.power
    }
}

/// What the ring's lock protects.
struct Ring {
    /// Where the next job goes: bytes since the queue was made.
    insert: u64,
    /// The sequence number of the newest job.
    seqno: u64,
    jobs: Fifo<InFlight>,
    /// The fence of the newest job.
    newest: Option<ARef<Fence>>,
    /// Why no job can be added any more.
    dead: Option<Error>,
    timer: JobTimer,
    /// What `insert` was when the firmware was last asked to take up the ring.
    shown: u64,
    /// Where the group was when it was last on the hardware.
    slot: Option<u32>,
    /// When the timer's work comes.
    alarm: Alarm,
}

pub(crate) struct Names;

impl FenceNames for Names {
    type Module = Magni;
    const DRIVER: &'static CStr = c"magni";
    const TIMELINE: &'static CStr = c"queue";
}

/// A queue of a group.
#[pin_data]
pub(crate) struct Queue {
    tag: QueueTag,
    index: usize,
    /// 0 to 15, among the queues of the group.
    priority: u8,
    ring_bo: KernelBo,
    iface: KernelBo,
    /// A [`Sample`] for each job that the ring can hold.
    samples: KernelBo,
    usage: Arc<Usage>,
    /// The sync objects of the group, one for each queue.
    syncs: Arc<KernelBo>,
    context: FenceContext<Names>,
    jobs: ARef<JobQueue<Jobs>>,
    timeouts: Arc<SignallingQueue>,
    sched: Arc<Scheduler>,
    /// When the queue was made: what its clock counts from.
    made: Instant<Monotonic>,
    /// Who ends jobs: fences signal in order, though several threads may look for them. Held
    /// while they are taken off the ring and signalled.
    #[pin]
    ending: SpinLock<()>,
    #[pin]
    ring: SpinLock<Ring>,
    /// How many jobs there are that may come into the ring, or are there.
    expected: Atomic<usize>,
    /// For how many of them the ring has places: never less than were expected when
    /// [`expect_job`](Self::expect_job) returned, or than fit the ring.
    places: Atomic<usize>,
    /// There are jobs in the ring. Written under its lock, read without.
    at_work: AtomicFlag,
    #[pin]
    timer: DelayedWork<Queue>,
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Queue { self.timer }
}

/// What a [`Queue`] is made of.
pub(crate) struct Parts {
    pub(crate) tag: QueueTag,
    pub(crate) index: usize,
    pub(crate) priority: u8,
    /// Mapped in the group's VM.
    pub(crate) ring: KernelBo,
    /// Mapped in the MCU's VM; a page that the kernel writes, and one that the firmware writes.
    pub(crate) iface: KernelBo,
    /// Mapped in the group's VM; [`samples_size`] bytes.
    pub(crate) samples: KernelBo,
    /// What the jobs of the group's file use.
    pub(crate) usage: Arc<Usage>,
    /// Mapped in the group's VM; [`SYNC_BYTES`] for each queue, zeroed.
    pub(crate) syncs: Arc<KernelBo>,
    pub(crate) jobs: ARef<JobQueue<Jobs>>,
    pub(crate) sched: Arc<Scheduler>,
    pub(crate) timeouts: Arc<SignallingQueue>,
}

/// How many credits fit a ring of `size` bytes: one for each instruction.
///
/// One job's place always stays free: a job counts as completed while its last instructions,
/// behind the update of the sync object, may still be fetched.
pub(crate) fn ring_credits(size: u32) -> u32 {
    size / size_of::<u64>() as u32 - MAX_INSTRS as u32
}

/// Bytes of the samples for a ring of `size` bytes.
pub(crate) fn samples_size(size: u32) -> u64 {
    u64::from(size) / MIN_BYTES * Sample::BYTES
}

/// Where the sample of a job is, in bytes, that starts at byte `start` of the ring.
///
/// Jobs that are in the ring at a time start at least [`MIN_BYTES`] apart, so that each has its own.
fn sample_offset(start: u64) -> usize {
    (start / MIN_BYTES * Sample::BYTES) as usize
}

impl Queue {
    /// Makes a queue.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(parts: Parts) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                tag: parts.tag,
                index: parts.index,
                priority: parts.priority,
                ring_bo: parts.ring,
                iface: parts.iface,
                samples: parts.samples,
                usage: parts.usage,
                syncs: parts.syncs,
                context: FenceContext::new(),
                jobs: parts.jobs,
                sched: parts.sched,
                timeouts: parts.timeouts,
                made: Instant::now(),
                ending <- new_spinlock!((), "magni::Queue::ending"),
                ring <- new_spinlock!(Ring {
                    insert: 0,
                    seqno: 0,
                    jobs: Fifo::new(),
                    newest: None,
                    dead: None,
                    timer: JobTimer::new(),
                    shown: 0,
                    slot: None,
                    alarm: Alarm::new(),
                }, "magni::Queue::ring"),
                expected: Atomic::new(0),
                places: Atomic::new(0),
                at_work: AtomicFlag::new(false),
                timer <- new_delayed_work!("magni::Queue::timer"),
            }),
            GFP_KERNEL,
        )
    }

    /// Milliseconds since the queue was made.
    fn now(&self) -> u64 {
        self.made.elapsed().as_millis().max(0) as u64
    }

    /// The priority among the group's queues.
    pub(crate) fn priority(&self) -> u8 {
        self.priority
    }

    /// What the queue is called in trace events.
    pub(crate) fn tag(&self) -> &QueueTag {
        &self.tag
    }

    /// Which of the group's queues it is.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// The scheduler's side of the queue.
    pub(crate) fn jobs(&self) -> &ARef<JobQueue<Jobs>> {
        &self.jobs
    }

    /// GPU address and size in bytes of the ring, in the group's VM.
    pub(crate) fn ring_range(&self) -> (u64, u32) {
        (self.ring_bo.va(), self.ring_bo.size() as u32)
    }

    /// Bytes of the queue's own buffers.
    pub(crate) fn memory(&self) -> u64 {
        self.ring_bo.size() + self.iface.size() + self.samples.size()
    }

    /// Addresses of the shared pages in the MCU's VM: the kernel's, then the firmware's.
    pub(crate) fn iface_addresses(&self) -> (u64, u64) {
        (self.iface.va(), self.iface.va() + IFACE_OUTPUT as u64)
    }

    /// Where the sync object lies in the group's VM.
    fn sync_address(&self) -> u64 {
        self.syncs.va() + (self.index * SYNC_BYTES) as u64
    }

    /// Whether the ring holds instructions that the firmware has not fetched.
    ///
    /// For a queue that is off the hardware, or whose state the firmware was just asked for.
    pub(crate) fn has_unfetched(&self) -> Result<bool> {
        let extract = self.iface.cpu().read64(IFACE_EXTRACT)?;
        Ok(self.ring.lock().insert != extract)
    }

    /// Whether there are jobs that have not completed.
    ///
    /// Takes no lock. Either this, after a full barrier, sees a job, or the job, after that in
    /// [`Residency::after_insert`], sees what was written before this one's.
    pub(crate) fn has_jobs(&self) -> bool {
        self.at_work.load(Acquire)
    }

    /// The fence of the newest job: when it signals, all jobs before now have ended.
    pub(crate) fn newest_fence(&self) -> Result<ARef<Fence>> {
        let ring = self.ring.lock();
        match (&ring.newest, ring.dead) {
            (Some(fence), _) => Ok(fence.clone()),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(Fence::signalled()),
        }
    }

    /// There will be one more job for the ring; sees to it that there is a place. Sleeps.
    ///
    /// To be taken back with [`job_is_gone`](Self::job_is_gone), also if it fails.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn expect_job(&self) -> Result {
        let most = (self.ring_bo.size() / MIN_BYTES) as usize;
        let wanted = (self.expected.fetch_add(1, Relaxed) + 1).min(most);
        // As many as there are now stay: none is ever given back.
        if wanted <= self.places.load(Acquire) {
            return Ok(());
        }
        let wanted = wanted.next_power_of_two().max(FIRST_PLACES).min(most);
        let room = Room::new(wanted)?;
        let mut ring = self.ring.lock();
        let unused = ring.jobs.move_to(room);
        self.places.store(ring.jobs.capacity(), Release);
        drop(ring);
        drop(unused);
        Ok(())
    }

    /// A job that was [expected](Self::expect_job) is not in the ring, and will not be.
    pub(crate) fn job_is_gone(&self) {
        self.expected.fetch_sub(1, Relaxed);
    }

    /// Puts a job in the ring.
    ///
    /// Returns its fence, and the slot whose doorbell is to be rung, or [`None`] if the scheduler
    /// has to be asked for one. Part of what fences wait for: allocates nothing.
    ///
    /// # Errors
    ///
    /// Why the queue is dead, if it is.
    pub(crate) fn submit(
        self: &Arc<Self>,
        residency: &Residency,
        abi: Abi,
        call: &CallArgs,
        resources: Resources,
    ) -> Result<(ARef<Fence>, Option<u32>)> {
        let mut ring = self.ring.lock();
        if let Some(error) = ring.dead {
            return Err(error);
        }

        // The size is a power of two.
        let mask = self.ring_bo.size() - 1;
        let sample = sample_offset(ring.insert & mask);
        let stream = stream::job(
            abi,
            &Call {
                start: call.start,
                size: call.size.get(),
                latest_flush: call.latest_flush,
                sync: self.sync_address(),
                measure: resources.measure,
                sample: self.samples.va() + sample as u64,
            },
        );
        if resources.measure != Mask::NONE {
            // The job may be cut short, and the place had another's.
            for at in (sample..sample + Sample::BYTES as usize).step_by(8) {
                self.samples.cpu().write64(at, 0)?;
            }
        }
        let instrs = stream.instrs();
        for (i, instr) in instrs.iter().copied().enumerate() {
            let at = (ring.insert + (i * size_of::<u64>()) as u64) & mask;
            self.ring_bo.cpu().write64(at as usize, instr)?;
        }

        let seqno = ring.seqno + 1;
        let end = ring.insert + size_of_val(instrs) as u64;
        let fence = resources.fence.init(&self.context, seqno);
        let shared: ARef<Fence> = fence.fence().into();
        let job = InFlight {
            fence,
            end: end as u32,
            faulted: false,
            measured: resources.measure,
            power: resources.power,
        };
        if let Err(job) = ring.jobs.push(job) {
            // It was expected, and credits keep more from coming than fit.
            job.fence.signal_error(ENOSPC);
            return Err(ENOSPC);
        }
        self.at_work.store(true, Release);
        ring.seqno = seqno;
        ring.insert = end;
        ring.newest = Some(shared.clone());

        // The instructions are there before the firmware sees that they are.
        dma_mb(Write);
        self.iface.cpu().write64(IFACE_INSERT, end)?;

        let slot = residency.after_insert();
        self.tag.job_run(seqno, slot);
        if slot.is_some() {
            ring.slot = slot;
            self.run_timer(&mut ring);
        }
        Ok((shared, slot))
    }

    /// Tells the firmware, before it takes up the ring, how far it had got.
    ///
    /// It sees all jobs that are in the ring now. Those that come later either find the group
    /// resident, or are seen by [`enter_hardware`](Self::enter_hardware): both are under the
    /// ring's lock.
    pub(crate) fn take_up(&self) -> Result {
        let extract = self.iface.cpu().read64(IFACE_EXTRACT)?;
        self.iface.cpu().write64(IFACE_EXTRACT_INIT, extract)?;
        let mut ring = self.ring.lock();
        ring.shown = ring.insert;
        Ok(())
    }
}

/// The part of a job's call that user space decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallArgs {
    /// GPU address of the stream.
    pub(crate) start: u64,
    /// Bytes in the stream.
    pub(crate) size: NonZero<u32>,
    /// The flush id that user space read before it built the stream.
    pub(crate) latest_flush: u32,
}
