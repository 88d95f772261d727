// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Numbers for tests.

/// A generator of numbers that are the same in each run.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    /// The next one, less than `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
