// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Assembler for command streams of arch 10 (Valhall CSF, v10).
//!
//! A command stream is a sequence of 64-bit instructions that a queue executes: moves, arithmetic, loads and
//! stores, branches, synchronisation and endpoint jobs. [`Builder`] collects instructions, resolves labels and
//! gives the words to write into GPU memory; [`insn`] holds the encodings.
//!
//! Loads and stores are asynchronous: they raise the counter of the scoreboard slot that
//! [`Builder::set_sb_entry`] chose, and the stream must [`Builder::wait`] on that slot before it uses what was
//! loaded, or relies on what was stored.

mod builder;
pub mod insn;

pub use builder::{Builder, Error, Label};

/// Registers of a queue on arch 10 (the kernel uses the last four between jobs).
pub const REG_COUNT: u8 = 96;

/// A 32-bit register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reg(u8);

/// A 64-bit register: two 32-bit ones, the even one holding the low half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reg64(u8);

/// The 32-bit register `n`.
///
/// # Panics
///
/// If there is no such register.
pub const fn r(n: u8) -> Reg {
    assert!(n < REG_COUNT, "no such register");
    Reg(n)
}

/// The 64-bit register made of `n` and `n + 1`.
///
/// # Panics
///
/// If there is no such register or `n` is odd.
pub const fn d(n: u8) -> Reg64 {
    assert!(
        n < REG_COUNT && n % 2 == 0,
        "a 64-bit register starts at an even one"
    );
    Reg64(n)
}

impl Reg {
    /// Its number.
    pub const fn index(self) -> u8 {
        self.0
    }
}

impl Reg64 {
    /// The number of its low half.
    pub const fn index(self) -> u8 {
        self.0
    }

    /// Its low half.
    pub const fn lo(self) -> Reg {
        Reg(self.0)
    }

    /// Its high half.
    pub const fn hi(self) -> Reg {
        Reg(self.0 + 1)
    }
}

/// Comparison of a register with zero (BRANCH), or of memory with a register (SYNC_WAIT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Less or equal.
    LessEqual = 0,
    /// Greater.
    Greater = 1,
    /// Equal.
    Equal = 2,
    /// Not equal.
    NotEqual = 3,
    /// Less.
    Less = 4,
    /// Greater or equal.
    GreaterEqual = 5,
    /// Always.
    Always = 6,
}

/// Who learns that a sync object changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everybody; the kernel gets an interrupt.
    System = 0,
    /// The queues of the same group.
    Group = 2,
}

/// What STORE_STATE stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// GPU time.
    Timestamp = 0,
    /// GPU cycles.
    CycleCount = 1,
    /// Number of interruptions of the two above.
    DisjointCount = 2,
    /// The queue's error.
    ErrorStatus = 3,
}

/// What to do with a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushMode {
    /// Nothing.
    None = 0,
    /// Write dirty lines back.
    Clean = 1,
    /// Write dirty lines back and drop all lines.
    CleanInvalidate = 3,
}

/// What HEAP_OPERATION counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeapOperation {
    /// Vertex/tiler work started.
    VertexTilerStarted = 0,
    /// Vertex/tiler work completed.
    VertexTilerCompleted = 1,
    /// Fragment work completed.
    FragmentCompleted = 3,
}

/// An axis of a compute grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// X.
    X = 0,
    /// Y.
    Y = 1,
    /// Z.
    Z = 2,
}

/// When a deferrable instruction runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Defer {
    /// At once; the stream waits for it.
    #[default]
    No,
    /// When the scoreboard slots of `wait` (a bit mask, not zero) are idle; `signal` is busy until it has run.
    Until {
        /// Slots to wait for.
        wait: u16,
        /// Slot that is busy meanwhile, 0 to 15.
        signal: u8,
    },
}

/// Which of the four resource tables an endpoint job uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selects {
    /// Shader resource table, 0 to 3.
    pub srt: u8,
    /// Shader program descriptor, 0 to 3.
    pub spd: u8,
    /// Thread storage descriptor, 0 to 3.
    pub tsd: u8,
    /// Fast access uniforms, 0 to 3.
    pub fau: u8,
}
