// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `mkfw`: writes the test firmware image, or one of its broken variants.

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use mali_firmware::damage;

/// Write the test firmware image in the container format of the real firmware.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Where to write the image.
    #[arg(required_unless_present = "list")]
    output: Option<PathBuf>,
    /// Write this broken variant instead of the good image.
    #[arg(long, value_name = "NAME")]
    damaged: Option<String>,
    /// List the broken variants: name, tab, who refuses it, tab, what is wrong.
    #[arg(long, conflicts_with_all = ["output", "damaged"])]
    list: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if options.list {
        for variant in damage::all() {
            println!(
                "{}\t{:?}\t{}",
                variant.name, variant.refused_by, variant.why
            );
        }
        return Ok(());
    }
    let bytes = match &options.damaged {
        None => mali_firmware::build(),
        Some(name) => {
            damage::find(name)
                .with_context(|| {
                    format!("there is no broken variant {name:?}: `mkfw --list` shows them")
                })?
                .bytes
        }
    };
    let output = options
        .output
        .expect("clap requires the output without --list");
    std::fs::write(&output, bytes)
        .with_context(|| format!("could not write the firmware image {}", output.display()))
}
