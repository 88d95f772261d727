// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Commands to the emulated GPU, beside the driver: "the firmware ignores the next request", for example.
//!
//! The channel is a virtio serial port named `magni.control`. Each line that is written is a command; each
//! gets one line as reply, `ok` with perhaps a value, or `error` with the reason. What commands there are,
//! the emulated GPU says: `help`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Name of the port.
const PORT: &str = "magni.control";
/// Where the kernel lists virtio serial ports.
const PORTS: &str = "/sys/class/virtio-ports";
/// How long a reply may take, beyond what a command itself is told to wait.
const REPLY: Duration = Duration::from_secs(30);
/// The longest reply that makes sense, in bytes.
const MAX_REPLY: usize = 1 << 16;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine has no such port.
    #[error(
        "no virtio serial port named \"{PORT}\" in {dir} (found: {found}); the machine was started without the \
         GPU's control channel, or the module virtio_console is not loaded"
    )]
    NoPort {
        /// Folder searched.
        dir: PathBuf,
        /// Names of the ports there.
        found: String,
    },
    /// The port cannot be used.
    #[error("the GPU's control channel {path}: {source}")]
    Port {
        /// The port's device.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// No reply came.
    #[error("the emulated GPU does not reply to \"{command}\"")]
    Silent {
        /// What it was told.
        command: String,
    },
    /// The emulated GPU refuses.
    #[error("the emulated GPU refuses \"{command}\": {reason}")]
    Refused {
        /// What it was told.
        command: String,
        /// Its reply.
        reason: String,
    },
    /// A reply that is not in the protocol.
    #[error("the emulated GPU replies \"{reply}\" to \"{command}\"")]
    Strange {
        /// What it was told.
        command: String,
        /// Its reply.
        reply: String,
    },
}

/// The open channel. The kernel lets one process at a time have it.
#[derive(Debug)]
pub struct Control {
    port: File,
    path: PathBuf,
    /// Bytes that came after the end of the last reply.
    rest: Vec<u8>,
}

impl Control {
    /// Opens the channel.
    ///
    /// # Errors
    ///
    /// [`Error::NoPort`] if the machine has none, [`Error::Port`] if another process has it.
    pub fn open() -> Result<Self, Error> {
        Self::find(Path::new(PORTS))
    }

    fn find(dir: &Path) -> Result<Self, Error> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            if name.trim() == PORT {
                return Self::at(Path::new("/dev").join(entry.file_name()));
            }
            found.push(name.trim().to_owned());
        }
        if found.is_empty() {
            found.push("none".to_owned());
        }
        Err(Error::NoPort {
            dir: dir.into(),
            found: found.join(", "),
        })
    }

    fn at(path: PathBuf) -> Result<Self, Error> {
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(port) => Ok(Self {
                port,
                path,
                rest: Vec::new(),
            }),
            Err(source) => Err(Error::Port { path, source }),
        }
    }

    /// Sends one command; gives what follows `ok` in the reply.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the reason if the reply is an error.
    pub fn send(&mut self, command: &str) -> Result<String, Error> {
        self.send_within(command, Duration::ZERO)
    }

    /// Waits until `fault` has struck `count` times since it was armed.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if it has not within `timeout`.
    pub fn wait(&mut self, fault: &str, count: u64, timeout: Duration) -> Result<(), Error> {
        let command = format!(
            "wait {fault} count={count} timeout_ms={}",
            timeout.as_millis()
        );
        self.send_within(&command, timeout).map(drop)
    }

    /// How often `fault` has struck.
    ///
    /// # Errors
    ///
    /// As [`Control::send`].
    pub fn count(&mut self, fault: &str) -> Result<u64, Error> {
        let command = format!("count {fault}");
        let reply = self.send(&command)?;
        reply.parse().map_err(|_| Error::Strange { command, reply })
    }

    /// Sends a command that may itself take `time`.
    fn send_within(&mut self, command: &str, time: Duration) -> Result<String, Error> {
        let failed = |path: &Path, source| Error::Port {
            path: path.into(),
            source,
        };
        self.port
            .write_all(format!("{command}\n").as_bytes())
            .map_err(|source| failed(&self.path, source))?;
        let deadline = Instant::now() + time + REPLY;
        let line = loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                break String::from_utf8_lossy(&line).trim_end().to_owned();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.rest.len() > MAX_REPLY {
                return Err(Error::Silent {
                    command: command.to_owned(),
                });
            }
            let mut part = [0; 512];
            match readable(&self.port, left).and_then(|ready| match ready {
                true => self.port.read(&mut part),
                false => Ok(0),
            }) {
                Ok(count) => self.rest.extend(part.iter().take(count)),
                Err(source) => return Err(failed(&self.path, source)),
            }
        };
        let value = |text: &str| text.trim().to_owned();
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("ok", text) => Ok(value(text)),
            ("error", text) => Err(Error::Refused {
                command: command.to_owned(),
                reason: value(text),
            }),
            _ => Err(Error::Strange {
                command: command.to_owned(),
                reply: line,
            }),
        }
    }
}

/// Waits until there is something to read, at most so long.
fn readable(port: &impl AsFd, time: Duration) -> io::Result<bool> {
    let mut poll = libc::pollfd {
        fd: port.as_fd().as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let millis = i32::try_from(time.as_millis().max(1)).unwrap_or(i32::MAX);
    // SAFETY: `poll` is one element, valid for reading and writing.
    match unsafe { libc::poll(&mut poll, 1, millis) } {
        0 => Ok(false),
        1.. => Ok(true),
        _ => match io::Error::last_os_error() {
            e if e.kind() == io::ErrorKind::Interrupted => Ok(false),
            e => Err(e),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    /// A channel whose other end replies from a table.
    fn channel(replies: &'static [(&'static str, &'static str)]) -> Control {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::spawn(move || {
            let mut write = theirs.try_clone().unwrap();
            for line in BufReader::new(theirs).lines() {
                let line = line.unwrap();
                let reply = replies.iter().find(|(command, _)| *command == line);
                write
                    .write_all(reply.map_or("error unknown\n", |(_, r)| r).as_bytes())
                    .unwrap();
            }
        });
        Control {
            port: File::from(OwnedFd::from(ours)),
            path: "socket".into(),
            rest: Vec::new(),
        }
    }

    #[test]
    fn replies_are_told_apart() {
        let mut control = channel(&[
            ("arm x times=2", "ok\n"),
            ("count x", "ok 2\n"),
            ("count y", "ok two\n"),
            ("odd", "what?\n"),
            ("wait x count=2 timeout_ms=5", "error timeout\n"),
        ]);
        assert_eq!(control.send("arm x times=2").unwrap(), "");
        assert_eq!(control.count("x").unwrap(), 2);
        assert!(matches!(control.count("y"), Err(Error::Strange { .. })));
        assert!(matches!(control.send("odd"), Err(Error::Strange { .. })));
        let late = control.wait("x", 2, Duration::from_millis(5)).unwrap_err();
        assert!(matches!(&late, Error::Refused { reason, .. } if reason == "timeout"));
        assert!(late.to_string().contains("wait x"), "{late}");
    }

    #[test]
    fn a_machine_without_the_port_is_a_clear_error() {
        let error = Control::find(Path::new("/nonexistent-ports")).unwrap_err();
        assert!(error.to_string().contains("control channel"), "{error}");
    }
}
