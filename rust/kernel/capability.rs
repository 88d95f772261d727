// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Capabilities.
//!
//! C header: [`include/linux/capability.h`](srctree/include/linux/capability.h)

use crate::bindings;

/// A right that a task can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Raise priorities.
    SysNice,
}

/// Whether the current task has `capability`.
pub fn capable(capability: Capability) -> bool {
    let number = match capability {
        Capability::SysNice => bindings::CAP_SYS_NICE,
    };

    // SAFETY: Always safe to call in a task.
    unsafe { bindings::capable(number as i32) }
}
