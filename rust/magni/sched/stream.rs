// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The instructions that the kernel puts in a ring for each job.
//!
//! A job calls the stream that user space wrote, between a cache flush and the update of the
//! queue's sync object. If it is measured, counters are stored before the call and when everything
//! that it has started is done. Encodings: the command-stream instruction set of arch 10 to 13; the ones
//! used here are the same in all of them.

use crate::profiling::{
    Mask,
    Sample, //
};
use kernel::prelude::*;

/// Instructions in a cache line: jobs start on one, for the prefetcher.
pub(crate) const LINE: usize = 8;

/// Instructions of the shortest job and of the longest one, padding included.
pub(crate) const MIN_INSTRS: usize = 2 * LINE;
pub(crate) const MAX_INSTRS: usize = 3 * LINE;

/// Bytes that the shortest job takes in the ring.
pub(crate) const MIN_BYTES: u64 = (MIN_INSTRS * size_of::<u64>()) as u64;

const OP_MOVE48: u64 = 1;
const OP_MOVE32: u64 = 2;
const OP_WAIT: u64 = 3;
const OP_CALL: u64 = 32;
const OP_FLUSH_CACHE2: u64 = 36;
const OP_STORE_STATE: u64 = 40;
const OP_ERROR_BARRIER: u64 = 47;
const OP_SYNC_ADD64: u64 = 51;

/// FLUSH_CACHE2: clean and invalidate L2 and the load-store caches, invalidate the others.
const FLUSH_ALL: u64 = 0x233;

/// STORE_STATE: what is stored.
const STATE_TIMESTAMP: u64 = 0;
const STATE_CYCLES: u64 = 1;

/// SYNC_ADD64: a failed job shows in the status word.
const SYNC_PROPAGATE_ERROR: u64 = 1;

/// The registers that the kernel may use between jobs, and the scoreboard to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abi {
    /// The first register that jobs do not expect to be preserved.
    scratch: u8,
    /// One bit for each scoreboard slot.
    all_slots: u16,
}

impl Abi {
    /// The conventions of a firmware with `registers` registers of which the last `unpreserved`
    /// are the kernel's between jobs, and with `scoreboards` scoreboard slots.
    ///
    /// # Errors
    ///
    /// `EINVAL` if these leave no room for four registers, do not fit an instruction, or if there
    /// is no scoreboard slot, or more than sixteen.
    pub(crate) fn new(registers: u32, unpreserved: u32, scoreboards: u32) -> Result<Self> {
        if unpreserved < 4 || registers > 256 || !(1..=16).contains(&scoreboards) {
            return Err(EINVAL);
        }
        let scratch = registers.checked_sub(unpreserved).ok_or(EINVAL)?;
        if scratch % 2 != 0 {
            return Err(EINVAL);
        }
        Ok(Self {
            scratch: scratch.try_into().map_err(|_| EINVAL)?,
            all_slots: (u32::MAX >> (32 - scoreboards)) as u16,
        })
    }
}

/// What a job calls, and what it updates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// GPU address of the stream.
    pub(crate) start: u64,
    /// Bytes in the stream, not zero.
    pub(crate) size: u32,
    /// The flush id that user space read before it built the stream.
    pub(crate) latest_flush: u32,
    /// GPU address of the queue's 64-bit sync object.
    pub(crate) sync: u64,
    /// What is measured.
    pub(crate) measure: Mask,
    /// GPU address of the [`Sample`] that it is stored in.
    pub(crate) sample: u64,
}

/// Instructions for one job, padded with NOPs to whole cache lines.
pub(crate) struct Stream {
    instrs: [u64; MAX_INSTRS],
    len: usize,
}

impl Stream {
    /// The instructions, padding included.
    pub(crate) fn instrs(&self) -> &[u64] {
        self.instrs
            .get(..self.len.next_multiple_of(LINE))
            .unwrap_or(&self.instrs)
    }

    fn push(&mut self, instr: u64) {
        if let Some(place) = self.instrs.get_mut(self.len) {
            *place = instr;
            self.len += 1;
        }
    }
}

/// How many instructions a job has that is measured for what is in `mask`.
pub(crate) fn job_instrs(mask: Mask) -> usize {
    match mask {
        Mask::ALL => MAX_INSTRS,
        _ => MIN_INSTRS,
    }
}

/// The instructions for one call.
pub(crate) fn job(abi: Abi, call: &Call) -> Stream {
    let addr = u64::from(abi.scratch);
    let val = addr + 2;
    let address = |value: u64| value & ((1 << 48) - 1);
    let wait_all = (OP_WAIT << 56) | (u64::from(abi.all_slots) << 16);
    let mut stream = Stream {
        instrs: [0; MAX_INSTRS],
        len: 0,
    };
    let store = |stream: &mut Stream, state: u64, at: u64| {
        stream.push((OP_MOVE48 << 56) | (addr << 48) | address(call.sample + at));
        stream.push((OP_STORE_STATE << 56) | (addr << 40) | (state << 32));
    };

    stream.push((OP_MOVE32 << 56) | (val << 48) | u64::from(call.latest_flush));
    stream.push((OP_FLUSH_CACHE2 << 56) | (val << 40) | FLUSH_ALL);
    if call.measure.has(Mask::CYCLES) {
        store(&mut stream, STATE_CYCLES, Sample::CYCLES_BEFORE);
    }
    if call.measure.has(Mask::TIMESTAMP) {
        store(&mut stream, STATE_TIMESTAMP, Sample::TICKS_BEFORE);
    }
    stream.push((OP_MOVE48 << 56) | (addr << 48) | address(call.start));
    stream.push((OP_MOVE32 << 56) | (val << 48) | u64::from(call.size));
    // The flush signals slot 0.
    stream.push((OP_WAIT << 56) | (1 << 16));
    stream.push((OP_CALL << 56) | (addr << 40) | (val << 32));
    if call.measure != Mask::NONE {
        // What the stream has started belongs to the job.
        stream.push(wait_all);
    }
    if call.measure.has(Mask::CYCLES) {
        store(&mut stream, STATE_CYCLES, Sample::CYCLES_AFTER);
    }
    if call.measure.has(Mask::TIMESTAMP) {
        store(&mut stream, STATE_TIMESTAMP, Sample::TICKS_AFTER);
    }
    stream.push((OP_MOVE48 << 56) | (addr << 48) | address(call.sync));
    stream.push((OP_MOVE48 << 56) | (val << 48) | 1);
    stream.push(wait_all);
    stream.push((OP_SYNC_ADD64 << 56) | (addr << 40) | (val << 32) | SYNC_PROPAGATE_ERROR);
    // A fault in this job does not reach the next.
    stream.push(OP_ERROR_BARRIER << 56);
    stream
}

#[kunit_tests(magni_sched_stream)]
mod tests {
    use super::*;

    #[test]
    fn scratch_registers_are_the_last_ones() {
        assert_eq!(
            Abi::new(96, 4, 8),
            Ok(Abi {
                scratch: 92,
                all_slots: 0xff
            })
        );
        assert_eq!(
            Abi::new(128, 6, 16),
            Ok(Abi {
                scratch: 122,
                all_slots: 0xffff
            })
        );
    }

    #[test]
    fn absurd_interfaces_are_refused() {
        assert_eq!(Abi::new(96, 3, 8), Err(EINVAL));
        assert_eq!(Abi::new(2, 4, 8), Err(EINVAL));
        assert_eq!(Abi::new(97, 4, 8), Err(EINVAL));
        assert_eq!(Abi::new(96, 4, 0), Err(EINVAL));
        assert_eq!(Abi::new(96, 4, 17), Err(EINVAL));
        assert_eq!(Abi::new(4096, 4, 8), Err(EINVAL));
    }

    #[test]
    fn a_job_calls_then_adds_one() {
        let abi = Abi {
            scratch: 92,
            all_slots: 0xff,
        };
        let stream = job(abi, &call(Mask::NONE));
        let instrs = stream.instrs();
        assert_eq!(instrs.len(), MIN_INSTRS);
        assert_eq!(instrs[0], 0x025e_0000_0000_0007);
        assert_eq!(instrs[1], 0x2400_5e00_0000_0233);
        assert_eq!(instrs[5], 0x2000_5c5e_0000_0000);
        assert_eq!(instrs[8], 0x0300_0000_00ff_0000);
        assert_eq!(instrs[9], 0x3300_5c5e_0000_0001);
        assert_eq!(instrs[11..], [0; 5]);
    }

    fn call(measure: Mask) -> Call {
        Call {
            start: 0x1000,
            size: 64,
            latest_flush: 7,
            sync: 0x2000,
            measure,
            sample: 0x3000,
        }
    }

    #[test]
    fn every_job_has_room() {
        let abi = Abi {
            scratch: 92,
            all_slots: 0xff,
        };
        for mask in [Mask::NONE, Mask::CYCLES, Mask::TIMESTAMP, Mask::ALL] {
            let stream = job(abi, &call(mask));
            assert_eq!(stream.instrs().len(), job_instrs(mask));
            // Nothing was left out at the end.
            assert_eq!(stream.instrs[stream.len - 1], OP_ERROR_BARRIER << 56);
        }
    }

    #[test]
    fn counters_are_stored_on_both_sides_of_the_call() {
        let abi = Abi {
            scratch: 92,
            all_slots: 0xff,
        };
        let stream = job(abi, &call(Mask::CYCLES));
        let instrs = stream.instrs();
        assert_eq!(instrs[2], 0x015c_0000_0000_3000);
        assert_eq!(instrs[3], 0x2800_5c01_0000_0000);
        assert_eq!(instrs[7], 0x2000_5c5e_0000_0000);
        assert_eq!(instrs[8], 0x0300_0000_00ff_0000);
        assert_eq!(instrs[9], 0x015c_0000_0000_3008);
        assert_eq!(instrs[10], 0x2800_5c01_0000_0000);
        let stream = job(abi, &call(Mask::TIMESTAMP));
        assert_eq!(stream.instrs()[2], 0x015c_0000_0000_3010);
        assert_eq!(stream.instrs()[3], 0x2800_5c00_0000_0000);
    }
}
