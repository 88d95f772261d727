// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Where BRANCH, CALL and JUMP lead.

use super::Trap;
use crate::csf::exception::CS_INSTR_INVALID;
use crate::csf::instr::{Pair, Reg};
use crate::csf::stream::{Frame, Stream};

impl Stream {
    /// The buffer that CALL or JUMP names.
    pub(super) fn frame(&self, address: Pair, length: Reg, word: u64) -> Result<Frame, Trap> {
        let (ip, length) = (self.pair(address), u64::from(self.reg(length)));
        match ip.checked_add(length) {
            Some(end) if ip % 8 == 0 && length % 8 == 0 => Ok(Frame { ip, end }),
            _ => Err(Trap::fatal(CS_INSTR_INVALID, word)),
        }
    }

    /// Moves by `offset` instructions from behind the current one.
    pub(super) fn branch(&mut self, offset: i16, word: u64) -> Result<(), Trap> {
        let bytes = i64::from(offset) * 8;
        match self.frames.last_mut() {
            Some(frame) => {
                let target = frame.ip.wrapping_add_signed(bytes);
                if target > frame.end {
                    return Err(Trap::fatal(CS_INSTR_INVALID, word));
                }
                frame.ip = target;
            }
            None => {
                let ring = &mut self.ring;
                let target = ring.pos.wrapping_add_signed(bytes);
                let oldest = ring.insert.saturating_sub(ring.size);
                if !(oldest..=ring.insert).contains(&target) {
                    return Err(Trap::fatal(CS_INSTR_INVALID, word));
                }
                ring.pos = target;
            }
        }
        Ok(())
    }
}
