// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a trace of work items, locks and the kernel's scheduler says.

use std::collections::{HashMap, HashSet};

use crate::record::{Round, Span};

/// The events that [`Counts::of`] understands.
pub(crate) const EVENTS: &[&str] = &[
    "workqueue/workqueue_queue_work",
    "workqueue/workqueue_execute_start",
    "workqueue/workqueue_execute_end",
    "sched/sched_switch",
    "sched/sched_wakeup",
    "lock/contention_begin",
    "lock/contention_end",
];

/// The work item of the DRM scheduler that calls the driver's `run_job`.
const RUN_JOB: &str = "drm_sched_run_job_work";

/// One line of a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Event<'a> {
    /// The task that ran.
    pub(crate) pid: u32,
    /// CLOCK_MONOTONIC, ns.
    pub(crate) time: u64,
    /// The event's name.
    pub(crate) name: &'a str,
    /// The rest.
    pub(crate) text: &'a str,
}

impl<'a> Event<'a> {
    /// Reads a line: task-PID, \[CPU\], flags, seconds, name, text. `None` for comments.
    pub(crate) fn parse(line: &'a str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        // A task's name may hold anything, but hardly a CPU in brackets.
        let at = line.match_indices(" [").map(|(at, _)| at).find(|at| {
            line.as_bytes()
                .get(at + 2..at + 6)
                .is_some_and(|cpu| cpu[..3].iter().all(u8::is_ascii_digit) && cpu[3] == b']')
        })?;
        let (_, pid) = line[..at].trim_end().rsplit_once('-')?;
        let mut words = line[at + 6..].trim_start().splitn(2, ' ');
        let _flags = words.next()?;
        let (time, rest) = words.next()?.trim_start().split_once(": ")?;
        let (seconds, fraction) = time.split_once('.')?;
        let micros: u64 = fraction.parse().ok()?;
        let (name, text) = rest.split_once(": ").unwrap_or((rest, ""));
        Some(Self {
            pid: pid.parse().ok()?,
            time: seconds.parse::<u64>().ok()? * 1_000_000_000 + micros * 1000,
            name,
            text,
        })
    }

    /// Work item and function of an event about one.
    pub(crate) fn work(&self) -> Option<(&'a str, &'a str)> {
        let rest = self.text.strip_prefix("work struct")?;
        let rest = rest.trim_start_matches(['=', ' ']);
        let (work, rest) = rest.split_once([':', ' '])?;
        let rest = rest.trim_start().strip_prefix("function")?;
        let function = rest.trim_start_matches(['=', ' ']).split(' ').next()?;
        Some((work, function))
    }

    /// The lock of an event about one.
    fn lock(&self) -> &'a str {
        self.text.split(' ').next().unwrap_or("")
    }

    /// The work queue of a `workqueue_queue_work`.
    fn queue(&self) -> Option<&'a str> {
        self.text.split("workqueue=").nth(1)?.split(' ').next()
    }
}

/// How many there are at once.
#[derive(Clone, Debug, Default)]
struct Gauge {
    now: u64,
    peak: u64,
}

impl Gauge {
    fn enter(&mut self) {
        self.now += 1;
        self.peak = self.peak.max(self.now);
    }

    fn leave(&mut self) {
        self.now = self.now.saturating_sub(1);
    }
}

/// A work item that is being executed.
#[derive(Clone, Copy, Debug)]
struct Running {
    run_job: bool,
    driver: bool,
}

/// A lock that a task waits for.
#[derive(Clone, Copy, Debug)]
struct Wait<'a> {
    lock: &'a str,
    begin: u64,
    /// One that can be spun for only.
    spinlock: bool,
    asleep: bool,
}

/// What happened between two moments.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    /// Most `run_job` work items executed at once.
    pub(crate) run_job_peak: u64,
    /// `run_job` work items executed.
    pub(crate) run_job_works: u64,
    /// Most work items executed at once, of all queues of the driver.
    pub(crate) works_peak: u64,
    /// Work items of the driver's queues executed.
    pub(crate) works: u64,
    /// Most work items of the driver asleep on a lock at once.
    pub(crate) asleep_peak: u64,
    /// Contended locks that may be slept for, within `run_job` work items: number, ns.
    pub(crate) run_job_sleeps: (u64, u64),
    /// Contended spinlocks within `run_job` work items: number, ns.
    pub(crate) run_job_spins: (u64, u64),
    /// Contended locks that may be slept for, within work items of the driver's queues: number, ns.
    pub(crate) work_sleeps: (u64, u64),
    /// Context switches.
    pub(crate) switches: u64,
    /// Tasks woken.
    pub(crate) wakeups: u64,
}

impl Counts {
    /// Counts what a trace holds in `window`, for the driver whose work queues begin with `prefix`.
    pub(crate) fn of(trace: &str, window: Span, prefix: &str) -> Self {
        let mut counts = Self::default();
        let (mut run_jobs, mut works, mut asleep) =
            (Gauge::default(), Gauge::default(), Gauge::default());
        let mut ours: HashSet<&str> = HashSet::new();
        let mut running: HashMap<u32, Running> = HashMap::new();
        let mut waits: HashMap<u32, Vec<Wait>> = HashMap::new();
        for event in trace.lines().filter_map(Event::parse) {
            if event.time < window.begin || event.time > window.end {
                continue;
            }
            match event.name {
                "workqueue_queue_work" => {
                    let queue = event.queue().unwrap_or("");
                    if let Some((work, _)) = event.work() {
                        if queue.starts_with(prefix) {
                            ours.insert(work);
                        } else {
                            ours.remove(work);
                        }
                    }
                }
                "workqueue_execute_start" => {
                    let Some((work, function)) = event.work() else {
                        continue;
                    };
                    let run_job = function == RUN_JOB;
                    let driver = run_job || ours.contains(work);
                    running.insert(event.pid, Running { run_job, driver });
                    if run_job {
                        counts.run_job_works += 1;
                        run_jobs.enter();
                    }
                    if driver {
                        counts.works += 1;
                        works.enter();
                    }
                }
                "workqueue_execute_end" => {
                    if let Some(done) = running.remove(&event.pid) {
                        if done.run_job {
                            run_jobs.leave();
                        }
                        if done.driver {
                            works.leave();
                        }
                    }
                }
                "contention_begin" => {
                    let driver = running.get(&event.pid).is_some_and(|r| r.driver);
                    let mine = waits.entry(event.pid).or_default();
                    let sleeps = driver && !event.text.contains("SPIN");
                    // A mutex is spun for as long as its owner runs, then slept for.
                    match mine.last_mut().filter(|wait| wait.lock == event.lock()) {
                        Some(wait) if sleeps && !wait.asleep => wait.asleep = true,
                        Some(_) => continue,
                        None => mine.push(Wait {
                            lock: event.lock(),
                            begin: event.time,
                            spinlock: event.text.contains("SPIN") && !event.text.contains("MUTEX"),
                            asleep: sleeps,
                        }),
                    }
                    if sleeps {
                        asleep.enter();
                    }
                }
                "contention_end" => {
                    let mine = waits.entry(event.pid).or_default();
                    if mine.last().is_none_or(|wait| wait.lock != event.lock()) {
                        continue;
                    }
                    let Some(wait) = mine.pop() else { continue };
                    if wait.asleep {
                        asleep.leave();
                    }
                    let took = event.time - wait.begin;
                    // A lock that is spun for within the wait for another one is part of that.
                    let Some(inside) = running.get(&event.pid).filter(|_| mine.is_empty()) else {
                        continue;
                    };
                    if !wait.spinlock && inside.driver {
                        add(&mut counts.work_sleeps, took);
                    }
                    if inside.run_job {
                        let kind = if wait.spinlock {
                            &mut counts.run_job_spins
                        } else {
                            &mut counts.run_job_sleeps
                        };
                        add(kind, took);
                    }
                }
                "sched_switch" => counts.switches += 1,
                "sched_wakeup" => counts.wakeups += 1,
                _ => {}
            }
        }
        counts.run_job_peak = run_jobs.peak;
        counts.works_peak = works.peak;
        counts.asleep_peak = asleep.peak;
        counts
    }

    /// Adds the figures to a round of `jobs` jobs.
    pub(crate) fn record(&self, round: &mut Round, jobs: u64) {
        let per_job = |count: u64| count as f64 / jobs as f64;
        round.add("run_job workers at once", "", self.run_job_peak as f64);
        round.add("driver work items at once", "", self.works_peak as f64);
        round.add("of these asleep on a lock", "", self.asleep_peak as f64);
        round.add(
            "contended locks in run_job",
            "",
            self.run_job_sleeps.0 as f64,
        );
        round.add(
            "waiting for locks in run_job",
            "ms",
            ms(self.run_job_sleeps.1),
        );
        round.add(
            "contended spinlocks in run_job",
            "",
            self.run_job_spins.0 as f64,
        );
        round.add(
            "contended locks in work items",
            "",
            self.work_sleeps.0 as f64,
        );
        round.add(
            "waiting for locks in work items",
            "ms",
            ms(self.work_sleeps.1),
        );
        round.add(
            "run_job work items per job",
            "",
            per_job(self.run_job_works),
        );
        round.add("driver work items per job", "", per_job(self.works));
        round.add("wake-ups per job", "", per_job(self.wakeups));
        round.add(
            "context switches per job (traced)",
            "",
            per_job(self.switches),
        );
    }
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

fn add(sum: &mut (u64, u64), took: u64) {
    sum.0 += 1;
    sum.1 += took;
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "\
# tracer: nop
 bench-7  [000] d..2.  1.000000: workqueue_queue_work: work struct=00000000aa function=drm_sched_run_job_work [gpu_sched] workqueue=panthor-csf-sched req_cpu=4 cpu=-1
 bench-7  [000] d..2.  1.000001: workqueue_queue_work: work struct=00000000bb function=tick_work [panthor] workqueue=panthor-csf-sched req_cpu=4 cpu=-1
 bench-7  [000] d..2.  1.000002: workqueue_queue_work: work struct=00000000cc function=other workqueue=events req_cpu=4 cpu=-1
 kworker/u8:1-45  [001] ..... 1.000010: workqueue_execute_start: work struct 00000000aa: function drm_sched_run_job_work [gpu_sched]
 kworker/u8:2-46  [002] ..... 1.000011: workqueue_execute_start: work struct 00000000bb: function tick_work [panthor]
 kworker/0:3-47  [000] ..... 1.000012: workqueue_execute_start: work struct 00000000cc: function other
 kworker/u8:1-45  [001] ..... 1.000020: contention_begin: 00000000ff (flags=SPIN|MUTEX)
 kworker/u8:1-45  [001] ..... 1.000021: contention_begin: 00000000ff (flags=MUTEX)
 kworker/u8:1-45  [001] ..... 1.000022: contention_begin: 00000000fe (flags=SPIN)
 kworker/u8:1-45  [001] ..... 1.000023: contention_end: 00000000fe (ret=0)
 kworker/u8:1-45  [001] d..2. 1.000025: sched_switch: prev_comm=kworker/u8:1 prev_pid=45 prev_prio=120 prev_state=D ==> next_comm=swapper/1 next_pid=0 next_prio=120
 kworker/u8:2-46  [002] ..... 1.000028: workqueue_execute_end: work struct 00000000bb: function tick_work [panthor]
 kworker/u8:2-46  [002] d..2. 1.000029: sched_wakeup: comm=kworker/u8:1 pid=45 prio=120 target_cpu=001
 kworker/u8:1-45  [001] ..... 1.000030: contention_end: 00000000ff (ret=0)
 kworker/u8:1-45  [001] ..... 1.000040: workqueue_execute_end: work struct 00000000aa: function drm_sched_run_job_work [gpu_sched]
 kworker/u8:1-45  [001] ..... 9.000000: sched_switch: too late
";

    #[test]
    fn lines_are_read() {
        let line = " Web Content [x]-12  [003] d..1. 12.000345: sched_wakeup: comm=a pid=1";
        let event = Event::parse(line).unwrap();
        assert_eq!((event.pid, event.time), (12, 12_000_345_000));
        assert_eq!((event.name, event.text), ("sched_wakeup", "comm=a pid=1"));
        assert_eq!(Event::parse("# entries-in-buffer"), None);
    }

    #[test]
    fn a_storm_is_counted() {
        let window = Span {
            begin: 1_000_000_000,
            end: 2_000_000_000,
        };
        let counts = Counts::of(TRACE, window, "panthor");
        let expected = Counts {
            run_job_peak: 1,
            run_job_works: 1,
            works_peak: 2,
            works: 2,
            asleep_peak: 1,
            run_job_sleeps: (1, 10_000),
            run_job_spins: (0, 0),
            work_sleeps: (1, 10_000),
            switches: 1,
            wakeups: 1,
        };
        assert_eq!(counts, expected);
        // Another driver's queues are not ours, but a `run_job` is one whoever's it is.
        assert_eq!(Counts::of(TRACE, window, "magni").works, 1);
    }
}
