// SPDX-License-Identifier: GPL-2.0 OR MIT

//! LOAD_MULTIPLE and STORE_MULTIPLE.

use super::{Env, Trap};
use crate::csf::instr::Reg;
use crate::csf::stream::Stream;

impl Stream {
    pub(super) fn load(
        &mut self,
        env: &mut Env<'_>,
        base: Reg,
        mask: u16,
        from: u64,
    ) -> Result<(), Trap> {
        for (first, count) in runs(mask) {
            let mut buf = [0; 64];
            let buf = &mut buf[..count * 4];
            env.read(from.wrapping_add(first as u64 * 4), buf)?;
            for (i, word) in buf.chunks_exact(4).enumerate() {
                let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                self.regs[usize::from(base.0) + first + i] = word;
            }
        }
        Ok(())
    }

    pub(super) fn store(
        &self,
        env: &mut Env<'_>,
        base: Reg,
        mask: u16,
        to: u64,
    ) -> Result<(), Trap> {
        for (first, count) in runs(mask) {
            let at = usize::from(base.0) + first;
            let words = &self.regs[at..at + count];
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            env.write(to.wrapping_add(first as u64 * 4), &bytes)?;
        }
        Ok(())
    }
}

/// The runs of set bits in `mask`: first bit and length.
fn runs(mask: u16) -> impl Iterator<Item = (usize, usize)> {
    let mut rest = mask;
    std::iter::from_fn(move || {
        if rest == 0 {
            return None;
        }
        let first = rest.trailing_zeros();
        let count = (rest >> first).trailing_ones();
        rest &= !((((1u32 << count) - 1) << first) as u16);
        Some((first as usize, count as usize))
    })
}

#[cfg(test)]
mod tests {
    use super::runs;

    #[test]
    fn runs_cover_the_mask() {
        for mask in 0..=u16::MAX {
            let mut seen = 0u32;
            for (first, count) in runs(mask) {
                let run = ((1u32 << count) - 1) << first;
                assert_eq!(seen & (run | (run << 1)), 0, "runs of {mask:#x} touch");
                seen |= run;
            }
            assert_eq!(seen, u32::from(mask));
        }
    }
}
