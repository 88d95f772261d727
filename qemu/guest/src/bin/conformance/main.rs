// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a driver of the panthor uAPI must do, as named tests; expectations are those of the C driver in Linux 7.3.
//!
//! Tests whose names begin with `later::` are about ioctls and behaviour beyond what Magni has: `conformance --skip
//! later::` leaves them out. Five kinds of tests are ignored on the C driver of Linux 7.3: `c_oopses::` make it write
//! through a NULL pointer, which ends the kernel, `c_stalls::` make it forget groups now and then, `c_races::` make it
//! use an address space with another VM's fault still pending, and `c_overruns::` make it write into a full ring over
//! instructions that the GPU has yet to fetch: it counts a job's place as free when the fence signals, with the job's
//! last instructions still to come; `c_forgets::` are about what it loses. Everything else is for any driver.

mod arrays;
mod bind;
mod bo;
mod core;
mod cx;
mod faults;
mod fdinfo;
mod group;
mod isolation;
mod jobs;
mod later;
mod query;
mod roles;
mod sched;
mod submit;
mod sync;
mod trace;
mod vm;

use std::process::ExitCode;

use guest::Device;
use libtest_mimic::Arguments;

fn main() -> ExitCode {
    if let Some(code) = roles::run_if_asked() {
        return code;
    }
    let mut args = Arguments::from_args();
    // The GPU has few group slots; tests that fill them must not meet.
    args.test_threads.get_or_insert(1);

    let module = Device::open().ok().and_then(|d| d.module_name());
    let mut tests = cx::Tests::new(module.as_deref() == Some("panthor"));
    core::tests(&mut tests);
    query::tests(&mut tests);
    vm::tests(&mut tests);
    bo::tests(&mut tests);
    bind::tests(&mut tests);
    group::tests(&mut tests);
    submit::tests(&mut tests);
    arrays::tests(&mut tests);
    isolation::tests(&mut tests);
    jobs::tests(&mut tests);
    sync::tests(&mut tests);
    faults::tests(&mut tests);
    sched::tests(&mut tests);
    fdinfo::tests(&mut tests);
    trace::tests(&mut tests);
    later::tests(&mut tests);
    libtest_mimic::run(&args, tests.into_trials()).exit_code()
}
