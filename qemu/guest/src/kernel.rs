// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the kernel tells about the driver beside the uAPI: parameters, power, memory, trace events.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};

use crate::Device;

/// How often something that has no event is looked at.
const POLL: Duration = Duration::from_millis(2);
/// How long a job may be on the GPU unless somebody says otherwise.
const JOB_TIMEOUT: Duration = Duration::from_secs(5);
/// The system's sleep.
const SLEEP: &str = "/sys/power";
/// How long a sleep lasts that is only practised.
const SLEEP_SECONDS: &str = "/sys/module/suspend/parameters/pm_test_delay";
/// The mount point of tracefs.
const TRACING: &str = "/sys/kernel/tracing";

/// Waits until `is_so`, for what has no event to wait for: at most `timeout`. Says whether it came to be.
///
/// # Errors
///
/// Those of `is_so`.
pub fn poll(timeout: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<bool> {
    let start = Instant::now();
    loop {
        // Looked at once more after the time is over: this process may have been held up.
        let over = start.elapsed() >= timeout;
        if is_so()? {
            return Ok(true);
        }
        if over {
            return Ok(false);
        }
        thread::sleep(POLL);
    }
}

/// How long a job may be on the GPU: the variable `MAGNI_JOB_TIMEOUT_MS`, else the driver's parameter
/// `job_timeout_ms`, else five seconds.
pub fn job_timeout(device: &Device) -> Duration {
    milliseconds(device, "MAGNI_JOB_TIMEOUT_MS", "job_timeout_ms").unwrap_or(JOB_TIMEOUT)
}

/// A time in milliseconds from an environment variable or a parameter of the driver's module.
pub fn milliseconds(device: &Device, variable: &str, parameter: &str) -> Option<Duration> {
    let text = std::env::var(variable).ok().or_else(|| {
        let module = device.module_name()?;
        fs::read_to_string(format!("/sys/module/{module}/parameters/{parameter}")).ok()
    })?;
    text.trim().parse().ok().map(Duration::from_millis)
}

/// The device's folder in sysfs.
///
/// # Errors
///
/// If there is none.
pub fn sysfs(device: &Device) -> Result<PathBuf> {
    let name = device.path().file_name().context("the node has no name")?;
    let link = Path::new("/sys/class/drm").join(name).join("device");
    fs::canonicalize(&link).with_context(|| format!("follow {}", link.display()))
}

/// The device's driver can be taken away and given back.
#[derive(Clone, Debug)]
pub struct Binding {
    driver: PathBuf,
    name: String,
}

impl Binding {
    /// That of an open device.
    ///
    /// # Errors
    ///
    /// If sysfs does not tell.
    pub fn of(device: &Device) -> Result<Self> {
        let folder = sysfs(device)?;
        let driver = fs::canonicalize(folder.join("driver")).context("the device's driver")?;
        let name = folder.file_name().context("the device has no name")?;
        Ok(Self {
            driver,
            name: name.to_string_lossy().into_owned(),
        })
    }

    /// Takes the driver away from the device.
    ///
    /// # Errors
    ///
    /// Those of the kernel.
    pub fn unbind(&self) -> io::Result<()> {
        fs::write(self.driver.join("unbind"), &self.name)
    }

    /// Gives the device to the driver.
    ///
    /// # Errors
    ///
    /// Those of the driver's probe.
    pub fn bind(&self) -> io::Result<()> {
        fs::write(self.driver.join("bind"), &self.name)
    }

    /// Whether the driver has the device.
    pub fn is_bound(&self) -> bool {
        self.driver.join(&self.name).exists()
    }
}

/// Whether the GPU is powered off for want of work.
///
/// # Errors
///
/// If sysfs does not tell.
pub fn sleeps(device: &Device) -> Result<bool> {
    let path = sysfs(device)?.join("power/runtime_status");
    let now = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(now.trim() == "suspended")
}

/// Waits until the GPU sleeps. There is no event for it.
///
/// # Errors
///
/// If it stays awake for `timeout`.
pub fn wait_for_sleep(device: &Device, timeout: Duration) -> Result<()> {
    ensure!(
        poll(timeout, || sleeps(device))?,
        "the GPU stays awake without work"
    );
    Ok(())
}

/// Whether the kernel can [practise](practise_sleep) the system's sleep.
pub fn can_practise_sleep() -> bool {
    Path::new(SLEEP).join("pm_test").exists()
}

/// Sends all tasks and devices to sleep, as when the whole system sleeps, and wakes them at once. If a device refuses,
/// which wakes the others as well, this gives its name.
///
/// # Errors
///
/// If the system does not go to sleep for another reason.
pub fn practise_sleep() -> Result<Option<String>> {
    let write = |file: &str, text: &str| fs::write(Path::new(SLEEP).join(file), text);
    // Else the kernel stays asleep for some seconds.
    fs::write(SLEEP_SECONDS, "0").with_context(|| format!("write {SLEEP_SECONDS}"))?;
    write("pm_test", "devices").context("have the kernel practise sleep")?;
    let slept = write("state", "freeze");
    write("pm_test", "none").context("end the practice")?;
    let Err(error) = slept else {
        return Ok(None);
    };
    let read = |file: &str| {
        let path = Path::new(SLEEP).join("suspend_stats").join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Ok::<_, anyhow::Error>(text.trim().to_owned())
    };
    ensure!(
        error.raw_os_error() == Some(libc::EBUSY) && read("last_failed_step")? == "suspend",
        "the system does not go to sleep: {error}, at the step {:?}",
        read("last_failed_step")?
    );
    read("last_failed_dev").map(Some)
}

/// Keeps the GPU awake without work, unless the system sleeps, until this is dropped.
#[derive(Debug)]
pub struct Awake(PathBuf);

impl Awake {
    /// Wakes the GPU and keeps it awake.
    ///
    /// # Errors
    ///
    /// If it does not wake up.
    pub fn keep(device: &Device) -> Result<Self> {
        let control = sysfs(device)?.join("power/control");
        fs::write(&control, "on").context("keep the GPU awake")?;
        Ok(Self(control))
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        // It costs power only if it does not go.
        let _ = fs::write(&self.0, "auto");
    }
}

/// The `name:\tvalue` lines of the device's fdinfo whose names end so, values in bytes.
///
/// # Errors
///
/// If it cannot be read.
pub fn fdinfo(device: &Device, suffix: &str) -> Result<Vec<(String, u64)>> {
    let path = format!("/proc/self/fdinfo/{}", device.as_raw_fd());
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let mut found = Vec::new();
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if !name.ends_with(suffix) {
            continue;
        }
        let mut words = value.split_whitespace();
        let number: u64 = words
            .next()
            .and_then(|word| word.parse().ok())
            .with_context(|| format!("{path}: {line:?}"))?;
        let unit = match words.next() {
            None => 1,
            Some("KiB") => 1 << 10,
            Some("MiB") => 1 << 20,
            Some(other) => bail!("{path}: the unit {other:?} in {line:?}"),
        };
        found.push((name.to_owned(), number * unit));
    }
    Ok(found)
}

/// A field of `/proc/meminfo`, in KiB.
///
/// # Errors
///
/// If there is no such field.
pub fn meminfo(field: &str) -> Result<u64> {
    // Each processor counts some pages for itself, unless it is told to say how many. Without this the figure is a
    // little older.
    let _ = fs::read("/proc/sys/vm/stat_refresh");
    let text = fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| *name == field)
        .and_then(|(_, value)| value.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("/proc/meminfo has no field {field}"))
}

/// Number of threads that the kernel keeps for work queues.
///
/// # Errors
///
/// If `/proc` cannot be read.
pub fn kworkers() -> Result<usize> {
    let entries = fs::read_dir("/proc").context("list /proc")?;
    Ok(entries
        .flatten()
        .filter(|entry| {
            fs::read_to_string(entry.path().join("comm"))
                .is_ok_and(|name| name.starts_with("kworker"))
        })
        .count())
}

/// How many users the driver's module has.
///
/// # Errors
///
/// If sysfs does not tell.
pub fn module_users(module: &str) -> Result<u64> {
    let path = format!("/sys/module/{module}/refcnt");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    text.trim()
        .parse()
        .with_context(|| format!("{path}: {text:?}"))
}

/// Number of files this process has open.
///
/// # Errors
///
/// If `/proc` cannot be read.
pub fn open_files() -> Result<usize> {
    // One of them is the folder that is being read.
    Ok(fs::read_dir("/proc/self/fd")
        .context("list the open files")?
        .count()
        - 1)
}

/// Writes a line to the kernel's log, so that it can be found among the driver's messages.
pub fn log(line: &str) {
    // Only a convenience: nothing is lost where the log cannot be written.
    let _ = fs::write("/dev/kmsg", format!("<6>{line}\n"));
}

/// One kind of trace events, counted or collected; off again on drop.
#[derive(Debug)]
pub struct TraceEvents {
    instance: PathBuf,
}

impl Drop for TraceEvents {
    fn drop(&mut self) {
        // Nobody else uses the instance; what stays of it costs memory only.
        let _ = fs::write(self.instance.join("events/enable"), "0");
        let _ = fs::remove_dir(&self.instance);
    }
}

impl TraceEvents {
    /// Records the events `system:name` that pass `filter` (empty: all) from now on; `None` if the kernel
    /// has no such event.
    ///
    /// # Errors
    ///
    /// If the event is there and cannot be switched on.
    pub fn start(events: &[&str], filter: &str) -> Result<Option<Self>> {
        let exists = |event: &str| Path::new(TRACING).join("events").join(event).is_dir();
        let paths: Vec<String> = events.iter().map(|e| e.replace(':', "/")).collect();
        if !paths.iter().all(|path| exists(path)) {
            return Ok(None);
        }
        let name = format!("magni-{}", std::process::id());
        let instance = Path::new(TRACING).join("instances").join(name);
        match fs::create_dir(&instance) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(e).with_context(|| format!("create {}", instance.display()));
            }
            _ => {}
        }
        let trace = Self { instance };
        for path in &paths {
            let folder = trace.instance.join("events").join(path);
            let write = |file: &str, text: &str| {
                let file = folder.join(file);
                fs::write(&file, text)
                    .with_context(|| format!("write {text:?} to {}", file.display()))
            };
            write("filter", if filter.is_empty() { "0" } else { filter })?;
            write("enable", "1")?;
        }
        Ok(Some(trace))
    }

    /// The events so far, one line each, oldest first.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    pub fn lines(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(self.instance.join("trace")).context("read the trace")?;
        Ok(text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(str::to_owned)
            .collect())
    }

    /// Forgets the events so far.
    ///
    /// # Errors
    ///
    /// If they cannot be forgotten.
    pub fn clear(&self) -> Result<()> {
        fs::write(self.instance.join("trace"), "").context("clear the trace")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poll_gives_up_in_the_end() {
        let mut looks = 0;
        let came = poll(Duration::from_millis(5), || {
            looks += 1;
            Ok(false)
        });
        assert!(!came.unwrap());
        assert!(looks > 1);
        assert!(poll(Duration::ZERO, || Ok(true)).unwrap());
    }

    #[test]
    fn facts_of_this_machine_can_be_read() {
        assert!(meminfo("MemTotal").unwrap() > 0);
        assert!(meminfo("NoSuchField").is_err());
        assert!(open_files().unwrap() >= 3);
    }
}
