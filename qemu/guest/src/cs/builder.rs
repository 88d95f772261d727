// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Collects instructions and resolves labels.

use super::{insn, Axis, Condition, Defer, FlushMode, Reg, Reg64, Scope, Selects, State};

/// A position in a stream under construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// Why a stream cannot be assembled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A branch targets a label that was never bound.
    #[error("instruction {at} branches to a label that was never bound")]
    Unbound {
        /// Index of the branch.
        at: usize,
    },
    /// A branch is further than 32767 instructions away from its target.
    #[error("instruction {at} branches {distance} instructions away, which is too far")]
    TooFar {
        /// Index of the branch.
        at: usize,
        /// Instructions between the one after the branch and the target.
        distance: isize,
    },
}

/// A branch that awaits its offset.
#[derive(Clone, Copy, Debug)]
struct Fixup {
    at: usize,
    label: Label,
    condition: Condition,
    value: Reg,
}

/// A command stream under construction.
///
/// The methods append one instruction each (a few append two, and say so) and return the builder, so that
/// calls can be chained. What has no method is appended with [`Builder::raw`] from [`super::insn`].
#[derive(Clone, Debug, Default)]
pub struct Builder {
    words: Vec<u64>,
    labels: Vec<Option<usize>>,
    fixups: Vec<Fixup>,
}

impl Builder {
    /// An empty stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends any instruction word.
    pub fn raw(&mut self, word: u64) -> &mut Self {
        self.words.push(word);
        self
    }

    /// Number of instructions so far.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there is no instruction yet.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// A new label, to be bound now or later.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Binds `label` to the next instruction.
    ///
    /// # Panics
    ///
    /// If it is bound already.
    pub fn bind(&mut self, label: Label) -> &mut Self {
        assert!(self.labels[label.0].is_none(), "label bound twice");
        self.labels[label.0] = Some(self.words.len());
        self
    }

    /// A label bound to the next instruction.
    pub fn here(&mut self) -> Label {
        let label = self.label();
        self.bind(label);
        label
    }

    /// Branches to `label` if `value` compares so with zero.
    pub fn branch(&mut self, condition: Condition, value: Reg, label: Label) -> &mut Self {
        self.fixups.push(Fixup {
            at: self.words.len(),
            label,
            condition,
            value,
        });
        self.raw(insn::nop())
    }

    /// The finished stream.
    pub fn finish(&self) -> Result<Vec<u64>, Error> {
        let mut words = self.words.clone();
        for fixup in &self.fixups {
            let target = self.labels[fixup.label.0].ok_or(Error::Unbound { at: fixup.at })?;
            let distance = target as isize - (fixup.at as isize + 1);
            let offset = i16::try_from(distance).map_err(|_| Error::TooFar {
                at: fixup.at,
                distance,
            })?;
            words[fixup.at] = insn::branch(fixup.condition, fixup.value, offset);
        }
        Ok(words)
    }

    /// `dst = value` (48 bits).
    pub fn move48(&mut self, dst: Reg64, value: u64) -> &mut Self {
        self.raw(insn::move48(dst, value))
    }

    /// `dst = value`.
    pub fn move32(&mut self, dst: Reg, value: u32) -> &mut Self {
        self.raw(insn::move32(dst, value))
    }

    /// `dst = value`, all 64 bits (two instructions).
    pub fn move64(&mut self, dst: Reg64, value: u64) -> &mut Self {
        self.move32(dst.lo(), value as u32)
            .move32(dst.hi(), (value >> 32) as u32)
    }

    /// `dst = src + value`.
    pub fn add_imm32(&mut self, dst: Reg, src: Reg, value: i32) -> &mut Self {
        self.raw(insn::add_imm32(dst, src, value))
    }

    /// `dst = src + value`.
    pub fn add_imm64(&mut self, dst: Reg64, src: Reg64, value: i32) -> &mut Self {
        self.raw(insn::add_imm64(dst, src, value))
    }

    /// `dst = min(a, b)`.
    pub fn umin32(&mut self, dst: Reg, a: Reg, b: Reg) -> &mut Self {
        self.raw(insn::umin32(dst, a, b))
    }

    /// Waits for the scoreboard slots in `slots`.
    pub fn wait(&mut self, slots: u8) -> &mut Self {
        self.raw(insn::wait(slots, false))
    }

    /// Chooses the scoreboard slots of later endpoint jobs and of other asynchronous instructions.
    pub fn set_sb_entry(&mut self, endpoint: u8, other: u8) -> &mut Self {
        self.raw(insn::set_sb_entry(endpoint, other))
    }

    /// Loads one register; asynchronous.
    pub fn load32(&mut self, dst: Reg, address: Reg64, offset: i16) -> &mut Self {
        self.raw(insn::load_multiple(dst, 0b1, address, offset))
    }

    /// Loads a register pair; asynchronous.
    pub fn load64(&mut self, dst: Reg64, address: Reg64, offset: i16) -> &mut Self {
        self.raw(insn::load_multiple(dst.lo(), 0b11, address, offset))
    }

    /// Stores one register; asynchronous.
    pub fn store32(&mut self, src: Reg, address: Reg64, offset: i16) -> &mut Self {
        self.raw(insn::store_multiple(src, 0b1, address, offset))
    }

    /// Stores a register pair; asynchronous.
    pub fn store64(&mut self, src: Reg64, address: Reg64, offset: i16) -> &mut Self {
        self.raw(insn::store_multiple(src.lo(), 0b11, address, offset))
    }

    /// Starts the compute job that the registers describe; asynchronous.
    pub fn run_compute(&mut self) -> &mut Self {
        self.raw(insn::run_compute(1, Axis::X, Selects::default(), false))
    }

    /// Calls another stream.
    pub fn call(&mut self, address: Reg64, length: Reg) -> &mut Self {
        self.raw(insn::call(address, length))
    }

    /// Goes on in another stream.
    pub fn jump(&mut self, address: Reg64, length: Reg) -> &mut Self {
        self.raw(insn::jump(address, length))
    }

    /// Sets a 64-bit sync object.
    pub fn sync_set64(&mut self, address: Reg64, data: Reg64, scope: Scope) -> &mut Self {
        self.raw(insn::sync_set64(address, data, scope, false, Defer::No))
    }

    /// Adds to a 64-bit sync object.
    pub fn sync_add64(&mut self, address: Reg64, data: Reg64, scope: Scope) -> &mut Self {
        self.raw(insn::sync_add64(address, data, scope, false, Defer::No))
    }

    /// Sets a 32-bit sync object.
    pub fn sync_set32(&mut self, address: Reg64, data: Reg, scope: Scope) -> &mut Self {
        self.raw(insn::sync_set32(address, data, scope, false, Defer::No))
    }

    /// Adds to a 32-bit sync object.
    pub fn sync_add32(&mut self, address: Reg64, data: Reg, scope: Scope) -> &mut Self {
        self.raw(insn::sync_add32(address, data, scope, false, Defer::No))
    }

    /// Waits until a 64-bit sync object is greater than `data`.
    pub fn sync_wait64_gt(&mut self, address: Reg64, data: Reg64) -> &mut Self {
        self.raw(insn::sync_wait64(Condition::Greater, address, data, false))
    }

    /// Waits until a 32-bit sync object is greater than `data`.
    pub fn sync_wait32_gt(&mut self, address: Reg64, data: Reg) -> &mut Self {
        self.raw(insn::sync_wait32(Condition::Greater, address, data, false))
    }

    /// Stores a state word.
    pub fn store_state(&mut self, address: Reg64, offset: i16, state: State) -> &mut Self {
        self.raw(insn::store_state(address, offset, state, Defer::No))
    }

    /// Cleans and invalidates every cache; the stream waits for it.
    pub fn flush_all(&mut self, flush_id: Reg) -> &mut Self {
        self.raw(insn::flush_cache2(
            FlushMode::CleanInvalidate,
            FlushMode::CleanInvalidate,
            true,
            flush_id,
            Defer::No,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{d, r};
    use super::*;

    #[test]
    fn backward_and_forward_branches() {
        let mut b = Builder::new();
        let end = b.label();
        let top = b.here();
        b.branch(Condition::Equal, r(3), end)
            .add_imm32(r(3), r(3), -1)
            .branch(Condition::Always, r(0), top)
            .bind(end)
            .wait(1);
        let words = b.finish().unwrap();
        assert_eq!(words.len(), 4);
        assert_eq!(words[0], insn::branch(Condition::Equal, r(3), 2));
        assert_eq!(words[2], insn::branch(Condition::Always, r(0), -3));
        assert_eq!(words[3], insn::wait(1, false));
    }

    #[test]
    fn unbound_label_is_an_error() {
        let mut b = Builder::new();
        let l = b.label();
        b.move32(r(0), 1).branch(Condition::Always, r(0), l);
        assert_eq!(b.finish(), Err(Error::Unbound { at: 1 }));
    }

    #[test]
    fn far_branch_is_an_error() {
        let mut b = Builder::new();
        let l = b.label();
        b.branch(Condition::Always, r(0), l);
        for _ in 0..32768 {
            b.raw(insn::nop());
        }
        b.bind(l);
        assert_eq!(
            b.finish(),
            Err(Error::TooFar {
                at: 0,
                distance: 32768
            })
        );
    }

    #[test]
    fn move64_takes_two_instructions() {
        let mut b = Builder::new();
        b.move64(d(2), 0x1122_3344_5566_7788);
        assert_eq!(
            b.finish().unwrap(),
            [
                insn::move32(r(2), 0x5566_7788),
                insn::move32(r(3), 0x1122_3344)
            ]
        );
    }
}
