// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Interrupts: the installed kernel's abstractions, and what they lack.
//!
//! Upstream's registrations borrow from the device's binding, so that making one is unsafe: it must
//! not be forgotten. [`DevresThreaded`] may be.

use crate::{
    device::Bound,
    devres::Devres,
    platform,
    prelude::*, //
};

pub use rk::irq::*;

/// A threaded interrupt handler: until this is dropped, or the device is unbound.
pub struct DevresThreaded<T: ThreadedHandler + Send + 'static>(
    #[expect(dead_code, reason = "held, not used")] Devres<ThreadedRegistration<'static, T>>,
);

impl<T: ThreadedHandler + Send + 'static> DevresThreaded<T> {
    /// Has `handler` serve the interrupt of `pdev` with this `name`; `label` is what it is called in
    /// statistics.
    ///
    /// # Errors
    ///
    /// Those of [`platform::Device::optional_irq_by_name`] and of `request_threaded_irq()`.
    pub fn new(
        pdev: &platform::Device<Bound>,
        name: &'static CStr,
        flags: Flags,
        label: &'static CStr,
        handler: T,
    ) -> Result<Self> {
        let request = pdev.optional_irq_by_name(name)?;
        // SAFETY: Only the lifetime changes. The interrupt is that of `pdev` as long as it is bound,
        // which is when the registration below is dropped at the latest.
        let request: IrqRequest<'static> = unsafe { core::mem::transmute(request) };
        // SAFETY: It is not forgotten: the device owns it as much as `Self` does.
        let registration = unsafe { ThreadedRegistration::new(request, flags, label, Ok(handler)) };
        Ok(Self(Devres::new(pdev.as_ref(), registration)?))
    }
}
