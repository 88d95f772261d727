// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a boot shall do: the steps the guest runs, and the files it needs for them.

use std::time::Duration;

use crate::device_tree::Variant;
use crate::machine;
use crate::settings::{Driver, Kernel};

/// The step at the end of a boot of the debug kernel.
pub(crate) const LEAKS: &str = "leaks";

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
    /// The kernel that is booted.
    pub(crate) kernel: Kernel,
    /// Words for the kernel's command line.
    pub(crate) command_line: Vec<String>,
    /// The driver whose module and dependencies are in the guest.
    pub(crate) driver: Driver,
    /// The device tree.
    pub(crate) device_tree: Variant,
    /// The machine.
    pub(crate) machine: machine::Options,
    /// Parameters for the module when it is Magni, separated by spaces.
    pub(crate) module_args: String,
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
    pub(crate) fn new(name: impl Into<String>, driver: Driver, kernel: Kernel) -> Self {
        Self {
            name: name.into(),
            kernel,
            // KUnit runs in boots of its own, not each time the module is loaded.
            command_line: vec!["kunit.enable=0".to_owned()],
            driver,
            device_tree: Variant::default(),
            machine: machine::Options::default(),
            module_args: String::new(),
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

    /// Adds steps at the end; they get more time where everything is watched.
    pub(crate) fn then(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        let factor = self.slower();
        self.steps.extend(steps.into_iter().map(|step| Step {
            limit: step.limit * factor,
            ..step
        }));
        self
    }

    /// How much more time than on the stock kernel a program may take.
    pub(crate) fn slower(&self) -> u32 {
        match self.kernel {
            Kernel::Stock => 1,
            Kernel::Debug => 4,
        }
    }

    /// Ends a boot of the debug kernel: the driver goes, and nothing that it allocated is left.
    pub(crate) fn without_leaks(self) -> Self {
        match (self.kernel, self.driver) {
            (Kernel::Debug, Driver::Magni) => self.then([Step::new(LEAKS, "leaks", 60)]),
            // The C driver leaks its cooling device: nothing to judge.
            (Kernel::Debug, Driver::Panthor) | (Kernel::Stock, _) => self,
        }
    }

    /// The kernel's command line.
    pub(crate) fn command_line(&self) -> String {
        let mut line = machine::COMMAND_LINE.to_owned();
        if self.kernel == Kernel::Debug {
            // Without its checks the allocator keeps arrays of free objects per processor, and does not
            // clear the entries that it hands out: kmemleak takes them for pointers, and the
            // leak of whatever was allocated last goes unseen.
            line.push_str(" slab_debug=F");
        }
        for word in &self.command_line {
            line.push(' ');
            line.push_str(word);
        }
        line
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
        let plan =
            Plan::new("x", Driver::Magni, Kernel::Stock).then([Step::new("a", "echo 'b c'", 5)]);
        assert_eq!(plan.script(), "step 'a' 5 'echo '\\''b c'\\'''\n");
    }
}
