// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The faults that the emulated GPU makes on request, and what has to become of each.

use guest::ioctl::Errno;
use guest::uapi::panthor::{GROUP_STATE_INNOCENT, GROUP_STATE_TIMEDOUT};

use crate::bystander::Fate;
use crate::model::{Case, Resets, Work};
use crate::streams::{FATAL, TIMED_OUT};
use crate::times::Times;
use crate::victim::{End, Expect};

/// The jobs end well, and nobody notices.
const UNNOTICED: Expect = Expect {
    first: &[End::Well],
    rest: &[End::Well],
    state: 0,
    maybe: 0,
    bystander: Fate::Unharmed,
};

/// How a job may end that is not to blame: those of a group that could not be saved count as timed out, and what is
/// submitted to it afterwards is cancelled.
const INNOCENT: &[End] = &[
    End::Well,
    End::With(Errno::ETIMEDOUT),
    End::With(Errno::ECANCELED),
];

/// Jobs that are not to blame, when the GPU has to be reset while its firmware works.
const SURVIVES: Expect = UNNOTICED;

/// The same, when the firmware fails one of the groups, whoever that is.
const SOME_LOST: Expect = Expect {
    first: INNOCENT,
    rest: INNOCENT,
    state: 0,
    maybe: GROUP_STATE_INNOCENT | GROUP_STATE_TIMEDOUT,
    bystander: Fate::MayLose,
};

/// Everything on the GPU is lost with its firmware.
const LOST: Expect = Expect {
    first: &[End::With(Errno::ETIMEDOUT)],
    rest: &[End::With(Errno::ETIMEDOUT), End::With(Errno::ECANCELED)],
    state: GROUP_STATE_TIMEDOUT,
    maybe: GROUP_STATE_INNOCENT,
    bystander: Fate::MayLose,
};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "stream_stall",
        before: &["arm stream-stall gib={gib}"],
        work: Work::Behind,
        then: &[],
        struck: ("stream-stall", 1),
        bound: Times::timeout,
        resets: Resets::Never,
        expect: TIMED_OUT,
    },
    Case {
        name: "cs_fault",
        before: &["arm stream-fault gib={gib}"],
        work: Work::Behind,
        then: &[],
        struck: ("stream-fault", 1),
        bound: Times::at_once,
        resets: Resets::Never,
        expect: Expect {
            first: &[End::With(Errno::EINVAL)],
            ..UNNOTICED
        },
    },
    Case {
        name: "cs_fatal",
        before: &["arm stream-fatal gib={gib}"],
        work: Work::Behind,
        then: &[],
        struck: ("stream-fatal", 1),
        bound: Times::at_once,
        resets: Resets::Never,
        expect: FATAL,
    },
    Case {
        name: "cs_unrecoverable",
        before: &["arm stream-fatal gib={gib} type=0x41"],
        work: Work::Behind,
        then: &[],
        struck: ("stream-fatal", 1),
        bound: Times::reset,
        resets: Resets::Some,
        expect: FATAL,
    },
    Case {
        name: "tiler_out_of_memory_without_heap",
        before: &["arm tiler-oom gib={gib}"],
        work: Work::Behind,
        then: &[],
        struck: ("tiler-oom", 1),
        bound: Times::at_once,
        resets: Resets::Never,
        expect: FATAL,
    },
    Case {
        name: "terminate_ignored",
        before: &["arm ignore-request req=terminate"],
        work: Work::Endless,
        then: &[],
        struck: ("ignore-request", 1),
        bound: Times::timeout_and_reset,
        resets: Resets::Some,
        expect: Expect {
            maybe: GROUP_STATE_INNOCENT,
            ..TIMED_OUT
        },
    },
    Case {
        name: "suspend_ignored",
        before: &["arm ignore-request req=suspend"],
        work: Work::Crowd,
        then: &[],
        struck: ("ignore-request", 1),
        bound: Times::reset,
        resets: Resets::Some,
        expect: SOME_LOST,
    },
    Case {
        name: "start_ignored",
        before: &["arm ignore-request req=start"],
        work: Work::Short(4),
        then: &[],
        struck: ("ignore-request", 1),
        bound: Times::timeout_and_reset,
        resets: Resets::Some,
        expect: SOME_LOST,
    },
    Case {
        name: "resume_ignored",
        before: &["arm ignore-request req=resume"],
        work: Work::Crowd,
        then: &[],
        struck: ("ignore-request", 1),
        bound: Times::reset,
        resets: Resets::Some,
        expect: SOME_LOST,
    },
    Case {
        name: "any_request_ignored",
        before: &["arm ignore-request req=any"],
        work: Work::Crowd,
        then: &[],
        struck: ("ignore-request", 1),
        bound: Times::timeout_and_reset,
        resets: Resets::Some,
        expect: SOME_LOST,
    },
    Case {
        name: "late_acks",
        before: &["arm late-ack us=30000 times=20"],
        work: Work::Crowd,
        then: &[],
        struck: ("late-ack", 5),
        bound: Times::at_once,
        resets: Resets::Never,
        expect: UNNOTICED,
    },
    Case {
        name: "acks_after_the_limit",
        before: &["arm late-ack req=suspend us=1000000"],
        work: Work::Crowd,
        then: &[],
        struck: ("late-ack", 1),
        bound: Times::reset,
        resets: Resets::Some,
        expect: SOME_LOST,
    },
    Case {
        name: "mcu_halts",
        before: &[],
        work: Work::Endless,
        then: &["do mcu-halt"],
        struck: ("mcu-halt", 1),
        bound: Times::timeout_and_reset,
        resets: Resets::Some,
        expect: LOST,
    },
    Case {
        name: "mcu_crashes",
        before: &[],
        work: Work::Endless,
        then: &["do mcu-fatal"],
        struck: ("mcu-fatal", 1),
        bound: Times::timeout_and_reset,
        resets: Resets::Some,
        expect: LOST,
    },
    Case {
        name: "mcu_silent",
        before: &[],
        work: Work::Endless,
        then: &["arm mcu-silent"],
        struck: ("mcu-silent", 1),
        bound: Times::timeout_and_reset,
        resets: Resets::Some,
        expect: LOST,
    },
    Case {
        name: "fault_of_the_mcu",
        before: &[],
        work: Work::Endless,
        then: &["do as-fault-mcu addr=0x4000000"],
        struck: ("as-fault-mcu", 1),
        bound: Times::timeout_and_reset,
        resets: Resets::Some,
        expect: LOST,
    },
    Case {
        name: "pings_ignored",
        before: &["arm ignore-request req=ping"],
        work: Work::None,
        then: &[],
        struck: ("ignore-request", 1),
        bound: Times::ping_and_reset,
        resets: Resets::Some,
        // Who does not answer a ping may still save groups.
        expect: SURVIVES,
    },
    Case {
        name: "lost_doorbell",
        before: &["arm lost-doorbell slot={slot}"],
        // The next job's doorbell would make up for it. The C driver does not look: its job ends when its time is up.
        work: Work::Short(1),
        then: &[],
        struck: ("lost-doorbell", 1),
        bound: Times::timeout,
        resets: Resets::Never,
        expect: UNNOTICED,
    },
    Case {
        name: "lost_job_interrupt",
        before: &["arm lost-interrupt line=job"],
        work: Work::Short(8),
        then: &[],
        struck: ("lost-interrupt", 1),
        bound: Times::timeout,
        resets: Resets::Never,
        expect: UNNOTICED,
    },
    Case {
        name: "lost_gpu_interrupt",
        before: &["arm lost-interrupt line=gpu"],
        work: Work::Binding,
        then: &[],
        struck: ("lost-interrupt", 1),
        bound: Times::timeout,
        resets: Resets::Never,
        expect: UNNOTICED,
    },
    Case {
        name: "spurious_job_interrupts",
        before: &["do spurious-interrupt line=job count=40000 gap_us=50"],
        work: Work::Short(200),
        then: &[],
        struck: ("spurious-interrupt", 40_000),
        bound: Times::timeout,
        resets: Resets::Never,
        expect: UNNOTICED,
    },
    Case {
        name: "spurious_mmu_interrupts",
        before: &["do spurious-interrupt line=mmu count=30000 gap_us=50"],
        work: Work::Short(200),
        then: &[],
        struck: ("spurious-interrupt", 30_000),
        bound: Times::timeout,
        resets: Resets::Never,
        expect: UNNOTICED,
    },
    Case {
        name: "spurious_gpu_interrupts",
        before: &["do spurious-interrupt line=gpu count=30000 gap_us=50"],
        work: Work::Short(200),
        then: &[],
        struck: ("spurious-interrupt", 30_000),
        bound: Times::timeout,
        resets: Resets::Never,
        expect: UNNOTICED,
    },
    Case {
        name: "repeated_job_interrupts",
        before: &["do spurious-interrupt line=job bits=0x800000ff count=2000 gap_us=200"],
        work: Work::Short(200),
        then: &[],
        struck: ("spurious-interrupt", 2000),
        bound: Times::timeout,
        resets: Resets::Never,
        expect: UNNOTICED,
    },
    Case {
        name: "address_space_stuck",
        before: &[],
        work: Work::Binding,
        then: &["arm as-stuck"],
        struck: ("as-stuck", 1),
        bound: Times::timeout_and_reset,
        resets: Resets::Some,
        expect: SOME_LOST,
    },
    Case {
        name: "mmu_fault_execute",
        before: &[],
        work: Work::Endless,
        then: &["do mmu-fault as={as} access=execute addr=0x123000"],
        struck: ("mmu-fault", 1),
        bound: Times::at_once,
        resets: Resets::Never,
        expect: Expect {
            rest: &[End::With(Errno::EINVAL), End::With(Errno::ECANCELED)],
            ..FATAL
        },
    },
    Case {
        name: "flush_stuck",
        before: &[],
        work: Work::Binding,
        then: &["arm flush-stuck"],
        struck: ("flush-stuck", 1),
        bound: Times::timeout_and_reset,
        resets: Resets::Some,
        expect: SURVIVES,
    },
    Case {
        name: "gpu_fault",
        before: &["do gpu-fault addr=0x1234000"],
        work: Work::Short(100),
        then: &[],
        struck: ("gpu-fault", 1),
        bound: Times::reset,
        resets: Resets::Never,
        expect: UNNOTICED,
    },
];
