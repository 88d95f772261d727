// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a suspended group leaves in its suspend buffer.
//!
//! The layout is the firmware's own: a header (magic, length and checksum of the rest),
//! the group, then every stream that was started. What depends on the slot, that is the
//! address space and the doorbells, is not in it.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use super::endpoints::Endpoint;
use super::instr::{Condition, Defer, HeapOperation, Scope, State};
use super::scoreboard::{Deferred, EndpointJob, Operation, Scoreboard, MAX_DEFERRED, MAX_JOBS};
use super::stream::{Blocked, Exception, Frame, Handler, Oom, Ring, Stream};
use crate::profile::CsfProfile;

const MAGIC: u64 = u64::from_le_bytes(*b"suspend1");
/// What stands in place of the magic when the group was resumed.
pub(super) const RESUMED: [u8; 8] = *b"resumed1";
/// Magic, length and checksum.
const HEADER: usize = 24;

/// A saved group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saved {
    /// Progress counters of the streams.
    pub(super) progress: Vec<u64>,
    /// How often the group was resumed.
    pub(super) disjoint: u64,
    /// The streams; `None` if not started.
    pub(super) streams: Vec<Option<Stream>>,
}

/// Why a suspend buffer cannot be resumed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damaged {
    #[error("it was never suspended to")]
    Magic,
    #[error("it was resumed from already")]
    Resumed,
    #[error("its contents changed since the suspend")]
    Contents,
}

/// The most bytes that a group with so many streams can need.
pub(super) fn max_size(csf: &CsfProfile) -> usize {
    let stream = 256
        + csf.work_registers as usize * 4
        + csf.max_calls as usize * 16
        + MAX_DEFERRED * 32
        + MAX_JOBS * 16;
    HEADER + 64 + csf.stream_num as usize * (8 + stream)
}

/// The bytes of a saved group; running jobs keep the time they have left.
pub(super) fn encode(saved: &Saved, now: Instant) -> Vec<u8> {
    let mut w = Writer(Vec::new());
    w.u64(saved.disjoint);
    w.list(&saved.progress, |w, &progress| w.u64(progress));
    w.list(&saved.streams, |w, stream| {
        w.option(stream.as_ref(), |w, stream| w.stream(stream, now));
    });
    let body = w.0;
    let mut head = Writer(Vec::with_capacity(HEADER + body.len()));
    head.u64(MAGIC);
    head.u64(body.len() as u64);
    head.u64(checksum(&body));
    head.0.extend(body);
    head.0
}

/// Whether the first bytes of a buffer say that it holds a group.
pub(super) fn is_saved(mark: [u8; 8]) -> bool {
    u64::from_le_bytes(mark) == MAGIC
}

/// The group that `bytes` hold.
///
/// # Errors
///
/// The bytes are not what [`encode`] made.
pub(super) fn decode(bytes: &[u8], now: Instant) -> Result<Saved, Damaged> {
    let mut r = Reader(bytes);
    match r.u64() {
        Some(MAGIC) => {}
        Some(mark) if mark.to_le_bytes() == RESUMED => return Err(Damaged::Resumed),
        _ => return Err(Damaged::Magic),
    }
    decode_rest(&mut r, now).ok_or(Damaged::Contents)
}

fn decode_rest(r: &mut Reader<'_>, now: Instant) -> Option<Saved> {
    let length = usize::try_from(r.u64()?).ok()?;
    let sum = r.u64()?;
    let body = r.0.get(..length)?;
    if checksum(body) != sum {
        return None;
    }
    let mut r = Reader(body);
    Some(Saved {
        disjoint: r.u64()?,
        progress: r.list(Reader::u64)?,
        streams: r.list(|r| r.option(|r| r.stream(now)))?,
    })
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

struct Writer(Vec<u8>);

impl Writer {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn u32(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    fn list<'a, T: 'a>(
        &mut self,
        items: impl IntoIterator<Item = &'a T, IntoIter: ExactSizeIterator>,
        mut each: impl FnMut(&mut Self, &'a T),
    ) {
        let items = items.into_iter();
        self.u32(items.len() as u32);
        for item in items {
            each(self, item);
        }
    }

    fn option<T>(&mut self, value: Option<T>, some: impl FnOnce(&mut Self, T)) {
        self.u8(value.is_some().into());
        if let Some(value) = value {
            some(self, value);
        }
    }

    fn stream(&mut self, stream: &Stream, now: Instant) {
        let Stream {
            regs,
            ring,
            frames,
            scoreboard,
            endpoint_slot,
            other_slot,
            blocked,
            recheck: _,
            error,
            dead,
            faulted,
            stalled,
            oom,
            heap,
            resources,
            handler,
            doorbell: _,
            pending_fault,
            pending_fatal,
        } = stream;
        self.list(regs, |w, &reg| w.u32(reg));
        for value in [ring.base, ring.size, ring.input, ring.output] {
            self.u64(value);
        }
        self.u64(ring.insert);
        self.u64(ring.pos);
        self.list(frames, |w, frame| {
            w.u64(frame.ip);
            w.u64(frame.end);
        });
        self.list(&scoreboard.deferred, |w, deferred| {
            w.u32(deferred.defer.wait.into());
            w.u8(deferred.defer.signal);
            w.operation(&deferred.operation);
        });
        self.list(&scoreboard.jobs, |w, job| {
            w.u8(job.endpoint as u8);
            w.u8(job.slot);
            w.u8(job.progress.into());
            let left = job.until.saturating_duration_since(now);
            w.u64(left.as_nanos() as u64);
        });
        self.u8(*endpoint_slot);
        self.u8(*other_slot);
        self.option(blocked.as_ref(), Self::blocked);
        for flag in [*error, *dead, *faulted, *stalled, oom.is_some()] {
            self.u8(flag.into());
        }
        self.u64(*heap);
        self.u8(*resources);
        self.u8(handler.exception);
        self.u64(handler.address);
        self.u32(handler.length);
        for pending in [pending_fault, pending_fatal] {
            self.option(pending.as_ref(), |w, exception| {
                w.u8(exception.kind);
                w.u64(exception.info);
            });
        }
    }

    fn blocked(&mut self, blocked: &Blocked) {
        match *blocked {
            Blocked::Scoreboards(mask) => {
                self.u8(1);
                self.u32(mask.into());
            }
            Blocked::Progress => self.u8(2),
            Blocked::Sync {
                address,
                value,
                condition,
                wide,
            } => {
                self.u8(3);
                self.u64(address);
                self.u64(value);
                self.u8((condition == Condition::Greater).into());
                self.u8(wide.into());
            }
            Blocked::Deferred => self.u8(4),
            Blocked::Resource(endpoint) => {
                self.u8(5);
                self.u8(endpoint as u8);
            }
        }
    }

    fn operation(&mut self, operation: &Operation) {
        match *operation {
            Operation::Flush => self.u8(1),
            Operation::Sync {
                address,
                value,
                add,
                wide,
                propagate,
                scope,
            } => {
                self.u8(2);
                self.u64(address);
                self.u64(value);
                for flag in [add, wide, propagate, scope == Scope::System] {
                    self.u8(flag.into());
                }
            }
            Operation::StoreState { state, address } => {
                self.u8(3);
                self.u8(state as u8);
                self.u64(address);
            }
            Operation::Heap { operation, heap } => {
                self.u8(4);
                self.u8(operation as u8);
                self.u64(heap);
            }
            Operation::Nothing => self.u8(5),
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.bytes().map(u8::from_le_bytes)
    }

    fn bool(&mut self) -> Option<bool> {
        self.u8().map(|value| value != 0)
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn list<T, C: FromIterator<T>>(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<C> {
        (0..self.u32()?).map(|_| each(self)).collect()
    }

    fn option<T>(&mut self, some: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.bool()? {
            some(self).map(Some)
        } else {
            Some(None)
        }
    }

    fn stream(&mut self, now: Instant) -> Option<Stream> {
        Some(Stream {
            regs: self.list(Self::u32)?,
            ring: Ring {
                base: self.u64()?,
                size: self.u64()?,
                input: self.u64()?,
                output: self.u64()?,
                insert: self.u64()?,
                pos: self.u64()?,
                published: None,
            },
            frames: self.list(|r| {
                Some(Frame {
                    ip: r.u64()?,
                    end: r.u64()?,
                })
            })?,
            scoreboard: Scoreboard {
                deferred: self.list(|r| {
                    Some(Deferred {
                        defer: Defer {
                            wait: u16::try_from(r.u32()?).ok()?,
                            signal: r.u8()?,
                        },
                        operation: r.operation()?,
                    })
                })?,
                jobs: self.list(|r| {
                    Some(EndpointJob {
                        endpoint: r.endpoint()?,
                        slot: r.u8()?,
                        progress: r.bool()?,
                        until: now + Duration::from_nanos(r.u64()?),
                    })
                })?,
            },
            endpoint_slot: self.u8()?,
            other_slot: self.u8()?,
            blocked: self.option(Self::blocked)?,
            recheck: true,
            error: self.bool()?,
            dead: self.bool()?,
            faulted: self.bool()?,
            stalled: self.bool()?,
            // The host forgot what it was told when it took the group off its slot.
            oom: self.bool()?.then_some(Oom::Found),
            heap: self.u64()?,
            resources: self.u8()?,
            handler: Handler {
                exception: self.u8()?,
                address: self.u64()?,
                length: self.u32()?,
            },
            doorbell: 0,
            pending_fault: self.exception()?,
            pending_fatal: self.exception()?,
        })
    }

    fn endpoint(&mut self) -> Option<Endpoint> {
        Endpoint::ALL.get(usize::from(self.u8()?)).copied()
    }

    fn exception(&mut self) -> Option<Option<Exception>> {
        self.option(|r| {
            Some(Exception {
                kind: r.u8()?,
                info: r.u64()?,
            })
        })
    }

    fn blocked(&mut self) -> Option<Blocked> {
        Some(match self.u8()? {
            1 => Blocked::Scoreboards(u16::try_from(self.u32()?).ok()?),
            2 => Blocked::Progress,
            3 => Blocked::Sync {
                address: self.u64()?,
                value: self.u64()?,
                condition: if self.bool()? {
                    Condition::Greater
                } else {
                    Condition::LessOrEqual
                },
                wide: self.bool()?,
            },
            4 => Blocked::Deferred,
            5 => Blocked::Resource(self.endpoint()?),
            _ => return None,
        })
    }

    fn operation(&mut self) -> Option<Operation> {
        Some(match self.u8()? {
            1 => Operation::Flush,
            2 => Operation::Sync {
                address: self.u64()?,
                value: self.u64()?,
                add: self.bool()?,
                wide: self.bool()?,
                propagate: self.bool()?,
                scope: if self.bool()? {
                    Scope::System
                } else {
                    Scope::Group
                },
            },
            3 => Operation::StoreState {
                state: match self.u8()? {
                    0 => State::Timestamp,
                    1 => State::CycleCount,
                    2 => State::DisjointCount,
                    _ => State::ErrorStatus,
                },
                address: self.u64()?,
            },
            4 => Operation::Heap {
                operation: match self.u8()? {
                    0 => HeapOperation::TilerStarted,
                    1 => HeapOperation::TilerCompleted,
                    _ => HeapOperation::FragmentCompleted,
                },
                heap: self.u64()?,
            },
            5 => Operation::Nothing,
            _ => return None,
        })
    }
}
