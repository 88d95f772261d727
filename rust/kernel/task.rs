// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tasks: the installed kernel's abstractions, and what they lack.

use crate::bindings;

pub use rk::task::*;

/// The size of the current task's address space, in bytes (`TASK_SIZE_OF(current)`).
pub fn current_task_size() -> u64 {
    // SAFETY: Always safe to call.
    unsafe { bindings::current_task_size() }
}

/// Whether the current task is about to be killed: long loops for it may end.
pub fn fatal_signal_pending() -> bool {
    // SAFETY: The current task is valid.
    unsafe { bindings::fatal_signal_pending(bindings::get_current()) }
}

/// Whether the current system call was made by a 32-bit program.
pub fn in_compat_syscall() -> bool {
    // SAFETY: Always safe to call.
    unsafe { bindings::in_compat_syscall() }
}
