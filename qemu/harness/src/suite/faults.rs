// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests that break the hardware, the firmware or the process under the driver, and the table of
//! what came of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::groups::Target;
use super::{Case, Check, Group};
use crate::plan::Plan;
use crate::report::StepOutcome;
use crate::settings::{Driver, Kernel};

/// Module parameters that make recovery from a fault quick, for tests alone. The debug kernel is
/// slower, and its jobs must not run out of time by themselves.
fn parameters(kernel: Kernel) -> &'static str {
    match kernel {
        Kernel::Stock => "job_timeout_ms=1000 ping_period_ms=1000",
        Kernel::Debug => "job_timeout_ms=3000 ping_period_ms=2000",
    }
}

/// What the name of a group with one test begins with.
const ALONE: &str = "fault-";
/// Name of the step that runs the tests, and of the group.
const FAULTS: &str = "faults";

/// The tests that every run does on the debug kernel.
pub(super) const WATCHED: [&str; 21] = [
    "endless_stream",
    "stream_stall",
    "cs_fault",
    "cs_fatal",
    "cs_unrecoverable",
    "mmu_fault_write",
    "sixteen_groups_hang",
    "no_cores_for_longer_than_a_job_may_take",
    "stream_overwrites_its_ring_and_sync_objects",
    "terminate_ignored",
    "suspend_ignored",
    "mcu_halts",
    "mcu_silent",
    "lost_job_interrupt",
    "lost_doorbell",
    "address_space_stuck",
    "flush_stuck",
    "gpu_fault",
    "killed_with_jobs_running",
    "unbind_with_jobs_in_flight",
    "foreign_fence_outlives_process_and_device",
];

/// What needs the debug kernel: these names begin like that.
const NEEDS_DEBUG: &str = "allocation_fails_";

/// Runs tests of the program `faults` one after the other in one boot: those of `list` that are
/// `wanted`, or all of them when none is wanted by name. The boot can go on.
pub(super) fn together(
    target: Target,
    list: &Result<Vec<String>, String>,
    wanted: &[&str],
) -> Group {
    let Target(_, kernel) = target;
    let mut group = Group::new(target, FAULTS, Plan::with_driver);
    group.plan.module_args = parameters(kernel).to_owned();
    let all: Vec<&str> = match list {
        Ok(list) => list.iter().map(String::as_str).collect(),
        Err(why) => return group.checked(FAULTS, "false", 10, Check::Unready(why.clone())),
    };
    if let Some(name) = wanted.iter().find(|name| !all.contains(name)) {
        let why = format!("the program faults has no test {name}");
        return group.checked(FAULTS, "false", 10, Check::Unready(why));
    }
    let parts: Vec<&str> = all
        .into_iter()
        .filter(|name| wanted.is_empty() || wanted.contains(name))
        .filter(|name| kernel == Kernel::Debug || !name.starts_with(NEEDS_DEBUG))
        .collect();
    let command = format!("each faults {}", parts.join(" "));
    group = group.checked(FAULTS, &command, 1500, Check::Step);
    group.cases.extend(parts.into_iter().map(|part| Case {
        name: format!("{}::{part}", group.prefix),
        step: FAULTS.to_owned(),
        check: Check::Part(part.to_owned()),
    }));
    group
}

/// The tests of `list` on the C driver, as far as the stock kernel can do them.
pub(super) fn on_c_driver(list: &[String]) -> impl Iterator<Item = Group> + '_ {
    list.iter()
        .filter(|part| !part.starts_with(NEEDS_DEBUG))
        .map(|part| one_on_c_driver(part))
}

/// Runs one test of the program `faults` on the C driver, in a boot of its own: it may not
/// survive. What comes of it is written down, not judged.
fn one_on_c_driver(part: &str) -> Group {
    let target = Target(Driver::Panthor, Kernel::Stock);
    let mut group = Group::new(target, &format!("{ALONE}{part}"), Plan::with_driver);
    group.informative = true;
    let command = format!("faults --color never --record --exact {part}");
    group.checked(FAULTS, &command, 120, Check::Step)
}

/// Runs jobs while the firmware writes garbage wherever it may write.
pub(crate) fn soak(kernel: Kernel, seconds: u64) -> Group {
    let target = Target(Driver::Magni, kernel);
    let mut group = Group::new(target, "soak", Plan::with_driver);
    group.plan.module_args = parameters(kernel).to_owned();
    let command = format!("faults --soak {seconds}");
    group
        .checked("garbage", &command, 2 * seconds + 240, Check::Step)
        .checked("smoke-after-all", "smoke", 300, Check::Step)
        .without_leaks()
}

/// What the lines `FAULT name=... errors=...` of all boots say, by fault and by boot.
#[derive(Default)]
pub(super) struct Table {
    faults: BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>,
}

impl Table {
    /// Takes the lines that a step has left in the kernel's log, and how the boot of a fault went
    /// that has left none.
    pub(super) fn add(&mut self, group: &Group, step: &StepOutcome) {
        let boot = group.prefix.split("::").next().unwrap_or_default();
        for line in &step.kernel {
            let Some((_, text)) = line.split_once("FAULT ") else {
                continue;
            };
            let mut fields = fields(text);
            if let Some(name) = fields.remove("name") {
                if !step.problems.is_empty() && group.informative {
                    let splat = step.problems.first().and_then(|text| text.lines().next());
                    fields.insert("splat".to_owned(), splat.unwrap_or_default().to_owned());
                }
                self.faults
                    .entry(name)
                    .or_default()
                    .insert(boot.to_owned(), fields);
            }
        }
    }

    /// Notes that the boot of one fault ended without a line.
    pub(super) fn add_end(&mut self, group: &Group, why: &str) {
        let Some(fault) = group
            .prefix
            .split("::")
            .nth(1)
            .and_then(|name| name.strip_prefix(ALONE))
        else {
            return;
        };
        let boot = group.prefix.split("::").next().unwrap_or_default();
        let fields = [("outcome", why)].map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.faults
            .entry(fault.to_owned())
            .or_default()
            .entry(boot.to_owned())
            .or_insert_with(|| BTreeMap::from(fields));
    }

    /// The table as Markdown; `None` when nothing was told.
    pub(super) fn text(&self) -> Option<String> {
        if self.faults.is_empty() {
            return None;
        }
        let mut text = String::from(
            "| fault | boot | errors | bound, ms | measured, ms | group state | bystander | outcome |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        for (fault, boots) in &self.faults {
            for (boot, fields) in boots {
                let field = |name: &str| fields.get(name).map_or("", String::as_str);
                let splat = match field("splat") {
                    "" => String::new(),
                    line => format!("; splat: {line}"),
                };
                // Cannot fail: it is a string.
                let _ = writeln!(
                    text,
                    "| {fault} | {boot} | {} | {} | {} | {} | {} | {}{} |",
                    field("errors"),
                    field("bound_ms"),
                    field("measured_ms"),
                    field("state"),
                    field("bystander"),
                    field("outcome").replace('|', "/"),
                    splat.replace('|', "/"),
                );
            }
        }
        Some(text)
    }
}

/// Reads `key=value key="more words"`.
fn fields(text: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut rest = text.trim();
    while let Some((key, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(' ').unwrap_or((after, "")),
        };
        fields.insert(key.trim().to_owned(), value.to_owned());
        rest = after.trim_start();
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_may_be_quoted() {
        let fields = fields(r#"name=x errors=-5*3+none*1 outcome="not in time: 5 s" last=1"#);
        let field = |name: &str| fields.get(name).map(String::as_str);
        assert_eq!(field("name"), Some("x"));
        assert_eq!(field("errors"), Some("-5*3+none*1"));
        assert_eq!(field("outcome"), Some("not in time: 5 s"));
        assert_eq!(field("last"), Some("1"));
    }

    #[test]
    fn the_table_has_a_line_for_each_boot() {
        let mut table = Table::default();
        assert!(table.text().is_none());
        let step = StepOutcome {
            kernel: vec!["[ 1.0] FAULT name=x errors=none*1 bound_ms=5 outcome=ok".to_owned()],
            ..StepOutcome::default()
        };
        table.add(&one_on_c_driver("x"), &step);
        table.add_end(&one_on_c_driver("x"), "dead");
        table.add_end(&one_on_c_driver("y"), "dead");
        let text = table.text().unwrap_or_default();
        assert!(text.contains("| x | panthor | none*1 | 5 |"));
        assert!(text.contains("| y | panthor |") && text.contains("dead"));
        assert_eq!(text.lines().count(), 4);
    }
}
