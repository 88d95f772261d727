// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Registrations of DRM devices that may end early.
//!
//! Upstream's [`Registration`] ends when its owner, the data of the bound device, is dropped. A
//! driver that loses its hardware, without being unbound, has to take the device away from user
//! space before, from wherever it finds out.

use crate::{
    device::{
        self,
        Bound, //
    },
    drm::{
        self,
        Registration,
        UnregisteredDevice, //
    },
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use core::marker::PhantomData;

#[pin_data]
struct Slot<T: drm::Driver> {
    /// Really of the lifetime of the [`EarlyRegistration`], which empties it.
    #[pin]
    registration: Mutex<Option<KBox<Registration<'static, T>>>>,
}

impl<T: drm::Driver> Slot<T> {
    fn empty(&self) {
        let mut slot = self.registration.lock();
        // Under the lock: who comes second waits until the device is unplugged.
        drop(slot.take());
    }
}

/// Unplugs a device, once it is registered with [`EarlyRegistration`].
pub struct Unplugger<T: drm::Driver>(Arc<Slot<T>>);

impl<T: drm::Driver> Unplugger<T> {
    /// Makes an unplugger for a device that is not registered yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        let slot = Arc::pin_init(
            pin_init!(Slot {
                registration <- new_mutex!(None, "drm::registration::Slot"),
            }),
            GFP_KERNEL,
        )?;
        Ok(Self(slot))
    }

    /// Takes the device away from user space, and waits until nobody is in the driver because of
    /// an ioctl. Does nothing to a device that is not registered, or not any more.
    ///
    /// Sleeps, and allocates. Must not be called by what an ioctl waits for.
    pub fn unplug(&self) {
        self.0.empty();
    }
}

impl<T: drm::Driver> Clone for Unplugger<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A registration that an [`Unplugger`] can end. It ends at the latest when this is dropped.
///
/// # Invariants
///
/// What is in the slot was registered for the lifetime `'a`.
pub struct EarlyRegistration<'a, T: drm::Driver> {
    slot: Arc<Slot<T>>,
    _bound: PhantomData<&'a device::Device<Bound>>,
}

impl<'a, T: drm::Driver> EarlyRegistration<'a, T> {
    /// Registers `drm`: see [`Registration::new`].
    ///
    /// # Safety
    ///
    /// As for [`Registration::new`]: it must not be forgotten.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the unplugger has a device; those of [`Registration::new`].
    pub unsafe fn new<E>(
        dev: &'a device::Device<Bound>,
        drm: UnregisteredDevice<T>,
        data: impl PinInit<T::RegistrationData<'a>, E>,
        flags: usize,
        unplugger: &Unplugger<T>,
    ) -> Result<Self>
    where
        Error: From<E>,
    {
        let mut slot = unplugger.0.registration.lock();
        if slot.is_some() {
            return Err(EBUSY);
        }

        // SAFETY: The caller does not forget what is returned, which drops the registration.
        let registration = unsafe { Registration::new(dev, drm, data, flags)? };
        let registration = KBox::into_raw(KBox::new(registration, GFP_KERNEL)?);
        // SAFETY: The pointer is that of a box. Only the lifetime changes; the registration is
        // taken out of the slot and dropped before `'a` ends, when `Self` is dropped, and is not
        // used for anything else.
        *slot = Some(unsafe { KBox::from_raw(registration.cast::<Registration<'static, T>>()) });

        // INVARIANT: Just done.
        Ok(Self {
            slot: unplugger.0.clone(),
            _bound: PhantomData,
        })
    }
}

impl<T: drm::Driver> Drop for EarlyRegistration<'_, T> {
    fn drop(&mut self) {
        self.slot.empty();
    }
}
