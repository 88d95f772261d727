// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a group slot tells the host: status words, how far streams have come, events.

use super::Group;
use crate::bus::{Bus, Fault};
use crate::csf::endpoints::priority;
use crate::csf::layout::csg;
use crate::csf::port::{News, Port};
use crate::csf::stream::{Blocked, Oom};

impl Group {
    /// Writes the status words of the group and of its streams.
    pub(super) fn write_status(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        let Some(resident) = &self.resident else {
            return Ok(());
        };
        let as_nr = resident.as_nr;
        let request = resident.endpoint_req;
        let held = resident.held.map(u64::count_ones);
        let current = held[0] | (held[1] << 8) | (held[2] << 16) | (priority(request) << 28);
        let waits = |port: &Port| {
            let stream = port.stream.as_ref();
            stream.is_some_and(|stream| matches!(stream.blocked, Some(Blocked::Resource(_))))
        };
        let waiting = (0..self.ports.len()).filter(|&n| waits(&self.ports[n]));
        let waiting = waiting.fold(0, |mask, n| mask | (1 << n));
        for port in &self.ports {
            if let Some(stream) = &port.stream {
                let mut heap = [0; 12];
                if stream.heap == 0 || bus.read(as_nr, stream.heap, &mut heap).is_err() {
                    heap = [0; 12];
                }
                let word =
                    |n: usize| u32::from_le_bytes([heap[n], heap[n + 1], heap[n + 2], heap[n + 3]]);
                stream.write_status(bus, port.mailbox.output, [word(0), word(4), word(8)])?;
            }
        }
        let idle = self.is_idle();
        self.output32(bus, csg::STATUS_ENDPOINT_CURRENT, current)?;
        self.output32(bus, csg::STATUS_ENDPOINT_REQ, request)?;
        self.output32(bus, csg::STATUS_STATE, idle.into())?;
        self.output32(bus, csg::RESOURCE_DEP, waiting)
    }

    /// Whether no stream of the group has anything to do.
    pub(in crate::csf) fn is_idle(&self) -> bool {
        let busy = |port: &Port| {
            let stream = port.stream.as_ref();
            stream.is_some_and(|stream| !stream.is_idle(port.levels))
        };
        !self.ports.iter().any(busy)
    }

    /// Tells the host how far one stream has come, and of its exceptions.
    pub(super) fn report_stream(&mut self, bus: &mut dyn Bus, n: usize) -> Result<(), Fault> {
        let stream = self.ports[n].stream.as_ref();
        if stream.is_some_and(|stream| stream.oom == Some(Oom::Found)) {
            // The host needs the heap's address and counters.
            self.write_status(bus)?;
        }
        let news = self.ports[n].report(bus)?;
        self.tell(bus, n, news)
    }

    /// Tells the host how far every stream has come, and of exceptions.
    pub(super) fn report(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        (0..self.ports.len()).try_for_each(|n| self.report_stream(bus, n))
    }

    /// Passes a stream's news on to the host.
    pub(super) fn tell(
        &mut self,
        bus: &mut dyn Bus,
        stream: usize,
        news: News,
    ) -> Result<(), Fault> {
        if news.event {
            let answered = self.input32(bus, csg::CS_IRQ_ACK)?;
            let bit = 1 << stream;
            if (answered ^ self.cs_irq_req) & bit == 0 {
                self.cs_irq_req ^= bit;
                self.output32(bus, csg::CS_IRQ_REQ, self.cs_irq_req)?;
            }
        }
        self.irq(bus, news.irq);
        Ok(())
    }

    pub(super) fn raise(&mut self, bus: &mut dyn Bus, event: u32) -> Result<(), Fault> {
        let irq = self.mailbox.raise(bus, event)? == Some(true);
        self.irq(bus, irq);
        Ok(())
    }
}
