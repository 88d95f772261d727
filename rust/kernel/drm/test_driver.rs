// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A DRM driver without hardware, for tests.

use crate::{
    device::{
        self,
        Bound,
        Device, //
    },
    drm::{
        self,
        gem::{
            self,
            shmem, //
        },
        UnregisteredDevice, //
    },
    faux,
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    },
};

pub(crate) struct TestDriver;

pub(crate) struct TestFile;

impl drm::file::DriverFile for TestFile {
    type Driver = TestDriver;

    fn open(_dev: &drm::Device<TestDriver>) -> Result<Pin<KBox<Self>>> {
        Ok(KBox::new(Self, GFP_KERNEL)?.into())
    }
}

#[pin_data]
pub(crate) struct TestObject {}

impl gem::DriverObject for TestObject {
    type Driver = TestDriver;
    type Args = ();

    fn new(
        _dev: &drm::Device<TestDriver>,
        _size: usize,
        (): Self::Args,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {})
    }
}

#[pin_data]
pub(crate) struct TestData {}

#[vtable]
impl drm::Driver for TestDriver {
    type Data = TestData;
    /// How often it was dropped is counted.
    type RegistrationData<'a> = CountDrops;
    type File = TestFile;
    type Object = shmem::Object<TestObject>;
    type ParentDevice<Ctx: device::DeviceContext> = faux::Device<Ctx>;

    const INFO: drm::DriverInfo = drm::DriverInfo {
        major: 0,
        minor: 0,
        patchlevel: 0,
        name: c"magni-test",
        desc: c"Tests",
    };
    const IOCTLS: &'static [drm::ioctl::DrmIoctlDescriptor] = &[];
}

pub(crate) struct CountDrops(pub(crate) Arc<Atomic<u32>>);

impl Drop for CountDrops {
    fn drop(&mut self) {
        self.0.add(1, Relaxed);
    }
}

/// A device of the driver's; not registered.
pub(crate) struct TestDrm {
    pub(crate) drm: UnregisteredDevice<TestDriver>,
    pub(crate) parent: faux::Registration,
}

impl TestDrm {
    pub(crate) fn new() -> Result<Self> {
        // What a failed test has left must not be in the way of the next.
        static NUMBER: Atomic<u32> = Atomic::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let name = CString::try_from_fmt(fmt!("magni-test-drm-{number}"))?;
        let parent = faux::Registration::new(&name, None)?;
        let drm = UnregisteredDevice::new(parent.as_ref(), try_pin_init!(TestData {}))?;
        Ok(Self { drm, parent })
    }

    /// Makes an object of a page.
    pub(crate) fn object(&self) -> Result<ARef<shmem::Object<TestObject>>> {
        shmem::Object::new(
            &self.drm,
            crate::page::PAGE_SIZE,
            shmem::ObjectConfig::default(),
            (),
        )
    }
}

/// The device behind `parent`.
pub(crate) fn bound(parent: &faux::Registration) -> &Device<Bound> {
    let faux: &faux::Device<Bound> = parent.as_ref();
    faux.as_ref()
}
