// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The bounds within which recovery has to happen, from the driver's own limits.

use std::time::Duration;

use guest::kernel::{job_timeout, milliseconds};
use guest::Device;

/// The firmware has so long to answer one request, where the driver has no parameter for it (`panthor_fw.c`).
const ACK: Duration = Duration::from_millis(100);
/// A reset: a halt that is waited for (1 s), the reset (0.1 s), the microcontroller's boot (1 s).
const RESET: Duration = Duration::from_millis(2100);
/// What an emulated machine with two busy processors adds: emulated memory, threads that wait for a processor.
const SLACK: Duration = Duration::from_millis(2000);

/// The driver's limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    job: Duration,
    ping: Duration,
    ack: Duration,
    slower: u32,
}

impl Times {
    /// Those of the driver of `device`.
    pub(crate) fn of(device: &Device) -> Self {
        let ping = milliseconds(device, "MAGNI_PING_PERIOD_MS", "ping_period_ms");
        let ack = milliseconds(device, "MAGNI_ACK_TIMEOUT_MS", "ack_timeout_ms");
        let slower = std::env::var("MAGNI_SLOWER").ok();
        Self {
            job: job_timeout(device),
            ping: ping.unwrap_or(Duration::from_secs(12)),
            ack: ack.unwrap_or(ACK),
            slower: slower.and_then(|n| n.parse().ok()).unwrap_or(1).max(1),
        }
    }

    fn slack(self) -> Duration {
        SLACK * self.slower
    }

    /// The driver is told at once.
    pub(crate) fn at_once(self) -> Duration {
        self.slack()
    }

    /// A job has used up its time, and the firmware takes the group off.
    pub(crate) fn timeout(self) -> Duration {
        self.job + self.ack + self.slack()
    }

    /// `count` groups have used up their time at once, and the firmware takes them off. More groups than slots get
    /// their time one slot-full after the other.
    pub(crate) fn timeouts(self, count: u32, slots: u32) -> Duration {
        self.job * count.div_ceil(slots) + self.slack()
    }

    /// As [`Times::timeout`], but the firmware does not let go, and the GPU is reset.
    pub(crate) fn timeout_and_reset(self) -> Duration {
        self.timeout() + RESET * self.slower
    }

    /// A request is not answered, and the GPU is reset.
    pub(crate) fn reset(self) -> Duration {
        self.ack + RESET * self.slower + self.slack()
    }

    /// The firmware's silence is seen by the next ping, and the GPU is reset.
    pub(crate) fn ping_and_reset(self) -> Duration {
        self.ping + self.reset()
    }

    /// Long enough for anything: what has not happened by then will not.
    pub(crate) fn patience(self) -> Duration {
        (self.job + self.ping) * 3 + self.reset() * 2
    }
}
