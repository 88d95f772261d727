// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The lines that a control client sends.

use std::time::Duration;

use crate::faults::{How, Key, Kind, Row, Values, TABLE};

/// How long `wait` waits unless it is told.
const WAIT_MS: u64 = 10_000;
/// The longest that `wait` can be told to wait.
const MAX_WAIT_MS: u64 = 24 * 3600 * 1000;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Arm a fault.
    Arm(Kind, Values),
    /// Do an action at once.
    Do(Kind, Values),
    /// Disarm one fault, or all.
    Disarm(Option<Kind>),
    /// Say how often a fault struck.
    Count(Kind),
    /// Say when a fault has struck so often.
    Wait {
        /// The fault.
        kind: Kind,
        /// How often it has to have struck.
        count: u64,
        /// How long to wait at most.
        limit: Duration,
    },
    /// Say which group was the last to call a buffer in a GiB of its address space.
    Find(u64),
    /// Disarm everything and forget the counts.
    Reset,
    /// Say the same, so that a client finds its place in the replies.
    Echo(String),
    /// Say what there is.
    Help,
}

/// Why a line is no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCommand {
    /// The first word is none of the commands.
    #[error("{0:?} is no command; help lists them")]
    Command(String),
    /// The command needs a fault's or an action's name.
    #[error("{0} what? help lists the names")]
    Missing(&'static str),
    /// There is no such fault or action.
    #[error("there is no fault or action {0:?}; help lists them")]
    Name(String),
    /// A fault was to be done, or an action to be armed.
    #[error("{0} is {1}")]
    Verb(&'static str, &'static str),
    /// A word that is not KEY=VALUE.
    #[error("{0:?} is not of the form KEY=VALUE")]
    Form(String),
    /// A key that this fault or command does not have.
    #[error("{name} has no key {key:?}, but: {known}")]
    Key {
        /// The fault's or the command's name.
        name: String,
        /// The key.
        key: String,
        /// The keys that there are.
        known: String,
    },
    /// A key given twice.
    #[error("{0} is given twice")]
    Twice(String),
    /// A value that the key does not take.
    #[error("{key}={value}: {why}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What it takes.
        why: String,
    },
    /// Words behind a command that takes none.
    #[error("{0} takes nothing behind it")]
    Rest(&'static str),
}

impl Command {
    /// The command that `line` says.
    ///
    /// # Errors
    ///
    /// What is wrong with the line.
    pub fn parse(line: &str) -> Result<Self, BadCommand> {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap_or_default();
        let command = match verb {
            "arm" => {
                let row = made_by(How::Armed, named("arm", words.next())?)?;
                return Ok(Self::Arm(row.kind, values(row, words)?));
            }
            "do" => {
                let row = made_by(How::Done, named("do", words.next())?)?;
                return Ok(Self::Do(row.kind, values(row, words)?));
            }
            "wait" => {
                let row = named("wait", words.next())?;
                return wait(row.kind, words);
            }
            "echo" => {
                let words: Vec<&str> = words.collect();
                return Ok(Self::Echo(words.join(" ")));
            }
            "disarm" => match words.next() {
                Some("all") => Self::Disarm(None),
                name => Self::Disarm(Some(named("disarm", name)?.kind)),
            },
            "find" => {
                let (key, value) = split(words.next().unwrap_or_default())?;
                if key != "gib" {
                    return Err(BadCommand::Key {
                        name: "find".to_owned(),
                        key: key.to_owned(),
                        known: "gib".to_owned(),
                    });
                }
                Self::Find(plain(key, value, u64::MAX >> 30)?)
            }
            "count" => Self::Count(named("count", words.next())?.kind),
            "reset" => Self::Reset,
            "help" => Self::Help,
            other => return Err(BadCommand::Command(other.to_owned())),
        };
        match (words.next(), command) {
            (None, command) => Ok(command),
            (Some(_), Self::Disarm(_)) => Err(BadCommand::Rest("disarm NAME")),
            (Some(_), Self::Find(_)) => Err(BadCommand::Rest("find gib=N")),
            (Some(_), Self::Count(_)) => Err(BadCommand::Rest("count NAME")),
            (Some(_), Self::Reset) => Err(BadCommand::Rest("reset")),
            (Some(_), _) => Err(BadCommand::Rest("help")),
        }
    }
}

fn named(verb: &'static str, name: Option<&str>) -> Result<&'static Row, BadCommand> {
    let name = name.ok_or(BadCommand::Missing(verb))?;
    let kind = Kind::named(name).ok_or_else(|| BadCommand::Name(name.to_owned()))?;
    Ok(kind.row())
}

/// The row, if that is how its kind comes to be.
fn made_by(how: How, row: &'static Row) -> Result<&'static Row, BadCommand> {
    let why = match row.how {
        is if is == how => return Ok(row),
        How::Armed => "a fault: say \"arm\" instead of \"do\"",
        How::Done => "an action: say \"do\" instead of \"arm\"",
        How::Noted => "what the host does: it can be counted and waited for",
    };
    Err(BadCommand::Verb(row.name, why))
}

fn split(word: &str) -> Result<(&str, &str), BadCommand> {
    word.split_once('=')
        .ok_or_else(|| BadCommand::Form(word.to_owned()))
}

fn values<'a>(
    row: &'static Row,
    words: impl Iterator<Item = &'a str>,
) -> Result<Values, BadCommand> {
    let mut values = Values::default();
    for word in words {
        let (name, value) = split(word)?;
        let Some(&key) = row.keys.iter().find(|key| key.name() == name) else {
            let known: Vec<&str> = row.keys.iter().map(|key| key.name()).collect();
            return Err(BadCommand::Key {
                name: row.name.to_owned(),
                key: name.to_owned(),
                known: known.join(", "),
            });
        };
        if values.get(key).is_some() {
            return Err(BadCommand::Twice(name.to_owned()));
        }
        values = values.with(key, number(key, value)?);
    }
    Ok(values)
}

fn number(key: Key, value: &str) -> Result<u64, BadCommand> {
    let Some(words) = key.words() else {
        return plain(key.name(), value, key.max());
    };
    let at = words.iter().position(|word| *word == value);
    at.map(|at| at as u64).ok_or_else(|| BadCommand::Value {
        key: key.name().to_owned(),
        value: value.to_owned(),
        why: format!("takes one of {}", words.join(", ")),
    })
}

fn plain(key: &str, value: &str, max: u64) -> Result<u64, BadCommand> {
    let parsed = match value.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => value.parse(),
    };
    let bad = |why| BadCommand::Value {
        key: key.to_owned(),
        value: value.to_owned(),
        why,
    };
    match parsed {
        Ok(number) if number <= max => Ok(number),
        Ok(_) => Err(bad(format!("takes at most {max}"))),
        Err(error) => Err(bad(format!("takes a number: {error}"))),
    }
}

fn wait<'a>(kind: Kind, words: impl Iterator<Item = &'a str>) -> Result<Command, BadCommand> {
    let (mut count, mut millis) = (None, None);
    for word in words {
        let (key, value) = split(word)?;
        let (place, max) = match key {
            "count" => (&mut count, u64::MAX),
            "timeout_ms" => (&mut millis, MAX_WAIT_MS),
            _ => {
                return Err(BadCommand::Key {
                    name: "wait".to_owned(),
                    key: key.to_owned(),
                    known: "count, timeout_ms".to_owned(),
                })
            }
        };
        if place.replace(plain(key, value, max)?).is_some() {
            return Err(BadCommand::Twice(key.to_owned()));
        }
    }
    Ok(Command::Wait {
        kind,
        count: count.unwrap_or(1),
        limit: Duration::from_millis(millis.unwrap_or(WAIT_MS)),
    })
}

/// What there is, in one line.
pub(super) fn help() -> String {
    let names = |how: How| {
        let rows = TABLE.iter().filter(|row| row.how == how);
        let texts = rows.map(|row| {
            let keys: Vec<String> = row
                .keys
                .iter()
                .map(|key| match key.words() {
                    Some(words) => format!("{}={}", key.name(), words.join("|")),
                    None => key.name().to_owned(),
                })
                .collect();
            format!("{} [{}] {}", row.name, keys.join(" "), row.about)
        });
        texts.collect::<Vec<_>>().join("; ")
    };
    format!(
        "commands: arm FAULT [KEY=VALUE...]; do ACTION [KEY=VALUE...]; disarm FAULT|all; \
         count NAME; wait NAME [count=N] [timeout_ms=T]; find gib=N; reset; echo TEXT; help | \
         faults: {} | actions: {} | what the host does: {}",
        names(How::Armed),
        names(How::Done),
        names(How::Noted)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_understood() {
        let none = Values::default();
        for (line, command) in [
            ("arm no-boot", Command::Arm(Kind::NoBoot, none)),
            (
                "arm ignore-request req=suspend slot=0x2 times=0",
                Command::Arm(
                    Kind::IgnoreRequest,
                    none.with(Key::Req, 3)
                        .with(Key::Slot, 2)
                        .with(Key::Times, 0),
                ),
            ),
            (
                "  do  mmu-fault access=write as=3 ",
                Command::Do(Kind::MmuFault, none.with(Key::As, 3).with(Key::Access, 1)),
            ),
            ("disarm all", Command::Disarm(None)),
            ("disarm no-boot", Command::Disarm(Some(Kind::NoBoot))),
            ("count mcu-halt", Command::Count(Kind::McuHalt)),
            ("count gpu-reset", Command::Count(Kind::GpuReset)),
            ("find gib=0x4", Command::Find(4)),
            (
                "wait late-ack timeout_ms=5 count=9",
                Command::Wait {
                    kind: Kind::LateAck,
                    count: 9,
                    limit: Duration::from_millis(5),
                },
            ),
            ("echo a  b", Command::Echo("a b".into())),
            ("reset", Command::Reset),
            ("help", Command::Help),
        ] {
            assert_eq!(Command::parse(line).as_ref(), Ok(&command), "{line}");
        }
    }

    #[test]
    fn wrong_lines_say_what_is_wrong() {
        for (line, part) in [
            ("", "\"\" is no command"),
            ("armed no-boot", "\"armed\" is no command"),
            ("arm", "arm what?"),
            ("arm gremlin", "no fault or action \"gremlin\""),
            ("arm mcu-halt", "mcu-halt is an action"),
            ("do no-boot", "no-boot is a fault"),
            ("do gpu-reset", "gpu-reset is what the host does"),
            ("arm gpu-reset", "gpu-reset is what the host does"),
            ("find", "\"\" is not of the form"),
            ("find slot=1", "find has no key \"slot\""),
            ("find gib=1 gib=2", "find gib=N takes nothing"),
            ("arm no-boot now", "\"now\" is not of the form"),
            (
                "arm no-boot slot=1",
                "no-boot has no key \"slot\", but: times",
            ),
            ("arm no-boot times=1 times=2", "times is given twice"),
            ("arm lost-doorbell slot=99", "slot=99: takes at most 31"),
            ("arm lost-doorbell slot=-1", "slot=-1: takes a number"),
            ("arm lost-interrupt line=usb", "takes one of job, mmu, gpu"),
            ("wait no-boot for=1", "wait has no key \"for\""),
            ("wait no-boot count=1 count=1", "count is given twice"),
            ("disarm", "disarm what?"),
            ("disarm all now", "disarm NAME takes nothing"),
            ("reset now", "reset takes nothing"),
        ] {
            let error = Command::parse(line).unwrap_err().to_string();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn help_is_one_line_with_every_name() {
        let help = help();
        assert!(!help.contains('\n'));
        for row in &TABLE {
            assert!(help.contains(&format!("{} [", row.name)), "{}", row.name);
        }
    }
}
