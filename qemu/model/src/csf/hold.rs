// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Requests that the firmware ignores, or serves late, on a test's order.

use std::time::{Duration, Instant};

use crate::bus::{Bus, TraceKind};
use crate::faults::{Key, Kind, Request, Values};

/// A request that is not served now.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Its bits of the request word, and their value.
    bits: u32,
    value: u32,
    /// When it is served; `None` is never.
    until: Option<Instant>,
}

/// The requests of one request word that are not served now.
#[derive(Clone, Debug, Default)]
pub(super) struct Hold(Vec<Held>);

impl Hold {
    /// The bits of `changed` that are not to be served now.
    ///
    /// `names` says which requests the bits of `changed` are, at most one to a bit.
    pub(super) fn filter(
        &mut self,
        bus: &mut dyn Bus,
        place: Values,
        names: &[(u32, Request)],
        req: u32,
        changed: u32,
    ) -> u32 {
        let now = bus.now();
        let mut due = 0;
        self.0.retain(|held| {
            let pending = req & held.bits == held.value && changed & held.bits != 0;
            let late = held.until.is_some_and(|until| until <= now);
            if late {
                due |= held.bits;
            }
            pending && !late
        });
        let mut holding = self.0.iter().fold(0, |bits, held| bits | held.bits);
        for &(bits, request) in names {
            if changed & bits & !holding & !due == 0 {
                continue;
            }
            let place = place.with(Key::Req, request as u64);
            let (until, what) = if bus.faults().strike(Kind::IgnoreRequest, &place).is_some() {
                (None, "ignored")
            } else if let Some(values) = bus.faults().strike(Kind::LateAck, &place) {
                let late = Duration::from_micros(values.or(Key::Us, 50_000));
                (Some(now + late), "served late")
            } else {
                continue;
            };
            bus.trace(
                TraceKind::Request,
                format_args!("request {request:?} is {what}"),
            );
            self.0.push(Held {
                bits,
                value: req & bits,
                until,
            });
            holding |= bits;
        }
        holding & changed
    }

    /// When a request is to be served that was held back.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().filter_map(|held| held.until).min()
    }
}
