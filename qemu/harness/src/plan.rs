// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a boot shall do: the steps the guest runs, and the files it needs for them.

use std::path::PathBuf;
use std::time::Duration;

use crate::device_tree::Variant;
use crate::settings::Driver;

/// One command in the guest.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Short name, without spaces.
    pub(crate) name: String,
    /// Shell command; the functions of `guest.sh` are at hand.
    pub(crate) command: String,
    /// The guest kills the command after this time.
    pub(crate) limit: Duration,
}

impl Step {
    /// A step that gets `seconds` in the guest.
    pub(crate) fn new(name: &str, command: &str, seconds: u64) -> Self {
        Self {
            name: name.to_owned(),
            command: command.to_owned(),
            limit: Duration::from_secs(seconds),
        }
    }
}

/// What a file in the guest is made of.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// A copy of a file of this machine.
    File(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
}

/// A whole boot.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Name of the boot, and of the folder with its logs.
    pub(crate) name: String,
    /// The driver whose module and dependencies are in the guest.
    pub(crate) driver: Driver,
    /// The device tree.
    pub(crate) device_tree: Variant,
    /// Further arguments for the model.
    pub(crate) model_args: Vec<String>,
    /// Files beside the fixed ones: path in the guest, mode, content.
    pub(crate) files: Vec<(String, u32, Content)>,
    /// What the guest does, in order.
    pub(crate) steps: Vec<Step>,
    /// A person uses the guest's console: the boot has no time limit and no steps of its own.
    pub(crate) interactive: bool,
}

impl Plan {
    /// A boot without steps.
    pub(crate) fn new(name: impl Into<String>, driver: Driver) -> Self {
        Self {
            name: name.into(),
            driver,
            device_tree: Variant::default(),
            model_args: Vec::new(),
            files: Vec::new(),
            steps: Vec::new(),
            interactive: false,
        }
    }

    /// Adds steps at the end.
    pub(crate) fn then(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.steps.extend(steps);
        self
    }

    /// Adds the program `source` of this machine as `/bin/<name>`.
    pub(crate) fn program(mut self, name: &str, source: PathBuf) -> Self {
        self.files
            .push((format!("/bin/{name}"), 0o755, Content::File(source)));
        self
    }

    /// The shell text of the plan, which the guest's init reads.
    pub(crate) fn script(&self) -> String {
        let mut text: String = self
            .steps
            .iter()
            .map(|step| {
                format!(
                    "step {} {} {}\n",
                    quote(&step.name),
                    step.limit.as_secs(),
                    quote(&step.command)
                )
            })
            .collect();
        if self.interactive {
            text.push_str("shell\n");
        }
        text
    }
}

/// `text` as one word of a shell command.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_survive_the_shell() {
        let plan = Plan::new("x", Driver::Magni).then([Step::new("a", "echo 'b c'", 5)]);
        assert_eq!(plan.script(), "step 'a' 5 'echo '\\''b c'\\'''\n");
    }
}
