// SPDX-License-Identifier: GPL-2.0 OR MIT

//! An emulated Arm Mali CSF GPU.
//!
//! The binary serves it to QEMU over vfio-user; the library holds everything, so
//! that tests reach each part.

pub mod bus;
pub mod csf;
pub mod profile;
