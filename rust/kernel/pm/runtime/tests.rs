// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of runtime power management, on devices that only count.

use super::{
    ActiveRef,
    Ops,
    Registration,
    PM_OPS, //
};
use crate::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    macros::kunit_tests,
    new_spinlock,
    prelude::*,
    static_lock_class,
    sync::{
        wait::WaitQueue,
        Arc,
        SpinLock, //
    },
    test_device::TestDevice,
    time::msecs_to_jiffies, //
};

/// How long a test waits at most for what is bound to happen.
const PATIENCE_MS: u32 = 30_000;
/// So long that no test sees it pass.
const NEVER_MS: u32 = 600_000;

#[derive(Default)]
struct Seen {
    suspends: u32,
    resumes: u32,
    off: bool,
    /// What the next calls end with.
    suspend_fails: Option<Error>,
    resume_fails: Option<Error>,
}

/// Watches a device being turned off and on.
#[pin_data]
struct Watch {
    #[pin]
    seen: SpinLock<Seen>,
    #[pin]
    changed: WaitQueue,
}

impl Watch {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                seen <- new_spinlock!(Seen::default()),
                changed <- WaitQueue::new(c"pm::tests::Watch", static_lock_class!()),
            }),
            GFP_KERNEL,
        )
    }

    fn update<R>(&self, f: impl FnOnce(&mut Seen) -> R) -> R {
        let result = f(&mut self.seen.lock());
        self.changed.wake_all();
        result
    }

    fn wait(&self, condition: impl Fn(&Seen) -> bool) -> bool {
        self.changed
            .wait_timeout(msecs_to_jiffies(PATIENCE_MS), || {
                condition(&self.seen.lock())
            })
    }

    /// Waits until the device is off.
    fn is_off(&self) -> bool {
        self.wait(|seen| seen.off)
    }

    fn counts(&self) -> (u32, u32) {
        let seen = self.seen.lock();
        (seen.suspends, seen.resumes)
    }
}

impl Ops for Watch {
    fn runtime_suspend(&self, _dev: &Device<Bound>) -> Result {
        self.update(|seen| {
            seen.suspends += 1;
            seen.suspend_fails.take().map_or(Ok(()), Err)?;
            seen.off = true;
            Ok(())
        })
    }

    fn runtime_resume(&self, _dev: &Device<Bound>) -> Result {
        self.update(|seen| {
            seen.resumes += 1;
            seen.resume_fails.take().map_or(Ok(()), Err)?;
            seen.off = false;
            Ok(())
        })
    }
}

type Callback = Option<unsafe extern "C" fn(*mut bindings::device) -> c_int>;

/// Calls `callback` as the C code does.
fn call(callback: Callback, dev: &TestDevice) -> c_int {
    match callback {
        // SAFETY: The device is bound, and its callbacks are those of this module.
        Some(callback) => unsafe { callback(dev.as_raw()) },
        None => 1,
    }
}

/// What the C code holds while the system goes to sleep.
fn hold_for_sleep(dev: &TestDevice) -> ActiveRef {
    // SAFETY: The device is valid.
    unsafe { bindings::pm_runtime_get_noresume(dev.as_raw()) };
    ActiveRef((&**dev.bound()).into())
}

#[kunit_tests(magni_pm_runtime)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_nobody_uses_is_turned_off() -> Result {
        let dev = TestDevice::new(core::ptr::null_mut())?;
        let watch = Watch::new()?;
        let (_registration, active) = Registration::new(dev.bound(), watch.clone(), 0)?;
        let again = active.clone();
        drop(active);
        assert!(ActiveRef::get_if_in_use(dev.bound()).is_some());
        assert_eq!(watch.counts(), (0, 0));
        drop(again);
        assert!(watch.is_off());
        assert!(ActiveRef::get_if_active(dev.bound()).is_none());
        assert!(ActiveRef::get_if_in_use(dev.bound()).is_none());

        let active = ActiveRef::get(dev.bound())?;
        assert_eq!(watch.counts(), (1, 1));
        assert!(ActiveRef::get_if_active(dev.bound()).is_some());
        drop(active);
        assert!(watch.wait(|seen| seen.suspends == 2));
        Ok(())
    }

    #[test]
    fn a_device_that_is_busy_is_tried_again() -> Result {
        let dev = TestDevice::new(core::ptr::null_mut())?;
        let watch = Watch::new()?;
        watch.update(|seen| seen.suspend_fails = Some(EBUSY));
        let (_registration, active) = Registration::new(dev.bound(), watch.clone(), 500)?;
        drop(active);
        assert!(watch.is_off());
        assert_eq!(watch.counts(), (2, 0));
        Ok(())
    }

    #[test]
    fn a_device_that_cannot_be_turned_off_is_of_no_use() -> Result {
        let dev = TestDevice::new(core::ptr::null_mut())?;
        let watch = Watch::new()?;
        watch.update(|seen| seen.suspend_fails = Some(EIO));
        let (registration, active) = Registration::new(dev.bound(), watch.clone(), 0)?;
        drop(active);
        assert!(watch.wait(|seen| seen.suspends == 1));
        drop(registration);

        // Whoever comes next begins anew.
        let (_registration, active) = Registration::new(dev.bound(), watch.clone(), 0)?;
        drop(active);
        assert!(watch.is_off());
        drop(ActiveRef::get(dev.bound())?);
        Ok(())
    }

    #[test]
    fn a_device_that_was_not_turned_on_is_tried_again() -> Result {
        let dev = TestDevice::new(core::ptr::null_mut())?;
        let watch = Watch::new()?;
        let (_registration, active) = Registration::new(dev.bound(), watch.clone(), 0)?;
        drop(active);
        assert!(watch.is_off());
        watch.update(|seen| seen.resume_fails = Some(EIO));
        assert_eq!(ActiveRef::get(dev.bound()).err(), Some(EIO));
        assert_eq!(watch.counts(), (1, 1));
        drop(ActiveRef::get(dev.bound())?);
        assert_eq!(watch.counts().1, 2);
        Ok(())
    }

    #[test]
    fn there_is_one_registration_at_a_time() -> Result {
        let dev = TestDevice::new(core::ptr::null_mut())?;
        let watch = Watch::new()?;
        let (registration, active) = Registration::new(dev.bound(), watch.clone(), NEVER_MS)?;
        assert_eq!(
            Registration::new(dev.bound(), watch.clone(), NEVER_MS).err(),
            Some(EBUSY)
        );
        drop((registration, active));
        drop(Registration::new(dev.bound(), watch, NEVER_MS)?);
        Ok(())
    }

    #[test]
    fn nobody_uses_a_device_without_a_registration() -> Result {
        let dev = TestDevice::new(core::ptr::null_mut())?;
        assert_eq!(ActiveRef::get(dev.bound()).err(), Some(EACCES));
        let watch = Watch::new()?;
        let (registration, active) = Registration::new(dev.bound(), watch.clone(), NEVER_MS)?;
        drop(ActiveRef::get(dev.bound())?);
        drop(registration);
        // It was left on, but nobody sees to that any more.
        assert_eq!(ActiveRef::get(dev.bound()).err(), Some(EACCES));
        assert!(ActiveRef::get_if_active(dev.bound()).is_none());
        drop(active);

        // Nothing was done, and nothing is said to have been.
        assert_eq!(call(PM_OPS.runtime_suspend, &dev), EBUSY.to_errno());
        assert_eq!(call(PM_OPS.runtime_resume, &dev), ENODEV.to_errno());
        assert_eq!(call(PM_OPS.suspend, &dev), 0);
        assert_eq!(call(PM_OPS.resume, &dev), 0);
        assert_eq!(watch.counts(), (0, 0));
        Ok(())
    }

    #[test]
    fn a_device_in_use_keeps_the_system_awake() -> Result {
        let dev = TestDevice::new(core::ptr::null_mut())?;
        let watch = Watch::new()?;
        let (_registration, active) = Registration::new(dev.bound(), watch.clone(), NEVER_MS)?;
        let sleep = hold_for_sleep(&dev);
        assert_eq!(call(PM_OPS.suspend, &dev), EBUSY.to_errno());
        assert_eq!(watch.counts(), (0, 0));
        // It is as it was.
        drop(ActiveRef::get(dev.bound())?);
        drop(active);

        assert_eq!(call(PM_OPS.suspend, &dev), 0);
        assert_eq!(watch.counts(), (1, 0));
        assert_eq!(ActiveRef::get(dev.bound()).err(), Some(EACCES));
        assert_eq!(call(PM_OPS.resume, &dev), 0);
        drop(sleep);
        drop(ActiveRef::get(dev.bound())?);
        assert_eq!(watch.counts(), (1, 1));
        Ok(())
    }

    #[test]
    fn a_device_that_is_to_stay_on_goes_to_sleep_with_the_system() -> Result {
        let dev = TestDevice::new(core::ptr::null_mut())?;
        let watch = Watch::new()?;
        let (_registration, active) = Registration::new(dev.bound(), watch.clone(), NEVER_MS)?;
        drop(active);
        // As user space does, by writing to a file.
        //
        // SAFETY: The device is valid.
        unsafe { bindings::pm_runtime_forbid(dev.as_raw()) };
        let sleep = hold_for_sleep(&dev);
        assert_eq!(call(PM_OPS.suspend, &dev), 0);
        assert_eq!(watch.counts(), (1, 0));
        assert_eq!(call(PM_OPS.resume, &dev), 0);
        // It was on before.
        assert_eq!(watch.counts(), (1, 1));
        drop(sleep);
        // SAFETY: As above.
        unsafe { bindings::pm_runtime_allow(dev.as_raw()) };
        Ok(())
    }

    #[test]
    fn a_device_that_will_not_sleep_goes_on() -> Result {
        let dev = TestDevice::new(core::ptr::null_mut())?;
        let watch = Watch::new()?;
        let (_registration, active) = Registration::new(dev.bound(), watch.clone(), NEVER_MS)?;
        drop(active);
        let sleep = hold_for_sleep(&dev);
        watch.update(|seen| seen.suspend_fails = Some(EBUSY));
        assert_eq!(call(PM_OPS.suspend, &dev), EBUSY.to_errno());
        drop(ActiveRef::get(dev.bound())?);
        drop(sleep);
        assert_eq!(watch.counts(), (1, 0));
        Ok(())
    }

    #[test]
    fn a_registration_that_fails_leaves_nothing() -> Result {
        let parent = TestDevice::new(core::ptr::null_mut())?;
        let watch = Watch::new()?;
        let (_parents, active) = Registration::new(parent.bound(), watch.clone(), 0)?;
        // It is on while the child is bound, and then off.
        drop(active);
        let child = TestDevice::new(parent.as_raw())?;
        assert!(watch.is_off());
        let ops = Watch::new()?;
        assert_eq!(
            Registration::new(child.bound(), ops.clone(), 0).err(),
            Some(EBUSY)
        );

        let _on = ActiveRef::get(parent.bound())?;
        let (registration, active) = Registration::new(child.bound(), ops.clone(), 0)?;
        drop(active);
        assert!(ops.is_off());
        drop(ActiveRef::get(child.bound())?);
        drop(registration);
        Ok(())
    }
}
