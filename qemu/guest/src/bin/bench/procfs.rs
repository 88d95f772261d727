// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the kernel counts by itself, in /proc.

use std::fs;

use anyhow::{Context, Result};

/// Counts since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    /// Context switches.
    pub(crate) switches: u64,
    /// The GPU's interrupts.
    pub(crate) interrupts: u64,
    /// CPU time of kernel threads, ns.
    pub(crate) kernel_ns: u64,
}

impl Counts {
    /// Takes the counts; those that cost the most time to read first when `before`, last otherwise.
    pub(crate) fn take(before: bool) -> Result<Self> {
        let mut counts = Self::default();
        if before {
            counts.kernel_ns = kernel_threads_ns()?;
        }
        let interrupts = || {
            fs::read_to_string("/proc/interrupts")
                .map(|text| gpu_interrupts(&text))
                .context("read /proc/interrupts")
        };
        let switches = || {
            let text = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
            context_switches(&text).context("/proc/stat has no ctxt line")
        };
        if before {
            counts.interrupts = interrupts()?;
            counts.switches = switches()?;
        } else {
            counts.switches = switches()?;
            counts.interrupts = interrupts()?;
            counts.kernel_ns = kernel_threads_ns()?;
        }
        Ok(counts)
    }

    /// What was counted since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            switches: self.switches - earlier.switches,
            interrupts: self.interrupts - earlier.interrupts,
            // Threads that have ended take their time with them.
            kernel_ns: self.kernel_ns.saturating_sub(earlier.kernel_ns),
        }
    }
}

fn context_switches(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("ctxt "))?;
    line.trim().parse().ok()
}

/// The sum over all CPUs of the lines of the GPU's interrupts.
fn gpu_interrupts(text: &str) -> u64 {
    let mut sum = 0;
    for line in text.lines() {
        let Some((_, rest)) = line.split_once(':') else {
            continue;
        };
        let gpu = rest.contains("10000000.gpu")
            || rest.contains("panthor")
            || rest.contains("magni")
            || rest
                .split_whitespace()
                .next_back()
                .is_some_and(|name| matches!(name, "job" | "mmu" | "gpu"));
        if gpu {
            sum += rest
                .split_whitespace()
                .map_while(|word| word.parse::<u64>().ok())
                .sum::<u64>();
        }
    }
    sum
}

/// The time that kernel threads have run, in ns.
fn kernel_threads_ns() -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir("/proc").context("list /proc")?.flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().parse::<u32>().is_err() {
            continue;
        }
        // Threads end while they are looked at.
        let Ok(stat) = fs::read_to_string(path.join("stat")) else {
            continue;
        };
        if !is_kernel_thread(&stat) {
            continue;
        }
        if let Ok(text) = fs::read_to_string(path.join("schedstat")) {
            let ran = text.split_whitespace().next();
            sum += ran.and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(sum)
}

/// Whether /proc/PID/stat is one of a child of kthreadd.
fn is_kernel_thread(stat: &str) -> bool {
    stat.rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().nth(1))
        == Some("2")
}

/// Memory in use, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Memory {
    /// Objects in slab caches that are in use.
    pub(crate) slab: i64,
    /// Pages that buffers consist of (and files in tmpfs).
    pub(crate) buffers: i64,
    /// Pages that are in use for anything but those, slabs, processes and the page cache of files.
    pub(crate) pages: i64,
}

impl Memory {
    /// All of it.
    pub(crate) fn total(self) -> i64 {
        self.slab + self.buffers + self.pages
    }

    /// Looks at what is in use; what the kernel keeps for later counts as free where it can tell.
    pub(crate) fn take() -> Result<Self> {
        // Both fail only where the kernel lacks the file; the figures are then less exact.
        let _ = fs::write("/proc/sys/vm/drop_caches", "3");
        if let Ok(caches) = fs::read_dir("/sys/kernel/slab") {
            for cache in caches.flatten() {
                let _ = fs::write(cache.path().join("shrink"), "1");
            }
        }
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("read {path}"));
        let meminfo = read("/proc/meminfo")?;
        Ok(Self {
            slab: slab_bytes(&read("/proc/slabinfo")?),
            buffers: 1024 * field_kib(&meminfo, "Shmem"),
            pages: page_bytes(&meminfo, &read("/proc/zoneinfo")?),
        })
    }
}

fn slab_bytes(slabinfo: &str) -> i64 {
    let mut sum = 0;
    for line in slabinfo.lines().skip(2) {
        let mut words = line.split_whitespace().skip(1);
        let mut next = || words.next().and_then(|word| word.parse::<i64>().ok());
        if let (Some(active), Some(_), Some(size)) = (next(), next(), next()) {
            sum += active * size;
        }
    }
    sum
}

/// A line of /proc/meminfo, in KiB; 0 if there is none.
fn field_kib(meminfo: &str, field: &str) -> i64 {
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn page_bytes(meminfo: &str, zoneinfo: &str) -> i64 {
    let mut kib = field_kib(meminfo, "MemTotal");
    // Shmem is part of Cached.
    for other in [
        "MemFree",
        "Buffers",
        "Cached",
        "Slab",
        "AnonPages",
        "PageTables",
    ] {
        kib -= field_kib(meminfo, other);
    }
    // Pages on the processors' own lists are free, too.
    for line in zoneinfo.lines() {
        if let Some(count) = line.trim().strip_prefix("count:") {
            kib -= 4 * count.trim().parse::<i64>().unwrap_or(0);
        }
    }
    kib * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_found() {
        assert_eq!(context_switches("cpu 1\nctxt 123\nbtime 4\n"), Some(123));
        assert_eq!(context_switches("cpu 1\n"), None);
    }

    #[test]
    fn interrupts_of_the_gpu_only() {
        let text = "           CPU0       CPU1\n 11:  5  6  GICv3  27 Level  arch_timer\n\
                    40:  7  8  GICv3 140 Edge  10000000.gpu-job\n41:  1  0  GICv3 141 Edge  panthor-mmu\n";
        assert_eq!(gpu_interrupts(text), 16);
    }

    #[test]
    fn kernel_threads_are_children_of_kthreadd() {
        assert!(is_kernel_thread("45 (kworker/u8:1 (x)) I 2 0 0"));
        assert!(!is_kernel_thread("99 (bench) S 1 99 99"));
    }

    #[test]
    fn memory_in_use() {
        let slab = "slabinfo - version: 2.1\n# name\nkmalloc-64 10 64 64 64 1 : tunables\n";
        assert_eq!(slab_bytes(slab), 640);
        let meminfo = "MemTotal: 1000 kB\nMemFree: 500 kB\nCached: 100 kB\nShmem: 40 kB\n";
        assert_eq!(field_kib(meminfo, "Shmem"), 40);
        assert_eq!(page_bytes(meminfo, "  count:    10\n"), 360 * 1024);
    }
}
