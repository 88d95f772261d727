// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Beyond Magni's first slice: the remaining ioctls, PRIME and fdinfo.

mod bind;
mod buffers;
mod fdinfo;
mod heap;
mod query;

pub(crate) use query::unprivileged_role;

use crate::cx::Tests;

pub(crate) fn tests(t: &mut Tests) {
    query::tests(t);
    bind::tests(t);
    heap::tests(t);
    buffers::tests(t);
    fdinfo::tests(t);
}
