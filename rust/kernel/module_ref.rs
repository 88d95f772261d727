// SPDX-License-Identifier: GPL-2.0 OR MIT

//! References to modules.

use crate::{
    bindings,
    prelude::*, //
};

/// Keeps a module loaded.
///
/// For objects of a module that outlive everything which keeps it loaded otherwise: its devices
/// and its open files. The last one must be dropped where unloading waits for the code that drops
/// it, for example in a [`ModuleQueue`](crate::workqueue::ModuleQueue).
pub struct ModuleRef(&'static ThisModule);

impl ModuleRef {
    /// Takes a reference.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the module is being unloaded.
    pub fn new(module: &'static ThisModule) -> Result<Self> {
        // SAFETY: A module that is built in, whose pointer is null, is always there; otherwise
        // the pointer is that of a module whose code runs.
        if unsafe { bindings::try_module_get(module.as_ptr()) } {
            Ok(Self(module))
        } else {
            Err(ENODEV)
        }
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: The reference was taken in `new`.
        unsafe { bindings::module_put(self.0.as_ptr()) };
    }
}
