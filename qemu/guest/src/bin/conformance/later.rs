// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Beyond Magni's first slice.

use crate::cx::Tests;

pub(crate) fn tests(_t: &mut Tests) {}
