// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What all tests of faults have in common, and the lines they leave.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use guest::group::GroupState;
use guest::kernel;
use guest::rig::Gpu;
use guest::sync::{sync_file_status, FenceStatus};
use guest::uapi::panthor::{GROUP_STATE_FATAL_FAULT, GROUP_STATE_INNOCENT, GROUP_STATE_TIMEDOUT};
use guest::{Device, GroupConfig, Syncobj};

use crate::baseline::Baseline;
use crate::bystander::{Bystander, Fate};
use crate::times::Times;

/// What a test found out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// How the victim's jobs ended.
    pub(crate) errors: String,
    /// The stated bound.
    pub(crate) bound: Duration,
    /// The time from the fault to the last signal.
    pub(crate) measured: Duration,
    /// The group's state.
    pub(crate) state: String,
    /// How the bystander fared.
    pub(crate) bystander: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "errors={} bound_ms={} measured_ms={} state={} bystander={}",
            self.errors,
            self.bound.as_millis(),
            self.measured.as_millis(),
            self.state,
            self.bystander
        )
    }
}

static NOTES: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// What was found out by a test that failed later on.
static PARTIAL: Mutex<Option<Line>> = Mutex::new(None);

/// Remembers what is known before a check that may fail.
pub(crate) fn so_far(line: &Line) {
    if let Ok(mut partial) = PARTIAL.lock() {
        *partial = Some(line.clone());
    }
}

/// Tells whoever reads the kernel's log that this test makes the kernel complain so, until it has written down how it
/// went.
pub(crate) fn expect(complaint: &str) {
    kernel::log(&format!("FAULT expected: {complaint}"));
}

/// Writes down how a test went.
pub(crate) fn note(name: &str, result: &Result<Line>) {
    let partial = PARTIAL.lock().ok().and_then(|mut partial| partial.take());
    let text = match result {
        Ok(line) => format!("FAULT name={name} {line} outcome=ok"),
        Err(error) => {
            let line = partial.map_or("errors=?".to_owned(), |line| line.to_string());
            let why = format!("{error:#}").replace(['"', '\n'], "'");
            format!("FAULT name={name} {line} outcome=\"{why}\"")
        }
    };
    // A line of the kernel's log has less than 1000 bytes.
    kernel::log(&text.chars().take(900).collect::<String>());
    if let Ok(mut notes) = NOTES.lock() {
        notes.push(text);
    }
}

/// Prints what was written down.
pub(crate) fn print_notes() {
    for note in NOTES.lock().iter().flat_map(|notes| notes.iter()) {
        println!("{note}");
    }
}

/// The names of the set states.
pub(crate) fn state_names(state: GroupState) -> String {
    let names: Vec<&str> = [
        (GROUP_STATE_TIMEDOUT, "TIMEDOUT"),
        (GROUP_STATE_FATAL_FAULT, "FATAL_FAULT"),
        (GROUP_STATE_INNOCENT, "INNOCENT"),
    ]
    .into_iter()
    .filter(|(bit, _)| state.state & bit != 0)
    .map(|(_, name)| name)
    .collect();
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.join("+"),
    }
}

/// How jobs ended, each way once, with its number.
pub(crate) fn ends(statuses: &[FenceStatus]) -> String {
    let mut seen: Vec<(String, usize)> = Vec::new();
    for status in statuses {
        let name = match status {
            FenceStatus::Active => "active".to_owned(),
            FenceStatus::Signaled => "none".to_owned(),
            FenceStatus::Failed(errno) => errno.to_string().replace(' ', "_"),
        };
        match seen.iter_mut().find(|(other, _)| *other == name) {
            Some((_, count)) => *count += 1,
            None => seen.push((name, 1)),
        }
    }
    let each: Vec<String> = seen
        .into_iter()
        .map(|(name, count)| format!("{name}*{count}"))
        .collect();
    match each.is_empty() {
        true => "-".to_owned(),
        false => each.join("+"),
    }
}

/// What surrounds a fault: the state of the kernel before, and the bystander.
pub(crate) struct Frame {
    /// The file that the victim uses, unless it has one of its own.
    pub(crate) device: Device,
    /// The driver's limits.
    pub(crate) times: Times,
    before: Baseline,
    bystander: Bystander,
}

impl Frame {
    /// The usual surroundings.
    pub(crate) fn new() -> Result<Self> {
        let device = Device::open()?;
        // What the first job of a file leaves behind is not the fault's.
        works(&device).context("a job before the fault")?;
        let module = device.module_name();
        Ok(Self {
            times: Times::of(&device),
            before: Baseline::take(module.as_deref(), Some(&device))?,
            device,
            bystander: Bystander::start()?,
        })
    }

    /// Checks what has to be so after a fault: the process can go on, the bystander has gone on, and all is freed.
    pub(crate) fn end(self, line: &mut Line, fate: Fate) -> Result<()> {
        let patience = self.times.reset();
        works_within(&self.device, patience).context("a new group of the same process")?;
        line.bystander = self.bystander.end(fate)?.short();
        so_far(line);
        self.before.is_back(Some(&self.device))
    }
}

/// Runs a few jobs in a new VM and group of a file.
pub(crate) fn works(device: &Device) -> Result<()> {
    let mut gpu = Gpu::on(device, &GroupConfig::queues(2))?;
    for n in 1..=4 {
        let store = gpu.store(4 * u64::from(n), n);
        gpu.run_ok(store.on(n % 2))?;
        let got: u32 = gpu.data.read(4 * n as usize);
        ensure!(got == n, "a job left {got} instead of {n}");
    }
    Ok(())
}

/// The same, when a reset may just be under way.
pub(crate) fn works_within(device: &Device, patience: Duration) -> Result<()> {
    let mut last = None;
    let came = kernel::poll(patience, || {
        last = works(device).err();
        Ok(last.is_none())
    })?;
    match last {
        Some(error) if !came => Err(error),
        _ => Ok(()),
    }
}

/// Sync files of fences: they can be looked at when the device is gone.
pub(crate) fn files(objects: &[Syncobj]) -> Result<Vec<OwnedFd>> {
    objects
        .iter()
        .map(|object| Ok(object.export_sync_file()?))
        .collect()
}

/// Waits until all fences of `files` are signalled, at most `patience`; gives how each stands then.
pub(crate) fn wait_for_files(files: &[OwnedFd], patience: Duration) -> Result<Vec<FenceStatus>> {
    let now = || -> Result<Vec<FenceStatus>> {
        files
            .iter()
            .map(|file| Ok(sync_file_status(file)?))
            .collect()
    };
    kernel::poll(patience, || {
        Ok(now()?.iter().all(|status| *status != FenceStatus::Active))
    })?;
    now()
}

/// Waits until all fences are signalled, at most `patience`; gives how each stands then.
pub(crate) fn wait_for(
    device: &Device,
    objects: &[Syncobj],
    patience: Duration,
) -> Result<Vec<FenceStatus>> {
    let all: Vec<&Syncobj> = objects.iter().collect();
    if !all.is_empty() {
        // Who is late is seen below.
        let _ = guest::sync::wait_all(device, &all, patience);
    }
    objects.iter().map(|object| Ok(object.status()?)).collect()
}
