// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Boots that only the debug kernel can do: KUnit, and bugs planted for it to find.

use super::groups::Target;
use super::{Check, Group, Words};
use crate::kmod;
use crate::kunit;
use crate::plan::Plan;
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
    group = group.checked("suites", "load_driver", 300, check);
    // What follows needs the driver.
    for step in &mut group.plan.steps {
        step.required = true;
    }
    group.without_leaks()
}

/// The bugs that `qemu/harness/planted` can commit, the test that does and ends with a verdict of its own, and
/// what the kernel has to say about it. In this order: the kernel looks after no lock any more when it has
/// found fault with one, nor after memory that was used after it was freed.
const PLANTED: [(&str, &str, &[Words]); 4] = [
    ("none", "plant none && leaks", &[]),
    (
        "leak",
        "plant leak && leaks",
        &[
            Words("new suspected memory leaks", 1),
            Words("do_init_module", 1),
            // Of 64, some of which may be hidden by words that look like pointers to them.
            Words("unreferenced object", 48),
            Words("(size 512)", 48),
        ],
    ),
    (
        "lock-order",
        "plant lock-order",
        &[
            Words("WARNING: possible circular locking dependency detected", 1),
            Words("planted_lock_a", 1),
            Words("planted_lock_b", 1),
        ],
    ),
    (
        "use-after-free",
        "plant use-after-free",
        &[Words(
            "BUG: KASAN: slab-use-after-free in planted_use_after_free",
            1,
        )],
    ),
];

/// A boot in which a module commits one bug after the other: each must be found for what it is, and
/// before the first all must be well.
pub(super) fn planted(settings: &Settings) -> Group {
    let module = std::fs::read(&settings.planted)
        .map_err(|error| format!("{}: {error}", settings.planted.display()));
    let target = Target(Driver::Magni, Kernel::Debug);
    let mut group = Group::new(target, "planted", |plan| plan);
    let image = module.clone().unwrap_or_default();
    group.plan.files = vec![("/lib/magni/modules/planted.ko".to_owned(), image)];
    for (bug, command, words) in PLANTED {
        let check = match &module {
            Err(why) => Check::Unready(why.clone()),
            Ok(_) if words.is_empty() => Check::Step,
            Ok(_) => Check::Caught(words.to_vec()),
        };
        group = group.checked(bug, command, 60, check);
    }
    group
}
