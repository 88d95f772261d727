// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Power of the shader cores and tilers, which the firmware looks after.
//!
//! They are on while a group has work, and until everything was idle for as long as the
//! host's power-off timer says.

use std::time::Instant;

use super::settings::Settings;
use super::timer::IdleWatch;
use crate::bus::{Bus, TraceKind};

/// What the firmware switched on, and when it is to switch it off.
#[derive(Clone, Debug, Default)]
pub(super) struct Power {
    /// Shader cores and tilers that were switched on.
    on: (u64, u64),
    idle: IdleWatch,
}

impl Power {
    /// Switches what has to be switched, given whether all groups are idle now.
    pub(super) fn update(&mut self, bus: &mut dyn Bus, settings: &Settings, idle: bool) {
        let now = bus.now();
        let hold = settings.poweroff_time;
        let due = hold.is_some_and(|hold| self.idle.update(idle, now, hold));
        let wanted = if !idle {
            (settings.core_mask, bus.profile().tiler_present)
        } else if due {
            (0, 0)
        } else {
            (self.on.0 & settings.core_mask, self.on.1)
        };
        if self.on != wanted {
            bus.trace(
                TraceKind::Request,
                format_args!(
                    "power: shader cores {:#x}, tilers {:#x}",
                    wanted.0, wanted.1
                ),
            );
            bus.set_cores(wanted.0, wanted.1);
            self.on = wanted;
        }
    }

    /// When [`Power::update`] has to be called again if nothing else happens.
    pub(super) fn deadline(&self, settings: &Settings) -> Option<Instant> {
        let hold = settings.poweroff_time.filter(|_| self.on != (0, 0))?;
        self.idle.deadline(hold)
    }
}
