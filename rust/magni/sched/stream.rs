// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The instructions that the kernel puts in a ring for each job.
//!
//! A job calls the stream that user space wrote, between a cache flush and the update of the
//! queue's sync object. Encodings: the command-stream instruction set of arch 10 to 13; the ones
//! used here are the same in all of them.

use kernel::prelude::*;

/// Instructions in a cache line: jobs start on one, for the prefetcher.
pub(crate) const LINE: usize = 8;

/// Instructions of one job, padding included.
pub(crate) const JOB_INSTRS: usize = 16;

/// Bytes that one job takes in the ring.
pub(crate) const JOB_BYTES: u64 = (JOB_INSTRS * size_of::<u64>()) as u64;

const OP_MOVE48: u64 = 1;
const OP_MOVE32: u64 = 2;
const OP_WAIT: u64 = 3;
const OP_CALL: u64 = 32;
const OP_FLUSH_CACHE2: u64 = 36;
const OP_ERROR_BARRIER: u64 = 47;
const OP_SYNC_ADD64: u64 = 51;

/// FLUSH_CACHE2: clean and invalidate L2 and the load-store caches, invalidate the others.
const FLUSH_ALL: u64 = 0x233;

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
}

/// The instructions for one call, padded with NOPs to whole cache lines.
pub(crate) fn job(abi: Abi, call: &Call) -> [u64; JOB_INSTRS] {
    let addr = u64::from(abi.scratch);
    let val = addr + 2;
    let address = |value: u64| value & ((1 << 48) - 1);
    let sequence = [
        (OP_MOVE32 << 56) | (val << 48) | u64::from(call.latest_flush),
        (OP_FLUSH_CACHE2 << 56) | (val << 40) | FLUSH_ALL,
        (OP_MOVE48 << 56) | (addr << 48) | address(call.start),
        (OP_MOVE32 << 56) | (val << 48) | u64::from(call.size),
        // The flush signals slot 0.
        (OP_WAIT << 56) | (1 << 16),
        (OP_CALL << 56) | (addr << 40) | (val << 32),
        (OP_MOVE48 << 56) | (addr << 48) | address(call.sync),
        (OP_MOVE48 << 56) | (val << 48) | 1,
        (OP_WAIT << 56) | (u64::from(abi.all_slots) << 16),
        (OP_SYNC_ADD64 << 56) | (addr << 40) | (val << 32) | SYNC_PROPAGATE_ERROR,
        // A fault in this job does not reach the next.
        OP_ERROR_BARRIER << 56,
    ];
    const { assert!(JOB_INSTRS % LINE == 0) };
    let mut instrs = [0; JOB_INSTRS];
    for (slot, instr) in instrs.iter_mut().zip(sequence) {
        *slot = instr;
    }
    instrs
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
        let call = Call {
            start: 0x1000,
            size: 64,
            latest_flush: 7,
            sync: 0x2000,
        };
        let instrs = job(abi, &call);
        assert_eq!(instrs[0], 0x025e_0000_0000_0007);
        assert_eq!(instrs[1], 0x2400_5e00_0000_0233);
        assert_eq!(instrs[5], 0x2000_5c5e_0000_0000);
        assert_eq!(instrs[8], 0x0300_0000_00ff_0000);
        assert_eq!(instrs[9], 0x3300_5c5e_0000_0001);
        assert_eq!(instrs[11..], [0; 5]);
    }
}
