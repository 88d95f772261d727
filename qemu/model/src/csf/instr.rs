// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Command-stream instructions of architecture 10.
//!
//! An instruction is one little-endian 64-bit word with the opcode in 63:56. Fields
//! and numbers are those of Mesa's instruction table (`src/panfrost/genxml/v10.xml`).

mod decode;
mod print;

pub(super) use decode::Decoder;

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
