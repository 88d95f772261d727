// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Interrupts without a cause, on a test's order.

use std::time::{Duration, Instant};

use super::Hardware;
use crate::faults::Kind;
use crate::irq::Line;

/// Interrupts without a cause that are yet to be sent.
pub(super) struct Disturbance {
    line: Line,
    bits: u32,
    left: u64,
    pub(super) next: Instant,
    gap: Duration,
}

impl Hardware {
    /// Sends `count` interrupts without a cause, `gap` apart.
    pub fn disturb(&mut self, line: Line, bits: u32, count: u64, gap: Duration) {
        self.disturbance = (count != 0).then(|| Disturbance {
            line,
            bits,
            left: count,
            next: Instant::now(),
            gap,
        });
    }

    /// Sends no more interrupts without a cause.
    pub fn calm(&mut self) {
        self.disturbance = None;
    }

    /// Sends one of the interrupts without a cause; late ones are not caught up on, so
    /// that each has the host's attention for a while.
    pub(super) fn send_disturbance(&mut self, now: Instant) {
        let Some(disturbance) = &mut self.disturbance else {
            return;
        };
        let (line, bits) = (disturbance.line, disturbance.bits);
        disturbance.left -= 1;
        disturbance.next = now + disturbance.gap;
        if disturbance.left == 0 {
            self.disturbance = None;
        }
        self.irqs[line as usize].disturb(bits);
        self.signal(line);
        self.faults.done(Kind::SpuriousInterrupt);
    }
}
