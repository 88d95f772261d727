// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Groups whose jobs go on until they are told to stop, and that count meanwhile.

use anyhow::{ensure, Context, Result};
use guest::cs::{d, r, Condition};
use guest::kernel::poll;
use guest::sync::FenceStatus;
use guest::uapi::panthor::{VM_BIND_OP_MAP_NOEXEC, VM_BIND_OP_MAP_UNCACHED};
use guest::{Buffer, Group, GroupConfig, Syncobj};

use crate::cx::{Gpu, LS_MASK, TIMEOUT};

/// Bytes from one group's words to the next one's.
const LINE: usize = 64;
/// What the group has counted.
const COUNT: usize = 0;
/// The group stops when this is not zero.
const STOP: usize = 4;

/// The words of counting groups in one VM; the CPU and the GPU see each other's writes at once.
pub(super) struct Board {
    words: Buffer,
    used: usize,
}

impl Board {
    pub(super) fn new(gpu: &Gpu) -> Result<Self> {
        let flags = VM_BIND_OP_MAP_NOEXEC | VM_BIND_OP_MAP_UNCACHED;
        Ok(Self {
            words: Buffer::new(&gpu.cx.vm, 4096, flags).context("buffer of the counters")?,
            used: 0,
        })
    }

    /// Puts a new group with a counting job on the GPU.
    pub(super) fn start(&mut self, gpu: &mut Gpu, priority: u8) -> Result<Busy> {
        let mut config = GroupConfig::queues(1);
        config.priority = priority;
        let line = self.used;
        self.used += LINE;
        let va = self.words.va() + line as u64;
        let count = gpu.stream(|cs, _| {
            cs.move48(d(0), va).move32(r(2), 0);
            let top = cs.here();
            cs.add_imm32(r(2), r(2), 1)
                .store32(r(2), d(0), COUNT as i16)
                .load32(r(4), d(0), STOP as i16)
                .wait(LS_MASK)
                .branch(Condition::Equal, r(4), top);
        });
        let group = gpu.group_like(&config)?;
        let done = gpu.cx.syncobj()?;
        group
            .submit(&[count.on(0).sync(done.signal_op())])
            .context("submit a counting job")?;
        Ok(Busy { group, done, line })
    }

    /// What the group has counted so far.
    pub(super) fn count(&self, busy: &Busy) -> u32 {
        self.words.read(busy.line + COUNT)
    }

    /// Tells the group to stop.
    pub(super) fn stop(&self, busy: &Busy) {
        self.words.write(busy.line + STOP, 1u32);
    }

    /// Waits until each group has gone on counting, `times` times over.
    pub(super) fn all_go_on(&self, crowd: &[Busy], times: u32) -> Result<()> {
        for time in 0..times {
            let before: Vec<u32> = crowd.iter().map(|busy| self.count(busy)).collect();
            let stand_still = || -> Vec<usize> {
                (0..crowd.len())
                    .filter(|n| self.count(&crowd[*n]) == before[*n])
                    .collect()
            };
            let went_on = poll(TIMEOUT, || {
                crowd.iter().try_for_each(Busy::goes_on)?;
                Ok(stand_still().is_empty())
            })
            .with_context(|| {
                format!("groups {:?} of {} stand still", stand_still(), crowd.len())
            })?;
            ensure!(
                went_on,
                "groups {:?} of {} stand still, time {time}",
                stand_still(),
                crowd.len()
            );
        }
        Ok(())
    }

    /// Stops all groups; all must end well.
    pub(super) fn end(&self, crowd: &[Busy]) -> Result<()> {
        crowd.iter().for_each(|busy| self.stop(busy));
        crowd.iter().enumerate().try_for_each(|(n, busy)| {
            busy.ends_well()
                .with_context(|| format!("counting group {n}"))
        })
    }
}

/// A group that counts.
pub(super) struct Busy {
    pub(super) group: Group,
    pub(super) done: Syncobj,
    line: usize,
}

impl Busy {
    /// Checks that its job has not ended.
    pub(super) fn goes_on(&self) -> Result<()> {
        let status = self.done.status()?;
        ensure!(
            status == FenceStatus::Active,
            "a counting job is {status:?}, its group reports {:?}",
            self.group.state()
        );
        Ok(())
    }

    /// Waits until its job has ended, well.
    pub(super) fn ends_well(&self) -> Result<()> {
        self.done.wait(TIMEOUT)?;
        let status = self.done.status()?;
        ensure!(
            status == FenceStatus::Signaled,
            "the job ended with {status:?}, its group reports {:?}",
            self.group.state()
        );
        Ok(())
    }
}

/// As many counting groups as that, in the VM of `gpu`.
pub(super) fn crowd(gpu: &mut Gpu, count: u32, priority: u8) -> Result<(Board, Vec<Busy>)> {
    let mut board = Board::new(gpu)?;
    let crowd = (0..count)
        .map(|_| board.start(gpu, priority))
        .collect::<Result<Vec<_>>>()?;
    Ok((board, crowd))
}
