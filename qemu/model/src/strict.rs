// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Strictness: loud reports of what real hardware would not forgive.

use std::collections::VecDeque;
use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::regs;

/// What every report starts with; tests look for it.
pub const MARK: &str = "mali-csf: MISUSE:";

/// Register accesses shown before a report.
const BEFORE: usize = 32;
/// Register accesses shown after a report.
const AFTER: u32 = 8;
/// Reports printed in full; the rest is only counted.
const SHOWN: u64 = 50;

/// One register access.
#[derive(Clone, Copy, Debug)]
struct RegAccess {
    time: Duration,
    write: bool,
    offset: u32,
    value: u32,
}

impl fmt::Display for RegAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, name) = (self.time.as_secs_f64(), regs::name(self.offset));
        let arrow = if self.write { "<-" } else { "->" };
        write!(f, "{time:12.6} {name} {arrow} {:#010x}", self.value)
    }
}

/// Collects register accesses and prints reports with those around them.
pub struct Strict {
    out: Box<dyn Write + Send>,
    start: Instant,
    recent: VecDeque<RegAccess>,
    follow: u32,
    count: u64,
}

impl Strict {
    /// Reports to `out`.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            start: Instant::now(),
            recent: VecDeque::with_capacity(BEFORE),
            follow: 0,
            count: 0,
        }
    }

    /// Reports made so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes note of a register access.
    pub fn access(&mut self, write: bool, offset: u32, value: u32) {
        let access = RegAccess {
            time: self.start.elapsed(),
            write,
            offset,
            value,
        };
        if self.follow > 0 {
            self.follow -= 1;
            self.print(format_args!("mali-csf:   after  {access}"));
        }
        if self.recent.len() == BEFORE {
            self.recent.pop_front();
        }
        self.recent.push_back(access);
    }

    /// Makes a report.
    pub fn misuse(&mut self, what: fmt::Arguments<'_>) {
        self.count += 1;
        if self.count > SHOWN {
            return;
        }
        let recent: Vec<RegAccess> = self.recent.drain(..).collect();
        for access in recent {
            self.print(format_args!("mali-csf:   before {access}"));
        }
        self.print(format_args!("{MARK} {what}"));
        if self.count == SHOWN {
            self.print(format_args!(
                "mali-csf: further misuse is only counted, not shown"
            ));
        }
        self.follow = AFTER;
    }

    fn print(&mut self, line: fmt::Arguments<'_>) {
        // There is nowhere left to complain to when this fails; the count is kept.
        let _ = writeln!(self.out, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(data)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_report_shows_the_accesses_before_and_after_it() {
        let buffer = Buffer::default();
        let mut strict = Strict::new(Box::new(buffer.clone()));
        strict.access(true, regs::gpu::GPU_COMMAND, 0x101);
        strict.misuse(format_args!("a {} thing", "bad"));
        strict.access(false, regs::gpu::GPU_STATUS, 1);
        assert_eq!(strict.count(), 1);

        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].contains("before") && lines[0].contains("GPU_COMMAND <- 0x00000101"));
        assert_eq!(lines[1], "mali-csf: MISUSE: a bad thing");
        assert!(lines[2].contains("after") && lines[2].contains("GPU_STATUS -> 0x00000001"));
    }
}
