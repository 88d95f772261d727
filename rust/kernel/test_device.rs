// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A device that is bound to a driver, for tests: nothing is behind it.

use crate::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    str::CString,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    },
    types::Opaque, //
};

/// A platform device with a driver of its own, to which it is bound until this is dropped.
///
/// # Invariants
///
/// `driver` is registered, and `dev` is a device that is bound to it.
pub(crate) struct TestDevice {
    dev: *mut bindings::platform_device,
    driver: KBox<Opaque<bindings::platform_driver>>,
    _name: CString,
}

impl TestDevice {
    /// Makes one; `parent` is null or a device that outlives it.
    pub(crate) fn new(parent: *mut bindings::device) -> Result<Self> {
        // What a failed test has left must not be in the way of the next.
        static NUMBER: Atomic<u32> = Atomic::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let name = CString::try_from_fmt(fmt!("magni-test-device-{number}"))?;

        let mut driver: bindings::platform_driver = pin_init::zeroed();
        driver.driver.name = name.as_char_ptr();
        let driver = KBox::new(Opaque::new(driver), GFP_KERNEL)?;
        // SAFETY: The driver stays where it is, in its box, until it is unregistered in `drop`, and
        // so does its name. It has no callbacks.
        to_result(unsafe {
            bindings::__platform_driver_register(
                driver.get(),
                core::ptr::null_mut(),
                c"magni".as_char_ptr(),
            )
        })?;

        let info = bindings::platform_device_info {
            parent,
            name: name.as_char_ptr(),
            id: bindings::PLATFORM_DEVID_NONE,
            ..Default::default()
        };
        // SAFETY: The description is read during the call only.
        let dev = from_err_ptr(unsafe { bindings::platform_device_register_full(&info) });
        let dev = dev.inspect_err(|_| {
            // SAFETY: Registered above.
            unsafe { bindings::platform_driver_unregister(driver.get()) }
        })?;
        // INVARIANT: The names are equal, so that it was bound as it was added: drivers are probed
        // at once unless somebody asks for something else.
        Ok(Self {
            dev,
            driver,
            _name: name,
        })
    }

    /// The device.
    pub(crate) fn bound(&self) -> &Device<Bound> {
        // SAFETY: By the type invariant; `Device` is a transparent wrapper.
        unsafe { &*(&raw const (*self.dev).dev).cast() }
    }

    /// The C device.
    pub(crate) fn as_raw(&self) -> *mut bindings::device {
        // SAFETY: By the type invariant; only an address is computed.
        unsafe { &raw mut (*self.dev).dev }
    }
}

impl Drop for TestDevice {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; nobody borrows the device any more.
        unsafe {
            bindings::platform_device_unregister(self.dev);
            bindings::platform_driver_unregister(self.driver.get());
        }
    }
}
