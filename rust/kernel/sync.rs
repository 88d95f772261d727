// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Synchronisation primitives: the installed kernel's, and those it lacks.

pub use rk::sync::*;

pub mod rcu;
pub mod wait;
