// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What all groups share: fixed by the GPU, or set by the host through global requests.

use std::time::Duration;

use super::instr::Decoder;
use crate::profile::Profile;

/// Limits and settings that hold for every group.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) decoder: Decoder,
    pub(super) max_calls: usize,
    pub(super) suspend_size: u32,
    /// How long a RUN instruction keeps its scoreboard slot busy.
    pub(super) run_time: Duration,
    /// Cores that the host lets the firmware use.
    pub(super) core_mask: u64,
    /// How long a group or the GPU has to be idle before that is reported.
    pub(super) idle_time: Duration,
    /// Whether the host wants to hear that the whole GPU is idle.
    pub(super) idle_enabled: bool,
    /// How long an endpoint job may take without progress; `None` for ever.
    pub(super) progress_time: Option<Duration>,
    /// Idle time after which the cores are powered off; `None` for never, before the host
    /// configured it.
    pub(super) poweroff_time: Option<Duration>,
}

impl Settings {
    /// What holds when the firmware boots.
    pub(super) fn new(profile: &Profile) -> Self {
        let csf = &profile.csf;
        Self {
            decoder: Decoder {
                registers: csf.work_registers as u8,
                scoreboards: csf.scoreboards as u8,
            },
            max_calls: csf.max_calls as usize,
            suspend_size: csf.suspend_size,
            run_time: profile.run_time,
            core_mask: 0,
            idle_time: Duration::ZERO,
            idle_enabled: false,
            progress_time: None,
            poweroff_time: None,
        }
    }
}
