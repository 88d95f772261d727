// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Beyond Magni's first slice: the remaining ioctls, PRIME, recovery and power.

mod bind;
mod buffers;
mod heap;
mod query;
mod sched;

pub(crate) use query::unprivileged_role;

use crate::cx::Tests;

pub(crate) fn tests(t: &mut Tests) {
    query::tests(t);
    bind::tests(t);
    heap::tests(t);
    buffers::tests(t);
    sched::tests(t);
}
