// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tasks: the installed kernel's abstractions, and what they lack.

pub use rk::task::*;

mod helpers {
    extern "C" {
        #[link_name = "rust_helper_current_task_size"]
        pub(super) fn task_size() -> u64;
        #[link_name = "rust_helper_in_compat_syscall"]
        pub(super) fn in_compat_syscall() -> bool;
    }
}

/// The size of the current task's address space, in bytes (`TASK_SIZE_OF(current)`).
pub fn current_task_size() -> u64 {
    // SAFETY: Always safe to call.
    unsafe { helpers::task_size() }
}

/// Whether the current system call was made by a 32-bit program.
pub fn in_compat_syscall() -> bool {
    // SAFETY: Always safe to call.
    unsafe { helpers::in_compat_syscall() }
}
