// SPDX-License-Identifier: GPL-2.0 OR MIT

//! An emulated Arm Mali CSF GPU.
//!
//! The binary serves it to QEMU over vfio-user; the library holds everything, so
//! that tests reach each part.

pub mod bus;
pub mod control;
pub mod csf;
pub mod faults;
pub mod flush_id;
pub mod gpu;
pub mod hardware;
pub mod irq;
pub mod machine;
pub mod mmu;
pub mod profile;
pub mod ram;
pub mod regs;
pub mod server;
pub mod strict;
pub mod trace;
