// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The trace: registers, requests, instructions and interrupts as they happen.

use std::fmt;
use std::io::Write;
use std::time::Instant;

use crate::bus::TraceKind;

/// Which kinds of line are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// Every kind.
    pub const ALL: Kinds = Kinds(0xf);

    /// These kinds too.
    #[must_use]
    pub fn with(self, kind: TraceKind) -> Self {
        Kinds(self.0 | (1 << kind as u8))
    }

    /// Whether `kind` is one of them.
    pub fn has(self, kind: TraceKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
}

/// Writes trace lines: seconds since the start, the kind, what happened.
pub struct Trace {
    sink: Option<Box<dyn Write + Send>>,
    kinds: Kinds,
    start: Instant,
}

impl Trace {
    /// A trace of `kinds` into `sink`.
    pub fn new(sink: Box<dyn Write + Send>, kinds: Kinds) -> Self {
        Self {
            sink: Some(sink),
            kinds,
            start: Instant::now(),
        }
    }

    /// A trace that writes nothing.
    pub fn off() -> Self {
        Self {
            sink: None,
            kinds: Kinds::default(),
            start: Instant::now(),
        }
    }

    /// Whether lines of `kind` are written.
    pub fn on(&self, kind: TraceKind) -> bool {
        self.kinds.has(kind)
    }

    /// Writes one line, if its kind is on. A sink that fails ends the trace.
    pub fn line(&mut self, kind: TraceKind, what: fmt::Arguments<'_>) {
        if !self.on(kind) {
            return;
        }
        let Some(sink) = &mut self.sink else { return };
        let name = match kind {
            TraceKind::Reg => "reg",
            TraceKind::Request => "req",
            TraceKind::Instr => "ins",
            TraceKind::Irq => "irq",
        };
        let time = self.start.elapsed().as_secs_f64();
        if let Err(error) = writeln!(sink, "{time:12.6} {name} {what}") {
            eprintln!("mali-csf: the trace ends here, its file cannot be written: {error}");
            self.sink = None;
            self.kinds = Kinds::default();
        }
    }

    /// Writes out what is buffered.
    pub fn flush(&mut self) {
        if let Some(sink) = &mut self.sink {
            // A failure shows at the next line.
            let _ = sink.flush();
        }
    }
}
