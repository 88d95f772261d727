// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests whose results under the kernel's memory model are known: those of the kernel's
//! `tools/memory-model/litmus-tests`, by their names there, and variants of them.

use litmus::{Outcome, Test};

/// Runs a test on `x` and `y` of which each program is one of `programs`.
///
/// A program is its steps, in short: `x=1` and `x:=1` are a store and a release store, `rx` and
/// `ax` a load and an acquire load, `sx` a swap with 1, `mb` a full barrier. The first load of a
/// program goes to `r0`, the next to `r1`.
fn run(programs: &[&str], exists: &str) -> Outcome {
    let mut text = String::from("C known\n(* Result: Never *)\n{ }\n");
    for (i, program) in programs.iter().enumerate() {
        text += &format!("P{i}(int *x, int *y)\n{{\nint r0;\nint r1;\n");
        let mut register = 0;
        for step in program.split_whitespace() {
            let load = match step.split_at(1) {
                ("r", variable) => format!("READ_ONCE(*{variable})"),
                ("a", variable) => format!("smp_load_acquire({variable})"),
                ("s", variable) => format!("xchg({variable}, 1)"),
                _ => {
                    text += &match (step.split_once(":="), step.split_once('=')) {
                        (Some((variable, value)), _) => {
                            format!("smp_store_release({variable}, {value});\n")
                        }
                        (_, Some((variable, value))) => {
                            format!("WRITE_ONCE(*{variable}, {value});\n")
                        }
                        _ => "smp_mb();\n".into(),
                    };
                    continue;
                }
            };
            text += &format!("r{register} = {load};\n");
            register += 1;
        }
        text += "}\n";
    }
    text += &format!("exists ({exists})\n");
    Test::parse(&text)
        .unwrap_or_else(|e| panic!("{e} in {text}"))
        .run()
}

#[track_caller]
fn never(programs: &[&str], exists: &str) {
    assert_eq!(run(programs, exists), Outcome::Never);
}

#[track_caller]
fn sometimes(programs: &[&str], exists: &str) {
    assert_eq!(run(programs, exists), Outcome::Sometimes);
}

#[test]
fn one_variable_is_coherent() {
    // CoRR+poonceonce+Once, CoWW+poonceonce, CoRW+poonceonce+Once, CoWR+poonceonce+Once
    never(&["x=1", "rx rx"], "1:r0=1 /\\ 1:r1=0");
    never(&["x=1 x=2"], "x=1");
    never(&["rx x=1", "x=2"], "x=2 /\\ 0:r0=2");
    never(&["x=1 rx", "x=2"], "x=1 /\\ 0:r0=2");
}

#[test]
fn store_buffering() {
    // SB+poonceonces, SB+fencembonceonces
    let exists = "0:r0=0 /\\ 1:r0=0";
    sometimes(&["x=1 ry", "y=1 rx"], exists);
    sometimes(&["x=1 mb ry", "y=1 rx"], exists);
    sometimes(&["x:=1 ay", "y:=1 ax"], exists);
    never(&["x=1 mb ry", "y=1 mb rx"], exists);
    // A swap is a full barrier.
    never(&["sx ry", "sy rx"], "0:r1=0 /\\ 1:r1=0");
}

#[test]
fn message_passing() {
    // MP+poonceonces, MP+pooncerelease+poacquireonce
    let exists = "1:r0=1 /\\ 1:r1=0";
    sometimes(&["x=1 y=1", "ry rx"], exists);
    sometimes(&["x=1 y:=1", "ry rx"], exists);
    sometimes(&["x=1 y=1", "ay rx"], exists);
    never(&["x=1 y:=1", "ay rx"], exists);
    never(&["x=1 mb y=1", "ry mb rx"], exists);
    // A barrier comes some time after the store before it.
    sometimes(&["x=1 y=1 mb", "ry mb rx"], exists);
}

#[test]
fn stores_against_loads() {
    // R+poonceonces, R+fencembonceonces
    let exists = "y=2 /\\ 1:r0=0";
    sometimes(&["x=1 y=1", "y=2 rx"], exists);
    sometimes(&["x=1 mb y=1", "y=2 rx"], exists);
    sometimes(&["x=1 y=1", "y=2 mb rx"], exists);
    never(&["x=1 mb y=1", "y=2 mb rx"], exists);
}

#[test]
fn stores_against_stores() {
    // 2+2W, with and without barriers
    let exists = "x=1 /\\ y=1";
    sometimes(&["x=1 y=2", "y=1 x=2"], exists);
    never(&["x=1 mb y=2", "y=1 mb x=2"], exists);
}

#[test]
fn three_and_four_programs() {
    // WRC+poonceonces+Once, and with barriers
    let exists = "1:r0=1 /\\ 2:r0=1 /\\ 2:r1=0";
    sometimes(&["x=1", "rx y=1", "ry rx"], exists);
    never(&["x=1", "rx mb y=1", "ry mb rx"], exists);
    never(&["x=1", "rx y:=1", "ay rx"], exists);
    // RWC
    let exists = "1:r0=1 /\\ 1:r1=0 /\\ 2:r0=0";
    sometimes(&["x=1", "rx mb ry", "y=1 rx"], exists);
    sometimes(&["x=1", "rx ry", "y=1 mb rx"], exists);
    never(&["x=1", "rx mb ry", "y=1 mb rx"], exists);
    // IRIW+poonceonces+OnceOnce, IRIW+fencembonceonces+OnceOnce
    let exists = "1:r0=1 /\\ 1:r1=0 /\\ 3:r0=1 /\\ 3:r1=0";
    sometimes(&["x=1", "rx ry", "y=1", "ry rx"], exists);
    never(&["x=1", "rx mb ry", "y=1", "ry mb rx"], exists);
}

/// What loom cannot show. Should this fail, it has learnt it: say so in the crate's documentation.
#[test]
fn load_buffering_is_not_found() {
    // LB+poonceonces: herd7 says "Sometimes".
    never(&["rx y=1", "ry x=1"], "0:r0=1 /\\ 1:r0=1");
}
