// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Exceptions of a stream: those that instructions meet, and those that a test orders.

use super::{Env, Trap, TILER_OOM};
use crate::csf::exception::{CS_CALL_STACK_OVERFLOW, CS_CONFIG_FAULT, CS_INHERIT_FAULT, OOM};
use crate::csf::stream::{Exception, Frame, Handler, Oom, Stream};
use crate::faults::{at_stream, Key, Kind};

impl Stream {
    /// Whether what a test ordered holds the stream up at its next instruction.
    ///
    /// Only what userspace submitted meets it, not what kernels put around it in the ring.
    pub(super) fn ordered(&mut self, env: &mut Env<'_>) -> bool {
        let Some(called) = self.frames.first() else {
            return false;
        };
        let place = at_stream(env.slot, env.stream).with(Key::Gib, called.ip >> 30);
        let faults = env.bus.faults();
        if let Some(values) = faults.strike(Kind::StreamFatal, &place) {
            let kind = values.or(Key::Type, CS_CONFIG_FAULT.into());
            self.trap(env, Trap::fatal(kind as u8, 0));
        } else if let Some(values) = faults.strike(Kind::StreamFault, &place) {
            let kind = values.or(Key::Type, CS_INHERIT_FAULT.into());
            self.trap(env, Trap::fault(kind as u8, 0));
        } else if faults.strike(Kind::StreamStall, &place).is_some() {
            self.stalled = true;
            self.trace(env, format_args!("stalls"));
        } else if faults.strike(Kind::TilerOom, &place).is_some() {
            self.oom = Some(Oom::Found);
            self.trace(env, format_args!("finds its heap exhausted"));
        } else {
            return false;
        }
        true
    }

    /// Goes on after the host was told that the heap is exhausted; `chunk` says whether
    /// it had memory for it.
    pub(in crate::csf) fn resume_from_oom(&mut self, max_calls: usize, chunk: bool) {
        self.oom = None;
        let Handler {
            exception,
            address,
            length,
        } = self.handler;
        let end = address.checked_add(length.into());
        match end {
            _ if chunk => {}
            // The handler renders what there is, and so makes room.
            Some(end) if exception == TILER_OOM && length != 0 => {
                if self.frames.len() == max_calls {
                    self.die(CS_CALL_STACK_OVERFLOW, address);
                } else {
                    self.frames.push(Frame { ip: address, end });
                }
            }
            _ => self.die(OOM, self.heap),
        }
    }

    fn die(&mut self, kind: u8, info: u64) {
        self.error = true;
        self.dead = true;
        self.pending_fatal = Some(Exception { kind, info });
    }

    /// Records an exception; says whether the stream goes on behind the instruction.
    pub(super) fn trap(&mut self, env: &mut Env<'_>, trap: Trap) -> bool {
        self.error = true;
        let (what, exception, goes_on) = match trap {
            Trap::Fault(exception) => {
                self.faulted = true;
                self.pending_fault = Some(exception);
                ("fault", exception, true)
            }
            Trap::Fatal(exception) => {
                self.die(exception.kind, exception.info);
                ("fatal fault", exception, false)
            }
        };
        let Exception { kind, info } = exception;
        self.trace(env, format_args!("{what} {kind:#04x}, info {info:#x}"));
        goes_on
    }
}
