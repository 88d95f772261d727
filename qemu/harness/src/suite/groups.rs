// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What is tested, on which boots.

use std::process::Command;

use anyhow::{ensure, Context, Result};

use super::{debug, faults, Case, Check, Group};
use crate::device_tree::Variant;
use crate::plan::{Plan, Step, LEAKS};
use crate::settings::{Driver, Kernel, Settings};

/// Conformance tests that Magni does not pass yet, one name a line.
const NOT_YET: &str = include_str!("not-yet");

/// Conformance tests about jobs that run too long; on the debug kernel they are run where a job may not take as long
/// as elsewhere there.
const TIMEOUTS: &str = "sched::timeout::";

/// Parts of names of conformance tests that are not run with the others on a target.
fn left_out(Target(driver, kernel): Target) -> Vec<&'static str> {
    let mut words = match driver {
        // C panthor of 7.3.4 ends the kernel, hangs for good, overwrites its own ring, uses an
        // address space that has faulted, or forgets what a group used in these; and it has not
        // the trace events of the last ones.
        Driver::Panthor => vec![
            "c_oopses::",
            "c_stalls::",
            "c_races::",
            "c_overruns::",
            "c_forgets::",
            "trace::a_job_from_submission_to_end",
            "trace::the_tick_stops",
            "trace::a_job_that_runs_too_long",
            "trace::an_update_wakes_those_who_wait",
            "trace::those_who_wait_are_looked_at",
        ],
        Driver::Magni => NOT_YET
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect(),
    };
    if kernel == Kernel::Debug {
        words.push(TIMEOUTS);
    }
    words
}

/// Conformance tests that every run does on the debug kernel; all others only a full one.
const WATCHED: [&str; 3] = ["jobs::", "faults::", "sched::"];

/// What a job may take on the debug kernel, which is four times slower: no job that is to end well
/// may run out of time there.
const JOB_TIMEOUT_OF_DEBUG: &str = "job_timeout_ms=20000";

/// How much is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What fits into continuous integration.
    Short,
    /// Everything, on both kernels, and the C driver under the same faults.
    Full,
}

/// GPUs that a driver has to refuse: a name, the setting of the model that makes it so, and
/// whether C panthor of 7.3.4 refuses it too. What it accepts is run on Magni alone.
const BAD_HARDWARE: [(&str, &str, bool); 10] = [
    ("unknown-gpu", "gpu_id=0xf0000000", true),
    ("interface-no-groups", "wrong.group_num=0", true),
    ("interface-1000-groups", "wrong.group_num=1000", true),
    ("interface-no-streams", "wrong.stream_num=0", true),
    ("interface-1000-streams", "wrong.stream_num=1000", true),
    ("interface-group-stride-0", "wrong.group_stride=0", false),
    (
        "interface-input-at-the-end",
        "wrong.glb_input_va=0xfffffff0",
        true,
    ),
    (
        "interface-group-output-before",
        "wrong.csg_output_va=0x3fffff0",
        true,
    ),
    (
        "interface-stream-input-unaligned",
        "wrong.cs_input_va=0x4000003",
        false,
    ),
    (
        "interface-huge-suspend-buffer",
        "wrong.suspend_size=0xffffffff",
        false,
    ),
];

/// All groups, in the order in which they run.
///
/// # Errors
///
/// When a program does not list its tests.
pub(crate) fn all(settings: &Settings, extent: Extent) -> Result<Vec<Group>> {
    let parts = parts(settings, "conformance")?;
    let faults = self::parts(settings, "faults").map_err(|error| format!("{error:#}"));
    for name in left_out(Target(Driver::Magni, Kernel::Debug)) {
        ensure!(
            parts.iter().any(|part| part.contains(name)),
            "{name} is left out, but there is no such test"
        );
    }
    let stock = |driver| Target(driver, Kernel::Stock);
    let debug = Target(Driver::Magni, Kernel::Debug);
    let together = |target: Target, wanted: &[&str]| {
        let mut group = faults::together(target, &faults, wanted);
        if target == debug {
            group = group.conformance("conformance-timeout", &parts, TIMEOUTS, &[], 300);
        }
        group.without_leaks()
    };
    let kunit = debug::kunit(settings);
    let mut groups = Vec::new();
    // The longest first: they run side by side.
    match extent {
        Extent::Short => {
            groups.push(kunit.followed_by(watched(debug, &parts)));
            groups.push(
                together(debug, &faults::WATCHED).followed_by(faults::soak(Kernel::Debug, 20)),
            );
            groups.push(lifecycle(debug, 10));
        }
        Extent::Full => {
            groups.push(kunit);
            groups.push(programs(debug, &parts));
            groups.push(lifecycle(debug, 200));
            groups.push(firmware(debug));
            groups.extend(refused(debug));
            groups.push(together(debug, &[]));
            groups.push(together(stock(Driver::Magni), &[]));
            groups.push(faults::soak(Kernel::Debug, 60));
        }
    }
    groups.push(debug::planted(settings));
    for driver in [Driver::Panthor, Driver::Magni] {
        groups.push(programs(stock(driver), &parts));
        let rounds = match (driver, extent) {
            // No leak is measured: a few rounds show that the tests are right.
            (Driver::Panthor, Extent::Short) => 20,
            _ => 200,
        };
        groups.push(lifecycle(stock(driver), rounds));
        groups.push(firmware(stock(driver)));
        groups.extend(refused(stock(driver)));
    }
    if extent == Extent::Full {
        let list = faults.unwrap_or_default();
        groups.extend(faults::on_c_driver(&list));
    }
    Ok(groups)
}

/// Device trees and GPUs that the driver has to refuse.
fn refused(target: Target) -> Vec<Group> {
    let Target(driver, _) = target;
    let mut groups = vec![
        bad_tree(target, "no-interrupt", Variant::NoInterrupt),
        bad_tree(target, "no-clock", Variant::NoClock),
        bad_tree(target, "no-regs", Variant::NoRegs),
    ];
    groups.extend(
        BAD_HARDWARE
            .iter()
            .filter(|(_, _, c_refuses)| driver == Driver::Magni || *c_refuses)
            .map(|(name, setting, _)| bad_hardware(target, name, setting)),
    );
    groups
}

/// The driver under test and the kernel it runs on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Target(pub(super) Driver, pub(super) Kernel);

impl Target {
    /// What stands before the names of its boots and cases.
    fn name(self) -> String {
        match self {
            Self(driver, Kernel::Stock) => driver.to_string(),
            Self(driver, Kernel::Debug) => format!("{driver}-debug"),
        }
    }
}

impl Group {
    /// A group for `target`, named `name`, on the boot that `plan` prepares.
    pub(super) fn new(target: Target, name: &str, plan: impl FnOnce(Plan) -> Plan) -> Self {
        let Target(driver, kernel) = target;
        let boot = format!("{}-{name}", target.name());
        let prefix = format!("{}::{name}", target.name());
        Self {
            plan: plan(Plan::new(boot, driver, kernel)),
            cases: vec![Case {
                name: format!("{prefix}::boot"),
                step: String::new(),
                check: Check::Boot,
            }],
            prefix,
            informative: false,
        }
    }

    /// Adds a step that is a case.
    fn case(self, name: &str, command: &str, seconds: u64) -> Self {
        self.checked(name, command, seconds, Check::Step)
    }

    pub(super) fn checked(mut self, name: &str, command: &str, seconds: u64, check: Check) -> Self {
        self.cases.push(Case {
            name: format!("{}::{name}", self.prefix),
            step: name.to_owned(),
            check,
        });
        self.plan = self.plan.then([Step::new(name, command, seconds)]);
        self
    }

    /// Adds a step that runs those tests of the program `conformance`, whose names are `parts`, that begin with
    /// `word` and hold none of the words of `left_out`.
    fn conformance(
        mut self,
        step: &str,
        parts: &[String],
        word: &str,
        left_out: &[&str],
        seconds: u64,
    ) -> Self {
        let skips: String = left_out
            .iter()
            .map(|word| [" --skip ", word].concat())
            .collect();
        let command = format!("conformance --color never --test-threads 1{skips} {word}");
        self = self.case(step, command.trim_end(), seconds);
        let boot = self
            .prefix
            .split("::")
            .next()
            .unwrap_or_default()
            .to_owned();
        let parts = parts
            .iter()
            .filter(|part| part.starts_with(word))
            .filter(|part| !left_out.iter().any(|word| part.contains(word)));
        self.cases.extend(parts.map(|part| Case {
            name: format!("{boot}::conformance::{part}"),
            step: step.to_owned(),
            check: Check::Part(part.clone()),
        }));
        self
    }

    /// Goes on in the same boot with what `other` does once its driver is bound. The look for leaks
    /// stays at the end.
    fn followed_by(mut self, other: Self) -> Self {
        self.plan.steps.retain(|step| step.name != LEAKS);
        let leaks = self.cases.iter().position(|case| case.step == LEAKS);
        let leaks = leaks.map(|index| self.cases.remove(index));
        let steps = other.plan.steps.into_iter();
        self.plan.steps.extend(steps.filter(|step| !step.required));
        let cases = other.cases.into_iter();
        self.cases
            .extend(cases.filter(|case| !case.step.is_empty() && case.step != LEAKS));
        self.cases.extend(leaks);
        self.plan.module_args = other.plan.module_args;
        self
    }

    /// Ends a boot of the debug kernel with a look for leaks.
    pub(super) fn without_leaks(mut self) -> Self {
        let steps = self.plan.steps.len();
        self.plan = self.plan.without_leaks();
        if self.plan.steps.len() > steps {
            self.cases.push(Case {
                name: format!("{}::{LEAKS}", self.prefix),
                step: LEAKS.to_owned(),
                check: Check::Step,
            });
        }
        self
    }
}

/// The names of a program's tests, from its build for this machine.
fn parts(settings: &Settings, program: &str) -> Result<Vec<String>> {
    let program = settings.bin.join(program);
    let output = Command::new(&program)
        .arg("--list")
        .output()
        .with_context(|| format!("starting {}", program.display()))?;
    ensure!(
        output.status.success(),
        "{} --list failed: {}",
        program.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let parts: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect();
    ensure!(!parts.is_empty(), "{} lists no test", program.display());
    Ok(parts)
}

/// The guest programs.
fn programs(target: Target, parts: &[String]) -> Group {
    let Target(driver, kernel) = target;
    let mut group = Group::new(target, "programs", Plan::with_driver).case("smoke", "smoke", 300);
    if driver == Driver::Magni && kernel == Kernel::Debug {
        group.plan.module_args = JOB_TIMEOUT_OF_DEBUG.to_owned();
    }
    group
        .conformance("conformance", parts, "", &left_out(target), 1200)
        .case("stress", "stress", 1200)
        .case("taint", "taint", 30)
        .without_leaks()
}

/// The guest programs on the debug kernel, as far as every run does them.
fn watched(target: Target, parts: &[String]) -> Group {
    let mut group = Group::new(target, "programs", Plan::with_driver).case("smoke", "smoke", 300);
    for word in WATCHED {
        let step = format!("conformance-{}", word.trim_end_matches(':'));
        group = group.conformance(&step, parts, word, &left_out(target), 600);
    }
    group.plan.module_args = JOB_TIMEOUT_OF_DEBUG.to_owned();
    group
        .case("stress", "stress --jobs 1000", 600)
        .without_leaks()
}

/// Runs `command` many times; on Magni, less than 2 KiB may be left in use per round.
///
/// The C driver of 7.3.4 leaves the GPU's cooling device behind each time it is
/// unbound (`/sys/class/thermal` fills with them), so it is not measured. On the debug
/// kernel freed memory stays in use for a while, and kmemleak looks for leaks.
fn rounds(target: Target, count: u32, command: &str) -> String {
    match target {
        Target(Driver::Magni, Kernel::Stock) => format!("no_leak {count} 2048 {command}"),
        Target(..) => format!("repeat {count} {command}"),
    }
}

/// Loading, unloading, binding and unbinding.
///
/// C panthor of 7.3.4 does not survive an unbind with jobs running: it rings doorbells of a
/// halted microcontroller and warns in `queue_run_job()`. So that one is Magni's alone.
///
/// `count` is how often, in those tests that do it again and again.
fn lifecycle(target: Target, count: u32) -> Group {
    let Target(driver, _) = target;
    let mut group = Group::new(target, "lifecycle", Plan::with_driver)
        .case("busy-while-open", "busy_while_open", 60)
        .case("unbind-with-file-open", "unbind_with_file_open", 300);
    if driver == Driver::Magni {
        group = group.case("unbind-with-jobs-running", "unbind_with_jobs_running", 300);
    }
    group
        .case(
            &format!("bind-unbind-{count}"),
            &rounds(target, count, "bind_unbind_once"),
            600,
        )
        .case(
            &format!("load-unload-{count}"),
            &rounds(target, count, "load_unload_once"),
            900,
        )
        .case("smoke-after-all", "smoke", 300)
        .case("taint", "taint", 30)
        .case("unload", "unload", 60)
        .without_leaks()
}

/// Firmware files that have to be refused.
fn firmware(target: Target) -> Group {
    let Target(driver, _) = target;
    let mut group = Group::new(target, "firmware", Plan::with_driver);
    let file = |name: &str| format!("/lib/magni/firmware/{name}");
    let mut files = vec![(file("good"), mali_firmware::build())];
    let variants = mali_firmware::damage::all();
    for variant in &variants {
        files.push((file(&variant.name), variant.bytes.clone()));
    }
    group.plan.files = files;
    group.plan = group
        .plan
        .then([Step::new("unbind", "must_unbind", 60).required()]);
    let check = |words: &[&'static str]| match driver {
        Driver::Magni => Check::OneLine(words.to_vec()),
        Driver::Panthor => Check::Step,
    };
    let words = ["arm/mali/arch10.8/mali_csffw.bin", "firmware-misc-nonfree"];
    group = group.checked("missing", "bad_firmware missing", 60, check(&words));
    for variant in &variants {
        group = group.checked(
            &variant.name,
            &format!("bad_firmware {}", variant.name),
            60,
            check(&words),
        );
    }
    group
        .case(
            "refused-200",
            &rounds(target, 200, "bad_firmware_once noise"),
            300,
        )
        .without_leaks()
}

/// A device tree with which the driver must not bind.
fn bad_tree(target: Target, name: &str, variant: Variant) -> Group {
    let Target(driver, _) = target;
    let mut group = Group::new(target, name, Plan::prepared);
    group.plan.device_tree = variant;
    let check = match driver {
        Driver::Magni => Check::OneLine(Vec::new()),
        Driver::Panthor => Check::Step,
    };
    group
        .checked("refused", "not_bound", 60, check)
        .without_leaks()
}

/// A GPU or a firmware interface that the driver must not drive.
fn bad_hardware(target: Target, name: &str, setting: &str) -> Group {
    let Target(driver, _) = target;
    let mut group = Group::new(target, name, Plan::prepared);
    group.plan.model_args = vec!["--set".to_owned(), setting.to_owned()];
    let check = match driver {
        Driver::Magni => Check::OneLine(Vec::new()),
        Driver::Panthor => Check::Step,
    };
    group
        .checked("refused", "not_bound", 60, check)
        .without_leaks()
}
