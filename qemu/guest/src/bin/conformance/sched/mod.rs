// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Scheduling: more groups than slots, priorities, groups that wait, jobs that never end, a GPU that sleeps.

mod blocked;
mod crowd;
mod lifetime;
mod power;
mod priority;
mod slots;
mod ticks;
mod timeout;

use crate::cx::Tests;

pub(crate) fn tests(t: &mut Tests) {
    slots::tests(t);
    priority::tests(t);
    blocked::tests(t);
    lifetime::tests(t);
    timeout::tests(t);
    power::tests(t);
    ticks::tests(t);
}
