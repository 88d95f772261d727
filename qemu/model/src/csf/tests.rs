// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the firmware interface and of the command streams, on a bus in memory.

mod asm;
mod bench;
mod boot;
mod decode;
mod endpoints;
mod events;
mod faults;
mod flow;
mod groups;
mod instructions;
mod memory;
mod requests;
mod robust;
mod scoreboards;
mod sync;
