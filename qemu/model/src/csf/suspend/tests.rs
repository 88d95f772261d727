// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What is saved comes back, and nothing else does.

use super::*;
use crate::profile::Profile;

/// A group in which everything that can be saved is there, at its largest.
fn full_group(csf: &CsfProfile, now: Instant) -> Saved {
    let defer = Defer {
        wait: 0xff,
        signal: 7,
    };
    let operations = [
        Operation::Flush,
        Operation::Sync {
            address: 0x1000,
            value: u64::MAX,
            add: true,
            wide: false,
            propagate: true,
            scope: Scope::Group,
        },
        Operation::StoreState {
            state: State::ErrorStatus,
            address: 8,
        },
        Operation::Heap {
            operation: HeapOperation::FragmentCompleted,
            heap: 64,
        },
        Operation::Nothing,
    ];
    let blocked = [
        None,
        Some(Blocked::Scoreboards(0xff)),
        Some(Blocked::Progress),
        Some(Blocked::Sync {
            address: 0x10,
            value: 1 << 40,
            condition: Condition::Greater,
            wide: true,
        }),
        Some(Blocked::Deferred),
        Some(Blocked::Resource(Endpoint::Tiler)),
    ];
    let stream = |n: usize| {
        let ring = Ring {
            base: 0x8000_0000,
            size: 0x1_0000,
            input: 0x500_0000,
            output: 0x500_1000,
            insert: 0x40,
            pos: 0x18,
            published: None,
        };
        let mut stream = Stream::new(csf.work_registers, ring);
        stream.regs.iter_mut().zip(7..).for_each(|(r, i)| *r = i);
        stream.frames = vec![Frame { ip: 8, end: 16 }; csf.max_calls as usize];
        stream.scoreboard.deferred = (0..MAX_DEFERRED)
            .map(|i| Deferred {
                defer,
                operation: operations[i % operations.len()],
            })
            .collect();
        stream.scoreboard.jobs = (0..MAX_JOBS)
            .map(|i| EndpointJob {
                endpoint: Endpoint::ALL[i % 3],
                slot: i as u8 % 8,
                progress: i % 2 == 0,
                until: now + Duration::from_micros(i as u64),
            })
            .collect();
        stream.endpoint_slot = 3;
        stream.other_slot = 4;
        stream.blocked = blocked[n % blocked.len()];
        stream.recheck = true;
        stream.error = true;
        stream.dead = n == 1;
        stream.faulted = n == 2;
        stream.stalled = n == 3;
        stream.oom = (n == 4).then_some(Oom::Found);
        stream.heap = 0x2000;
        stream.resources = 5;
        stream.handler = Handler {
            exception: 2,
            address: 0x3000,
            length: 8,
        };
        let exception = Exception { kind: 1, info: 2 };
        stream.pending_fault = Some(exception);
        stream.pending_fatal = Some(exception);
        stream
    };
    Saved {
        progress: (0..csf.stream_num.into()).collect(),
        disjoint: 9,
        streams: (0..csf.stream_num as usize)
            .map(|n| Some(stream(n)))
            .collect(),
    }
}

#[test]
fn everything_comes_back() {
    let (csf, now) = (Profile::g610().csf, Instant::now());
    let mut saved = full_group(&csf, now);
    saved.streams[6] = None;
    let later = now + Duration::from_secs(5);
    let restored = decode(&encode(&saved, now), later).unwrap();
    for stream in saved.streams.iter_mut().flatten() {
        for job in &mut stream.scoreboard.jobs {
            job.until += Duration::from_secs(5);
        }
    }
    assert_eq!(restored, saved);
}

#[test]
fn the_largest_group_fits() {
    let (csf, now) = (Profile::g610().csf, Instant::now());
    let size = encode(&full_group(&csf, now), now).len();
    assert!(size <= max_size(&csf), "{size} > {}", max_size(&csf));
    assert!(max_size(&csf) <= csf.suspend_size as usize);
}

#[test]
fn any_changed_byte_is_noticed() {
    let (csf, now) = (Profile::g610().csf, Instant::now());
    let mut bytes = encode(&full_group(&csf, now), now);
    for at in (0..bytes.len()).step_by(7) {
        bytes[at] ^= 0x10;
        assert!(
            decode(&bytes, now).is_err(),
            "change at {at} went unnoticed"
        );
        bytes[at] ^= 0x10;
    }
    assert_eq!(decode(&[0; 4096], now), Err(Damaged::Magic));
    assert!(decode(&bytes[..bytes.len() - 1], now).is_err());
    assert!(decode(&bytes, now).is_ok());
}
