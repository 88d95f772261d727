// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Command-stream instructions of architecture 10: decoding and printing.
//!
//! An instruction is one little-endian 64-bit word with the opcode in 63:56. Fields
//! and numbers are those of Mesa's instruction table (`src/panfrost/genxml/v10.xml`).

use std::fmt;

/// A 32-bit register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reg(pub(super) u8);

/// A pair of registers, low word in the even one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair(pub(super) u8);

/// How a value is compared with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    LessOrEqual,
    Greater,
    Equal,
    NotEqual,
    Less,
    GreaterOrEqual,
    Always,
}

impl Condition {
    /// Whether `left` and `right` compare so.
    pub(super) fn holds<T: Ord>(self, left: T, right: T) -> bool {
        match self {
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::GreaterOrEqual => left >= right,
            Self::Always => true,
        }
    }

    /// The number that instructions and status words use.
    pub(super) fn code(self) -> u32 {
        self as u32
    }
}

/// When an instruction that can be deferred is executed.
///
/// An empty `wait` means at once, and `signal` then has no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Defer {
    /// Scoreboard slots that have to be clear.
    pub(super) wait: u16,
    /// Scoreboard slot that stays busy until then.
    pub(super) signal: u8,
}

/// What a RUN instruction starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    Compute,
    ComputeIndirect,
    Tiling,
    Idvs,
    Fragment,
    Fullscreen,
}

/// Who is told of a changed sync object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All groups and the host.
    System,
    /// The other streams of the group.
    Group,
}

/// What STORE_STATE stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Timestamp,
    CycleCount,
    DisjointCount,
    ErrorStatus,
}

/// Which counter of the tiler heap HEAP_OPERATION moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeapOperation {
    TilerStarted,
    TilerCompleted,
    FragmentCompleted,
}

/// A change of a sync object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SyncChange {
    /// Add to the value instead of replacing it.
    pub(super) add: bool,
    /// The value has 64 bits.
    pub(super) wide: bool,
    /// Store the stream's error state beside the value.
    pub(super) propagate: bool,
    pub(super) scope: Scope,
    /// First register of the operand: one, or two when `wide`.
    pub(super) data: Reg,
    pub(super) address: Pair,
    pub(super) defer: Defer,
}

/// A decoded instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instr {
    Nop,
    Move48 {
        to: Pair,
        value: u64,
    },
    Move32 {
        to: Reg,
        value: u32,
    },
    Wait {
        mask: u16,
        progress: bool,
    },
    Run {
        job: Job,
        progress: bool,
    },
    FinishTiling {
        progress: bool,
    },
    FinishFragment {
        count: bool,
        first: Pair,
        last: Pair,
        defer: Defer,
    },
    Add32 {
        to: Reg,
        from: Reg,
        value: i32,
    },
    Add64 {
        to: Pair,
        from: Pair,
        value: i32,
    },
    UMin32 {
        to: Reg,
        left: Reg,
        right: Reg,
    },
    Load {
        base: Reg,
        mask: u16,
        address: Pair,
        offset: i16,
    },
    Store {
        base: Reg,
        mask: u16,
        address: Pair,
        offset: i16,
    },
    Branch {
        condition: Condition,
        value: Reg,
        offset: i16,
    },
    SetSbEntry {
        endpoint: u8,
        other: u8,
    },
    ProgressWait {
        stream: u8,
        value: Pair,
    },
    SetExceptionHandler {
        exception: u8,
        address: Pair,
        length: Reg,
    },
    Call {
        address: Pair,
        length: Reg,
    },
    Jump {
        address: Pair,
        length: Reg,
    },
    ReqResource {
        resources: u8,
    },
    FlushCache {
        l2: u8,
        lsc: u8,
        other: u8,
        id: Reg,
        defer: Defer,
    },
    SyncChange(SyncChange),
    SyncWait {
        wide: bool,
        reject: bool,
        condition: Condition,
        data: Reg,
        address: Pair,
    },
    StoreState {
        state: State,
        address: Pair,
        offset: i16,
        defer: Defer,
    },
    ProtRegion {
        size: u16,
    },
    ProgressStore {
        from: Pair,
    },
    ProgressLoad {
        to: Pair,
    },
    ErrorBarrier,
    HeapSet {
        address: Pair,
    },
    HeapOperation {
        operation: HeapOperation,
        defer: Defer,
    },
    TracePoint {
        base: Reg,
        count: u8,
        defer: Defer,
    },
}

/// Why a word is no instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Invalid {
    /// No instruction has this opcode.
    Opcode(u8),
    /// There is no such register.
    Register(u8),
    /// A register pair starts with an odd register.
    OddPair(u8),
    /// There is no such scoreboard slot.
    Scoreboard(u32),
    /// A field has a value without meaning.
    Field(&'static str, u32),
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opcode(op) => write!(f, "opcode {op:#04x} does not exist"),
            Self::Register(reg) => write!(f, "register r{reg} does not exist"),
            Self::OddPair(reg) => write!(f, "register pair starts with odd r{reg}"),
            Self::Scoreboard(slot) => write!(f, "scoreboard slot or mask {slot:#x} does not exist"),
            Self::Field(name, value) => write!(f, "{name} {value} does not exist"),
        }
    }
}

/// Decodes instructions for a GPU with so many registers and scoreboard slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decoder {
    /// Number of 32-bit work registers.
    pub(super) registers: u8,
    /// Number of scoreboard slots.
    pub(super) scoreboards: u8,
}

impl Decoder {
    /// Decodes one word.
    ///
    /// # Errors
    ///
    /// The first field that says the word is not an instruction of this GPU.
    pub(super) fn decode(self, word: u64) -> Result<Instr, Invalid> {
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

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d{}", self.0)
    }
}

impl fmt::Display for Defer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wait != 0 {
            write!(f, " defer(wait {:#x}, signal {})", self.wait, self.signal)?;
        }
        Ok(())
    }
}

impl fmt::Display for Instr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = |progress| if progress { " progress" } else { "" };
        let bits = |wide| if wide { 64 } else { 32 };
        match *self {
            Self::Nop => write!(f, "NOP"),
            Self::Move48 { to, value } => write!(f, "MOVE48 {to}, {value:#x}"),
            Self::Move32 { to, value } => write!(f, "MOVE32 {to}, {value:#x}"),
            Self::Wait { mask, progress } => write!(f, "WAIT {mask:#x}{}", step(progress)),
            Self::Run { job, progress } => write!(f, "RUN {job:?}{}", step(progress)),
            Self::FinishTiling { progress } => write!(f, "FINISH_TILING{}", step(progress)),
            Self::FinishFragment {
                count,
                first,
                last,
                defer,
            } => write!(f, "FINISH_FRAGMENT {first}, {last} count {count}{defer}"),
            Self::Add32 { to, from, value } => write!(f, "ADD32 {to}, {from}, {value}"),
            Self::Add64 { to, from, value } => write!(f, "ADD64 {to}, {from}, {value}"),
            Self::UMin32 { to, left, right } => write!(f, "UMIN32 {to}, {left}, {right}"),
            Self::Load {
                base,
                mask,
                address,
                offset,
            } => write!(f, "LOAD {base} & {mask:#x}, [{address} + {offset}]"),
            Self::Store {
                base,
                mask,
                address,
                offset,
            } => write!(f, "STORE {base} & {mask:#x}, [{address} + {offset}]"),
            Self::Branch {
                condition,
                value,
                offset,
            } => write!(f, "BRANCH {condition:?} {value}, {offset}"),
            Self::SetSbEntry { endpoint, other } => {
                write!(f, "SET_SB_ENTRY endpoint {endpoint}, other {other}")
            }
            Self::ProgressWait { stream, value } => {
                write!(f, "PROGRESS_WAIT stream {stream}, {value}")
            }
            Self::SetExceptionHandler {
                exception,
                address,
                length,
            } => write!(f, "SET_EXCEPTION_HANDLER {exception}, {address}, {length}"),
            Self::Call { address, length } => write!(f, "CALL {address}, {length}"),
            Self::Jump { address, length } => write!(f, "JUMP {address}, {length}"),
            Self::ReqResource { resources } => write!(f, "REQ_RESOURCE {resources:#x}"),
            Self::FlushCache {
                l2,
                lsc,
                other,
                id,
                defer,
            } => write!(
                f,
                "FLUSH_CACHE2 l2 {l2}, lsc {lsc}, other {other}, {id}{defer}"
            ),
            Self::SyncChange(SyncChange {
                add,
                wide,
                propagate,
                scope,
                data,
                address,
                defer,
            }) => write!(
                f,
                "SYNC_{}{} [{address}], {data} {scope:?}{}{defer}",
                if add { "ADD" } else { "SET" },
                bits(wide),
                if propagate { " propagate" } else { "" },
            ),
            Self::SyncWait {
                wide,
                reject,
                condition,
                data,
                address,
            } => write!(
                f,
                "SYNC_WAIT{} {condition:?} [{address}], {data}{}",
                bits(wide),
                if reject { " reject" } else { "" },
            ),
            Self::StoreState {
                state,
                address,
                offset,
                defer,
            } => write!(f, "STORE_STATE {state:?}, [{address} + {offset}]{defer}"),
            Self::ProtRegion { size } => write!(f, "PROT_REGION {size}"),
            Self::ProgressStore { from } => write!(f, "PROGRESS_STORE {from}"),
            Self::ProgressLoad { to } => write!(f, "PROGRESS_LOAD {to}"),
            Self::ErrorBarrier => write!(f, "ERROR_BARRIER"),
            Self::HeapSet { address } => write!(f, "HEAP_SET {address}"),
            Self::HeapOperation { operation, defer } => {
                write!(f, "HEAP_OPERATION {operation:?}{defer}")
            }
            Self::TracePoint { base, count, defer } => {
                write!(f, "TRACE_POINT {base}, {count}{defer}")
            }
        }
    }
}
