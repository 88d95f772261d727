// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The ioctls: arguments are checked here, the work is done elsewhere.
//!
//! Numbers, structures and error codes are those of the C driver.

pub(crate) mod bo;
mod few;
pub(crate) mod group;
pub(crate) mod heap;
pub(crate) mod mmio;
pub(crate) mod query;
mod sync;
mod timestamp;
pub(crate) mod uobj;
pub(crate) mod vm;
