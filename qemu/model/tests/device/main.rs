// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The whole device, driven over its socket as QEMU and a driver would.

mod control;
mod host;
mod registers;
