// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a boot shall do: the steps the guest runs, and the files it needs for them.

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
    /// Without its success the rest of the plan makes no sense.
    pub(crate) required: bool,
}

impl Step {
    /// A step that gets `seconds` in the guest.
    pub(crate) fn new(name: &str, command: &str, seconds: u64) -> Self {
        Self {
            name: name.to_owned(),
            command: command.to_owned(),
            limit: Duration::from_secs(seconds),
            required: false,
        }
    }

    /// The same step, which ends the plan when it fails.
    pub(crate) fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }
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
    /// Files beside the fixed ones: path in the guest, content.
    pub(crate) files: Vec<(String, Vec<u8>)>,
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

    /// Adds what every boot with a GPU begins with, up to the loaded modules.
    pub(crate) fn prepared(self) -> Self {
        self.then([
            Step::new("connect-interrupts", "connect_interrupts", 60).required(),
            Step::new("load-modules", "load_modules", 120).required(),
        ])
    }

    /// The same, and the driver, which must bind.
    pub(crate) fn with_driver(self) -> Self {
        self.prepared()
            .then([Step::new("load-driver", "load_driver", 120).required()])
    }

    /// Adds steps at the end.
    pub(crate) fn then(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.steps.extend(steps);
        self
    }

    /// The shell text of the plan, which the guest's init reads.
    pub(crate) fn script(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            let kind = if step.required { "need" } else { "step" };
            let (name, command) = (quote(&step.name), quote(&step.command));
            text.push_str(&format!(
                "{kind} {name} {} {command}\n",
                step.limit.as_secs()
            ));
        }
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
