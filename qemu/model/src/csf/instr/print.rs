// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Instructions as text, for traces and messages.

use std::fmt;

use super::{Defer, Instr, Invalid, Pair, Reg, SyncChange};

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
