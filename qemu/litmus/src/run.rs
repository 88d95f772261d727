// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Has loom run a test.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use loom::sync::atomic::{fence, AtomicI32, Ordering};
use loom::thread;

use crate::{Action, Place, Program, State, Test};

/// What the programs share.
struct Memory {
    variables: Vec<AtomicI32>,
    /// Written at every full barrier. To loom a fence is part of the step before it; this makes it
    /// a step of its own, of which any two are tried in both orders, as they use the same object.
    barriers: AtomicI32,
}

impl Memory {
    fn new(test: &Test) -> Self {
        let variables = test.variables.iter();
        Self {
            variables: variables.map(|(_, value)| AtomicI32::new(*value)).collect(),
            barriers: AtomicI32::new(0),
        }
    }

    fn full_barrier(&self) {
        // Relaxed, and nothing comes before the fence: it adds no order that the fence does not.
        self.barriers.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
}

impl Program {
    /// Returns what is in the registers in the end.
    fn run(&self, memory: &Memory) -> Vec<i32> {
        let mut registers = vec![0; self.registers.len()];
        for step in &self.steps {
            match step.action {
                Action::Load {
                    register,
                    variable,
                    acquire,
                } => {
                    let ordering = [Ordering::Relaxed, Ordering::Acquire][usize::from(acquire)];
                    registers[register] = memory.variables[variable].load(ordering);
                }
                Action::Store {
                    variable,
                    value,
                    release,
                } => {
                    let ordering = [Ordering::Relaxed, Ordering::Release][usize::from(release)];
                    memory.variables[variable].store(value, ordering);
                }
                Action::Swap {
                    register,
                    variable,
                    value,
                    full,
                } => {
                    if full {
                        memory.full_barrier();
                    }
                    registers[register] = memory.variables[variable].swap(value, Ordering::Relaxed);
                    if full {
                        memory.full_barrier();
                    }
                }
                Action::FullBarrier => memory.full_barrier(),
            }
        }
        registers
    }
}

impl Test {
    /// What can come of the test, as far as loom can tell.
    ///
    /// # Panics
    ///
    /// If the test is too long for loom.
    pub fn states(&self) -> BTreeSet<State> {
        let mut model = loom::model::Builder::new();
        // Every order, whatever the environment says.
        model.max_permutations = None;
        model.max_duration = None;
        model.preemption_bound = None;
        model.checkpoint_file = None;

        let states = Arc::new(Mutex::new(BTreeSet::new()));
        let (test, found) = (Arc::new(self.clone()), states.clone());
        model.check(move || {
            let state = test.execute();
            found
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(state);
        });
        let mut states = states.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *states)
    }

    /// Runs the programs once, in the order that loom wants.
    fn execute(self: &Arc<Self>) -> State {
        let memory = Arc::new(Memory::new(self));
        let (mine, others) = self.programs.split_first().expect("there is a program");
        let running: Vec<_> = (1..=others.len())
            .map(|i| {
                let (test, memory) = (self.clone(), memory.clone());
                thread::spawn(move || test.programs[i].run(&memory))
            })
            .collect();
        let mut registers = vec![mine.run(&memory)];
        for thread in running {
            registers.push(thread.join().expect("a program does not panic"));
        }

        let mut state = State::new();
        for (i, (program, values)) in self.programs.iter().zip(registers).enumerate() {
            for (register, value) in program.registers.iter().zip(values) {
                state.insert(Place::Register(i, register.clone()), value);
            }
        }
        for ((name, _), variable) in self.variables.iter().zip(&memory.variables) {
            let value = variable.load(Ordering::Relaxed);
            state.insert(Place::Variable(name.clone()), value);
        }
        state
    }
}
