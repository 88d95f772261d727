// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Whatever a stream or the host does, the firmware must not panic, and must stay usable
//! or say that it crashed.

use std::time::Duration;

use proptest::prelude::*;

use super::bench::*;
use crate::csf::{McuState, Next};
use crate::faults::{How, Key, Kind, Values, TABLE};

/// Opcodes that exist, so that random words are instructions more often than not.
const OPCODES: [u64; 39] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 16, 17, 18, 20, 21, 22, 23, 24, 25, 32, 33, 34, 36, 37, 38,
    39, 40, 41, 42, 43, 44, 47, 48, 49, 50, 51, 52, 53,
];

/// Words that are mostly instructions, with small registers and offsets.
fn word() -> impl Strategy<Value = u64> {
    let fields = (
        prop::sample::select(&OPCODES[..]),
        0..8u64,
        0..8u64,
        0..8u64,
        any::<u32>(),
    );
    let instr = fields.prop_map(|(op, a, b, c, low)| {
        (op << 56) | (a << 48) | (b << 40) | (c << 32) | u64::from(low & 0x0003_007f)
    });
    // Addresses in registers that the other words use.
    let address = (0..4u64, 0..0x400u64)
        .prop_map(|(reg, at)| (1 << 56) | ((2 * reg) << 48) | (DATA + 8 * at));
    let code =
        (0..4u64, 0..0x40u64).prop_map(|(reg, at)| (1 << 56) | ((2 * reg) << 48) | (CODE + 8 * at));
    prop_oneof![6 => instr, 2 => address, 1 => code, 1 => any::<u64>()]
}

/// What the host may do.
#[derive(Clone, Debug)]
enum Act {
    Submit(u32, Vec<u64>),
    Code(u64, Vec<u64>),
    State(u32),
    Doorbell(u32),
    RingGroup(u32),
    Pass(u64),
    /// Writes a word anywhere in the input and output blocks of group 0.
    Scribble(u64, u32),
    Program,
}

fn act(scribble: bool) -> impl Strategy<Value = Act> {
    let words = || prop::collection::vec(word(), 1..24);
    prop_oneof![
        4 => (0..3u32, words()).prop_map(|(stream, words)| Act::Submit(stream, words)),
        2 => (0..0x40u64, words()).prop_map(|(at, words)| Act::Code(at, words)),
        2 => (0..5u32).prop_map(Act::State),
        1 => (0..4u32).prop_map(Act::Doorbell),
        1 => (0..16u32).prop_map(Act::RingGroup),
        1 => (0..2000u64).prop_map(Act::Pass),
        1 => Just(Act::Program),
        u32::from(scribble) => (0..0x380u64, any::<u32>()).prop_map(|(at, v)| Act::Scribble(at, v)),
    ]
}

fn perform(bench: &mut Bench, act: &Act) {
    match act {
        Act::Submit(stream, words) => {
            bench.insert(0, *stream, words);
            bench.csf.doorbell(1, &mut bench.bus);
        }
        Act::Code(at, words) => {
            bench.code(0, CODE + 8 * at, words);
        }
        Act::State(state) => {
            let csg = bench.csg(0);
            bench.set_bits(csg, *state, 7);
            let flags = bench.get32(0, csg.output + 8) ^ 7;
            bench.set32(csg.input + 8, flags);
            let glb = bench.glb();
            let flags = bench.get32(0, glb.output + 8) ^ 1;
            bench.set32(glb.input + 8, flags);
            bench.csf.doorbell(0, &mut bench.bus);
        }
        Act::Doorbell(page) => bench.csf.doorbell(*page, &mut bench.bus),
        Act::RingGroup(streams) => {
            let csg = bench.csg(0);
            let flags = bench.get32(0, csg.output + 8) ^ streams;
            bench.set32(csg.input + 8, flags);
            bench.csf.doorbell(0, &mut bench.bus);
        }
        Act::Pass(micros) => bench.bus.pass(Duration::from_micros(*micros)),
        Act::Scribble(at, value) => bench.set32(0x400_1200 + 4 * at, *value),
        Act::Program => bench.program_group(0, 0, 3),
    }
    // Endless loops are part of it, so no waiting for rest.
    for _ in 0..8 {
        if bench.csf.run(100, &mut bench.bus) != Next::Now {
            break;
        }
    }
}

/// A fault, told something for some of its keys.
fn fault() -> impl Strategy<Value = (Kind, Values)> {
    let rows: Vec<_> = TABLE.iter().filter(|row| row.how == How::Armed).collect();
    let told = prop::collection::vec(prop::option::of(0..4u64), Key::COUNT);
    (prop::sample::select(rows), told).prop_map(|(row, told)| {
        let values = row.keys.iter().zip(told);
        let values = values.fold(Values::default(), |values, (&key, told)| match told {
            // Fast and long enough to be seen.
            _ if key == Key::PerS => values.with(key, 50_000),
            Some(value) => values.with(key, value),
            None => values,
        });
        (row.kind, values)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_stream_breaks_the_firmware(acts in prop::collection::vec(act(false), 1..40)) {
        let mut bench = Bench::with_group(3);
        for act in &acts {
            perform(&mut bench, act);
        }
        // Streams alone cannot crash the firmware; it still answers.
        prop_assert_eq!(bench.csf.state(), McuState::Enabled);
        let glb = bench.glb();
        bench.toggle(glb, PING);
        bench.csf.doorbell(0, &mut bench.bus);
        prop_assert_eq!(bench.pending(glb, PING), 0);
        // Another group is not harmed.
        bench.create_group(1, 1);
        bench.program_group(1, 1, 1);
        prop_assert!(bench.state(1, START));
        bench.submit(1, 0, &[super::asm::NOP; 8]);
        for _ in 0..100 {
            bench.csf.run(100, &mut bench.bus);
        }
        prop_assert!(bench.is_through(1, 0));
    }

    #[test]
    fn no_host_breaks_the_firmware(acts in prop::collection::vec(act(true), 1..40)) {
        let mut bench = Bench::with_group(3);
        for act in &acts {
            perform(&mut bench, act);
        }
        let state = bench.csf.state();
        let faults = bench.bus.mmu_faults.iter().filter(|fault| fault.as_nr == 0).count();
        prop_assert_eq!(state == McuState::Fatal, faults == 1, "{:?}", bench.bus.misuses);
    }

    #[test]
    fn no_fault_breaks_the_firmware_for_good(
        acts in prop::collection::vec((prop::option::of(fault()), act(false)), 1..40)
    ) {
        let mut bench = Bench::with_group(3);
        for (fault, act) in &acts {
            if let Some((kind, values)) = fault {
                bench.bus.faults.arm(*kind, *values);
            }
            perform(&mut bench, act);
        }
        // A host that starts the firmware again finds it as new.
        bench.bus.faults.reset();
        bench.csf.reset();
        bench.bus.misuses.clear();
        bench.irq();
        bench.load_image();
        bench.boot();
        bench.start_group(1, 1);
        bench.submit(1, 0, &[super::asm::NOP; 8]);
        bench.run();
        prop_assert!(bench.is_through(1, 0));
        bench.clean();
    }
}
