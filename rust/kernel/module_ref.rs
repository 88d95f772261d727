// SPDX-License-Identifier: GPL-2.0 OR MIT

//! References to modules.

use crate::{
    bindings,
    prelude::*,
    ModuleMetadata, //
};

/// Keeps a module loaded.
///
/// For objects of a module that outlive everything which keeps it loaded otherwise: its devices
/// and its open files. The last one must be dropped where unloading waits for the code that drops
/// it, for example in a [`ModuleQueue`](crate::workqueue::ModuleQueue).
///
/// # Invariants
///
/// The pointer is that of a module, to which `self` owns a reference, or null.
pub struct ModuleRef(*mut bindings::module);

// SAFETY: References to modules are counted atomically.
unsafe impl Send for ModuleRef {}
// SAFETY: As above.
unsafe impl Sync for ModuleRef {}

impl ModuleRef {
    /// Takes a reference to `M`.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the module is being unloaded.
    pub fn new<M: ModuleMetadata>() -> Result<Self> {
        let module = M::THIS_MODULE.as_ptr();
        // SAFETY: A module that is built in, whose pointer is null, is always there; otherwise
        // the pointer is that of a module whose code runs.
        if unsafe { bindings::try_module_get(module) } {
            // INVARIANT: The reference was taken just now.
            Ok(Self(module))
        } else {
            Err(ENODEV)
        }
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the reference is ours.
        unsafe { bindings::module_put(self.0) };
    }
}
