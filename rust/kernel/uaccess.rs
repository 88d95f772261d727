// SPDX-License-Identifier: GPL-2.0 OR MIT

//! User space access: the installed kernel's, and what it lacks.

pub use rk::uaccess::*;

pub mod object;
