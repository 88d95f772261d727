// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Boots that only the debug kernel can do: KUnit, and bugs planted for it to find.

use super::groups::Target;
use super::{Check, Group};
use crate::kmod;
use crate::kunit;
use crate::plan::{Plan, LEAKS};
use crate::settings::{Driver, Kernel, Settings};

/// Loads the module on a kernel with KUnit, which runs the suites that it holds.
pub(super) fn kunit(settings: &Settings) -> Group {
    let suites = kmod::load(settings.module(Kernel::Debug))
        .and_then(|module| kunit::suites_in(&module.image));
    let check = match suites {
        Ok(suites) => Check::Kunit(suites),
        Err(error) => Check::Unready(format!("{error:#}")),
    };
    let target = Target(Driver::Magni, Kernel::Debug);
    let mut group = Group::new(target, "kunit", Plan::prepared);
    group.plan.command_line = Vec::new();
    group
        .checked("suites", "load_driver", 300, check)
        .without_leaks()
}

/// The bugs that `qemu/harness/planted` can commit, the step that has to fail for each, and what the kernel
/// has to say in that step.
const PLANTED: [(&str, &str, &[&str]); 3] = [
    (
        "leak",
        LEAKS,
        &[
            "new suspected memory leaks",
            "unreferenced object",
            "(size 512)",
            "do_init_module",
        ],
    ),
    (
        "lock-order",
        PLANT,
        &[
            "WARNING: possible circular locking dependency detected",
            "planted_lock_a",
            "planted_lock_b",
        ],
    ),
    (
        "use-after-free",
        PLANT,
        &["BUG: KASAN: slab-use-after-free in planted_use_after_free"],
    ),
];

/// The step that commits a planted bug.
const PLANT: &str = "plant";

/// A boot for each planted bug: it must fail, where and with the words that are the bug's.
pub(super) fn planted(settings: &Settings) -> Vec<Group> {
    let module = std::fs::read(&settings.planted)
        .map_err(|error| format!("{}: {error}", settings.planted.display()));
    // The first shows that a boot without a bug passes.
    let none: (&str, &str, &[&str]) = ("none", "", &[]);
    let bugs = std::iter::once(none).chain(PLANTED);
    bugs.map(|(bug, guilty, words)| {
        let target = Target(Driver::Magni, Kernel::Debug);
        let mut group = Group::new(target, &format!("planted-{bug}"), |plan| plan);
        let image = module.clone().unwrap_or_default();
        group.plan.files = vec![("/lib/magni/modules/planted.ko".to_owned(), image)];
        let check = |step: &str| match &module {
            Err(why) => Check::Unready(why.clone()),
            Ok(_) if step == guilty => Check::Caught(words.to_vec()),
            Ok(_) => Check::Step,
        };
        let command = format!("insmod $MODULES/planted.ko bug={bug} && rmmod planted");
        group = group
            .checked(PLANT, &command, 60, check(PLANT))
            .without_leaks();
        for case in &mut group.cases {
            if case.step == LEAKS {
                case.check = check(LEAKS);
            }
        }
        group
    })
    .collect()
}
