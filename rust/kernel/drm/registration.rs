// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Registrations of DRM devices that may end early.
//!
//! Upstream's [`Registration`] ends when its owner, the data of the bound device, is dropped. A
//! driver that loses its hardware, without being unbound, has to take the device away from user
//! space before, from wherever it finds out.

use crate::{
    device::{
        Bound,
        Device, //
    },
    devres::Devres,
    drm::{
        self,
        Registration,
        UnregisteredDevice, //
    },
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
// lockdep knows a class by the address of its name. A literal in a generic function may have one
// for each instance; a static has one.
static SLOT_NAME: &CStr = c"drm::registration::Slot";

#[pin_data]
struct Slot<T: drm::Driver> {
    /// Really of the lifetime of the device's binding, when [`Emptier`] empties it at the latest.
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
                registration <- Mutex::new(None, SLOT_NAME, crate::static_lock_class!()),
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

/// Ends the registration in a slot when it is dropped.
struct Emptier<T: drm::Driver>(Arc<Slot<T>>);

impl<T: drm::Driver> Drop for Emptier<T> {
    fn drop(&mut self) {
        self.0.empty();
    }
}

/// A registration that an [`Unplugger`] can end. It ends at the latest when this is dropped, or
/// else the device is unbound.
pub struct EarlyRegistration<T: drm::Driver + 'static>(
    #[expect(dead_code, reason = "held, not used")] Devres<Emptier<T>>,
);

impl<T: drm::Driver + 'static> EarlyRegistration<T> {
    /// Registers `drm`: see [`Registration::new`]. That is unsafe, for it must not be forgotten; of
    /// this one the device knows, and its data borrow nothing.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the unplugger has a device; `ENOMEM`; those of [`Registration::new`].
    pub fn new<'a, E>(
        dev: &'a Device<Bound>,
        drm: UnregisteredDevice<T>,
        data: impl PinInit<T::RegistrationData<'a>, E>,
        flags: usize,
        unplugger: &Unplugger<T>,
    ) -> Result<Self>
    where
        Error: From<E>,
        T::RegistrationData<'a>: 'static,
    {
        let mut slot = unplugger.0.registration.lock();
        if slot.is_some() {
            return Err(EBUSY);
        }

        // SAFETY: It is dropped when the slot is emptied, which the device sees to, below.
        let registration = unsafe { Registration::new(dev, drm, data, flags)? };
        let registration = KBox::into_raw(KBox::new(registration, GFP_KERNEL)?);
        // SAFETY: The pointer is that of a box. Only the lifetime changes; the registration is
        // taken out of the slot and dropped when the device is unbound at the latest, and is not
        // used for anything else. Its data are good for ever.
        *slot = Some(unsafe { KBox::from_raw(registration.cast::<Registration<'static, T>>()) });
        drop(slot);

        // On failure this, too, empties the slot.
        let emptier = Emptier(unplugger.0.clone());
        Ok(Self(Devres::new::<Error>(dev, Ok(emptier))?))
    }
}

#[kunit_tests(magni_drm_registration)]
mod tests {
    use super::*;
    use crate::{
        drm::test_driver::{
            bound,
            CountDrops,
            TestDriver,
            TestDrm, //
        },
        sync::{
            aref::ARef,
            atomic::{
                ordering::Relaxed,
                Atomic, //
            },
        },
    };

    type Drops = Arc<Atomic<u32>>;

    fn drops() -> Result<Drops> {
        Ok(Arc::new(Atomic::new(0), GFP_KERNEL)?)
    }

    /// Whether user space sees the device.
    fn is_there(drm: &drm::Device<TestDriver>) -> bool {
        // SAFETY: It was registered, at least once.
        let drm: &drm::Device<TestDriver, drm::Ioctl> =
            unsafe { drm::Device::from_raw(core::ptr::from_ref(drm).cast()) };
        drm.registration_guard().is_some()
    }

    fn register(
        test: UnregisteredDevice<TestDriver>,
        parent: &crate::faux::Registration,
        drops: &Drops,
        unplugger: &Unplugger<TestDriver>,
    ) -> Result<EarlyRegistration<TestDriver>> {
        let data = CountDrops(drops.clone());
        EarlyRegistration::new(bound(parent), test, Ok::<_, Error>(data), 0, unplugger)
    }

    #[test]
    fn a_device_is_there_until_it_is_unplugged() -> Result {
        let TestDrm { drm, parent } = TestDrm::new()?;
        let device: ARef<drm::Device<TestDriver>> = (&*drm).into();
        let drops = drops()?;
        let unplugger = Unplugger::new()?;
        unplugger.unplug();
        let registration = register(drm, &parent, &drops, &unplugger)?;
        assert!(is_there(&device));
        assert_eq!(drops.load(Relaxed), 0);
        unplugger.clone().unplug();
        assert!(!is_there(&device));
        assert_eq!(drops.load(Relaxed), 1);
        unplugger.unplug();
        drop(registration);
        assert_eq!(drops.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn a_device_goes_with_its_registration() -> Result {
        let TestDrm { drm, parent } = TestDrm::new()?;
        let device: ARef<drm::Device<TestDriver>> = (&*drm).into();
        let drops = drops()?;
        let unplugger = Unplugger::new()?;
        let registration = register(drm, &parent, &drops, &unplugger)?;
        drop(registration);
        assert!(!is_there(&device));
        assert_eq!(drops.load(Relaxed), 1);
        // There is nothing left to unplug.
        unplugger.unplug();
        assert_eq!(drops.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn a_registration_ends_with_the_device() -> Result {
        let TestDrm { drm, parent } = TestDrm::new()?;
        let device: ARef<drm::Device<TestDriver>> = (&*drm).into();
        let drops = drops()?;
        let unplugger = Unplugger::new()?;
        let registration = register(drm, &parent, &drops, &unplugger)?;
        assert!(is_there(&device));
        drop(parent);
        assert!(!is_there(&device));
        assert_eq!(drops.load(Relaxed), 1);
        drop(registration);
        assert_eq!(drops.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn an_unplugger_is_for_one_device() -> Result {
        let (first, second) = (TestDrm::new()?, TestDrm::new()?);
        let drops = drops()?;
        let unplugger = Unplugger::new()?;
        let registration = register(first.drm, &first.parent, &drops, &unplugger)?;
        let refused = register(second.drm, &second.parent, &drops, &unplugger);
        assert_eq!(refused.err(), Some(EBUSY));
        // What it was to have is dropped.
        assert_eq!(drops.load(Relaxed), 1);
        unplugger.unplug();
        assert_eq!(drops.load(Relaxed), 2);
        drop(registration);
        Ok(())
    }

    #[test]
    fn a_device_of_another_parent_is_refused() -> Result {
        let (first, second) = (TestDrm::new()?, TestDrm::new()?);
        let drops = drops()?;
        let unplugger = Unplugger::new()?;
        let refused = register(first.drm, &second.parent, &drops, &unplugger);
        assert_eq!(refused.err(), Some(EINVAL));
        // The unplugger is free for another.
        drop(register(second.drm, &second.parent, &drops, &unplugger)?);
        assert_eq!(drops.load(Relaxed), 2);
        Ok(())
    }
}
