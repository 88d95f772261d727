// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A stream's place in a group slot: its interface, and the stream if one was started.

use super::blame;
use super::exception::CS_CONFIG_FAULT;
use super::layout::{self, cs};
use super::mailbox::Mailbox;
use super::mem::{self, MCU};
use super::settings::Settings;
use super::stream::{Exception, Oom, Ring, Stream};
use crate::bus::{Bus, Fault, TraceKind};

/// The firmware's side of a stream's interface.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) mailbox: Mailbox,
    /// Level bits of the request word.
    pub(super) levels: u32,
    /// The host wants to hear when the extract offset moves.
    extract_event: bool,
    pub(super) stream: Option<Stream>,
}

/// What a port has for the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// The host wants an interrupt.
    pub(super) irq: bool,
    /// The stream is to be flagged in the group's `CS_IRQ_REQ`.
    pub(super) event: bool,
}

impl Port {
    pub(super) fn new(group: u32, stream: u32) -> Self {
        Self {
            mailbox: Mailbox::new(
                format!("csg{group}.cs{stream}"),
                layout::cs_input(group, stream),
                layout::cs_output(group, stream),
                cs::ACK_IRQ_MASK,
                cs::EVENTS,
            ),
            levels: 0,
            extract_event: false,
            stream: None,
        }
    }

    fn field(&self, bus: &mut dyn Bus, offset: u64) -> Result<u64, Fault> {
        mem::read64(bus, MCU, self.mailbox.input + offset)
    }

    fn word(&self, bus: &mut dyn Bus, offset: u64) -> Result<u32, Fault> {
        mem::read32(bus, MCU, self.mailbox.input + offset)
    }

    /// Serves the requests of this stream, whose group is resident.
    ///
    /// `as_nr` is the group's address space.
    ///
    /// Sets the stream to what the host asks for: `saved` if there is one, else a fresh
    /// one, or none.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the interface or the ring's blocks.
    pub(super) fn serve(
        &mut self,
        bus: &mut dyn Bus,
        settings: &Settings,
        as_nr: u8,
        saved: Option<Stream>,
    ) -> Result<News, Fault> {
        let req = self.mailbox.request(bus)?;
        let changed = (req ^ self.mailbox.ack()) & !cs::EVENTS;
        if changed != 0 {
            bus.trace(
                TraceKind::Request,
                format_args!(
                    "{}: req {req:#010x}, changed {changed:#010x}",
                    self.mailbox.name
                ),
            );
        }
        self.levels = req & cs::LEVELS;
        self.extract_event |= changed & cs::EXTRACT_EVENT != 0;
        let unknown = changed & !(cs::LEVELS | cs::EXTRACT_EVENT | cs::STATE);
        if unknown != 0 {
            blame(
                bus,
                format_args!(
                    "{}: requests {unknown:#010x} that this firmware does not know",
                    self.mailbox.name
                ),
            );
        }

        if saved.is_some() && req & cs::STATE == cs::STOP {
            blame(
                bus,
                format_args!(
                    "{}: was running when its group was suspended, and is not resumed with it",
                    self.mailbox.name
                ),
            );
        }
        let mut news = News::default();
        match (req & cs::STATE, self.stream.take().or(saved)) {
            (cs::STOP, None) => (),
            (cs::STOP, Some(mut stream)) => {
                stream.publish(bus)?;
            }
            (cs::START, Some(stream)) => self.stream = Some(stream),
            (cs::START, None) => self.stream = Some(self.load(bus, settings)?),
            (state, stream) => {
                blame(
                    bus,
                    format_args!("{}: state {state} does not exist", self.mailbox.name),
                );
                self.stream = stream;
                return Ok(news);
            }
        }
        if let Some(stream) = &mut self.stream {
            let config = mem::read32(bus, MCU, self.mailbox.input + cs::CONFIG)?;
            stream.doorbell = (config >> 8) & 0xff;
            if stream.oom == Some(Oom::Told) && self.mailbox.answered(bus, cs::TILER_OOM)? {
                let chunk = new_chunk(bus, &self.mailbox, as_nr)?;
                stream.resume_from_oom(settings.max_calls, chunk);
            }
            if stream.faulted && stream.pending_fault.is_none() {
                stream.faulted = !self.mailbox.answered(bus, cs::FAULT_EVENT)?;
            }
        }
        news.irq = self.mailbox.answer(bus, req, cs::LEVELS | cs::STATE)?;
        Ok(news)
    }

    /// Marks the stream as stopped, which it is when its group leaves the slot.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the interface.
    pub(super) fn stop(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        self.stream = None;
        self.extract_event = false;
        // It would be taken for the next stream's.
        self.mailbox.withdraw(bus, cs::TILER_OOM)?;
        self.mailbox.answer(bus, cs::STOP, cs::STATE)?;
        Ok(())
    }

    /// A fresh stream on the ring that the host configured.
    fn load(&self, bus: &mut dyn Bus, settings: &Settings) -> Result<Stream, Fault> {
        let base = self.field(bus, cs::RING_BASE)?;
        let size = u64::from(self.word(bus, cs::RING_SIZE)?);
        let input = self.field(bus, cs::RING_INPUT)?;
        let output = self.field(bus, cs::RING_OUTPUT)?;
        let mut ring = Ring {
            base,
            size,
            input,
            output,
            insert: 0,
            pos: 0,
            published: None,
        };
        let wrong = if base == 0 || base % 4096 != 0 {
            Some(format!("ring address {base:#x} is not page-aligned"))
        } else if !size.is_power_of_two() || size < 4096 {
            Some(format!(
                "ring size {size:#x} is not a power of two from 4096 on"
            ))
        } else if [input, output].iter().any(|va| va % 64 != 0 || *va == 0) {
            Some(format!(
                "ring blocks at {input:#x} and {output:#x} are not aligned"
            ))
        } else {
            None
        };
        let registers = settings.decoder.registers.into();
        if let Some(wrong) = wrong {
            // The output block may be anywhere, so nothing is told through it.
            ring.output = 0;
            let mut stream = Stream::new(registers, ring);
            reject(bus, &self.mailbox, &mut stream, &wrong);
            return Ok(stream);
        }
        ring.pos = mem::read64(bus, MCU, input + layout::ring::EXTRACT_INIT)?;
        ring.insert = ring.pos;
        let aligned = ring.pos % 8 == 0;
        let mut stream = Stream::new(registers, ring);
        if !aligned {
            let wrong = format!("extract offset {:#x} is not aligned", stream.ring.pos);
            reject(bus, &self.mailbox, &mut stream, &wrong);
        }
        Ok(stream)
    }

    /// The doorbell was rung: looks for new instructions, and tries blocked ones again.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the ring's input block.
    pub(super) fn kick(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        let Some(stream) = self.stream.as_mut().filter(|stream| !stream.dead) else {
            return Ok(());
        };
        stream.recheck = true;
        if let Err(wrong) = stream.read_insert(bus)? {
            reject(bus, &self.mailbox, stream, &wrong);
        }
        Ok(())
    }

    /// Tells the host how far the stream has come, and of its exceptions.
    ///
    /// # Errors
    ///
    /// The MCU cannot reach the interface or the ring's output block.
    pub(super) fn report(&mut self, bus: &mut dyn Bus) -> Result<News, Fault> {
        let mut news = News::default();
        let Self {
            mailbox, stream, ..
        } = self;
        let Some(stream) = stream else {
            return Ok(news);
        };
        let moved = stream.publish(bus)?;
        if moved && self.extract_event {
            self.extract_event = false;
            let flipped = !mailbox.ack();
            news.irq |= mailbox.answer(bus, flipped, cs::EXTRACT_EVENT)?;
            news.event = true;
        }
        if stream.oom == Some(Oom::Found) {
            if let Some(irq) = mailbox.raise(bus, cs::TILER_OOM)? {
                stream.oom = Some(Oom::Told);
                news.irq |= irq;
                news.event = true;
            }
        }
        for (event, pending, exception_word, info_word) in [
            (
                cs::FAULT_EVENT,
                &mut stream.pending_fault,
                cs::FAULT,
                cs::FAULT_INFO,
            ),
            (
                cs::FATAL_EVENT,
                &mut stream.pending_fatal,
                cs::FATAL,
                cs::FATAL_INFO,
            ),
        ] {
            let Some(exception) = *pending else {
                continue;
            };
            if !mailbox.answered(bus, event)? {
                continue;
            }
            let output = mailbox.output;
            mem::write32(bus, MCU, output + exception_word, exception.kind.into())?;
            mem::write64(bus, MCU, output + info_word, exception.info)?;
            if let Some(irq) = mailbox.raise(bus, event)? {
                *pending = None;
                news.irq |= irq;
                news.event = true;
            }
        }
        Ok(news)
    }
}

/// Whether the host has memory for the tiler heap that is exhausted; checks it.
fn new_chunk(bus: &mut dyn Bus, mailbox: &Mailbox, as_nr: u8) -> Result<bool, Fault> {
    let mut some = 0;
    for field in [cs::HEAP_START, cs::HEAP_END] {
        let chunk = mem::read64(bus, MCU, mailbox.input + field)?;
        let (va, size) = (chunk & !0xfff, (chunk & 0xfff) * 4096);
        some += usize::from(chunk != 0);
        let usable = size != 0
            && [va, va + size - 4].into_iter().all(|at| {
                let word = mem::read32(bus, as_nr, at);
                word.is_ok_and(|word| mem::write32(bus, as_nr, at, word).is_ok())
            });
        if chunk != 0 && !usable {
            blame(
                bus,
                format_args!(
                    "{}: {size:#x} bytes at {va:#x} are no chunk for the tiler heap",
                    mailbox.name
                ),
            );
        }
    }
    if some == 1 {
        let name = &mailbox.name;
        blame(
            bus,
            format_args!("{name}: of the first and the last heap chunk one is missing"),
        );
    }
    Ok(some != 0)
}

/// Ends a stream whose ring makes no sense.
fn reject(bus: &mut dyn Bus, mailbox: &Mailbox, stream: &mut Stream, wrong: &str) {
    blame(bus, format_args!("{}: {wrong}", mailbox.name));
    stream.dead = true;
    stream.pending_fatal = Some(Exception {
        kind: CS_CONFIG_FAULT,
        info: 0,
    });
}
