// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Counters, and what they say about laps.

use std::collections::HashMap;
use std::fmt::Write;

/// Counters by instruction address, over the stretch that goes on.
pub(crate) struct Counts {
    places: HashMap<u64, usize>,
    limit: usize,
    /// The counters at the last mark.
    last: Vec<u64>,
    /// Executed since the stretch began: before the doorbells of laps, and after.
    before: Vec<u64>,
    after: Vec<u64>,
    /// Instructions of this lap before its doorbell.
    lap: u64,
    /// This lap has had its doorbell.
    rung: bool,
    running: bool,
    stretches: u64,
}

impl Counts {
    /// For at most `limit` addresses.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            places: HashMap::new(),
            limit,
            last: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            lap: 0,
            rung: false,
            running: false,
            stretches: 0,
        }
    }

    /// The counter for the instruction at `address`.
    pub(crate) fn place(&mut self, address: u64) -> usize {
        let next = self.places.len().min(self.limit - 1);
        *self.places.entry(address).or_insert(next)
    }

    /// How many counters are in use.
    pub(crate) fn used(&self) -> usize {
        self.places.len().min(self.limit)
    }

    /// A stretch begins.
    pub(crate) fn begin(&mut self, now: Vec<u64>) -> String {
        self.last = now;
        self.before.clear();
        self.after.clear();
        self.lap = 0;
        self.rung = false;
        self.running = true;
        self.stretches += 1;
        format!("stretch {}\n", self.stretches - 1)
    }

    /// Whether a doorbell means anything now.
    pub(crate) fn wants_doorbell(&self) -> bool {
        self.running && !self.rung
    }

    /// A doorbell was rung.
    pub(crate) fn doorbell(&mut self, now: Vec<u64>) {
        self.lap = add(&mut self.before, &self.last, &now);
        self.last = now;
        self.rung = true;
    }

    /// A lap is done.
    pub(crate) fn lap(&mut self, now: Vec<u64>) -> String {
        if !self.running {
            return String::new();
        }
        let to = if self.rung {
            &mut self.after
        } else {
            &mut self.before
        };
        let rest = add(to, &self.last, &now);
        self.last = now;
        let text = match self.rung {
            true => format!("lap {} {rest}\n", self.lap),
            false => format!("lap {rest} 0\n"),
        };
        self.lap = 0;
        self.rung = false;
        text
    }

    /// The stretch is done.
    pub(crate) fn end(&mut self) -> String {
        self.running = false;
        let mut text = String::new();
        let mut places: Vec<(&u64, &usize)> = self.places.iter().collect();
        places.sort();
        let count = |counts: &[u64], at: usize| counts.get(at).copied().unwrap_or(0);
        for (address, &at) in places {
            let (before, after) = (count(&self.before, at), count(&self.after, at));
            if before + after > 0 {
                // Writing to a string does not fail.
                let _ = writeln!(text, "pc {address:x} {before} {after}");
            }
        }
        text
    }
}

/// Adds what was counted from `last` to `now` to `to`; returns the sum.
fn add(to: &mut Vec<u64>, last: &[u64], now: &[u64]) -> u64 {
    to.resize(now.len().max(to.len()), 0);
    let mut sum = 0;
    for (at, now) in now.iter().enumerate() {
        let count = now - last.get(at).copied().unwrap_or(0);
        to[at] += count;
        sum += count;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laps_are_divided_by_their_first_doorbell() {
        let mut counts = Counts::new(8);
        assert_eq!((counts.place(0x100), counts.place(0x104)), (0, 1));
        assert_eq!(counts.place(0x100), 0);
        assert!(!counts.wants_doorbell());
        assert_eq!(counts.lap(vec![1, 1]), "");
        assert_eq!(counts.begin(vec![10, 10]), "stretch 0\n");
        assert!(counts.wants_doorbell());
        counts.doorbell(vec![13, 10]);
        assert!(!counts.wants_doorbell());
        assert_eq!(counts.lap(vec![13, 14]), "lap 3 4\n");
        assert_eq!(counts.place(0x200), 2);
        assert_eq!(counts.lap(vec![14, 14, 5]), "lap 6 0\n");
        assert_eq!(counts.end(), "pc 100 4 0\npc 104 0 4\npc 200 5 0\n");
        assert_eq!(counts.begin(vec![14, 14, 5]), "stretch 1\n");
        assert_eq!(counts.end(), "");
    }

    #[test]
    fn what_does_not_fit_shares_the_last_counter() {
        let mut counts = Counts::new(2);
        let places: Vec<usize> = (0..4).map(|at| counts.place(at)).collect();
        assert_eq!((places, counts.used()), (vec![0, 1, 1, 1], 2));
    }
}
