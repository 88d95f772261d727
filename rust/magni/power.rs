// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The GPU's power.
//!
//! Clocks and regulators are on from probe to unbind. Whoever needs the GPU awake holds a
//! [`PowerRef`] all the same, so that turning it off while nobody does needs no change elsewhere.

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
    fmt,
    prelude::*,
    regulator,
    sync::{
        atomic::{
            ordering,
            AtomicFlag, //
        },
        Arc, //
    },
};

/// Whether the GPU can be powered.
pub(crate) struct Power {
    off: AtomicFlag,
}

impl Power {
    /// The GPU is powered.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                off: AtomicFlag::new(false),
            },
            GFP_KERNEL,
        )?)
    }

    /// The GPU loses its power for good: no references any more.
    pub(crate) fn unplug(&self) {
        self.off.store(true, ordering::Release);
    }
}

/// Keeps the GPU powered. May be dropped in any context.
pub(crate) struct PowerRef {
    _power: Arc<Power>,
}

impl PowerRef {
    /// Powers the GPU. May sleep.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the device is unbound.
    pub(crate) fn new(power: &Arc<Power>) -> Result<Self> {
        if power.off.load(ordering::Acquire) {
            return Err(ENODEV);
        }

        Ok(Self {
            _power: power.clone(),
        })
    }
}

/// Clocks and regulators, on while this exists.
pub(crate) struct Supplies {
    core: EnabledClk,
    _stacks: EnabledOptionalClk,
    _coregroup: EnabledOptionalClk,
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

        let core = Clk::get(dev, None).inspect_err(|error| {
            report(
                dev,
                *error,
                fmt!("device tree: the GPU's first clock (\"core\") is missing"),
            );
        })?;

        Ok(Self {
            core: EnabledClk::new(dev, core)?,
            _stacks: EnabledOptionalClk::new(dev, c"stacks")?,
            _coregroup: EnabledOptionalClk::new(dev, c"coregroup")?,
        })
    }

    /// The core clock's rate in Hz, 0 if it is not known.
    pub(crate) fn core_rate(&self) -> u64 {
        self.core.0.rate().as_hz() as u64
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

struct EnabledClk(Clk);

impl EnabledClk {
    fn new(dev: &Device<Bound>, clk: Clk) -> Result<Self> {
        clk.prepare_enable()
            .inspect_err(|error| dev_err!(dev, "cannot enable the core clock: {error:?}\n"))?;

        Ok(Self(clk))
    }
}

impl Drop for EnabledClk {
    fn drop(&mut self) {
        self.0.disable_unprepare();
    }
}

struct EnabledOptionalClk(OptionalClk);

impl EnabledOptionalClk {
    fn new(dev: &Device<Bound>, name: &CStr) -> Result<Self> {
        let clk = OptionalClk::get(dev, Some(name))
            .inspect_err(|error| report(dev, *error, fmt!("cannot get clock {name:?}")))?;
        clk.prepare_enable()
            .inspect_err(|error| dev_err!(dev, "cannot enable clock {name:?}: {error:?}\n"))?;

        Ok(Self(clk))
    }
}

impl Drop for EnabledOptionalClk {
    fn drop(&mut self) {
        self.0.disable_unprepare();
    }
}
