// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The boots of a benchmark.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{ensure, Context, Result};

use super::Args;
use crate::kmod;
use crate::plan::{Plan, Step};
use crate::report::Outcome;
use crate::settings::{Driver, Kernel, Settings};

/// How long an endpoint job takes on the emulated GPU, in µs: long, so that a job that only keeps
/// the GPU busy costs the machine next to nothing.
const RUN_TIME_US: u32 = 2000;

/// Seconds for the rounds of one step.
const LIMIT: u64 = 3600;

/// Gives the guest both drivers, and vgem, without binding any.
const LOAD: &str = "\
    for module in $MODULES/bench/*; do insmod $module || fail insmod $module; done; \
    echo none >$GPU/driver_override; \
    insmod $MODULES/panthor.ko || fail insmod panthor; \
    insmod $MODULES/$MODULE.ko || fail insmod $MODULE";

/// A boot, and what it leaves besides what the guest prints.
pub(super) struct Bench {
    pub(super) plan: Plan,
    /// The emulated GPU's trace.
    pub(super) model_trace: Option<PathBuf>,
    /// What the instruction counter has written.
    pub(super) instructions: Option<PathBuf>,
}

/// A scenario: its name, and its arguments to the guest's program, for each size.
struct Scenario {
    name: &'static str,
    /// In a quick run, too: how many of the sizes, from the end.
    quick: usize,
    sizes: &'static [&'static str],
}

const COUNTS: &[Scenario] = &[
    Scenario {
        name: "storm-counts",
        quick: 1,
        sizes: &[
            "storm --traced --n 1",
            "storm --traced --n 8",
            "storm --traced --n 128",
            "storm --traced --n 32",
        ],
    },
    Scenario {
        name: "storm-resident-counts",
        quick: 1,
        sizes: &[
            "storm --traced --n 7 --resident 1",
            "storm --traced --n 56 --resident 8",
            "storm --traced --n 28 --resident 4",
        ],
    },
];

const TIMES: &[Scenario] = &[
    Scenario {
        name: "storm-times",
        quick: 0,
        sizes: &[
            "storm --n 1",
            "storm --n 8",
            "storm --n 32",
            "storm --n 128",
        ],
    },
    Scenario {
        name: "storm-resident-times",
        quick: 1,
        sizes: &[
            "storm --n 7 --resident 1",
            "storm --n 56 --resident 8",
            "storm --n 28 --resident 4",
        ],
    },
    Scenario {
        name: "latency",
        quick: 1,
        sizes: &["latency"],
    },
    Scenario {
        name: "throughput",
        quick: 1,
        sizes: &["throughput --n 1", "throughput --n 64", "throughput --n 8"],
    },
    Scenario {
        name: "priority",
        quick: 0,
        sizes: &["priority --n 32"],
    },
    Scenario {
        name: "recovery",
        quick: 0,
        sizes: &["recovery --n 16", "recovery --n 16 --reset"],
    },
    Scenario {
        name: "memory",
        quick: 0,
        sizes: &["memory"],
    },
];

const INSTRUCTIONS: &[Scenario] = &[Scenario {
    name: "cpu",
    quick: 0,
    sizes: &["cpu"],
}];

/// The step that prints the kernel's functions.
const SYMBOLS: &str = "symbols";

/// Address, name and module of each function, packed: the serial port is slow.
const PRINT_SYMBOLS: &str = "\
    echo 0 >/proc/sys/kernel/kptr_restrict; \
    awk '$2 ~ /[tTwW]/ { print $1, $3, $4 }' /proc/kallsyms | gzip -9 | base64";

/// The kernel's functions, as [`PRINT_SYMBOLS`] has printed them.
///
/// # Errors
///
/// When they cannot be unpacked.
pub(super) fn symbols(outcome: &Outcome) -> Result<String> {
    let step = outcome.steps.get(SYMBOLS).context("no symbols printed")?;
    let mut unpack = Command::new("sh")
        .args(["-c", "base64 -d | gzip -dc"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting a shell")?;
    let packed = step.output.join("\n");
    let feed = unpack
        .stdin
        .take()
        .map(|mut stdin| std::thread::spawn(move || stdin.write_all(packed.as_bytes())));
    let output = unpack.wait_with_output().context("unpacking symbols")?;
    if let Some(feed) = feed {
        // What it has to say shows in the status, too.
        let _ = feed.join();
    }
    ensure!(output.status.success(), "the symbols cannot be unpacked");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// All boots that `args` asks for.
///
/// # Errors
///
/// When a module is missing.
pub(super) fn all(settings: &Settings, args: &Args) -> Result<Vec<Bench>> {
    let mut boots = Vec::new();
    if let Some(mut plan) = plan(settings, args, "bench-counts", args.rounds, COUNTS)? {
        plan.machine.cpus = 4;
        boots.push(Bench {
            plan,
            model_trace: None,
            instructions: None,
        });
    }
    if let Some(mut plan) = plan(settings, args, "bench-times", args.rounds, TIMES)? {
        let trace = settings.logs.join("bench-times.trace");
        fs::create_dir_all(&settings.logs)
            .with_context(|| format!("creating {}", settings.logs.display()))?;
        plan.model_args.extend([
            "--trace".to_owned(),
            trace.display().to_string(),
            "--trace-kinds".to_owned(),
            "registers,interrupts".to_owned(),
        ]);
        boots.push(Bench {
            plan,
            model_trace: Some(trace),
            instructions: None,
        });
    }
    // What is counted hardly varies: two rounds show how much.
    if let Some(mut plan) = plan(
        settings,
        args,
        "bench-cpu",
        args.rounds.min(2),
        INSTRUCTIONS,
    )? {
        let counts = settings.logs.join("bench-cpu.counts");
        let counter = settings.bin.join("libinsn_counter.so");
        plan.machine.cpus = 1;
        plan.machine.counts_instructions = true;
        plan.machine.extra = vec![
            "-plugin".to_owned(),
            format!("{},out={}", counter.display(), counts.display()),
        ];
        plan.steps.push(Step::new(SYMBOLS, PRINT_SYMBOLS, LIMIT));
        boots.push(Bench {
            plan,
            model_trace: None,
            instructions: Some(counts),
        });
    }
    Ok(boots)
}

/// The boot with those of `scenarios` that `args` asks for, if there are any.
fn plan(
    settings: &Settings,
    args: &Args,
    name: &str,
    rounds: u32,
    scenarios: &[Scenario],
) -> Result<Option<Plan>> {
    let mut steps = Vec::new();
    for scenario in scenarios {
        let mut sizes = scenario.sizes;
        if args.quick {
            sizes = &sizes[sizes.len() - scenario.quick.min(sizes.len())..];
        }
        if sizes.is_empty() || !scenario.name.contains(&args.filter) {
            continue;
        }
        let rounds = if args.quick { rounds.min(2) } else { rounds };
        let words: Vec<String> = sizes.iter().map(|size| format!("'{size}'")).collect();
        let command = format!("bench rounds --rounds {rounds} {}", words.join(" "));
        steps.push(Step::new(scenario.name, &command, LIMIT));
    }
    if steps.is_empty() {
        return Ok(None);
    }
    let mut plan = Plan::new(name, Driver::Magni, Kernel::Stock)
        .prepared()
        .then([Step::new("load-drivers", LOAD, 120).required()])
        .then(steps);
    plan.model_args = vec!["--set".to_owned(), format!("run_time_us={RUN_TIME_US}")];
    add_modules(settings, &mut plan)?;
    Ok(Some(plan))
}

/// Adds the C driver and vgem to the guest's files, and what they need.
fn add_modules(settings: &Settings, plan: &mut Plan) -> Result<()> {
    let tree = kmod::Tree::new(&settings.modules_dir(Kernel::Stock)?)?;
    let ours = kmod::load(settings.module(Kernel::Stock))
        .context("the driver has not been built: run make")?;
    let mut there: Vec<String> = tree
        .dependencies(&ours)?
        .into_iter()
        .map(|module| module.name)
        .collect();
    let panthor = tree.load("panthor")?;
    let vgem = tree.load("vgem")?;
    let mut needed = tree.dependencies(&panthor)?;
    needed.extend(tree.dependencies(&vgem)?);
    needed.push(vgem);
    let mut number = 0;
    for module in needed {
        if there.contains(&module.name) {
            continue;
        }
        plan.files.push((
            format!("/lib/magni/modules/bench/{number:02}-{}.ko", module.name),
            module.image,
        ));
        there.push(module.name);
        number += 1;
    }
    plan.files
        .push(("/lib/magni/modules/panthor.ko".to_owned(), panthor.image));
    Ok(())
}
