// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Clocks and regulators.

use kernel::{
    clk::{
        Clk,
        OptionalClk, //
    },
    device::{
        property::NArgs,
        Bound,
        Device, //
    },
    fmt, new_mutex,
    prelude::*,
    regulator,
    sync::{
        atomic::{
            ordering,
            AtomicFlag, //
        },
        Arc,
        Mutex, //
    },
};

/// Clocks and regulators: the regulators are on from probe to unbind, the clocks can be turned off
/// in between, and are when this is dropped.
pub(crate) struct Supplies {
    clocks: Arc<Clocks>,
}

impl Supplies {
    /// Turns everything on that the device tree names: the first clock, which has to be there,
    /// clocks "stacks" and "coregroup", regulators "mali" and "sram".
    ///
    /// # Errors
    ///
    /// `ENOTSUPP` if the GPU has power domains beside the one that the bus turns on, or cores that
    /// are named elsewhere; those of the kernel's frameworks.
    pub(crate) fn enable(dev: &Device<Bound>) -> Result<Self> {
        check_power_domains(dev)?;

        for name in [c"mali", c"sram"] {
            match regulator::devm_enable_optional(dev, name) {
                Err(error) if error != ENODEV => {
                    report(dev, error, fmt!("cannot enable regulator {name:?}"));
                    return Err(error);
                }
                _ => {}
            }
        }

        let supplies = Self {
            clocks: Clocks::get(dev)?,
        };
        supplies
            .clocks
            .turn_on()
            .inspect_err(|error| dev_err!(dev, "cannot enable the clocks: {error:?}\n"))?;

        Ok(supplies)
    }

    /// The clocks.
    pub(crate) fn clocks(&self) -> &Arc<Clocks> {
        &self.clocks
    }
}

impl Drop for Supplies {
    fn drop(&mut self) {
        self.clocks.turn_off();
    }
}

/// The GPU's clocks.
#[pin_data]
pub(crate) struct Clocks {
    core: Clk,
    stacks: OptionalClk,
    coregroup: OptionalClk,
    /// All of them are.
    #[pin]
    on: Mutex<bool>,
    /// They were stopped for good; what was prepared still is.
    stopped: AtomicFlag,
}

impl Clocks {
    fn get(dev: &Device<Bound>) -> Result<Arc<Self>> {
        let core = Clk::get(dev, None).inspect_err(|error| {
            report(
                dev,
                *error,
                fmt!("device tree: the GPU's first clock (\"core\") is missing"),
            );
        })?;
        let optional = |name: &CStr| {
            OptionalClk::get(dev, Some(name))
                .inspect_err(|error| report(dev, *error, fmt!("cannot get clock {name:?}")))
        };

        Arc::pin_init(
            try_pin_init!(Self {
                core,
                stacks: optional(c"stacks")?,
                coregroup: optional(c"coregroup")?,
                on <- new_mutex!(false, "magni::power::Clocks::on"),
                stopped: AtomicFlag::new(false),
            }),
            GFP_KERNEL,
        )
    }

    fn all(&self) -> [&Clk; 3] {
        [&self.core, &self.stacks, &self.coregroup]
    }

    /// Turns the clocks on, if they are off. Sleeps.
    ///
    /// # Errors
    ///
    /// Those of the clocks' driver; they are off then. `ENODEV` after [`stop`](Self::stop).
    pub(crate) fn turn_on(&self) -> Result {
        let mut on = self.on.lock();
        if self.stopped.load(ordering::Acquire) {
            return Err(ENODEV);
        }
        if *on {
            return Ok(());
        }

        for (index, clk) in self.all().into_iter().enumerate() {
            if let Err(error) = clk.prepare_enable() {
                for clk in self.all().into_iter().take(index) {
                    clk.disable_unprepare();
                }
                return Err(error);
            }
        }
        *on = true;

        Ok(())
    }

    /// Turns the clocks off, if they are on. Sleeps.
    pub(crate) fn turn_off(&self) {
        let mut on = self.on.lock();
        if core::mem::replace(&mut *on, false) {
            let stopped = self.stopped.load(ordering::Acquire);
            for clk in self.all().into_iter().rev() {
                match stopped {
                    true => clk.unprepare(),
                    false => clk.disable_unprepare(),
                }
            }
        }
    }

    /// Stops the clocks, which are on, for good: a GPU that cannot be stopped otherwise. Nobody
    /// turns them on or off meanwhile.
    ///
    /// Fences may wait for this, so it takes none of the locks under which clocks are prepared. A
    /// clock that can only be gated where it may sleep runs until it is [turned
    /// off](Self::turn_off).
    pub(crate) fn stop(&self) {
        if self.stopped.xchg(true, ordering::Full) {
            return;
        }
        for clk in self.all().into_iter().rev() {
            clk.disable();
        }
    }

    /// The core clock's rate in Hz, 0 if it is not known.
    pub(crate) fn core_rate(&self) -> u64 {
        self.core.rate().as_hz() as u64
    }
}

/// Refuses what this driver could not power: a register of a part without power may hang the CPU.
fn check_power_domains(dev: &Device<Bound>) -> Result {
    let Some(node) = dev.fwnode() else {
        return Ok(());
    };

    let second_domain =
        node.property_get_reference_args(c"power-domains", NArgs::Prop(c"#power-domain-cells"), 1);
    if second_domain.is_ok() {
        dev_err!(
            dev,
            "device tree: this GPU has several power domains, which this driver cannot turn on yet: use panthor\n"
        );
        return Err(ENOTSUPP);
    }
    if node
        .property_match_string(c"nvmem-cell-names", c"shader-present")
        .is_ok()
    {
        dev_err!(
            dev,
            "device tree: this GPU's cores are named in nvmem cell \"shader-present\", which this driver cannot read yet: use panthor\n"
        );
        return Err(ENOTSUPP);
    }

    Ok(())
}

/// Says what went wrong, unless it will be tried again: that happens at every boot.
fn report(dev: &Device, error: Error, what: fmt::Arguments<'_>) {
    if error != EPROBE_DEFER {
        dev_err!(dev, "{what}: {error:?}\n");
    }
}
