// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Instructions that can be deferred: issuing and doing them.

use super::{aligned, Env, Flow, Trap};
use crate::csf::exception::ADDR_RANGE_FAULT;
use crate::csf::instr::{HeapOperation, Scope, State, SyncChange};
use crate::csf::scoreboard::{Deferred, Operation};
use crate::csf::stream::{Blocked, Stream};

impl Stream {
    /// SYNC_ADD or SYNC_SET.
    pub(super) fn sync_change(
        &mut self,
        env: &mut Env<'_>,
        change: SyncChange,
    ) -> Result<Flow, Trap> {
        let SyncChange { wide, data, .. } = change;
        let address = aligned(self.pair(change.address), if wide { 8 } else { 4 })?;
        let value = if wide {
            self.wide(data)
        } else {
            self.reg(data).into()
        };
        let operation = Operation::Sync {
            address,
            value,
            add: change.add,
            wide,
            propagate: change.propagate,
            scope: change.scope,
        };
        let defer = change.defer;
        self.issue(env, Deferred { defer, operation })
    }

    /// Executes an instruction at once, or defers it.
    pub(super) fn issue(&mut self, env: &mut Env<'_>, deferred: Deferred) -> Result<Flow, Trap> {
        if deferred.defer.wait == 0 {
            self.perform(env, deferred.operation)?;
        } else if self.scoreboard.can_defer() {
            self.scoreboard.deferred.push_back(deferred);
            self.run_deferred(env);
            if self.dead {
                // The trap is recorded; the place of the instruction is kept.
                return Ok(Flow::Moved);
            }
        } else {
            return Ok(Flow::Stay(Blocked::Deferred));
        }
        Ok(Flow::Next)
    }

    /// Does what an instruction that can be deferred does.
    pub(super) fn perform(&mut self, env: &mut Env<'_>, operation: Operation) -> Result<(), Trap> {
        match operation {
            Operation::Flush => env.bus.flush_caches(),
            Operation::Sync {
                address,
                value,
                add,
                wide,
                propagate,
                scope,
            } => {
                if propagate {
                    let status = address.wrapping_add(if wide { 8 } else { 4 });
                    env.write(status, &u32::from(self.error).to_le_bytes())?;
                }
                if wide {
                    let old = if add { env.read64(address)? } else { 0 };
                    env.write(address, &old.wrapping_add(value).to_le_bytes())?;
                } else {
                    let old = if add { env.read32(address)? } else { 0 };
                    env.write(address, &old.wrapping_add(value as u32).to_le_bytes())?;
                }
                env.effects.wake_group = true;
                if scope == Scope::System {
                    env.effects.wake_all = true;
                    env.effects.sync_update = true;
                }
            }
            Operation::StoreState { state, address } => {
                let value = match state {
                    State::Timestamp => env.bus.timestamp(),
                    State::CycleCount => env.bus.cycles(),
                    State::DisjointCount => env.disjoint,
                    State::ErrorStatus => self.error.into(),
                };
                env.write(address, &value.to_le_bytes())?;
            }
            Operation::Heap { operation, heap } => {
                // The host zeroes the context and leaves its layout to the firmware:
                // here the three counters.
                let heap = aligned(heap, 4)?;
                if heap == 0 {
                    return Err(Trap::fault(ADDR_RANGE_FAULT, heap));
                }
                let counter = heap.wrapping_add(match operation {
                    HeapOperation::TilerStarted => 0,
                    HeapOperation::TilerCompleted => 4,
                    HeapOperation::FragmentCompleted => 8,
                });
                let count = env.read32(counter)?;
                env.write(counter, &count.wrapping_add(1).to_le_bytes())?;
            }
            Operation::Nothing => (),
        }
        Ok(())
    }
}
