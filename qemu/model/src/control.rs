// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The control channel: a socket, or a script, that orders faults.
//!
//! A client sends lines and gets one line for each, in their order: `ok`, `ok` and what
//! it asked for, or `error` and why. What there is to order, [`crate::faults`] says.

pub mod command;

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, Context};
use rustix::event::{poll, PollFd, PollFlags, Timespec};

use crate::faults::{Faults, Kind};
use crate::machine::Shared;
use command::{help, Command};

/// The longest line that a client may send, in bytes.
const MAX_LINE: usize = 4096;
/// How long `wait` goes without looking whether its client is still there.
const LOOK: Duration = Duration::from_millis(50);

/// What clients control.
#[derive(Clone)]
pub struct Control {
    machine: Shared,
    faults: Faults,
}

impl Control {
    /// Controls `machine`.
    pub fn new(machine: Shared) -> Self {
        let faults = machine.with(|machine| machine.hardware.faults.clone());
        Self { machine, faults }
    }

    /// Serves clients on the socket `path`, on threads of their own, from now on.
    ///
    /// # Errors
    ///
    /// If the socket cannot be made.
    pub fn listen(&self, path: &Path) -> anyhow::Result<()> {
        let listener = UnixListener::bind(path).with_context(|| {
            format!(
                "could not make the control socket {}: is it left over from another run?",
                path.display()
            )
        })?;
        let control = self.clone();
        std::thread::Builder::new()
            .name("control".into())
            .spawn(move || control.accept(&listener))
            .context("could not start the control thread")?;
        Ok(())
    }

    fn accept(&self, listener: &UnixListener) {
        for client in listener.incoming() {
            let control = self.clone();
            let serve = move || match client.and_then(|client| control.serve(&client)) {
                // A client that goes without reading its replies is no error.
                Ok(()) => {}
                Err(error) if is_gone(&error) => {}
                Err(error) => eprintln!("mali-csf: a control client was lost: {error}"),
            };
            let started = std::thread::Builder::new()
                .name("client".into())
                .spawn(serve);
            if let Err(error) = started {
                eprintln!("mali-csf: a control client cannot be served: {error}");
            }
        }
    }

    fn serve(&self, client: &UnixStream) -> io::Result<()> {
        let (mut input, mut output) = (BufReader::new(client), client);
        let mut line = Vec::new();
        loop {
            line.clear();
            let limit = MAX_LINE as u64 + 1;
            if input.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            if line.len() > MAX_LINE {
                writeln!(output, "error the line has more than {MAX_LINE} bytes")?;
                return Ok(());
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let buffered = !input.buffer().is_empty();
            let reply = self.obey(text, &mut || buffered || has_input(client));
            // One write, so that it arrives whole.
            output.write_all(format!("{reply}\n").as_bytes())?;
        }
    }

    /// Obeys a line; gives the reply. A `wait` is given up when `hurry` says so.
    fn obey(&self, line: &str, hurry: &mut dyn FnMut() -> bool) -> String {
        let (log, reply) = match Command::parse(line) {
            Ok(command) => (
                !matches!(
                    command,
                    Command::Count(_) | Command::Find(_) | Command::Echo(_) | Command::Help
                ),
                self.execute(command, hurry),
            ),
            Err(error) => (true, Err(error.to_string())),
        };
        let reply = match reply {
            Ok(text) if text.is_empty() => "ok".to_owned(),
            Ok(text) => format!("ok {text}"),
            Err(text) => format!("error {text}"),
        };
        if log {
            eprintln!("mali-csf: control: {line}: {reply}");
        }
        reply
    }

    fn execute(&self, command: Command, hurry: &mut dyn FnMut() -> bool) -> Result<String, String> {
        match command {
            Command::Arm(kind, values) => self.faults.arm(kind, values),
            Command::Do(kind, values) => {
                self.machine.poke(|machine| machine.act(kind, &values))?;
                return Ok(String::new());
            }
            Command::Disarm(kind) => self.faults.disarm(kind),
            Command::Find(gib) => {
                let found = self.machine.with(|machine| machine.find(gib));
                return found
                    .map(|(slot, as_nr)| format!("slot={slot} as={as_nr}"))
                    .ok_or_else(|| format!("no group on a slot has called a buffer in GiB {gib}"));
            }
            Command::Reset => self.faults.reset(),
            Command::Count(kind) => return Ok(self.faults.count(kind).to_string()),
            Command::Wait { kind, count, limit } => return self.wait(kind, count, limit, hurry),
            Command::Echo(text) => return Ok(text),
            Command::Help => return Ok(help()),
        }
        // What is armed may act by itself, and what is not any more may let go.
        self.machine.poke(|machine| {
            if command == Command::Reset {
                machine.hardware.calm();
            }
        });
        Ok(String::new())
    }

    /// Waits without any lock but that of the faults.
    fn wait(
        &self,
        kind: Kind,
        count: u64,
        limit: Duration,
        hurry: &mut dyn FnMut() -> bool,
    ) -> Result<String, String> {
        let start = Instant::now();
        loop {
            let left = limit.saturating_sub(start.elapsed());
            let struck = self.faults.wait(kind, count, left.min(LOOK));
            if struck >= count {
                return Ok(struck.to_string());
            }
            if left.is_zero() {
                return Err(format!("timeout: struck {struck} times"));
            }
            if hurry() {
                return Err("given up: another line came".to_owned());
            }
        }
    }
}

/// Whether the client sent something more, or went.
fn has_input(client: &UnixStream) -> bool {
    let mut fds = [PollFd::new(client, PollFlags::IN)];
    let now = Timespec::default();
    matches!(poll(&mut fds, Some(&now)), Ok(1..))
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

/// A line of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    /// Time after the end of the step before.
    after: Duration,
    /// The command's text.
    line: String,
}

/// A script that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script(Vec<Step>);

impl Script {
    /// Reads a script: one command a line, with `after MS` before it if it is to be
    /// obeyed MS milliseconds after the line before; `#` starts a comment.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or a line is no command.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("could not read the script {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("the script {}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut steps = Vec::new();
        for (n, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let step = Self::step(line).with_context(|| format!("line {}", n + 1))?;
            steps.push(step);
        }
        Ok(Self(steps))
    }

    fn step(line: &str) -> anyhow::Result<Step> {
        let (after, line) = match line.strip_prefix("after ") {
            None => (Duration::ZERO, line),
            Some(rest) => {
                let rest = rest.trim_start();
                let Some((millis, line)) = rest.split_once(char::is_whitespace) else {
                    bail!("\"after MS\" needs a command behind it");
                };
                let millis = millis
                    .parse()
                    .with_context(|| format!("{millis:?} is no number of milliseconds"))?;
                (Duration::from_millis(millis), line.trim_start())
            }
        };
        Command::parse(line)?;
        Ok(Step {
            after,
            line: line.to_owned(),
        })
    }

    /// Obeys the script on a thread of its own.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub fn play(self, control: Control) -> io::Result<()> {
        std::thread::Builder::new()
            .name("script".into())
            .spawn(move || {
                for step in self.0 {
                    std::thread::sleep(step.after);
                    control.obey(&step.line, &mut || false);
                }
            })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_read() {
        let text = "# first\n\n after 20  arm no-boot  # why\ncount no-boot\n";
        let step = |millis, line: &str| Step {
            after: Duration::from_millis(millis),
            line: line.to_owned(),
        };
        assert_eq!(
            Script::parse(text).unwrap(),
            Script(vec![step(20, "arm no-boot"), step(0, "count no-boot")])
        );
        for (text, part) in [
            ("\nafter x reset", "line 2: \"x\" is no number"),
            ("after 5", "line 1: \"after MS\" needs"),
            ("arm gremlin", "line 1: there is no fault"),
        ] {
            let error = format!("{:#}", Script::parse(text).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }
}
