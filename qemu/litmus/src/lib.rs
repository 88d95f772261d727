// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Runs the driver's litmus tests, where herd7 is not at hand.
//!
//! A litmus test is a few short programs that share variables, and a clause about what may come of
//! them. [`Test::parse`] reads the part of herd7's C dialect that the driver's tests use, and
//! refuses the rest by name. [`Test::states`] has loom run the programs in every order, each load
//! with every value that it may find. [`Test::weakened`] takes out one barrier at a time: a test
//! that nothing can make fail says nothing.
//!
//! The kernel's primitives are what comes nearest in the memory model of C11:
//!
//! | kernel | here |
//! | --- | --- |
//! | `READ_ONCE`, `WRITE_ONCE` | relaxed load, relaxed store |
//! | `smp_load_acquire`, `smp_store_release` | acquire load, release store |
//! | `smp_mb` | `fence(SeqCst)` |
//! | `xchg` | `fence(SeqCst)`, relaxed swap, `fence(SeqCst)` |
//!
//! # What this can show, and what not
//!
//! It finds stores that others see late and loads that find old values, which is what the driver's
//! handshakes have their barriers against. "Sometimes" comes with an execution that C11 allows.
//! "Never" is weaker than the same word of herd7 with the kernel's model, which stays the
//! reference:
//!
//! * loom lets no store happen before a load that precedes it in the program ("load buffering").
//!   The kernel's model allows that where neither a dependency nor a barrier forbids it.
//! * It is not the kernel's model. Dependencies count for nothing of their own, and a full barrier
//!   synchronizes with every earlier one. `smp_wmb` and `smp_rmb` are refused: the fences of C11
//!   that come nearest order more than they do, so that "Never" could be wrong.
//! * It is the protocol as the litmus test has it. That the driver does the same is for review.

mod parse;
mod run;

use std::collections::BTreeMap;
use std::fmt;

pub use parse::Error;

/// A litmus test.
#[derive(Clone, Debug)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// What it says will come of it.
    pub result: Outcome,
    /// The shared variables, with the values they begin with.
    variables: Vec<(String, i32)>,
    programs: Vec<Program>,
    exists: Condition,
}

/// Whether what a test asks about can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In no execution.
    Never,
    /// In one at least.
    Sometimes,
}

/// What one processor does.
#[derive(Clone, Debug, Default)]
struct Program {
    registers: Vec<String>,
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    line: usize,
    action: Action,
}

/// Variables and registers are given by their index.
#[derive(Clone, Copy, Debug)]
enum Action {
    Load {
        register: usize,
        variable: usize,
        acquire: bool,
    },
    Store {
        variable: usize,
        value: i32,
        release: bool,
    },
    Swap {
        register: usize,
        variable: usize,
        value: i32,
        /// With a full barrier before and after.
        full: bool,
    },
    FullBarrier,
}

/// Something that has a value in the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A register of a program.
    Register(usize, String),
    /// A shared variable.
    Variable(String),
}

/// What has come of one execution.
pub type State = BTreeMap<Place, i32>;

#[derive(Clone, Debug)]
enum Condition {
    Is(Place, i32),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

impl Condition {
    fn holds(&self, state: &State) -> bool {
        match self {
            Condition::Is(place, value) => state.get(place) == Some(value),
            Condition::Not(condition) => !condition.holds(state),
            Condition::All(conditions) => conditions.iter().all(|one| one.holds(state)),
            Condition::Any(conditions) => conditions.iter().any(|one| one.holds(state)),
        }
    }
}

impl Test {
    /// Whether what the test asks about can happen, as far as loom can tell.
    pub fn run(&self) -> Outcome {
        if self.states().iter().any(|state| self.exists.holds(state)) {
            Outcome::Sometimes
        } else {
            Outcome::Never
        }
    }

    /// The test without one of its full barriers, for each of them, and which one that is.
    pub fn weakened(&self) -> Vec<(Barrier, Test)> {
        let mut tests = Vec::new();
        for (program, Program { steps, .. }) in self.programs.iter().enumerate() {
            for (i, step) in steps.iter().enumerate() {
                let mut test = self.clone();
                let steps = &mut test.programs[program].steps;
                match &mut steps[i].action {
                    Action::FullBarrier => drop(steps.remove(i)),
                    Action::Swap { full, .. } if *full => *full = false,
                    _ => continue,
                }
                let line = step.line;
                tests.push((Barrier { program, line }, test));
            }
        }
        tests
    }
}

/// Where a full barrier is, or an operation that is one.
#[derive(Clone, Copy, Debug)]
pub struct Barrier {
    program: usize,
    line: usize,
}

impl fmt::Display for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the barrier of P{} in line {}", self.program, self.line)
    }
}
