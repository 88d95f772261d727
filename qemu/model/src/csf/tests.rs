// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the firmware interface and of the command streams, on a bus in memory.
