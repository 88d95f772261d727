// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Execution of command-stream instructions.

mod flow;
mod memory;
mod operation;
mod trap;

use std::time::{Duration, Instant};

use super::endpoints::Endpoint;
use super::exception::{
    ADDR_RANGE_FAULT, CS_BUS_FAULT, CS_CALL_STACK_OVERFLOW, CS_INHERIT_FAULT, CS_INSTR_INVALID,
};
use super::instr::{Decoder, HeapOperation, Instr, Job, Pair, Reg};
use super::mem;
use super::scoreboard::{Deferred, EndpointJob, Operation};
use super::stream::{Blocked, Exception, Handler, Stream};
use crate::bus::{Bus, Fault, TraceKind};

/// Exception of SET_EXCEPTION_HANDLER: the tiler heap is exhausted.
const TILER_OOM: u8 = 2;

/// What the streams of a group did that concerns others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    /// The host is to be told that a sync object changed.
    pub(super) sync_update: bool,
    /// Streams of all groups that wait for sync objects are to look again.
    pub(super) wake_all: bool,
    /// Streams of this group that wait for sync objects are to look again.
    pub(super) wake_group: bool,
    /// Streams of this group that wait for progress are to look again.
    pub(super) progress: bool,
    /// Endpoints on which jobs were started, by kind.
    pub(super) taken: [u64; 3],
    /// GPU address of the buffer that was called last.
    pub(super) called: Option<u64>,
}

/// What a stream can reach while it executes.
pub(super) struct Env<'a> {
    pub(super) bus: &'a mut dyn Bus,
    pub(super) decoder: Decoder,
    /// Address space of the group.
    pub(super) as_nr: u8,
    /// Group slot and stream, for trace lines.
    pub(super) slot: u32,
    pub(super) stream: usize,
    /// Progress counters of the group's streams.
    pub(super) progress: &'a mut [u64],
    /// Endpoints that a job could run on now, by kind; none if it has to wait.
    pub(super) grants: [u64; 3],
    /// How often the group was resumed.
    pub(super) disjoint: u64,
    pub(super) run_time: Duration,
    pub(super) max_calls: usize,
    pub(super) effects: Effects,
}

/// What became of an instruction.
enum Flow {
    /// Go on with the next one.
    Next,
    /// The instruction set the place to go on at.
    Moved,
    /// Try again when something happened.
    Stay(Blocked),
}

/// Why an instruction could not be executed.
enum Trap {
    /// The stream goes on behind the instruction, in the error state.
    Fault(Exception),
    /// The stream is over.
    Fatal(Exception),
}

impl Trap {
    fn fault(kind: u8, info: u64) -> Self {
        Self::Fault(Exception { kind, info })
    }

    fn fatal(kind: u8, info: u64) -> Self {
        Self::Fatal(Exception { kind, info })
    }
}

impl Env<'_> {
    fn read(&mut self, va: u64, buf: &mut [u8]) -> Result<(), Trap> {
        let result = self.bus.read(self.as_nr, va, buf);
        result.map_err(|fault| self.bus_fault(&fault))
    }

    fn write(&mut self, va: u64, data: &[u8]) -> Result<(), Trap> {
        let result = self.bus.write(self.as_nr, va, data);
        result.map_err(|fault| self.bus_fault(&fault))
    }

    fn read32(&mut self, va: u64) -> Result<u32, Trap> {
        let result = mem::read32(self.bus, self.as_nr, va);
        result.map_err(|fault| self.bus_fault(&fault))
    }

    fn read64(&mut self, va: u64) -> Result<u64, Trap> {
        let result = mem::read64(self.bus, self.as_nr, va);
        result.map_err(|fault| self.bus_fault(&fault))
    }

    fn bus_fault(&mut self, fault: &Fault) -> Trap {
        self.bus.raise_mmu_fault(fault);
        Trap::fatal(CS_BUS_FAULT, fault.va)
    }

    fn made_progress(&mut self) {
        self.progress[self.stream] = self.progress[self.stream].wrapping_add(1);
        self.effects.progress = true;
    }
}

/// A time that far in the future, or as far as it goes.
fn later(now: Instant, time: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    now.checked_add(time).unwrap_or(now + YEAR)
}

fn aligned(address: u64, to: u64) -> Result<u64, Trap> {
    if address % to == 0 {
        Ok(address)
    } else {
        Err(Trap::fault(ADDR_RANGE_FAULT, address))
    }
}

impl Stream {
    /// Tries to execute one instruction; sets the blocked state or the fault flags.
    ///
    /// The stream has to be runnable.
    pub(super) fn step(&mut self, env: &mut Env<'_>) {
        self.recheck = false;
        let at = self.address();
        if self.ordered(env) {
            // The instruction was not tried; it is when the stream may go on.
            return;
        }
        match self.step_or_trap(env, at) {
            Ok(Flow::Next) => {
                self.blocked = None;
                self.advance();
            }
            Ok(Flow::Moved) => self.blocked = None,
            Ok(Flow::Stay(blocked)) => {
                if self.blocked != Some(blocked) {
                    self.trace(env, format_args!("blocked: {blocked:x?}"));
                }
                self.blocked = Some(blocked);
            }
            Err(trap) => {
                self.blocked = None;
                if self.trap(env, trap) {
                    self.advance();
                }
            }
        }
        self.unwind();
    }

    /// Executes the deferred instructions whose turn it is.
    pub(super) fn run_deferred(&mut self, env: &mut Env<'_>) {
        while !self.dead {
            let Some((index, operation)) = self.scoreboard.ready() else {
                break;
            };
            self.trace(env, format_args!("deferred {operation:x?}"));
            let result = self.perform(env, operation);
            self.scoreboard.retire(index);
            self.recheck = true;
            if let Err(trap) = result {
                self.trap(env, trap);
            }
        }
    }

    /// Ends the endpoint jobs whose time has come; says whether there were any.
    pub(super) fn finish_jobs(&mut self, env: &mut Env<'_>, now: Instant) -> bool {
        let (ended, progress) = self.scoreboard.finish_jobs(now);
        for _ in 0..progress {
            env.made_progress();
        }
        if ended == 0 {
            return false;
        }
        self.trace(env, format_args!("{ended} endpoint job(s) ended"));
        self.recheck = true;
        self.run_deferred(env);
        true
    }

    fn trace(&self, env: &mut Env<'_>, what: std::fmt::Arguments<'_>) {
        let (slot, stream) = (env.slot, env.stream);
        env.bus.trace(
            TraceKind::Instr,
            format_args!("csg{slot}.cs{stream} {:#x}: {what}", self.address()),
        );
    }

    fn step_or_trap(&mut self, env: &mut Env<'_>, at: u64) -> Result<Flow, Trap> {
        let word = env.read64(at)?;
        match env.decoder.decode(word) {
            Ok(instr) => {
                if instr != Instr::Nop && self.blocked.is_none() {
                    self.trace(env, format_args!("{instr}"));
                }
                self.execute(env, instr, word)
            }
            Err(invalid) => {
                self.trace(env, format_args!("{word:#018x} is invalid: {invalid}"));
                Err(Trap::fatal(CS_INSTR_INVALID, word))
            }
        }
    }

    fn reg(&self, Reg(reg): Reg) -> u32 {
        self.regs[usize::from(reg)]
    }

    fn pair(&self, Pair(reg): Pair) -> u64 {
        self.wide(Reg(reg))
    }

    /// The register and the one behind it as one value.
    fn wide(&self, Reg(reg): Reg) -> u64 {
        let at = usize::from(reg);
        u64::from(self.regs[at]) | (u64::from(self.regs[at + 1]) << 32)
    }

    fn set(&mut self, Reg(reg): Reg, value: u32) {
        self.regs[usize::from(reg)] = value;
    }

    fn set_pair(&mut self, Pair(reg): Pair, value: u64) {
        let at = usize::from(reg);
        self.regs[at] = value as u32;
        self.regs[at + 1] = (value >> 32) as u32;
    }

    fn execute(&mut self, env: &mut Env<'_>, instr: Instr, word: u64) -> Result<Flow, Trap> {
        match instr {
            Instr::Nop | Instr::ProtRegion { .. } => (),
            Instr::Move48 { to, value } => self.set_pair(to, value),
            Instr::Move32 { to, value } => self.set(to, value),
            Instr::Wait { mask, progress } => {
                if self.scoreboard.blocks(mask) {
                    return Ok(Flow::Stay(Blocked::Scoreboards(mask)));
                }
                if progress {
                    env.made_progress();
                }
            }
            Instr::Run { job, progress } => return Ok(self.run(env, job, progress)),
            Instr::FinishTiling { progress } => {
                if progress {
                    env.made_progress();
                }
            }
            Instr::FinishFragment { count, defer, .. } => {
                let operation = if count {
                    Operation::Heap {
                        operation: HeapOperation::FragmentCompleted,
                        heap: self.heap,
                    }
                } else {
                    Operation::Nothing
                };
                return self.issue(env, Deferred { defer, operation });
            }
            Instr::Add32 { to, from, value } => {
                self.set(to, self.reg(from).wrapping_add_signed(value));
            }
            Instr::Add64 { to, from, value } => {
                let sum = self.pair(from).wrapping_add_signed(value.into());
                self.set_pair(to, sum);
            }
            Instr::UMin32 { to, left, right } => {
                self.set(to, self.reg(left).min(self.reg(right)));
            }
            Instr::Load {
                base,
                mask,
                address,
                offset,
            } => {
                let address = self.pair(address).wrapping_add_signed(offset.into());
                self.load(env, base, mask, aligned(address, 4)?)?;
            }
            Instr::Store {
                base,
                mask,
                address,
                offset,
            } => {
                let address = self.pair(address).wrapping_add_signed(offset.into());
                self.store(env, base, mask, aligned(address, 4)?)?;
            }
            Instr::Branch {
                condition,
                value,
                offset,
            } => {
                self.advance();
                if condition.holds(self.reg(value) as i32, 0) {
                    self.branch(offset, word)?;
                }
                return Ok(Flow::Moved);
            }
            Instr::SetSbEntry { endpoint, other } => {
                self.endpoint_slot = endpoint;
                self.other_slot = other;
            }
            Instr::ProgressWait { stream, value } => {
                let progress = env.progress.get(usize::from(stream));
                let progress = *progress.ok_or(Trap::fatal(CS_INSTR_INVALID, word))?;
                if progress < self.pair(value) {
                    return Ok(Flow::Stay(Blocked::Progress));
                }
            }
            Instr::SetExceptionHandler {
                exception,
                address,
                length,
            } => {
                self.handler = Handler {
                    exception,
                    address: self.pair(address),
                    length: self.reg(length),
                }
            }
            Instr::Call { address, length } => {
                let frame = self.frame(address, length, word)?;
                if self.frames.len() == env.max_calls {
                    return Err(Trap::fatal(CS_CALL_STACK_OVERFLOW, word));
                }
                self.advance();
                env.effects.called = Some(frame.ip);
                self.frames.push(frame);
                return Ok(Flow::Moved);
            }
            Instr::Jump { address, length } => {
                let frame = self.frame(address, length, word)?;
                // The ring itself cannot be left for good.
                let current = self.frames.last_mut();
                *current.ok_or(Trap::fatal(CS_INSTR_INVALID, word))? = frame;
                return Ok(Flow::Moved);
            }
            Instr::ReqResource { resources } => self.resources = resources,
            Instr::FlushCache { defer, .. } => {
                let operation = Operation::Flush;
                return self.issue(env, Deferred { defer, operation });
            }
            Instr::SyncChange(change) => return self.sync_change(env, change),
            Instr::SyncWait {
                wide,
                reject,
                condition,
                data,
                address,
            } => {
                let address = self.pair(address);
                let (current, status, value) = if wide {
                    aligned(address, 8)?;
                    let current = env.read64(address)?;
                    let status = env.read32(address.wrapping_add(8))?;
                    (current, status, self.wide(data))
                } else {
                    aligned(address, 4)?;
                    let current = env.read32(address)?;
                    let status = env.read32(address.wrapping_add(4))?;
                    (current.into(), status, self.reg(data).into())
                };
                if reject && status != 0 {
                    return Err(Trap::fault(CS_INHERIT_FAULT, address));
                }
                if !condition.holds(current, value) {
                    return Ok(Flow::Stay(Blocked::Sync {
                        address,
                        value,
                        condition,
                        wide,
                    }));
                }
            }
            Instr::StoreState {
                state,
                address,
                offset,
                defer,
            } => {
                let address = self.pair(address).wrapping_add_signed(offset.into());
                let operation = Operation::StoreState {
                    state,
                    address: aligned(address, 8)?,
                };
                return self.issue(env, Deferred { defer, operation });
            }
            Instr::ProgressStore { from } => {
                env.progress[env.stream] = self.pair(from);
                env.effects.progress = true;
            }
            Instr::ProgressLoad { to } => self.set_pair(to, env.progress[env.stream]),
            Instr::ErrorBarrier => self.error = false,
            Instr::HeapSet { address } => self.heap = self.pair(address),
            Instr::HeapOperation { operation, defer } => {
                let heap = self.heap;
                let operation = Operation::Heap { operation, heap };
                return self.issue(env, Deferred { defer, operation });
            }
            Instr::TracePoint { defer, .. } => {
                let operation = Operation::Nothing;
                return self.issue(env, Deferred { defer, operation });
            }
        }
        Ok(Flow::Next)
    }

    /// Starts an endpoint job. In the error state it is skipped.
    fn run(&mut self, env: &mut Env<'_>, job: Job, progress: bool) -> Flow {
        if self.error {
            return Flow::Next;
        }
        let endpoint = Endpoint::of(job);
        let grant = env.grants[endpoint as usize];
        if grant == 0 {
            return Flow::Stay(Blocked::Resource(endpoint));
        }
        let (kind, powered) = match job {
            Job::Compute | Job::ComputeIndirect | Job::Fragment => {
                ("shader cores", env.bus.shader_ready())
            }
            Job::Tiling | Job::Idvs | Job::Fullscreen => ("tilers", env.bus.tiler_ready()),
        };
        if powered == 0 {
            let (slot, stream) = (env.slot, env.stream);
            env.bus.misuse(format_args!(
                "csg{slot}.cs{stream}: RUN {job:?} while all {kind} are powered off"
            ));
        }
        if !self.scoreboard.can_run() {
            return Flow::Stay(Blocked::Deferred);
        }
        self.scoreboard.jobs.push(EndpointJob {
            endpoint,
            slot: self.endpoint_slot,
            progress,
            until: later(env.bus.now(), env.run_time),
        });
        env.effects.taken[endpoint as usize] = grant;
        Flow::Next
    }
}
