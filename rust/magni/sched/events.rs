// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the firmware reports about groups.
//!
//! Runs in the interrupt's thread, for which everybody waits who waits for the firmware: so nothing
//! here waits for anything. Fences are signalled here; what takes longer is left to the scheduler.

use super::{
    group::{
        Fate,
        Group, //
    },
    queue::{
        Progress,
        Queue, //
    },
    slots::{
        bits,
        Table, //
    },
    Scheduler,
    MAX_SLOTS, //
};
use crate::{
    fw::layout::{
        cs,
        csg, //
    },
    mmu::fault::exception_name, //
};
use kernel::{
    dma_fence::SignallingSection,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Full,
            Release, //
        },
        barrier::{
            dma_mb,
            Write, //
        },
        Arc, //
    },
};

/// What a group slot has reported, and is told that it was seen.
struct Taken {
    slot: usize,
    group: Option<Arc<Group>>,
    events: u32,
}

/// Exception type of a stream's error that only a reset of the GPU mends.
const CS_UNRECOVERABLE: u32 = 0x41;

impl Scheduler {
    /// The group slots in `slots`, a bit each, may have something to report; returns those that had.
    pub(crate) fn firmware_events(self: &Arc<Self>, slots: u32) -> u32 {
        let _section = SignallingSection::enter();
        self.slot_events(slots)
    }

    /// The GPU could not translate an address: groups may have to end.
    pub(crate) fn vm_faulted(self: &Arc<Self>) {
        self.kick();
    }

    /// Serves what the slots in `mask`, a bit each, report, and has the scheduler look if it should:
    /// whoever asks for this in the middle of a look has seen some groups already. Returns those
    /// that had something to report.
    pub(super) fn slot_events(self: &Arc<Self>, mask: u32) -> u32 {
        let mut kick = false;
        let mut taken = [const { None }; MAX_SLOTS];
        let mut answered = 0;
        {
            // Keeps two from serving the same event, and a slot from being given to another group
            // before this one's events are served.
            let table = self.table.lock();
            for (slot, place) in taken.iter_mut().enumerate() {
                if mask & 1 << slot != 0 {
                    *place = self.take_events(&table, slot, &mut kick);
                    answered |= u32::from(place.is_some()) << slot;
                }
            }
        }
        if answered != 0 {
            // Once for all of them, and before the fences, which take longer.
            self.dev.fw.ring_csg_doorbells(answered);
        }
        for taken in taken.into_iter().flatten() {
            kick |= self.serve(taken);
        }
        if kick {
            self.kick();
        }
        answered
    }

    /// Takes note of what slot `slot` reports, if it reports anything, and says so; under the lock
    /// of the table. The doorbell is to be rung.
    fn take_events(&self, table: &Table, slot: usize, kick: &mut bool) -> Option<Taken> {
        let csg = self.dev.fw.csg(slot).ok()?;
        let raised = csg.output.cs_irq_req();
        let streams = raised ^ csg.input.cs_irq_ack();
        let ack = csg.ack();
        let events = (csg.req() ^ ack) & csg::EVENTS;
        if streams == 0 && events == 0 {
            return None;
        }
        // Before the streams are looked at, so that what comes meanwhile is reported again.
        csg.input.set_cs_irq_ack(raised);
        csg.set(events, ack);
        // The firmware writes its state, then looks whether the last event was served; so the
        // answer is out before the state is read.
        dma_mb(Full);

        let group = table.0.get(slot).cloned().flatten();
        let mut answered = 0;
        for stream in bits(streams) {
            let (kick_now, answer) = self.stream_events(slot, stream, group.as_ref());
            *kick |= kick_now;
            answered |= u32::from(answer) << stream;
        }
        if answered != 0 {
            csg.toggle_doorbells(answered);
        }
        Some(Taken {
            slot,
            group,
            events,
        })
    }

    /// Does what follows from a slot's events; returns whether the scheduler should look.
    fn serve(&self, taken: Taken) -> bool {
        let Some(group) = taken.group else {
            return false;
        };
        let events = taken.events;
        let mut kick = false;
        if events & csg::PROGRESS_TIMER_EVENT != 0 {
            dev_warn!(
                self.dev.dev,
                "process {}: nothing moves; its group is ended\n",
                group.pid()
            );
            group.ban(Fate::TimedOut);
            kick = true;
        }
        if events & csg::SYNC_UPDATE != 0 {
            kick |= self.sync_update(taken.slot, &group);
        }
        if events & csg::IDLE != 0 {
            group.stalled_hint.store(true, Release);
            // Somebody may want its slot.
            kick |= self.slot_wanted.load(Acquire);
        }
        kick
    }

    /// Sync objects were given their last value by the kernel: groups may have waited for them.
    ///
    /// For those on the hardware the firmware has to look: nothing tells it what a CPU writes.
    pub(super) fn syncs_killed(self: &Arc<Self>) {
        dma_mb(Write);
        self.dev.fw.ring_glb_doorbell();
        self.sync_updates.fetch_add(1, Full);
        if self.sync_wanted.load(Acquire) {
            self.kick();
        }
    }

    /// A sync object was updated: jobs of `group`, in slot `slot` a moment ago, may have completed,
    /// and somebody may have waited for it.
    fn sync_update(&self, slot: usize, group: &Group) -> bool {
        let mut kick = false;
        for (i, queue) in group.queues().iter().enumerate() {
            // Most of a group's queues have nothing to say: this one has no job to be told of.
            if !queue.has_jobs() {
                continue;
            }
            let reached = queue.reached();
            if self.has_faulted(slot, i) {
                self.serve_faults(queue);
            }
            if queue.complete_to(reached) == Progress::Nonsense {
                dev_warn!(
                    self.dev.dev,
                    "process {}: its GPU work has overwritten what the kernel keeps there; its group is ended\n",
                    group.pid()
                );
                group.add_fatal(1 << i);
                kick = true;
            }
        }
        self.sync_updates.fetch_add(1, Full);
        group.rest();
        kick | self.sync_wanted.load(Acquire)
    }

    /// Whether stream `index` of slot `slot` reports a fault that was not served.
    fn has_faulted(&self, slot: usize, index: usize) -> bool {
        let stream = self.dev.fw.csg(slot).and_then(|csg| csg.cs(index));
        stream.is_ok_and(|stream| (stream.input.req() ^ stream.output.ack()) & cs::FAULT != 0)
    }

    /// Serves the faults that the firmware has reported of `queue`, before jobs are signalled that
    /// may be among those that failed. The interrupt may come later, or be lost.
    pub(super) fn serve_faults(&self, queue: &Queue) {
        let index = queue.index();
        let (slot, answer) = {
            let table = self.table.lock();
            let is_its = |group: &Arc<Group>| {
                let found = group.queue(index);
                found.is_some_and(|found| core::ptr::eq(&**found, queue))
            };
            let place = table.0.iter().enumerate().find_map(|(slot, group)| {
                let group = group.as_ref().filter(|group| is_its(group))?;
                Some((slot, group))
            });
            let Some((slot, group)) = place else {
                // It is not on the hardware, and what it had to say there has been served.
                return;
            };
            if !self.has_faulted(slot, index) {
                return;
            }
            (slot, self.stream_fault(slot, index, Some(group)))
        };
        if let (Ok(csg), 1..) = (self.dev.fw.csg(slot), answer) {
            csg.toggle_doorbells(answer);
            self.dev.fw.ring_csg_doorbells(1 << slot);
        }
    }

    /// Serves what stream `index` of slot `slot` reports; under the lock of the table.
    ///
    /// Returns whether the scheduler should look, and whether the stream is owed a doorbell.
    fn stream_events(&self, slot: usize, index: usize, group: Option<&Arc<Group>>) -> (bool, bool) {
        let Ok(stream) = self.dev.fw.csg(slot).and_then(|csg| csg.cs(index)) else {
            return (false, false);
        };
        let ack = stream.output.ack();
        let events = (stream.input.req() ^ ack) & cs::EVENTS;
        let mut kick = false;

        if events & cs::FATAL != 0 {
            let word = stream.output.fatal();
            self.report_error(
                "failed",
                slot,
                index,
                group,
                word,
                stream.output.fatal_info(),
            );
            if word & 0xff == CS_UNRECOVERABLE {
                self.dev
                    .schedule_reset("a command stream failed beyond recovery");
            }
            if let Some(group) = group {
                group.add_fatal(1 << index);
            }
            kick = true;
        }
        let mut answer = false;
        if events & cs::FAULT != 0 {
            answer |= self.stream_fault(slot, index, group) != 0;
        }
        if events & cs::TILER_OOM != 0 {
            // There are no tiler heaps, so no chunk can be added, now or later.
            stream.input.set_heap_start(0);
            stream.input.set_heap_end(0);
            if let Some(group) = group {
                group.add_fatal(1 << index);
            }
            kick = true;
        }
        // The firmware may overwrite what it has reported from here on.
        stream.set(events & (cs::FATAL | cs::TILER_OOM), ack);
        (kick, answer || events & cs::TILER_OOM != 0)
    }

    /// Serves a fault that stream `index` of slot `slot` reports; under the lock of the table.
    ///
    /// Returns the streams that are owed a doorbell, a bit each.
    fn stream_fault(&self, slot: usize, index: usize, group: Option<&Arc<Group>>) -> u32 {
        let Ok(stream) = self.dev.fw.csg(slot).and_then(|csg| csg.cs(index)) else {
            return 0;
        };
        let ack = stream.output.ack();
        let word = stream.output.fault();
        let info = stream.output.fault_info();
        self.report_error("faulted", slot, index, group, word, info);
        if let Some(queue) = group.and_then(|group| group.queue(index)) {
            // Which job it was can be read, unless the memory is gone.
            let _ = queue.fault_current(EINVAL);
        }
        // The firmware may overwrite what it has reported from here on.
        stream.set(cs::FAULT, ack);
        1 << index
    }

    fn report_error(
        &self,
        what: &str,
        slot: usize,
        stream: usize,
        group: Option<&Arc<Group>>,
        word: u32,
        info: u64,
    ) {
        dev_warn!(
            self.dev.dev,
            "process {}: command stream {stream} in slot {slot} {what}: {} ({:#x}), data {:#x}, info {info:#x}\n",
            group.map_or(0, |group| group.pid()),
            exception_name(word & 0xff),
            word & 0xff,
            word >> 8
        );
    }
}
