// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Faults that tests order: what is armed, what struck, and who waits for it.
//!
//! [`Faults`] is a handle that the control thread, the hardware and the firmware share.
//! Its own lock is taken last and held for a few instructions, so that it may be used
//! with and without the machine's. Without anything armed, asking costs one load.

mod table;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use table::{How, Key, Kind, Request, Row, Where, TABLE};

/// Values of keys; those that were not given are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Values([Option<u64>; Key::COUNT]);

impl Values {
    /// The value of `key`, if there is one.
    pub fn get(&self, key: Key) -> Option<u64> {
        self.0[key as usize]
    }

    /// The value of `key`, or `default`.
    pub fn or(&self, key: Key, default: u64) -> u64 {
        self.get(key).unwrap_or(default)
    }

    /// These, and `value` for `key`.
    #[must_use]
    pub fn with(mut self, key: Key, value: u64) -> Self {
        self.0[key as usize] = Some(value);
        self
    }

    /// Whether a fault that was armed with these strikes at `place`.
    fn strike_at(&self, keys: &[Key], place: &Values) -> bool {
        keys.iter()
            .filter(|key| key.is_place())
            .all(|&key| match self.get(key) {
                None => true,
                // "any"
                Some(0) if key == Key::Req => true,
                Some(wanted) => place.get(key) == Some(wanted),
            })
    }
}

/// A place in a group slot, for [`Faults::strike`].
pub fn at_slot(slot: u32) -> Values {
    Values::default().with(Key::Slot, slot.into())
}

/// A place in a stream, for [`Faults::strike`].
pub fn at_stream(slot: u32, stream: usize) -> Values {
    at_slot(slot).with(Key::Cs, stream as u64)
}

#[derive(Debug)]
struct Armed {
    kind: Kind,
    values: Values,
    /// How often it strikes yet; `None` is until it is disarmed.
    left: Option<u64>,
    /// It lasts, and began.
    held: bool,
}

#[derive(Debug)]
struct State {
    armed: Vec<Armed>,
    counts: [u64; Kind::COUNT],
}

impl State {
    /// Kinds that are armed.
    fn set(&self) -> u64 {
        self.armed
            .iter()
            .fold(0, |set, armed| set | armed.kind.bit())
    }
}

#[derive(Debug)]
struct Inner {
    /// Kinds that are armed, so that most questions need no lock.
    set: AtomicU64,
    excused: AtomicBool,
    state: Mutex<State>,
    struck: Condvar,
}

/// What is armed, and how often it struck.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Inner>);

impl Default for Faults {
    fn default() -> Self {
        Self(Arc::new(Inner {
            set: AtomicU64::new(0),
            excused: AtomicBool::new(false),
            state: Mutex::new(State {
                armed: Vec::new(),
                counts: [0; Kind::COUNT],
            }),
            struck: Condvar::new(),
        }))
    }
}

impl Faults {
    /// Arms a fault.
    pub fn arm(&self, kind: Kind, values: Values) {
        let mut state = self.lock();
        state.armed.push(Armed {
            kind,
            values,
            left: Some(values.or(Key::Times, 1)).filter(|&times| times != 0),
            held: false,
        });
        self.publish(&state);
    }

    /// Disarms every fault of `kind`, or of every kind.
    pub fn disarm(&self, kind: Option<Kind>) {
        let mut state = self.lock();
        state
            .armed
            .retain(|armed| kind.is_some_and(|kind| armed.kind != kind));
        self.publish(&state);
    }

    /// Disarms everything and forgets what struck.
    pub fn reset(&self) {
        let mut state = self.lock();
        state.armed.clear();
        state.counts = [0; Kind::COUNT];
        self.publish(&state);
    }

    /// How often `kind` struck.
    pub fn count(&self, kind: Kind) -> u64 {
        self.lock().counts[kind as usize]
    }

    /// Waits until `kind` has struck `count` times, at most for `limit`; says how often
    /// it has.
    pub fn wait(&self, kind: Kind, count: u64, limit: Duration) -> u64 {
        let enough = |state: &mut State| state.counts[kind as usize] < count;
        let waited = self.0.struck.wait_timeout_while(self.lock(), limit, enough);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.counts[kind as usize]
    }

    /// Whether a fault of `kind` is armed that strikes at `place`; it is then used up
    /// once, and counted.
    pub fn strike(&self, kind: Kind, place: &Values) -> Option<Values> {
        if self.0.set.load(Ordering::Relaxed) & kind.bit() == 0 {
            return None;
        }
        let mut state = self.lock();
        let keys = kind.row().keys;
        let at = state
            .armed
            .iter()
            .position(|armed| armed.kind == kind && armed.values.strike_at(keys, place))?;
        let values = state.armed[at].values;
        if let Some(left) = &mut state.armed[at].left {
            *left -= 1;
            if *left == 0 {
                state.armed.remove(at);
                self.publish(&state);
            }
        }
        self.note(&mut state, kind);
        Some(values)
    }

    /// Whether a fault of `kind` that lasts is armed; counted when it begins, and used
    /// up by [`Faults::end`].
    pub fn hold(&self, kind: Kind) -> Option<Values> {
        if self.0.set.load(Ordering::Relaxed) & kind.bit() == 0 {
            return None;
        }
        let mut state = self.lock();
        let armed = state.armed.iter_mut().find(|armed| armed.kind == kind)?;
        let values = armed.values;
        if !std::mem::replace(&mut armed.held, true) {
            self.note(&mut state, kind);
        }
        Some(values)
    }

    /// The first fault of `kind` that is armed, without striking.
    pub fn armed(&self, kind: Kind) -> Option<Values> {
        if self.0.set.load(Ordering::Relaxed) & kind.bit() == 0 {
            return None;
        }
        let state = self.lock();
        let armed = state.armed.iter().find(|armed| armed.kind == kind)?;
        Some(armed.values)
    }

    /// The faults of `kind` that began are over for this time.
    pub fn end(&self, kind: Kind) {
        let mut state = self.lock();
        state.armed.retain_mut(|armed| {
            if armed.kind != kind || !std::mem::take(&mut armed.held) {
                return true;
            }
            if let Some(left) = &mut armed.left {
                *left -= 1;
            }
            armed.left != Some(0)
        });
        self.publish(&state);
    }

    /// Counts a strike of something that is not armed but done.
    pub fn done(&self, kind: Kind) {
        self.note(&mut self.lock(), kind);
    }

    /// The firmware failed, or wrote what it should not have, on a test's order: until
    /// it starts again the host cannot be blamed for what follows from it.
    pub fn excuse(&self) {
        self.0.excused.store(true, Ordering::Relaxed);
    }

    /// The firmware starts afresh.
    pub fn blame(&self) {
        self.0.excused.store(false, Ordering::Relaxed);
    }

    /// Whether [`Faults::excuse`] holds.
    pub fn excused(&self) -> bool {
        self.0.excused.load(Ordering::Relaxed)
    }

    fn note(&self, state: &mut State, kind: Kind) {
        state.counts[kind as usize] += 1;
        self.0.struck.notify_all();
    }

    fn publish(&self, state: &State) {
        self.0.set.store(state.set(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn a_fault_strikes_as_often_as_it_was_armed_for() {
        let faults = Faults::default();
        let place = at_slot(3);
        assert_eq!(faults.strike(Kind::LostDoorbell, &place), None);
        faults.arm(Kind::LostDoorbell, Values::default().with(Key::Times, 2));
        assert!(faults.strike(Kind::LostDoorbell, &place).is_some());
        assert!(faults.strike(Kind::LateAck, &place).is_none());
        assert!(faults.strike(Kind::LostDoorbell, &place).is_some());
        assert_eq!(faults.strike(Kind::LostDoorbell, &place), None);
        assert_eq!(faults.count(Kind::LostDoorbell), 2);

        faults.arm(Kind::LostDoorbell, Values::default().with(Key::Times, 0));
        for _ in 0..9 {
            assert!(faults.strike(Kind::LostDoorbell, &place).is_some());
        }
        faults.disarm(Some(Kind::LateAck));
        assert!(faults.strike(Kind::LostDoorbell, &place).is_some());
        faults.disarm(Some(Kind::LostDoorbell));
        assert_eq!(faults.strike(Kind::LostDoorbell, &place), None);
        faults.reset();
        assert_eq!(faults.count(Kind::LostDoorbell), 0);
    }

    #[test]
    fn places_have_to_match() {
        let faults = Faults::default();
        faults.arm(Kind::StreamFault, at_stream(2, 1).with(Key::Type, 0x58));
        for (slot, stream) in [(1, 1), (2, 0)] {
            let place = at_stream(slot, stream);
            assert_eq!(faults.strike(Kind::StreamFault, &place), None);
        }
        let values = faults.strike(Kind::StreamFault, &at_stream(2, 1)).unwrap();
        assert_eq!(values.get(Key::Type), Some(0x58));

        faults.arm(Kind::IgnoreRequest, Values::default().with(Key::Req, 0));
        let place = at_slot(0).with(Key::Req, Request::Suspend as u64);
        assert!(faults.strike(Kind::IgnoreRequest, &place).is_some());
    }

    #[test]
    fn what_lasts_is_counted_when_it_begins() {
        let faults = Faults::default();
        faults.arm(Kind::McuSilent, Values::default().with(Key::Times, 2));
        faults.end(Kind::McuSilent);
        for _ in 0..2 {
            assert!(faults.hold(Kind::McuSilent).is_some());
            assert!(faults.hold(Kind::McuSilent).is_some());
            faults.end(Kind::McuSilent);
        }
        assert_eq!(faults.hold(Kind::McuSilent), None);
        assert_eq!(faults.count(Kind::McuSilent), 2);
    }

    #[test]
    fn a_waiter_sees_the_strike() {
        let faults = Faults::default();
        assert_eq!(faults.wait(Kind::GpuFault, 1, NOW), 0);
        assert_eq!(faults.wait(Kind::GpuFault, 0, NOW), 0);
        let other = faults.clone();
        let striker = std::thread::spawn(move || {
            for _ in 0..3 {
                other.done(Kind::GpuFault);
            }
        });
        let limit = Duration::from_secs(20);
        assert_eq!(faults.wait(Kind::GpuFault, 3, limit), 3);
        striker.join().unwrap();
    }
}
