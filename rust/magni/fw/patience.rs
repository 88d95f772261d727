// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How long the firmware is waited for.
//!
//! It answers within microseconds, unless the hardware behind a request is slow, or the machine is
//! so busy that somebody in between does not get to run. So whoever is not answered for a while
//! asks the firmware for the simplest thing, a ping, and goes by that: a firmware that is dead is
//! not waited for any longer, one that is slow is given the long time.

use kernel::prelude::*;

/// How long it is waited for at a time, in milliseconds.
pub(super) const STEP_MS: u32 = 10;
/// A step that takes longer than this, in milliseconds, is the fault of a busy machine, which may
/// have kept the firmware from its work as well: it says nothing.
const LONGEST_STEP_MS: u32 = 25;
/// Who is not answered for so long, in milliseconds, asks anew, and pings.
const ASK_AFTER_MS: u32 = 40;
/// A firmware that does not answer a ping for so long, in milliseconds, is dead.
const DEAD_AFTER_MS: u32 = 80;
/// One that answers a ping within this time, in milliseconds, is not slow, nor is the machine.
const PROMPT_MS: u32 = 20;
/// How long such a firmware may take at most for what depends on nothing else, in milliseconds.
const PROMPT_LIMIT_MS: u32 = 70;

/// What a request may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// On what the GPU is doing: work that has begun may have to end first.
    Hardware,
    /// On the firmware alone: nothing is waited for on the GPU.
    Firmware,
}

/// Why it is not waited for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The firmware lives, but does not do what it was asked for.
    Ignored,
    /// The firmware does nothing at all.
    Dead,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait for another step.
    Wait,
    /// Ring once more, as the doorbell may have been lost; ping; and wait for another step.
    Ask,
    /// Give up.
    GiveUp(Verdict),
}

/// What has come of the ping.
#[derive(Clone, Copy)]
enum Ping {
    /// Not asked yet.
    None,
    /// Asked then, without an answer.
    Asked(u32),
    /// Answered in time.
    Prompt,
    /// Answered late.
    Late,
}

/// One request that is waited for.
pub(super) struct Patience {
    effort: Effort,
    /// The most that is waited, in milliseconds.
    limit: u32,
    /// The time that it took so far, in milliseconds.
    passed: u32,
    /// The same, without what a busy machine is to blame for.
    waited: u32,
    ping: Ping,
}

impl Patience {
    /// At most `limit` milliseconds, for what takes `effort`.
    pub(super) fn new(effort: Effort, limit: u32) -> Self {
        Self {
            effort,
            limit,
            passed: 0,
            waited: 0,
            ping: Ping::None,
        }
    }

    /// A step has taken `ms` milliseconds, and there is no answer; `pinged` says whether there is
    /// one to the ping.
    pub(super) fn step(&mut self, ms: u32, pinged: bool) -> Next {
        self.passed = self.passed.saturating_add(ms);
        let busy = ms > LONGEST_STEP_MS;
        if !busy {
            self.waited = self.waited.saturating_add(ms);
        }

        match self.ping {
            // Nobody is dead who may not have been heard: the silence is counted anew.
            Ping::Asked(_) if busy && !pinged => self.ping = Ping::Asked(self.waited),
            Ping::Asked(at) => {
                let took = self.waited.saturating_sub(at);
                if pinged {
                    self.ping = match took <= PROMPT_MS {
                        true => Ping::Prompt,
                        false => Ping::Late,
                    };
                } else if took >= DEAD_AFTER_MS {
                    return Next::GiveUp(Verdict::Dead);
                }
            }
            Ping::None if self.waited >= ASK_AFTER_MS && self.passed < self.limit => {
                self.ping = Ping::Asked(self.waited);
                return Next::Ask;
            }
            _ => {}
        }

        let prompt = matches!(self.ping, Ping::Prompt) && self.effort == Effort::Firmware;
        if self.passed >= self.limit || prompt && self.waited >= PROMPT_LIMIT_MS {
            return Next::GiveUp(Verdict::Ignored);
        }
        Next::Wait
    }
}

#[kunit_tests(magni_fw_patience)]
mod tests {
    use super::*;

    /// Waits in steps of `ms`, with a ping that is answered `answer` milliseconds after it was
    /// asked for; returns the verdict, and how long it took.
    fn judge(effort: Effort, ms: u32, answer: Option<u32>) -> (Verdict, u32) {
        let mut patience = Patience::new(effort, 500);
        let (mut now, mut asked) = (0, None);
        loop {
            now += ms;
            let pinged = match (asked, answer) {
                (Some(asked), Some(answer)) => now - asked >= answer,
                _ => false,
            };
            match patience.step(ms, pinged) {
                Next::Wait => {}
                Next::Ask => asked = Some(now),
                Next::GiveUp(verdict) => return (verdict, now),
            }
        }
    }

    #[test]
    fn a_dead_firmware_is_not_waited_for() {
        for effort in [Effort::Hardware, Effort::Firmware] {
            assert_eq!(judge(effort, STEP_MS, None), (Verdict::Dead, 120));
        }
    }

    #[test]
    fn a_slow_firmware_gets_the_long_time() {
        for effort in [Effort::Hardware, Effort::Firmware] {
            let slow = judge(effort, STEP_MS, Some(PROMPT_MS + STEP_MS));
            assert_eq!(slow, (Verdict::Ignored, 500));
        }
    }

    #[test]
    fn slow_hardware_gets_the_long_time() {
        let slow = judge(Effort::Hardware, STEP_MS, Some(0));
        assert_eq!(slow, (Verdict::Ignored, 500));
    }

    #[test]
    fn what_is_ignored_is_not_waited_for() {
        let ignored = judge(Effort::Firmware, STEP_MS, Some(0));
        assert_eq!(ignored, (Verdict::Ignored, PROMPT_LIMIT_MS));
    }

    #[test]
    fn a_busy_machine_kills_nobody() {
        // Each step takes ten times as long as it should.
        for answer in [None, Some(200)] {
            let late = judge(Effort::Firmware, 10 * STEP_MS, answer);
            assert_eq!(late, (Verdict::Ignored, 500));
        }
    }

    #[test]
    fn silence_is_counted_anew_after_a_busy_time() {
        let mut patience = Patience::new(Effort::Hardware, 500);
        for _ in 1..ASK_AFTER_MS / STEP_MS {
            assert_eq!(patience.step(STEP_MS, false), Next::Wait);
        }
        assert_eq!(patience.step(STEP_MS, false), Next::Ask);
        for _ in 1..DEAD_AFTER_MS / STEP_MS {
            assert_eq!(patience.step(STEP_MS, false), Next::Wait);
        }
        assert_eq!(patience.step(LONGEST_STEP_MS + 1, false), Next::Wait);
        for _ in 1..DEAD_AFTER_MS / STEP_MS {
            assert_eq!(patience.step(STEP_MS, false), Next::Wait);
        }
        let dead = Next::GiveUp(Verdict::Dead);
        assert_eq!(patience.step(STEP_MS, false), dead);
    }

    #[test]
    fn the_limit_is_kept() {
        let mut patience = Patience::new(Effort::Hardware, 5);
        assert_eq!(patience.step(10, false), Next::GiveUp(Verdict::Ignored));
        let mut patience = Patience::new(Effort::Hardware, 500);
        let endless = patience.step(u32::MAX, false);
        assert_eq!(endless, Next::GiveUp(Verdict::Ignored));
    }
}
