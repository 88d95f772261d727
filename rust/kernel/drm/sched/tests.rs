// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests on hardware that a test plays itself.
//!
//! Nothing happens on the [mock hardware](mock) but what a test says, and a test waits for what it
//! has made happen: none sleeps. Each ends by [`Bench::finish`](mock::Bench::finish), which waits
//! until every queue has been taken down and returns what the hardware saw, with the number of jobs
//! that are left: a leak is seen, or hangs the test.

mod firmware;
mod hardware;
mod mock;
mod shared_teardown;
mod submission;
mod teardown;
