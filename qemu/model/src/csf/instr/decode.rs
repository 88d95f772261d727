// SPDX-License-Identifier: GPL-2.0 OR MIT

//! From words to instructions.

use super::{
    Condition, Defer, HeapOperation, Instr, Invalid, Job, Pair, Reg, Scope, State, SyncChange,
};

/// Decodes instructions for a GPU with so many registers and scoreboard slots.
#[derive(Clone, Copy, Debug)]
pub(in crate::csf) struct Decoder {
    /// Number of 32-bit work registers.
    pub(in crate::csf) registers: u8,
    /// Number of scoreboard slots.
    pub(in crate::csf) scoreboards: u8,
}

impl Decoder {
    /// Decodes one word.
    ///
    /// # Errors
    ///
    /// The first field that says the word is not an instruction of this GPU.
    pub(in crate::csf) fn decode(self, word: u64) -> Result<Instr, Invalid> {
        let w = Word(word);
        let offset = w.bits(0, 16) as u16 as i16;
        Ok(match w.opcode() {
            0 => Instr::Nop,
            1 => Instr::Move48 {
                to: self.pair(w, 48)?,
                value: word & 0xffff_ffff_ffff,
            },
            2 => Instr::Move32 {
                to: self.reg(w, 48)?,
                value: w.bits(0, 32),
            },
            3 => Instr::Wait {
                mask: self.mask(w.bits(16, 8))?,
                progress: w.bit(32),
            },
            4 => run(w, Job::Compute),
            5 => run(w, Job::Tiling),
            6 => run(w, Job::Idvs),
            7 => run(w, Job::Fragment),
            8 => run(w, Job::Fullscreen),
            9 => Instr::FinishTiling {
                progress: w.bit(32),
            },
            11 => Instr::FinishFragment {
                count: w.bit(0),
                last: self.pair(w, 32)?,
                first: self.pair(w, 40)?,
                defer: self.defer(w)?,
            },
            16 => Instr::Add32 {
                to: self.reg(w, 48)?,
                from: self.reg(w, 40)?,
                value: w.bits(0, 32) as i32,
            },
            17 => Instr::Add64 {
                to: self.pair(w, 48)?,
                from: self.pair(w, 40)?,
                value: w.bits(0, 32) as i32,
            },
            18 => Instr::UMin32 {
                to: self.reg(w, 48)?,
                left: self.reg(w, 32)?,
                right: self.reg(w, 40)?,
            },
            op @ (20 | 21) => {
                let (base, mask) = self.registers(w)?;
                let address = self.pair(w, 40)?;
                if op == 20 {
                    Instr::Load {
                        base,
                        mask,
                        address,
                        offset,
                    }
                } else {
                    Instr::Store {
                        base,
                        mask,
                        address,
                        offset,
                    }
                }
            }
            22 => Instr::Branch {
                condition: condition(w.bits(28, 3))?,
                value: self.reg(w, 40)?,
                offset,
            },
            23 => Instr::SetSbEntry {
                endpoint: self.slot(w.bits(0, 4))?,
                other: self.slot(w.bits(4, 4))?,
            },
            24 => Instr::ProgressWait {
                stream: w.bits(0, 5) as u8,
                value: self.pair(w, 40)?,
            },
            25 => Instr::SetExceptionHandler {
                exception: w.bits(0, 8) as u8,
                length: self.reg(w, 32)?,
                address: self.pair(w, 40)?,
            },
            32 => Instr::Call {
                length: self.reg(w, 32)?,
                address: self.pair(w, 40)?,
            },
            33 => Instr::Jump {
                length: self.reg(w, 32)?,
                address: self.pair(w, 40)?,
            },
            34 => Instr::ReqResource {
                resources: w.bits(0, 4) as u8,
            },
            36 => Instr::FlushCache {
                l2: flush_mode(w.bits(0, 4))?,
                lsc: flush_mode(w.bits(4, 4))?,
                other: match w.bits(8, 4) {
                    other @ (0 | 2) => other as u8,
                    other => return Err(Invalid::Field("flush mode of the other caches", other)),
                },
                id: self.reg(w, 40)?,
                defer: self.defer(w)?,
            },
            37 => self.sync_change(w, true, false)?,
            38 => self.sync_change(w, false, false)?,
            39 => self.sync_wait(w, false)?,
            40 => Instr::StoreState {
                state: match w.bits(32, 2) {
                    0 => State::Timestamp,
                    1 => State::CycleCount,
                    2 => State::DisjointCount,
                    _ => State::ErrorStatus,
                },
                address: self.pair(w, 40)?,
                offset,
                defer: self.defer(w)?,
            },
            41 => Instr::ProtRegion {
                size: w.bits(0, 16) as u16,
            },
            42 => Instr::ProgressStore {
                from: self.pair(w, 40)?,
            },
            43 => Instr::ProgressLoad {
                to: self.pair(w, 48)?,
            },
            44 => run(w, Job::ComputeIndirect),
            47 => Instr::ErrorBarrier,
            48 => Instr::HeapSet {
                address: self.pair(w, 40)?,
            },
            49 => Instr::HeapOperation {
                operation: match w.bits(32, 2) {
                    0 => HeapOperation::TilerStarted,
                    1 => HeapOperation::TilerCompleted,
                    3 => HeapOperation::FragmentCompleted,
                    other => return Err(Invalid::Field("heap operation", other)),
                },
                defer: self.defer(w)?,
            },
            50 => Instr::TracePoint {
                base: self.reg(w, 32)?,
                count: w.bits(40, 8) as u8,
                defer: self.defer(w)?,
            },
            51 => self.sync_change(w, true, true)?,
            52 => self.sync_change(w, false, true)?,
            53 => self.sync_wait(w, true)?,
            other => return Err(Invalid::Opcode(other)),
        })
    }

    fn sync_change(self, w: Word, add: bool, wide: bool) -> Result<Instr, Invalid> {
        Ok(Instr::SyncChange(SyncChange {
            add,
            wide,
            propagate: w.bit(0),
            scope: match w.bits(1, 2) {
                0 => Scope::System,
                2 => Scope::Group,
                other => return Err(Invalid::Field("sync scope", other)),
            },
            data: self.operand(w, wide)?,
            address: self.pair(w, 40)?,
            defer: self.defer(w)?,
        }))
    }

    fn sync_wait(self, w: Word, wide: bool) -> Result<Instr, Invalid> {
        Ok(Instr::SyncWait {
            wide,
            reject: w.bit(0),
            condition: match w.bits(28, 4) {
                0 => Condition::LessOrEqual,
                1 => Condition::Greater,
                other => return Err(Invalid::Field("condition of a sync wait", other)),
            },
            data: self.operand(w, wide)?,
            address: self.pair(w, 40)?,
        })
    }

    /// The operand of a sync instruction: one register, or a pair.
    fn operand(self, w: Word, wide: bool) -> Result<Reg, Invalid> {
        if wide {
            self.pair(w, 32).map(|pair| Reg(pair.0))
        } else {
            self.reg(w, 32)
        }
    }

    fn reg(self, w: Word, at: u32) -> Result<Reg, Invalid> {
        let reg = w.bits(at, 8) as u8;
        if reg >= self.registers {
            return Err(Invalid::Register(reg));
        }
        Ok(Reg(reg))
    }

    fn pair(self, w: Word, at: u32) -> Result<Pair, Invalid> {
        let Reg(reg) = self.reg(w, at)?;
        if reg % 2 != 0 {
            return Err(Invalid::OddPair(reg));
        }
        if reg + 1 >= self.registers {
            return Err(Invalid::Register(reg + 1));
        }
        Ok(Pair(reg))
    }

    /// The registers of LOAD_MULTIPLE and STORE_MULTIPLE: the first, and a mask from it on.
    fn registers(self, w: Word) -> Result<(Reg, u16), Invalid> {
        let base = self.reg(w, 48)?;
        let mask = w.bits(16, 16) as u16;
        let last = u32::from(base.0) + (16 - mask.leading_zeros()).saturating_sub(1);
        if last >= u32::from(self.registers) {
            return Err(Invalid::Register(last as u8));
        }
        Ok((base, mask))
    }

    fn slot(self, slot: u32) -> Result<u8, Invalid> {
        if slot >= u32::from(self.scoreboards) {
            return Err(Invalid::Scoreboard(slot));
        }
        Ok(slot as u8)
    }

    fn mask(self, mask: u32) -> Result<u16, Invalid> {
        if mask >> self.scoreboards != 0 {
            return Err(Invalid::Scoreboard(mask));
        }
        Ok(mask as u16)
    }

    fn defer(self, w: Word) -> Result<Defer, Invalid> {
        let wait = self.mask(w.bits(16, 16))?;
        let signal = w.bits(48, 4);
        Ok(Defer {
            wait,
            signal: if wait == 0 { 0 } else { self.slot(signal)? },
        })
    }
}

/// A word and its fields.
#[derive(Clone, Copy)]
struct Word(u64);

impl Word {
    fn bits(self, at: u32, count: u32) -> u32 {
        ((self.0 >> at) & ((1 << count) - 1)) as u32
    }

    fn bit(self, at: u32) -> bool {
        self.bits(at, 1) != 0
    }

    fn opcode(self) -> u8 {
        self.bits(56, 8) as u8
    }
}

fn run(w: Word, job: Job) -> Instr {
    Instr::Run {
        job,
        progress: w.bit(32),
    }
}

fn condition(code: u32) -> Result<Condition, Invalid> {
    Ok(match code {
        0 => Condition::LessOrEqual,
        1 => Condition::Greater,
        2 => Condition::Equal,
        3 => Condition::NotEqual,
        4 => Condition::Less,
        5 => Condition::GreaterOrEqual,
        6 => Condition::Always,
        other => return Err(Invalid::Field("condition", other)),
    })
}

fn flush_mode(mode: u32) -> Result<u8, Invalid> {
    match mode {
        0 | 1 | 3 => Ok(mode as u8),
        other => Err(Invalid::Field("flush mode", other)),
    }
}
