// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The guest's device tree: QEMU's own for the same machine, plus the GPU.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};
use clap::ValueEnum;

use crate::machine;

/// Which device tree a boot gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Variant {
    /// A complete GPU node, as on an RK3588 board.
    #[default]
    Gpu,
    /// The GPU node has no `interrupts`.
    NoInterrupt,
    /// The GPU node has no `clocks`.
    NoClock,
    /// The GPU node has no `reg`.
    NoRegs,
}

/// Address of the register window: where the kernel puts BAR 0 of the first PCI function, which has the largest one.
const REGS: &str = "reg = <0x0 0x10000000 0x0 0x200000>;";
/// SPIs 108 to 110, edge triggered: the GICv2m frame's lines for MSI data 140 to 142.
const INTERRUPTS: &str = "interrupts = <0 108 1>, <0 109 1>, <0 110 1>;
        interrupt-names = \"job\", \"mmu\", \"gpu\";";
const CLOCKS: &str = "clocks = <&gpu_clock>; clock-names = \"core\";";

/// Source text of what is added to QEMU's tree.
fn gpu_source(variant: Variant) -> String {
    let part = |text, without| if variant == without { "" } else { text };
    // Without `reg` a node has no unit address, and its device has another name.
    let name = if variant == Variant::NoRegs {
        "gpu"
    } else {
        "gpu@10000000"
    };
    format!(
        r#"
/ {{
    gpu_clock: gpu-clock {{
        compatible = "fixed-clock";
        #clock-cells = <0>;
        clock-frequency = <1000000000>;
    }};
    gpu_opps: gpu-opp-table {{
        compatible = "operating-points-v2";
        opp-1000000000 {{ opp-hz = /bits/ 64 <1000000000>; }};
    }};
    {name} {{
        compatible = "rockchip,rk3588-mali", "arm,mali-valhall-csf";
        {regs}
        {interrupts}
        {clocks}
        operating-points-v2 = <&gpu_opps>;
        dma-noncoherent;
    }};
}};
"#,
        regs = part(REGS, Variant::NoRegs),
        interrupts = part(INTERRUPTS, Variant::NoInterrupt),
        clocks = part(CLOCKS, Variant::NoClock),
    )
}

/// Writes the device tree blob for `variant` of the machine with `options` to `path`.
///
/// # Errors
///
/// When QEMU does not describe its machine, or `dtc` refuses the result.
pub(crate) fn write(variant: Variant, options: &machine::Options, path: &Path) -> Result<()> {
    let base = path.with_extension("base.dtb");
    let mut dump = machine::arguments(options);
    dump.extend([
        "-machine".into(),
        format!("dumpdtb={}", base.display()),
        "-serial".into(),
        "null".into(),
        "-serial".into(),
        "null".into(),
    ]);
    run(Command::new(machine::QEMU).args(dump), b"").context("asking QEMU for its device tree")?;
    let mut source = run(
        Command::new("dtc")
            .args(["-q", "-I", "dtb", "-O", "dts"])
            .arg(&base),
        b"",
    )
    .context("reading QEMU's device tree")?;
    source.extend(gpu_source(variant).bytes());
    run(
        Command::new("dtc")
            .args(["-q", "-I", "dts", "-O", "dtb", "-o"])
            .arg(path)
            .arg("-"),
        &source,
    )
    .context("compiling the guest's device tree")?;
    Ok(())
}

/// Runs a tool to its end with `input` and returns what it printed.
fn run(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {name}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(input)
            .with_context(|| format!("writing to {name}"))?;
    }
    let output = child
        .wait_with_output()
        .with_context(|| format!("reading from {name}"))?;
    if !output.status.success() {
        bail!(
            "{name} failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variant_lacks_one_property_only() {
        let has = |variant, word| gpu_source(variant).contains(word);
        for (variant, lacks) in [
            (Variant::NoInterrupt, "interrupts ="),
            (Variant::NoClock, "clocks ="),
            (Variant::NoRegs, "reg ="),
        ] {
            for word in ["interrupts =", "clocks =", "reg =", "compatible ="] {
                assert_eq!(has(variant, word), word != lacks, "{variant:?}: {word}");
                assert!(has(Variant::Gpu, word));
            }
        }
    }
}
