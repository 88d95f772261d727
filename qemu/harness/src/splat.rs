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

/// Start of a misuse report on the model's standard error.
const MISUSE: &str = "MISUSE";

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
}

/// Collects the problems of one log, line by line.
#[derive(Default)]
pub(crate) struct Watch {
    open: Option<Splat>,
    found: Vec<Splat>,
}

impl Watch {
    /// Looks at the next line of the kernel's console; true when a new problem begins with it.
    pub(crate) fn kernel_line(&mut self, line: &str) -> bool {
        self.line(line, KERNEL.iter().any(|word| line.contains(word)))
    }

    /// Looks at the next line of the model; true when a new problem begins with it.
    pub(crate) fn model_line(&mut self, line: &str) -> bool {
        self.line(line, line.contains(MISUSE))
    }

    fn line(&mut self, line: &str, bad: bool) -> bool {
        if let Some(open) = &mut self.open {
            open.0.push(line.to_owned());
            let ends = line.contains("---[ end trace") || open.0.len() >= KEEP;
            if ends {
                self.found.extend(self.open.take());
            }
            return false;
        }
        if bad {
            self.open = Some(Splat(vec![line.to_owned()]));
        }
        bad
    }

    /// Takes what was found so far.
    pub(crate) fn take(&mut self) -> Vec<Splat> {
        self.found.extend(self.open.take());
        std::mem::take(&mut self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_log_has_no_problem() {
        let mut watch = Watch::default();
        for line in [
            "[    0.1] Booting Linux on physical CPU 0x0",
            "[    0.2] panthor 10000000.gpu: [drm] Mali-G610 id 0xa867",
        ] {
            assert!(!watch.kernel_line(line));
        }
        assert!(watch.take().is_empty());
    }

    #[test]
    fn a_warning_is_one_problem_with_its_trace() {
        let mut watch = Watch::default();
        assert!(watch.kernel_line("[ 1.0] WARNING: CPU: 0 PID: 1 at x.c:1 f+0x0/0x4"));
        assert!(!watch.kernel_line("[ 1.0] Call trace:"));
        assert!(!watch.kernel_line("[ 1.0] ---[ end trace 0000000000000000 ]---"));
        assert!(!watch.kernel_line("[ 1.1] all is well again"));
        assert!(watch.kernel_line("[ 1.2] refcount_t: underflow; use-after-free."));
        let found = watch.take();
        assert_eq!(found.len(), 2);
        assert_eq!(found.first().map(|splat| splat.0.len()), Some(3));
    }

    #[test]
    fn misuse_is_a_problem() {
        let mut watch = Watch::default();
        assert!(!watch.model_line("serving"));
        assert!(watch.model_line("MISUSE: write to a powered-off block"));
        assert_eq!(watch.take().len(), 1);
    }
}
