// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The driver's litmus tests.

use std::fs;
use std::path::Path;

use litmus::{Outcome, Test};

/// Every litmus test of the scheduler.
fn tests() -> Vec<Test> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rust/magni/sched");
    let mut tests = Vec::new();
    for entry in fs::read_dir(&folder).expect("the scheduler's source is there") {
        let path = entry.expect("the folder can be read").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "litmus")
        {
            let text = fs::read_to_string(&path).expect("a litmus test can be read");
            let test = Test::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            tests.push(test);
        }
    }
    assert!(!tests.is_empty(), "no litmus tests in {}", folder.display());
    tests
}

#[test]
fn each_gives_what_it_says() {
    for test in tests() {
        assert_eq!(
            test.run(),
            test.result,
            "{}: {:#?}",
            test.name,
            test.states()
        );
    }
}

/// Otherwise a test would not notice that one is missing.
#[test]
fn each_barrier_is_needed() {
    for test in tests() {
        let weakened = test.weakened();
        assert!(!weakened.is_empty(), "{}: no barriers", test.name);
        for (barrier, weaker) in weakened {
            assert_eq!(
                weaker.run(),
                Outcome::Sometimes,
                "{}: it does without {barrier}",
                test.name
            );
        }
    }
}
