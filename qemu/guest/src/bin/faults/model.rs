// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Faults that the emulated GPU makes on request.

use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use guest::control::Control;
use guest::ioctl::Errno;
use guest::uapi::panthor::{GROUP_STATE_FATAL_FAULT, GROUP_STATE_INNOCENT, GROUP_STATE_TIMEDOUT};
use guest::Buffer;

use crate::bystander::Fate;
use crate::frame::{Frame, Line};
use crate::streams::{FATAL, TIMED_OUT};
use crate::times::Times;
use crate::victim::{End, Expect, Victim, ANY};
use crate::Tests;

/// The channel; all faults are taken back when it goes.
pub(crate) struct Faults(pub(crate) Control);

impl Faults {
    /// Opens the channel, with no fault in force.
    pub(crate) fn open() -> Result<Self> {
        let mut control = Control::open()?;
        control.send("reset")?;
        Ok(Self(control))
    }

    /// Gives an order.
    pub(crate) fn order(&mut self, command: &str) -> Result<()> {
        self.0.send(command)?;
        Ok(())
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        // A channel that is gone has no faults either.
        let _ = self.0.send("reset");
    }
}

/// What the victim has on the GPU when the fault comes.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Nothing.
    None,
    /// So many short jobs, on two queues.
    Short(u32),
    /// An endless job with short ones behind it.
    Endless,
    /// More groups than slots, busy until the fault has struck.
    Crowd,
    /// Short jobs while memory is mapped and unmapped.
    Binding,
}

/// A fault and what has to become of it.
struct Case {
    name: &'static str,
    /// Orders given before the victim's jobs are submitted.
    before: &'static [&'static str],
    work: Work,
    /// Orders given when they run.
    then: &'static [&'static str],
    /// What must have struck, and how often.
    struck: (&'static str, u64),
    bound: fn(Times) -> Duration,
    expect: Expect,
}

/// The jobs end well, and nobody notices.
const UNNOTICED: Expect = Expect {
    first: &[End::Well],
    rest: &[End::Well],
    state: 0,
    maybe: 0,
    bystander: Fate::Unharmed,
};

/// Jobs that are not to blame, when the GPU has to be reset while its firmware works.
const SURVIVES: Expect = Expect {
    first: ANY,
    rest: ANY,
    state: 0,
    maybe: GROUP_STATE_INNOCENT,
    bystander: Fate::Unharmed,
};

/// Everything on the GPU is lost with its firmware.
const LOST: Expect = Expect {
    first: &[End::Failed],
    rest: &[End::Failed],
    state: 0,
    maybe: GROUP_STATE_INNOCENT | GROUP_STATE_TIMEDOUT | GROUP_STATE_FATAL_FAULT,
    bystander: Fate::MayLose,
};

const CASES: &[Case] = &[
    Case {
        name: "stream_stall",
        before: &[],
        work: Work::Short(8),
        then: &[],
        struck: ("stream-stall", 1),
        bound: Times::timeout,
        expect: Expect {
            rest: ANY,
            ..TIMED_OUT
        },
    },
    Case {
        name: "cs_fault",
        before: &[],
        work: Work::Short(8),
        then: &[],
        struck: ("stream-fault", 1),
        bound: Times::at_once,
        expect: Expect {
            first: &[End::With(Errno::EINVAL)],
            rest: ANY,
            state: 0,
            maybe: 0,
            bystander: Fate::Unharmed,
        },
    },
    Case {
        name: "cs_fatal",
        before: &[],
        work: Work::Short(8),
        then: &[],
        struck: ("stream-fatal", 1),
        bound: Times::at_once,
        expect: FATAL,
    },
    Case {
        name: "cs_unrecoverable",
        before: &[],
        work: Work::Short(8),
        then: &[],
        struck: ("stream-fatal", 1),
        bound: Times::reset,
        expect: FATAL,
    },
    Case {
        name: "tiler_out_of_memory_without_heap",
        before: &[],
        work: Work::Short(8),
        then: &[],
        struck: ("tiler-oom", 1),
        bound: Times::at_once,
        expect: FATAL,
    },
    Case {
        name: "terminate_ignored",
        before: &["arm ignore-request req=terminate"],
        work: Work::Endless,
        then: &[],
        struck: ("ignore-request", 1),
        bound: Times::timeout_and_reset,
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
        expect: Expect {
            maybe: GROUP_STATE_INNOCENT | GROUP_STATE_TIMEDOUT,
            bystander: Fate::MayLose,
            ..SURVIVES
        },
    },
    Case {
        name: "start_ignored",
        before: &["arm ignore-request req=start"],
        work: Work::Short(4),
        then: &[],
        struck: ("ignore-request", 1),
        bound: Times::timeout_and_reset,
        expect: Expect {
            maybe: GROUP_STATE_INNOCENT | GROUP_STATE_TIMEDOUT,
            bystander: Fate::MayLose,
            ..SURVIVES
        },
    },
    Case {
        name: "resume_ignored",
        before: &["arm ignore-request req=resume"],
        work: Work::Crowd,
        then: &[],
        struck: ("ignore-request", 1),
        bound: Times::reset,
        expect: Expect {
            maybe: GROUP_STATE_INNOCENT | GROUP_STATE_TIMEDOUT,
            bystander: Fate::MayLose,
            ..SURVIVES
        },
    },
    Case {
        name: "any_request_ignored",
        before: &["arm ignore-request req=any"],
        work: Work::Crowd,
        then: &[],
        struck: ("ignore-request", 1),
        bound: Times::timeout_and_reset,
        expect: Expect {
            maybe: GROUP_STATE_INNOCENT | GROUP_STATE_TIMEDOUT,
            bystander: Fate::MayLose,
            ..SURVIVES
        },
    },
    Case {
        name: "late_acks",
        before: &["arm late-ack us=30000 times=20"],
        work: Work::Crowd,
        then: &[],
        struck: ("late-ack", 5),
        bound: Times::at_once,
        expect: UNNOTICED,
    },
    Case {
        name: "acks_after_the_limit",
        before: &["arm late-ack req=suspend us=300000"],
        work: Work::Crowd,
        then: &[],
        struck: ("late-ack", 1),
        bound: Times::reset,
        expect: Expect {
            maybe: GROUP_STATE_INNOCENT | GROUP_STATE_TIMEDOUT,
            bystander: Fate::MayLose,
            ..SURVIVES
        },
    },
    Case {
        name: "mcu_halts",
        before: &[],
        work: Work::Endless,
        then: &["do mcu-halt"],
        struck: ("mcu-halt", 1),
        bound: Times::timeout_and_reset,
        expect: LOST,
    },
    Case {
        name: "mcu_crashes",
        before: &[],
        work: Work::Endless,
        then: &["do mcu-fatal"],
        struck: ("mcu-fatal", 1),
        bound: Times::timeout_and_reset,
        expect: LOST,
    },
    Case {
        name: "mcu_silent",
        before: &[],
        work: Work::Endless,
        then: &["arm mcu-silent"],
        struck: ("mcu-silent", 1),
        bound: Times::timeout_and_reset,
        expect: LOST,
    },
    Case {
        name: "fault_of_the_mcu",
        before: &[],
        work: Work::Endless,
        then: &["do as-fault-mcu addr=0x4000000"],
        struck: ("as-fault-mcu", 1),
        bound: Times::timeout_and_reset,
        expect: LOST,
    },
    Case {
        name: "pings_ignored",
        before: &["arm ignore-request req=ping"],
        work: Work::None,
        then: &[],
        struck: ("ignore-request", 1),
        bound: Times::ping_and_reset,
        expect: SURVIVES,
    },
    Case {
        name: "lost_doorbell",
        before: &[],
        work: Work::Short(8),
        then: &[],
        struck: ("lost-doorbell", 1),
        bound: Times::timeout,
        expect: Expect {
            maybe: GROUP_STATE_TIMEDOUT,
            ..SURVIVES
        },
    },
    Case {
        name: "lost_job_interrupt",
        before: &["arm lost-interrupt line=job"],
        work: Work::Short(8),
        then: &[],
        struck: ("lost-interrupt", 1),
        bound: Times::timeout,
        expect: Expect {
            maybe: GROUP_STATE_TIMEDOUT,
            ..SURVIVES
        },
    },
    Case {
        name: "lost_gpu_interrupt",
        before: &["arm lost-interrupt line=gpu"],
        work: Work::Binding,
        then: &[],
        struck: ("lost-interrupt", 1),
        bound: Times::timeout,
        expect: UNNOTICED,
    },
    Case {
        name: "spurious_job_interrupts",
        before: &["do spurious-interrupt line=job count=40000 gap_us=50"],
        work: Work::Short(200),
        then: &[],
        struck: ("spurious-interrupt", 40_000),
        bound: Times::timeout,
        expect: UNNOTICED,
    },
    Case {
        name: "spurious_mmu_interrupts",
        before: &["do spurious-interrupt line=mmu count=30000 gap_us=50"],
        work: Work::Short(200),
        then: &[],
        struck: ("spurious-interrupt", 30_000),
        bound: Times::timeout,
        expect: UNNOTICED,
    },
    Case {
        name: "spurious_gpu_interrupts",
        before: &["do spurious-interrupt line=gpu count=30000 gap_us=50"],
        work: Work::Short(200),
        then: &[],
        struck: ("spurious-interrupt", 30_000),
        bound: Times::timeout,
        expect: UNNOTICED,
    },
    Case {
        name: "repeated_job_interrupts",
        before: &["do spurious-interrupt line=job bits=0x800000ff count=2000 gap_us=200"],
        work: Work::Short(200),
        then: &[],
        struck: ("spurious-interrupt", 2000),
        bound: Times::timeout,
        expect: UNNOTICED,
    },
    Case {
        name: "address_space_stuck",
        before: &[],
        work: Work::Binding,
        then: &["arm as-stuck"],
        struck: ("as-stuck", 1),
        bound: Times::timeout_and_reset,
        expect: Expect {
            bystander: Fate::MayLose,
            ..SURVIVES
        },
    },
    Case {
        name: "mmu_fault_execute",
        before: &[],
        work: Work::Endless,
        then: &["do mmu-fault as=1 access=execute addr=0x123000"],
        struck: ("mmu-fault", 1),
        bound: Times::timeout,
        expect: Expect {
            state: 0,
            maybe: GROUP_STATE_TIMEDOUT | GROUP_STATE_FATAL_FAULT,
            ..LOST
        },
    },
    Case {
        name: "flush_stuck",
        before: &[],
        work: Work::Binding,
        then: &["arm flush-stuck"],
        struck: ("flush-stuck", 1),
        bound: Times::timeout_and_reset,
        expect: SURVIVES,
    },
    Case {
        name: "gpu_fault",
        before: &["do gpu-fault addr=0x1234000"],
        work: Work::Short(100),
        then: &[],
        struck: ("gpu-fault", 1),
        bound: Times::reset,
        expect: SURVIVES,
    },
];

/// Faults that are the victim's alone are armed when its slot is known to be the one to be struck: with the
/// bystander away.
fn is_streams_own(case: &Case) -> Option<&'static str> {
    Some(match case.name {
        "stream_stall" => "arm stream-stall",
        "cs_fault" => "arm stream-fault",
        "cs_fatal" => "arm stream-fatal",
        "cs_unrecoverable" => "arm stream-fatal type=0x41",
        "tiler_out_of_memory_without_heap" => "arm tiler-oom",
        "lost_doorbell" => "arm lost-doorbell",
        _ => return None,
    })
}

pub(crate) fn tests(t: &mut Tests) {
    for case in CASES {
        t.add(case.name, || run(case));
    }
}

fn run(case: &Case) -> Result<Line> {
    let mut faults = Faults::open()?;
    let mut frame = Frame::alone()?;
    let mut victim = Victim::new(&frame.device)?;
    let order = is_streams_own(case);
    if order.is_none() {
        frame.with_bystander()?;
    }
    for order in case.before {
        faults.order(order)?;
    }
    let mut since = Instant::now();
    let strikes = |faults: &mut Faults| {
        let (fault, count) = case.struck;
        faults
            .0
            .wait(fault, count, frame.times.patience())
            .context("the fault did not come to be")
    };
    if let Some(order) = order {
        faults.order(order)?;
        victim.short(0)?;
        strikes(&mut faults)?;
        since = Instant::now();
        // The fault is used up; now the bystander is safe.
        frame.with_bystander()?;
        for n in 1..8 {
            // A dead group takes no more jobs.
            if victim.short(n % 2).is_err() {
                break;
            }
        }
        let bound = (case.bound)(frame.times);
        return victim.meets(frame, since, bound, case.expect);
    }
    match case.work {
        Work::None => {}
        Work::Short(count) => {
            for n in 0..count {
                // After a fault the group may take no more jobs.
                if let Err(error) = victim.short(n % 2) {
                    ensure!(n > 0 && case.expect.first == ANY, "job {n}: {error:#}");
                    break;
                }
            }
        }
        Work::Endless => victim.endless()?,
        Work::Crowd => victim.crowd(victim.gpu.cx.csif.csg_slot_count * 2)?,
        Work::Binding => victim.endless_binding(0)?,
    }
    for order in case.then {
        since = Instant::now();
        faults.order(order)?;
    }
    if let Work::Binding = case.work {
        victim.endless_binding(50)?;
    }
    strikes(&mut faults)?;
    if matches!(case.work, Work::Crowd | Work::None) || case.struck.1 > 1000 {
        // It came when it came; what counts is the time from there.
        since = Instant::now();
    }
    victim.stop_crowd();
    let bound = (case.bound)(frame.times);
    victim.meets(frame, since, bound, case.expect)
}

impl Victim {
    /// Maps memory, has a job store there, and unmaps it, so many times, each time with the jobs of before still on
    /// the GPU.
    fn endless_binding(&mut self, times: u32) -> Result<()> {
        if times == 0 {
            return self.short(0);
        }
        for n in 0..times {
            // While the GPU is being reset there may be no way to map anything.
            if let Ok(buffer) = Buffer::new(&self.gpu.cx.vm, 8192, 0) {
                buffer.write(0, n);
            }
            if self.short(n % 2).is_err() {
                break;
            }
        }
        Ok(())
    }
}
