// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Finds what must not appear in a log: kernel splats and the model's reports of misuse.

/// What the kernel prints when something is wrong, whoever caused it.
const KERNEL: &[&str] = &[
    "WARNING:",
    "BUG:",
    "kernel BUG at",
    "Oops",
    "Kernel panic",
    "Internal error:",
    "Unable to handle kernel",
    "SError Interrupt",
    "INFO: task ",
    "INFO: rcu",
    "blocked for more than",
    "self-detected stall",
    "soft lockup",
    "LOCKUP",
    "nobody cared",
    "refcount_t:",
    "possible circular locking",
    "possible recursive locking",
    "inconsistent lock state",
    "inconsistent usage",
    "bad unlock balance",
    "suspicious RCU usage",
    "held lock freed",
    "sleeping function called",
    "scheduling while atomic",
    "KASAN:",
    "KFENCE:",
    "UBSAN:",
    "KCSAN:",
    "kmemleak:",
    "list_add corruption",
    "list_del corruption",
    "Bad page state",
    "Memory manager not clean",
    "ODEBUG:",
    "cannot create duplicate filename",
    "kobject_add_internal failed",
    "swiotlb buffer is full",
    "Out of memory",
    "page allocation failure",
    "Unbalanced ",
    "Unbalanced enable",
    "Runtime PM usage count underflow",
    "Freeing queue with pending",
    "Call trace:",
];

/// What a test writes to the kernel's log before it does something that the kernel complains about, followed by the
/// complaint, one of [`KERNEL`]. It holds until the test says how it went.
const EXPECTED: &str = "FAULT expected: ";
/// What comes with many a complaint, and is none of its own behind one.
const TRACE: &str = "Call trace:";
/// The beginning of what a test says then.
const OUTCOME: &str = "FAULT name=";

/// What kmemleak says when it starts, and when a test lets its own allocation fail, whereupon it looks for pointers in
/// more memory than it has to; all else that it says is a problem.
const KMEMLEAKS_OWN: [&str; 2] = [
    "kmemleak: Kernel memory leak detector initialized",
    "kmemleak: Cannot allocate a scan area, scanning the full object",
];

/// What the model's report of misuse contains; register accesses come before and after it.
const MISUSE: &str = "mali-csf: MISUSE:";
/// What each of those accesses starts with.
const AROUND: &str = "mali-csf:   ";

/// Begins a warning of the debug kernel that may be a false alarm: that `complete_all()` was called
/// in an interrupt. It goes by a per-CPU variable which it reads where the task may be moved to
/// another CPU: then it is the old CPU that is in an interrupt. A module that does nothing but call
/// it, in threads that are moved all the time, gets the warning within a second.
const MAYBE_FALSE: [&str; 2] = ["WARNING: kernel/sched/completion.c:", " at complete_all+"];
/// What ends the trace of a task, in a thread and in a system call.
const TASK: [&str; 2] = ["ret_from_fork+", "el0t_64_sync+"];
/// What is in the trace of an interrupt.
const INTERRUPT: [&str; 4] = ["_64_irq", "_64_fiq", "call_on_irq_stack", "handle_irq"];

/// Lines of a splat that are kept, its first one included.
const KEEP: usize = 40;

/// One problem: the line that showed it and the lines after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Splat(Vec<String>);

impl Splat {
    /// The problem's text, one line after the other.
    pub(crate) fn text(&self) -> String {
        self.0.join("\n")
    }

    /// Whether it is the [false alarm](MAYBE_FALSE): the whole trace is there, and it is a task's.
    fn is_false_alarm(&self) -> bool {
        let holds = |words: &[&str]| {
            let mut lines = self.0.iter();
            lines.any(|line| words.iter().any(|word| line.contains(word)))
        };
        let first = self.0.first();
        first.is_some_and(|line| MAYBE_FALSE.iter().all(|word| line.contains(word)))
            && holds(&TASK)
            && !holds(&INTERRUPT)
    }
}

/// Collects the problems of the kernel's log, line by line.
#[derive(Default)]
pub(crate) struct KernelWatch {
    open: Option<Splat>,
    found: Vec<Splat>,
    /// Complaints that are a test's own doing.
    expected: Vec<&'static str>,
}

impl KernelWatch {
    /// Looks at the next line.
    pub(crate) fn line(&mut self, line: &str) {
        if let Some((_, complaint)) = line.split_once(EXPECTED) {
            let known = KERNEL.iter().find(|word| **word == complaint.trim());
            self.expected.extend(known);
            return;
        }
        if line.contains(OUTCOME) {
            self.close();
            self.expected.clear();
            return;
        }
        let is_problem = KERNEL.iter().any(|word| line.contains(word))
            && !KMEMLEAKS_OWN.iter().any(|own| line.contains(own));
        // Nothing hides behind what is expected.
        if is_problem && !line.contains(TRACE) && self.open_is_expected() {
            self.close();
        }
        match &mut self.open {
            Some(open) => {
                open.0.push(line.to_owned());
                if line.contains("---[ end trace") || open.0.len() >= KEEP {
                    self.close();
                }
            }
            None if is_problem => self.open = Some(Splat(vec![line.to_owned()])),
            None => {}
        }
    }

    /// Whether the problem that is being read is the test's own doing.
    fn open_is_expected(&self) -> bool {
        let first = self.open.as_ref().and_then(|splat| splat.0.first());
        first.is_some_and(|line| self.expected.iter().any(|word| line.contains(word)))
    }

    /// A problem has been read to its end.
    fn close(&mut self) {
        let expected = self.open_is_expected();
        let open = self.open.take();
        let problem = open.filter(|splat| !expected && !splat.is_false_alarm());
        self.found.extend(problem);
    }

    /// Takes what was found so far.
    pub(crate) fn take(&mut self) -> Vec<Splat> {
        self.close();
        std::mem::take(&mut self.found)
    }
}

/// Collects the reports of misuse in the model's output, line by line.
#[derive(Default)]
pub(crate) struct ModelWatch {
    before: Vec<String>,
    found: Vec<Splat>,
}

impl ModelWatch {
    /// Looks at the next line.
    pub(crate) fn line(&mut self, line: &str) {
        if line.contains(MISUSE) {
            let mut lines = std::mem::take(&mut self.before);
            lines.push(line.to_owned());
            self.found.push(Splat(lines));
        } else if !line.starts_with(AROUND) {
            self.before.clear();
        } else if line.contains(" before ") {
            self.before.push(line.to_owned());
        } else if let Some(last) = self.found.last_mut() {
            last.0.push(line.to_owned());
        }
    }

    /// Takes what was found so far.
    pub(crate) fn take(&mut self) -> Vec<Splat> {
        std::mem::take(&mut self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_log_has_no_problem() {
        let mut watch = KernelWatch::default();
        for line in [
            "[    0.1] Booting Linux on physical CPU 0x0",
            "[    0.2] panthor 10000000.gpu: [drm] Mali-G610 id 0xa867",
        ] {
            watch.line(line);
        }
        assert!(watch.take().is_empty());
    }

    #[test]
    fn a_warning_is_one_problem_with_its_trace() {
        let mut watch = KernelWatch::default();
        for line in [
            "[ 1.0] WARNING: CPU: 0 PID: 1 at x.c:1 f+0x0/0x4",
            "[ 1.0] Call trace:",
            "[ 1.0] ---[ end trace 0000000000000000 ]---",
            "[ 1.1] all is well again",
            "[ 1.2] refcount_t: underflow; use-after-free.",
        ] {
            watch.line(line);
        }
        let found = watch.take();
        assert_eq!(found.len(), 2);
        assert_eq!(found.first().map(|splat| splat.0.len()), Some(3));
    }

    #[test]
    fn what_a_test_expects_is_no_problem_until_it_has_ended() {
        let mut watch = KernelWatch::default();
        let complaint = "[ 1.2] faults: page allocation failure: order:0";
        let trace = "[ 1.2] Call trace:";
        for line in [
            "[ 1.0] FAULT expected: page allocation failure",
            "[ 1.1] FAULT expected: whatever the kernel never says",
            complaint,
            trace,
            "[ 1.3] FAULT name=memory errors=none*1 outcome=ok",
            complaint,
            trace,
        ] {
            watch.line(line);
        }
        let found = watch.take();
        assert_eq!(found.len(), 1);
        let mut watch = KernelWatch::default();
        watch.line("[ 1.0] FAULT expected: page allocation failure");
        watch.line("[ 1.1] Out of memory: Killed process 1");
        assert_eq!(watch.take().len(), 1, "another complaint");
        watch.line(complaint);
        watch.line(trace);
        watch.line("[ 1.3] BUG: KASAN: use-after-free");
        assert_eq!(watch.take().len(), 1, "behind one that is expected");
    }

    #[test]
    fn a_false_alarm_of_the_kernel_is_none_of_ours() {
        let warning = "[ 1.0] WARNING: kernel/sched/completion.c:76 at complete_all+0x24c/0x2f0, CPU#1: kworker/u8:1/63";
        let found = |lines: &[&str]| {
            let mut watch = KernelWatch::default();
            watch.line(warning);
            watch.line("[ 1.0] Call trace:");
            lines.iter().for_each(|line| watch.line(line));
            watch.line("[ 1.0] ---[ end trace 0000000000000000 ]---");
            watch.take().len()
        };
        let (start, interrupt) = (
            "[ 1.0]  ret_from_fork+0x10/0x20",
            "[ 1.0]  el1h_64_irq+0x6c/0x70",
        );
        assert_eq!(
            found(&["[ 1.0]  drm_sched_run_job_work+0x18/0x20", start]),
            0
        );
        // A real one, one whose trace has no end, and another complaint.
        assert_eq!(found(&[interrupt, start]), 1);
        assert_eq!(found(&[]), 1);
        let mut watch = KernelWatch::default();
        watch.line(&warning.replace("complete_all", "complete"));
        watch.line(start);
        watch.line("[ 1.1] ---[ end trace 0000000000000000 ]---");
        assert_eq!(watch.take().len(), 1);
    }

    #[test]
    fn a_leak_is_a_problem_and_its_detector_is_not() {
        let mut watch = KernelWatch::default();
        watch.line(
            "[ 5.0] kmemleak: Kernel memory leak detector initialized (mem pool available: 39723)",
        );
        watch.line("[ 8.0] kmemleak: Cannot allocate a scan area, scanning the full object");
        assert!(watch.take().is_empty());
        watch
            .line("[ 9.0] kmemleak: 1 new suspected memory leaks (see /sys/kernel/debug/kmemleak)");
        assert_eq!(watch.take().len(), 1);
    }

    #[test]
    fn misuse_is_a_problem_with_the_accesses_around_it() {
        let mut watch = ModelWatch::default();
        for line in [
            "mali-csf:   before  1.0 OLD -> 0x0",
            "serving",
            "mali-csf:   before  1.0 GPU_CMD <- 0x1",
            "mali-csf: MISUSE: write to a powered-off block",
            "mali-csf:   after   1.1 GPU_CMD <- 0x2",
            "bye",
        ] {
            watch.line(line);
        }
        let found = watch.take();
        assert_eq!(found.len(), 1);
        assert_eq!(found.first().map(|splat| splat.0.len()), Some(3));
    }
}
