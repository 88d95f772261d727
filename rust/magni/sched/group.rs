// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Groups: queues that go on and off the hardware together, and share a VM.

use super::{
    job::{
        Jobs,
        Resources, //
    },
    queue::{
        self,
        CallArgs,
        Parts,
        Queue,
        SYNC_BYTES, //
    },
    residency::Residency,
    slots::Slots,
    sync_wait::SyncWait,
    Scheduler, //
};
use crate::{
    device::{
        BoundDevice,
        Device, //
    },
    gem::{
        KernelBo,
        Va, //
    },
    mmu::{
        MapFlags,
        Vm, //
    },
    profiling::Usage,
    trace::{
        self,
        GroupState,
        QueueTag, //
    },
    CLEANUP, //
};
use core::ops::Deref;
use kernel::{
    dma_fence::Fence,
    drm::sched::{
        Config,
        JobQueue, //
    },
    list::{
        impl_list_arc_safe,
        impl_list_item,
        AtomicTracker,
        ListLinks,
        TryNewListArc, //
    },
    new_deferred,
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Atomic,
            AtomicFlag,
            Full,
            Relaxed,
            Release, //
        },
        Arc,
        LockedBy, //
    },
    time::{
        Instant,
        Monotonic, //
    },
    workqueue::{
        cancel_delayed_work_sync,
        Deferred, //
    },
};

/// The most queues that a group may have.
pub(crate) const MAX_QUEUES: usize = 32;

/// The highest priority of a queue among those of its group.
pub(crate) const MAX_QUEUE_PRIORITY: u8 = 15;

/// For how many milliseconds a realtime group keeps its slot that does nothing: longer than from
/// one frame to the next.
const KEPT_MS: i64 = 50;

/// How urgent a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Priority {
    Low,
    Medium,
    High,
    Realtime,
}

impl TryFrom<u8> for Priority {
    type Error = Error;

    /// # Errors
    ///
    /// `EINVAL` for a number that stands for no priority.
    fn try_from(value: u8) -> Result<Self> {
        Ok(match value {
            0 => Self::Low,
            1 => Self::Medium,
            2 => Self::High,
            3 => Self::Realtime,
            _ => return Err(EINVAL),
        })
    }
}

/// Which cores a group may use for one kind of work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub(crate) mask: u64,
    /// How many of them at a time.
    pub(crate) max: u8,
}

/// What user space says about a group.
pub(crate) struct Settings {
    pub(crate) priority: Priority,
    pub(crate) compute: Cores,
    pub(crate) fragment: Cores,
    pub(crate) tiler: Cores,
}

/// What user space says about a queue.
pub(crate) struct QueueSettings {
    /// 0 to 15.
    pub(crate) priority: u8,
    /// In bytes.
    pub(crate) ring_size: u32,
}

/// Why a group ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A job ran for too long, or the firmware says that nothing moves.
    TimedOut,
    /// The GPU failed it by no fault of its own.
    Innocent,
    /// Its owner does not want it any more.
    Destroyed,
}

/// A group; the last reference may be dropped anywhere.
#[pin_data]
pub(crate) struct Group {
    inner: Deferred<Inner>,
    #[pin]
    links: ListLinks,
    #[pin]
    tracker: AtomicTracker,
}

impl_list_arc_safe! {
    impl ListArcSafe<0> for Group { tracked_by tracker: AtomicTracker; }
}

impl_list_item! {
    impl ListItem<0> for Group { using ListLinks { self.links }; }
}

impl Deref for Group {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

/// What the scheduler knows about a group, under its lock.
pub(super) struct State {
    /// The firmware has the group's state in the suspend buffer.
    pub(super) suspended: bool,
    /// What each queue waits for, if that is a sync object, while the group is off the hardware.
    pub(super) waits: KVec<Option<SyncWait>>,
    /// How many updates of sync objects there had been when that was so.
    pub(super) updates: u32,
    /// What was last traced of it while it was off the hardware.
    pub(super) told: Option<GroupState>,
}

impl State {
    /// A group of `queues` queues that was never on the hardware.
    fn new(queues: usize) -> Result<Self> {
        let mut waits = KVec::with_capacity(queues, GFP_KERNEL)?;
        for _ in 0..queues {
            waits.push(None, GFP_KERNEL)?;
        }
        Ok(Self {
            suspended: false,
            waits,
            updates: 0,
            told: None,
        })
    }

    /// The group is on the hardware from now on.
    pub(super) fn enter_hardware(&mut self) {
        self.suspended = false;
        self.told = None;
        self.waits.iter_mut().for_each(|wait| *wait = None);
    }
}

/// What makes up a group.
pub(crate) struct Inner {
    /// For people to read.
    id: u32,
    settings: Settings,
    queues: KVec<Arc<Queue>>,
    /// The scheduler's side of the queues, in the same order.
    job_queues: KVec<ARef<JobQueue<Jobs>>>,
    /// Bytes of the sync objects' buffer.
    syncs_size: u64,
    suspend_buf: KernelBo,
    protected_suspend_buf: Option<KernelBo>,
    pub(super) residency: Residency,

    timed_out: AtomicFlag,
    innocent: AtomicFlag,
    destroyed: AtomicFlag,
    /// A bit for each queue that hit an error which ends the group.
    fatal_queues: Atomic<u32>,

    pub(super) state: LockedBy<State, Slots>,
    /// The firmware said that the group does nothing, some time after it was last asked.
    pub(super) stalled_hint: AtomicFlag,
    /// It has jobs, and is counted so in the scheduler.
    at_work: AtomicFlag,

    /// When a realtime group last got its first job or ended its last, in milliseconds since it was
    /// made.
    turned_ms: Atomic<i64>,

    made: Instant<Monotonic>,
    /// Who made it, for messages.
    pid: i32,

    vm: Arc<Vm>,
    sched: Arc<Scheduler>,
}

impl Inner {
    /// The device that the group is for.
    pub(crate) fn device(&self) -> &Arc<Device> {
        self.sched.device()
    }

    /// The scheduler that the group belongs to.
    pub(super) fn scheduler(&self) -> &Arc<Scheduler> {
        &self.sched
    }

    /// The address space of the group's streams.
    pub(crate) fn vm(&self) -> &Arc<Vm> {
        &self.vm
    }

    /// Stands for the VM: the same for groups of the same one, as long as they exist.
    pub(super) fn vm_key(&self) -> usize {
        Arc::as_ptr(&self.vm) as usize
    }

    /// What user space said about the group.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The scheduler's side of the group's queues.
    pub(super) fn job_queues(&self) -> &[ARef<JobQueue<Jobs>>] {
        &self.job_queues
    }

    /// The group's queues.
    pub(super) fn queues(&self) -> &[Arc<Queue>] {
        &self.queues
    }

    /// Queue number `index`.
    pub(crate) fn queue(&self, index: usize) -> Option<&Arc<Queue>> {
        self.queues.get(index)
    }

    /// One bit for each queue.
    pub(super) fn queue_mask(&self) -> u32 {
        (1u64 << self.queues.len()).wrapping_sub(1) as u32
    }

    /// Addresses in the MCU's VM of the buffers for the group's state, the second for protected
    /// mode; zero if there is none.
    pub(super) fn suspend_buffers(&self) -> (u64, u64) {
        (
            self.suspend_buf.va(),
            self.protected_suspend_buf.as_ref().map_or(0, KernelBo::va),
        )
    }

    /// The group has come into `state`.
    pub(super) fn trace_state(&self, state: GroupState, slot: Option<usize>) {
        trace::group_state(&self.device().dev, self.id, state, slot);
    }

    /// The group, off the hardware, waits as `state` says; not told again while that stays so.
    pub(super) fn trace_wait(&self, slots: &mut Slots, state: GroupState) {
        let told = &mut self.state.access_mut(slots).told;
        if *told != Some(state) {
            *told = Some(state);
            self.trace_state(state, None);
        }
    }

    /// The group's number, for people to read.
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Bytes of the buffers that the kernel has made for the group.
    pub(super) fn memory(&self) -> u64 {
        let own = self.suspend_buf.size()
            + self
                .protected_suspend_buf
                .as_ref()
                .map_or(0, KernelBo::size)
            + self.syncs_size;
        let queues = self.queues.iter().map(|queue| queue.memory());
        own + queues.sum::<u64>()
    }

    /// The process that made the group.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether jobs may still be executed.
    pub(crate) fn can_run(&self) -> bool {
        !self.timed_out.load(Acquire)
            && !self.destroyed.load(Acquire)
            && self.fatal_queues.load(Acquire) == 0
    }

    /// From now on nothing of the group is executed. It still has to be taken off the hardware.
    pub(super) fn ban(&self, fate: Fate) {
        match fate {
            Fate::TimedOut => self.timed_out.store(true, Release),
            Fate::Innocent => {
                // One that was to end anyway is not innocent.
                if self.can_run() {
                    self.innocent.store(true, Release);
                    self.timed_out.store(true, Release);
                }
            }
            Fate::Destroyed => self.destroyed.store(true, Release),
        }
    }

    /// Ends the group if its VM has faulted. One that is active anew has forgotten it.
    pub(super) fn note_vm_fault(&self) {
        if self.vm.has_faulted() && self.can_run() {
            self.add_fatal(self.queue_mask());
        }
    }

    /// The queues in `mask` have hit an error that ends the group.
    pub(super) fn add_fatal(&self, mask: u32) {
        let mut old = self.fatal_queues.load(Relaxed);
        while let Err(now) = self.fatal_queues.cmpxchg(old, old | mask, Release) {
            old = now;
        }
    }

    /// What has become of the group, in the terms of the uAPI: its state flags, and the queues
    /// that hit fatal errors.
    pub(crate) fn state(&self) -> (u32, u32) {
        use kernel::uapi;

        let fatal = self.fatal_queues.load(Acquire);
        let mut state = 0;
        if self.timed_out.load(Acquire) {
            state |= uapi::drm_panthor_group_state_flags_DRM_PANTHOR_GROUP_STATE_TIMEDOUT;
        }
        if fatal != 0 {
            state |= uapi::drm_panthor_group_state_flags_DRM_PANTHOR_GROUP_STATE_FATAL_FAULT;
        }
        if self.innocent.load(Acquire) {
            state |= uapi::drm_panthor_group_state_flags_DRM_PANTHOR_GROUP_STATE_INNOCENT;
        }
        (state, fatal)
    }

    /// Ends all jobs, with the error that fits each queue.
    ///
    /// Only for a group that cannot run, and that the GPU no longer works for.
    pub(super) fn kill_jobs(&self) {
        self.trace_state(GroupState::Ended, None);
        let fatal = self.fatal_queues.load(Acquire);
        for (i, queue) in self.queues.iter().enumerate() {
            queue.kill(if self.sched.is_lost() {
                ENODEV
            } else if fatal & 1 << i != 0 {
                EINVAL
            } else if self.timed_out.load(Acquire) {
                ETIMEDOUT
            } else {
                ECANCELED
            });
        }
        self.rest();
        // Groups that waited for this one's sync objects wait no longer.
        self.sched.syncs_killed();
    }

    /// The group waits for a slot: its jobs get no older.
    pub(super) fn leave_hardware(&self) {
        for queue in &self.queues {
            queue.leave_hardware();
        }
    }

    /// How many jobs of the group have completed: another number than before if one has since.
    pub(super) fn completed(&self) -> u64 {
        let counts = self.queues.iter().map(|queue| queue.completed());
        counts.fold(0, u64::wrapping_add)
    }

    /// The group may have got its first job.
    fn work(&self) {
        if !self.at_work.load(Relaxed) && !self.at_work.xchg(true, Full) {
            self.note_turn();
            self.sched.begin_work(self.settings.priority);
            // It may have ended in between.
            self.rest();
        }
    }

    /// The group may have no jobs any more.
    ///
    /// Meets [`work`](Self::work) without a lock, as `at-work.litmus` has it: this clears the flag,
    /// then looks for jobs; a job is counted, then the flag is read. Both have a full barrier in
    /// between, so that a job that is not seen here finds the flag cleared.
    pub(super) fn rest(&self) {
        if !self.has_jobs() && self.at_work.xchg(false, Full) {
            self.note_turn();
            self.sched.end_work(self.settings.priority);
            // One may have come in between.
            if self.has_jobs() {
                self.work();
            }
        }
    }

    /// A realtime group begins or ends to have jobs.
    fn note_turn(&self) {
        if self.settings.priority == Priority::Realtime {
            self.turned_ms
                .store(self.made.elapsed().as_millis(), Relaxed);
        }
    }

    /// Whether the group keeps its slot from less urgent ones when it does nothing. It may have jobs
    /// all the same, that have completed and were not told of yet.
    pub(super) fn is_kept(&self) -> bool {
        if self.settings.priority != Priority::Realtime || !self.can_run() {
            return false;
        }
        let now = self.made.elapsed().as_millis();
        now.saturating_sub(self.turned_ms.load(Relaxed)) < KEPT_MS
    }

    /// Whether a queue holds jobs that have not completed.
    pub(super) fn has_jobs(&self) -> bool {
        self.queues.iter().any(|queue| queue.has_jobs())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A timer that is not stopped would keep its queue, and with it the memory of the ring.
        for queue in &self.queues {
            drop(cancel_delayed_work_sync::<Queue, 0>(queue));
        }
    }
}

impl Group {
    /// Makes a group on `vm`, off the hardware, with a queue for each of `queues`.
    ///
    /// What its jobs use is added to `usage`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a ring's size is not one that the hardware has, or a priority is above 15;
    /// `ENOMEM`; `ENODEV` if the device is gone.
    pub(crate) fn new(
        cx: BoundDevice<'_>,
        sched: &Arc<Scheduler>,
        vm: &Arc<Vm>,
        settings: Settings,
        queues: &[QueueSettings],
        usage: Arc<Usage>,
    ) -> Result<Arc<Self>> {
        for queue in queues {
            if !queue.ring_size.is_power_of_two()
                || !queue::RING_SIZES.contains(&queue.ring_size)
                || queue.priority > MAX_QUEUE_PRIORITY
            {
                return Err(EINVAL);
            }
        }

        let fw = &sched.device().fw;
        let suspend_buf = fw.alloc_suspend_buffer(cx)?;
        let protected_suspend_buf = match fw.csg(0)?.control.protm_suspend_size() {
            0 => None,
            _ => Some(fw.alloc_protm_suspend_buffer(cx)?),
        };
        let data = MapFlags::NOEXEC.and(MapFlags::UNCACHED);
        let syncs = Arc::new(
            KernelBo::new(cx, vm, (queues.len() * SYNC_BYTES) as u64, data, Va::Auto)?,
            GFP_KERNEL,
        )?;

        let id = sched.next_group_id();
        let (submit, timeouts) = sched.queues_for(settings.priority);
        let mut all = KVec::with_capacity(queues.len(), GFP_KERNEL)?;
        let mut job_queues = KVec::with_capacity(queues.len(), GFP_KERNEL)?;
        for (index, queue) in queues.iter().enumerate() {
            let jobs = JobQueue::<Jobs>::new(Config {
                name: CString::try_from_fmt(fmt!("magni-queue-{id}-{index}"))?,
                dev: &sched.device().dev,
                credit_limit: queue::ring_credits(queue.ring_size),
                // The driver's own timers decide: they know when the ring is on the hardware.
                time_limit: None,
                submit: submit.clone(),
                timeout: timeouts.clone(),
                teardown: CLEANUP.hold()?,
            })?;
            job_queues.push(jobs.clone(), GFP_KERNEL)?;
            let queue = Queue::new(Parts {
                tag: QueueTag::new(&sched.device().dev, id, index),
                index,
                priority: queue.priority,
                ring: KernelBo::new(cx, vm, queue.ring_size.into(), data, Va::Auto)?,
                iface: fw.alloc_ring_interface(cx)?,
                samples: KernelBo::new(
                    cx,
                    vm,
                    queue::samples_size(queue.ring_size),
                    data,
                    Va::Auto,
                )?,
                usage: usage.clone(),
                syncs: syncs.clone(),
                jobs,
                timeouts: timeouts.clone(),
                sched: sched.clone(),
            })?;
            all.push(queue, GFP_KERNEL)?;
        }

        let inner = Inner {
            id,
            settings,
            queues: all,
            job_queues,
            syncs_size: syncs.size(),
            suspend_buf,
            protected_suspend_buf,
            residency: Residency::new(),
            timed_out: AtomicFlag::new(false),
            innocent: AtomicFlag::new(false),
            destroyed: AtomicFlag::new(false),
            fatal_queues: Atomic::new(0),
            state: LockedBy::new(&sched.slots, State::new(queues.len())?),
            stalled_hint: AtomicFlag::new(false),
            at_work: AtomicFlag::new(false),
            turned_ms: Atomic::new(i64::MIN),
            made: Instant::now(),
            pid: kernel::current!().group_leader().pid(),
            vm: vm.clone(),
            sched: sched.clone(),
        };
        let inner = new_deferred!(inner, &CLEANUP, "magni::Group")?;
        Arc::pin_init(
            pin_init!(Self {
                inner,
                links <- ListLinks::new(),
                tracker <- AtomicTracker::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Puts a job in the ring of `queue`, and has it looked at.
    ///
    /// # Errors
    ///
    /// Why the group does not run any more, if it does not.
    pub(super) fn run(
        self: &Arc<Self>,
        queue: &Arc<Queue>,
        call: &CallArgs,
        resources: Resources,
    ) -> Result<ARef<Fence>> {
        if self.sched.is_lost() {
            return Err(ENODEV);
        }
        if !self.can_run() {
            return Err(ECANCELED);
        }
        let (fence, slot) = queue.submit(&self.residency, self.sched.abi(), call, resources)?;
        match slot {
            Some(slot) => self.device().fw.ring_group_doorbell(slot as usize),
            None => self.sched.request(self),
        }
        self.work();
        Ok(fence)
    }

    /// The group's owner does not want it any more.
    pub(crate) fn destroy(self: &Arc<Self>) {
        self.ban(Fate::Destroyed);
        self.sched.request(self);
    }
}
