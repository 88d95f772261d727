// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a file says about itself in `/proc/<pid>/fdinfo/<fd>`: the lines of the C driver.

use crate::{
    file::File,
    profiling::Mask,
    sched::Scheduler, //
};
use kernel::{
    drm::fdinfo::FdInfo,
    prelude::*, //
};

/// Writes everything about `file`, of a device that is bound.
pub(crate) fn show(sched: &Scheduler, file: &File, out: &mut FdInfo<'_>) {
    let profiling = &sched.device().profiling;
    let mask = profiling.mask();

    if mask.has(Mask::TIMESTAMP) {
        if let Some(nanos) = file.usage().nanos() {
            out.print(fmt!("drm-engine-panthor:\t{nanos} ns\n"));
        }
    }
    if mask.has(Mask::CYCLES) {
        let cycles = file.usage().cycles();
        out.print(fmt!("drm-cycles-panthor:\t{cycles}\n"));
    }
    // The rate does not change yet.
    let rate = profiling.core_rate();
    out.print(fmt!("drm-maxfreq-panthor:\t{rate} Hz\n"));
    out.print(fmt!("drm-curfreq-panthor:\t{rate} Hz\n"));

    // What the kernel needs for the file's groups.
    let (resident, active) = file.groups().memory();
    out.print_size(c"panthor", c"resident", c"memory", resident);
    out.print_size(c"panthor", c"active", c"memory", active);

    out.print_memory_stats();
}
