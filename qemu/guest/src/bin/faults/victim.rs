// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What meets a fault, and what has to become of it.

use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use guest::cs::{d, r, Condition, Scope};
use guest::group::{GroupState, StreamBuffer};
use guest::ioctl::Errno;
use guest::rig::{Gpu, LS_MASK, TIMEOUT};
use guest::sync::FenceStatus;
use guest::{Device, Group, GroupConfig, Syncobj};

use crate::bystander::Fate;
use crate::frame::{ends, so_far, state_names, wait_for, Frame, Line};

/// A way in which a job may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With its result.
    Well,
    /// With this error.
    With(Errno),
    /// With any error.
    Failed,
}

impl End {
    /// Whether a job has ended so.
    pub(crate) fn is(self, status: FenceStatus) -> bool {
        match (self, status) {
            (_, FenceStatus::Active) => false,
            (Self::Well, status) => status == FenceStatus::Signaled,
            (Self::With(errno), status) => status == FenceStatus::Failed(errno),
            (Self::Failed, status) => matches!(status, FenceStatus::Failed(_)),
        }
    }
}

/// What has to become of a victim.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expect {
    /// How the job that meets the fault may end.
    pub(crate) first: &'static [End],
    /// How the others may end.
    pub(crate) rest: &'static [End],
    /// States that the group must have.
    pub(crate) state: u32,
    /// States that it may have beside these.
    pub(crate) maybe: u32,
    /// What becomes of the bystander.
    pub(crate) bystander: Fate,
}

/// Any ends but "never".
pub(crate) const ANY: &[End] = &[End::Well, End::Failed];

/// Jobs that meet a fault.
pub(crate) struct Victim {
    pub(crate) gpu: Gpu,
    /// Groups beside the first one.
    pub(crate) others: Vec<Group>,
    /// The fences of all its jobs.
    pub(crate) fences: Vec<Syncobj>,
    /// Where each short job stores its number.
    stores: Vec<(usize, u32)>,
}

/// Byte offset of the word that an endless job sets when it begins.
const STARTED: u64 = 0;
/// Byte offset of what short jobs store.
const STORES: u64 = 4096;
/// Byte offset of the words of a crowd: each group's counter, and a word that stops it.
const CROWD: u64 = 16384;

/// Address space below the victim's streams, in bytes.
const APART: u64 = 4 << 30;

impl Victim {
    /// A group of four queues in a VM of its own, without jobs.
    pub(crate) fn new(device: &Device) -> Result<Self> {
        let mut gpu = Gpu::on(device, &GroupConfig::queues(4))?;
        // Its streams are where nobody else has any, so that it can be told apart.
        gpu.cx.vm.reserve(APART);
        gpu.streams = StreamBuffer::new(&gpu.cx.vm, 64 << 10).context("stream buffer")?;
        Ok(Self {
            gpu,
            others: Vec::new(),
            fences: Vec::new(),
            stores: Vec::new(),
        })
    }

    /// In which GiB of its address space its streams are.
    pub(crate) fn gib(&self) -> u64 {
        self.gpu.streams.next_va() >> 30
    }

    /// Adds a short job that stores a number.
    pub(crate) fn short(&mut self, queue: u32) -> Result<()> {
        let n = self.stores.len() as u32;
        let offset = STORES + 4 * u64::from(n);
        let store = self.gpu.store(offset, n + 1);
        let done = self.gpu.cx.syncobj()?;
        self.gpu
            .group
            .submit(&[store.on(queue).sync(done.signal_op())])
            .context("submit a short job")?;
        self.stores.push((offset as usize, n + 1));
        self.fences.push(done);
        Ok(())
    }

    /// Adds an endless job on queue 0, short ones behind it and one on another queue; it runs when this returns.
    pub(crate) fn endless(&mut self) -> Result<()> {
        let stream = self.gpu.stream(|cs, va| {
            cs.move48(d(0), va + STARTED)
                .move48(d(2), 1)
                .sync_set64(d(0), d(2), Scope::System);
            let top = cs.here();
            cs.branch(Condition::Always, r(0), top);
        });
        let witness = self.gpu.wait_for(STARTED);
        let (done, started) = (self.gpu.cx.syncobj()?, self.gpu.cx.syncobj()?);
        self.gpu
            .group
            .submit(&[
                stream.on(0).sync(done.signal_op()),
                witness.on(1).sync(started.signal_op()),
            ])
            .context("submit an endless job")?;
        started
            .wait(TIMEOUT)
            .context("wait for the endless job to begin")?;
        self.fences.push(done);
        for _ in 0..3 {
            self.short(0)?;
        }
        Ok(())
    }

    /// Adds `count` groups whose jobs go on until [`Victim::stop_crowd`].
    pub(crate) fn crowd(&mut self, count: u32) -> Result<()> {
        let mut crowd = Vec::new();
        for n in 0..count {
            let line = CROWD + 64 * u64::from(n);
            let count = self.gpu.stream(|cs, va| {
                cs.move48(d(0), va + line).move32(r(2), 0);
                let top = cs.here();
                cs.add_imm32(r(2), r(2), 1)
                    .store32(r(2), d(0), 0)
                    .load32(r(4), d(0), 4)
                    .wait(LS_MASK)
                    .branch(Condition::Equal, r(4), top);
            });
            crowd.push((count, self.gpu.another_group(1)?, self.gpu.cx.syncobj()?));
        }
        // The jobs' time runs from here: making a group takes long.
        for (count, group, done) in crowd {
            group
                .submit(&[count.on(0).sync(done.signal_op())])
                .context("submit a job of the crowd")?;
            self.others.push(group);
            self.fences.push(done);
        }
        Ok(())
    }

    /// Lets the crowd's jobs end.
    pub(crate) fn stop_crowd(&self) {
        for n in 0..self.others.len() {
            self.gpu.data.write(CROWD as usize + 64 * n + 4, 1u32);
        }
    }

    /// Whether the short jobs that ended well left their numbers.
    fn check_stores(&self, statuses: &[FenceStatus]) -> Result<()> {
        // The fences of short jobs are the last ones.
        let first = statuses.len() - self.stores.len().min(statuses.len());
        for ((offset, want), status) in self.stores.iter().zip(&statuses[first..]) {
            let got: u32 = self.gpu.data.read(*offset);
            ensure!(
                *status != FenceStatus::Signaled || got == *want,
                "a job ended well and left {got} instead of {want}"
            );
        }
        Ok(())
    }

    /// Waits for the end of all its jobs after the fault at `struck`, and checks all that has to be so then.
    pub(crate) fn meets(
        self,
        frame: Frame,
        struck: Instant,
        bound: Duration,
        expect: Expect,
    ) -> Result<Line> {
        let statuses = wait_for(&frame.device, &self.fences, frame.times.patience())?;
        let state = self.gpu.group.state().unwrap_or_default();
        let mut line = Line {
            errors: ends(&statuses),
            bound,
            measured: struck.elapsed(),
            state: state_names(state),
            ..Line::default()
        };
        so_far(&line);
        self.judge(&line, &statuses, state, expect)?;
        self.check_stores(&statuses)?;
        drop(self);
        frame.end(&mut line, expect.bystander)?;
        Ok(line)
    }

    fn judge(
        &self,
        line: &Line,
        statuses: &[FenceStatus],
        state: GroupState,
        expect: Expect,
    ) -> Result<()> {
        for (n, status) in statuses.iter().enumerate() {
            let allowed = if n == 0 { expect.first } else { expect.rest };
            ensure!(
                allowed.iter().any(|end| end.is(*status)),
                "job {n} of {} ended with {status:?}, which is none of {allowed:?}",
                statuses.len()
            );
        }
        ensure!(
            state.state & expect.state == expect.state
                && state.state & !(expect.state | expect.maybe) == 0,
            "the group reports {state:?}, but {:#x} is right",
            expect.state
        );
        ensure!(
            line.measured <= line.bound,
            "it took {:?} to signal all fences; the bound is {:?}",
            line.measured,
            line.bound
        );
        Ok(())
    }
}
