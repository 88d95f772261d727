// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Runtime power management: a device that nobody uses is turned off.
//!
//! A driver makes a [`Registration`] for a device that it has turned on; from then on the device is
//! only guaranteed to be on while somebody holds an [`ActiveRef`]. [`Ops`] say how it is turned off
//! and on.
//!
//! Upstream's bus adapters leave `struct device_driver`'s `pm` empty and do not let drivers fill it
//! in. [`Registration::new`] does so instead, for the driver that the device is bound to: see
//! there.
//!
//! C header: [`include/linux/pm_runtime.h`](srctree/include/linux/pm_runtime.h)

use crate::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::to_result,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    task::might_sleep, //
};
use core::{
    ffi::c_void,
    ptr,
    sync::atomic::{
        AtomicPtr,
        Ordering, //
    },
};

#[cfg(CONFIG_KUNIT = "y")]
mod tests;

/// How a device is turned off and on.
///
/// The callbacks run one at a time, in process context; they may sleep and allocate. Nobody holds
/// an [`ActiveRef`] while the device is off, and who wants one waits until
/// [`runtime_resume`](Ops::runtime_resume) has returned. They do not run before the registration,
/// nor after it has ended. When the whole system goes to sleep the device is turned off as well,
/// if nobody holds an [`ActiveRef`]; otherwise the system does not.
pub trait Ops: Send + Sync + 'static {
    /// Turns `dev`, which nobody uses, off.
    ///
    /// # Errors
    ///
    /// `EBUSY` or `EAGAIN` if that is not possible now: it is tried again. With any other error it
    /// never is, and nobody gets an [`ActiveRef`] any more, but `EINVAL`.
    fn runtime_suspend(&self, dev: &Device<Bound>) -> Result;

    /// Turns `dev` on.
    ///
    /// # Errors
    ///
    /// Whoever wants an [`ActiveRef`] gets the error (`EAGAIN` for `EACCES`, which means something
    /// else to the C code); the device stays off, and the next one has it tried again.
    fn runtime_resume(&self, dev: &Device<Bound>) -> Result;
}

/// What the callbacks find with the device: a device resource.
struct Node {
    ops: Arc<dyn Ops>,
}

/// Runtime power management of a device, until this is dropped.
///
/// # Invariants
///
/// `node` is a device resource of `dev` that holds a [`Node`]. It is not released before this is
/// dropped, or else `dev` is unbound, whichever comes first.
pub struct Registration<'a> {
    dev: &'a Device<Bound>,
    node: ptr::NonNull<Node>,
}

// SAFETY: The node is only released, which may be done by any thread.
unsafe impl Send for Registration<'_> {}
// SAFETY: There is nothing to do with a shared reference.
unsafe impl Sync for Registration<'_> {}

/// The operations of every driver that uses this module. They know what to do from the device.
///
/// System sleep is refused for devices in use.
static PM_OPS: bindings::dev_pm_ops = bindings::dev_pm_ops {
    suspend: Some(system_suspend),
    freeze: Some(system_suspend),
    poweroff: Some(system_suspend),
    resume: Some(system_resume),
    thaw: Some(system_resume),
    restore: Some(system_resume),
    runtime_suspend: Some(runtime_suspend),
    runtime_resume: Some(runtime_resume),
    ..pin_init::zeroed()
};

impl<'a> Registration<'a> {
    /// Turns `dev`, which is on, over to runtime power management: `ops` turn it off when nobody
    /// has used it for `autosuspend_ms` milliseconds.
    ///
    /// Also returns a first reference, so that it is not turned off before the caller is ready.
    ///
    /// # Errors
    ///
    /// `EBUSY` if there is a registration for `dev`; `ENOMEM`; those of `pm_runtime_set_active()`,
    /// for a device with a parent that is off.
    pub fn new(
        dev: &'a Device<Bound>,
        ops: Arc<dyn Ops>,
        autosuspend_ms: u32,
    ) -> Result<(Self, ActiveRef)> {
        let raw = dev.as_raw();
        if find(dev).is_some() {
            return Err(EBUSY);
        }

        // SAFETY: `release` takes what is allocated here. `Node` needs no more than the alignment
        // of all device resources, that of a pointer.
        let node = unsafe {
            bindings::__devres_alloc_node(
                Some(release),
                size_of::<Node>(),
                bindings::GFP_KERNEL,
                bindings::NUMA_NO_NODE,
                c"kernel::pm::runtime::Registration".as_char_ptr(),
            )
        };
        let node = ptr::NonNull::new(node.cast::<Node>()).ok_or(ENOMEM)?;

        // SAFETY: The device is bound, and it is on. Power management is not enabled yet, which
        // this demands.
        let active = to_result(unsafe { bindings::pm_runtime_set_active(raw) });
        if let Err(error) = active {
            // Not with `release`, which undoes what comes below.
            //
            // SAFETY: The resource was allocated above, and belongs to nobody.
            unsafe { bindings::devres_free(node.as_ptr().cast()) };
            return Err(error);
        }

        // SAFETY: The resource is as big as a `Node`.
        unsafe { node.write(Node { ops }) };
        // SAFETY: The device is bound and `node` is a device resource; `dev` owns it from here on.
        unsafe { bindings::devres_add(raw, node.as_ptr().cast()) };
        // INVARIANT: Just done. Nothing fails from here on.
        let registration = Self { dev, node };

        // SAFETY: A bound device has a driver, which is there as long as the device is bound. Its
        // `pm` is null or what is stored here already: drivers that are registered through this
        // crate cannot set it. It is read where power management is enabled for a device of the
        // driver, which for this one comes below; others were given the same value before. The
        // atomic store takes care of those that do so at the same time. The table lives as long as
        // the module, and the driver does not outlive that.
        unsafe {
            let driver = (*raw).driver;
            AtomicPtr::from_ptr(
                ptr::addr_of_mut!((*driver).pm).cast::<*mut bindings::dev_pm_ops>(),
            )
            .store(ptr::addr_of!(PM_OPS).cast_mut(), Ordering::Release);
        }

        // SAFETY: The device is bound, and it is on.
        unsafe {
            bindings::pm_runtime_get_noresume(raw);
            bindings::pm_runtime_set_autosuspend_delay(
                raw,
                autosuspend_ms.try_into().unwrap_or(c_int::MAX),
            );
            bindings::pm_runtime_use_autosuspend(raw);
            bindings::pm_runtime_enable(raw);
        }

        // INVARIANT: The count was raised above, with the device on.
        Ok((registration, ActiveRef(ARef::from(&**dev))))
    }
}

impl Drop for Registration<'_> {
    /// Ends it; the device stays as it is, on or off. Waits for callbacks.
    fn drop(&mut self) {
        // SAFETY: The device is still bound. If the node has been released, which the device's
        // unbinding does, it is not found. Otherwise it is this one's, since the resource's
        // address is compared.
        unsafe {
            bindings::devres_release(
                self.dev.as_raw(),
                Some(release),
                Some(is_node),
                self.node.as_ptr().cast(),
            )
        };
    }
}

/// The node of `dev`, if there is one.
fn find(dev: &Device<Bound>) -> Option<ptr::NonNull<Node>> {
    // SAFETY: The device is valid. Without a match function the first resource with this release
    // function is found.
    let node = unsafe { bindings::devres_find(dev.as_raw(), Some(release), None, ptr::null_mut()) };

    ptr::NonNull::new(node.cast())
}

/// # Safety
///
/// To be called by `devres_release()` only.
unsafe extern "C" fn is_node(
    _dev: *mut bindings::device,
    res: *mut c_void,
    wanted: *mut c_void,
) -> c_int {
    (res == wanted).into()
}

/// # Safety
///
/// To be called for a [`Node`], which is not used afterwards.
unsafe extern "C" fn release(dev: *mut bindings::device, res: *mut c_void) {
    // SAFETY: The device is valid. Disabling waits for callbacks that are running and cancels what
    // was to call them, so that nobody uses the node afterwards.
    unsafe {
        bindings::pm_runtime_disable(dev);
        bindings::pm_runtime_dont_use_autosuspend(dev);
        ptr::drop_in_place(res.cast::<Node>());
    }
}

/// Calls `call` with the operations for `dev`, or fails with `ended` if there are none (any more):
/// then nothing is turned off or on, which must not look as if it were.
///
/// # Safety
///
/// Called as a runtime callback of `dev`, which is bound to a driver that uses [`PM_OPS`].
unsafe fn with_ops(
    dev: *mut bindings::device,
    ended: Error,
    call: impl FnOnce(&dyn Ops, &Device<Bound>) -> Result,
) -> c_int {
    // SAFETY: The device is valid during the call. Runtime callbacks run between the enabling and
    // the disabling in this module only, during which it is bound.
    let dev = unsafe { &*dev.cast_const().cast::<Device<Bound>>() };
    // It is taken from the device before power management is disabled, so that this may be too late.
    let Some(node) = find(dev) else {
        return ended.to_errno();
    };
    // SAFETY: The node is released after power management was disabled, which waits for this.
    let node = unsafe { node.as_ref() };

    match call(&*node.ops, dev) {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// # Safety
///
/// As for [`with_ops`].
unsafe extern "C" fn runtime_suspend(dev: *mut bindings::device) -> c_int {
    // SAFETY: By this function's contract.
    unsafe {
        let result = with_ops(dev, EBUSY, |ops, dev| ops.runtime_suspend(dev));
        if result == EBUSY.to_errno() || result == EAGAIN.to_errno() {
            // Tried again after the delay, counted from now.
            bindings::pm_runtime_mark_last_busy(dev);
        }
        result
    }
}

/// # Safety
///
/// As for [`with_ops`].
unsafe extern "C" fn runtime_resume(dev: *mut bindings::device) -> c_int {
    // SAFETY: By this function's contract.
    unsafe { with_ops(dev, ENODEV, |ops, dev| ops.runtime_resume(dev)) }
}

/// # Safety
///
/// Called as a callback for system sleep.
unsafe extern "C" fn system_suspend(dev: *mut bindings::device) -> c_int {
    // SAFETY: The device is valid.
    if !unsafe { bindings::pm_runtime_enabled(dev) } {
        // There is no registration: the driver sees to the device itself.
        return 0;
    }
    // SAFETY: The device is valid. While power management is disabled nobody gets an `ActiveRef`,
    // so that what is seen of them stays true. `pm_runtime_force_suspend` turns the device off with
    // `runtime_suspend`, unless it is; it disables power management once more, until the system
    // wakes up, and takes that back if it fails.
    unsafe {
        bindings::pm_runtime_disable(dev);
        let result = if bindings::pm_runtime_is_used(dev) {
            EBUSY.to_errno()
        } else {
            bindings::pm_runtime_force_suspend(dev)
        };
        bindings::pm_runtime_enable(dev);
        result
    }
}

/// # Safety
///
/// Called as a callback for system sleep, after [`system_suspend`].
unsafe extern "C" fn system_resume(dev: *mut bindings::device) -> c_int {
    // SAFETY: The device is valid, and bound to the driver whose callback this is.
    let bound = unsafe { &*dev.cast_const().cast::<Device<Bound>>() };
    if find(bound).is_none() {
        // There is no registration, as when the system went to sleep.
        return 0;
    }
    // SAFETY: The device is valid. This turns it on with `runtime_resume`, if it is needed.
    unsafe { bindings::pm_runtime_force_resume(dev) }
}

/// Keeps a device on.
///
/// May be dropped in any context, also after the device was unbound.
///
/// # Invariants
///
/// The device's usage count holds one for this. It was on when that was taken.
pub struct ActiveRef(ARef<Device>);

impl ActiveRef {
    /// Turns `dev` on and keeps it so. Sleeps.
    ///
    /// # Errors
    ///
    /// `EACCES` if `dev` has no runtime power management, or not any more; that of
    /// [`Ops::runtime_resume`]; `EINVAL` if [`Ops::runtime_suspend`] failed for good.
    pub fn get(dev: &Device) -> Result<Self> {
        // The C code says so only where the device is off.
        might_sleep();
        // SAFETY: The device is valid.
        to_result(unsafe { bindings::pm_runtime_resume_and_get(dev.as_raw()) })?;
        // INVARIANT: Counted just now.
        let this = Self(dev.into());
        // Without power management a device that was left on is taken for one that is.
        //
        // SAFETY: The device is valid.
        if !unsafe { bindings::pm_runtime_enabled(dev.as_raw()) } {
            return Err(EACCES);
        }
        Ok(this)
    }

    /// Keeps `dev` on, if it is. May be called in any context.
    pub fn get_if_active(dev: &Device) -> Option<Self> {
        // SAFETY: The device is valid.
        let active = unsafe { bindings::pm_runtime_get_if_active(dev.as_raw()) };

        // INVARIANT: A positive result means that it was counted.
        (active > 0).then(|| Self(dev.into()))
    }

    /// Keeps `dev` on, if it is and somebody uses it. May be called in any context.
    pub fn get_if_in_use(dev: &Device) -> Option<Self> {
        // SAFETY: The device is valid.
        let in_use = unsafe { bindings::pm_runtime_get_if_in_use(dev.as_raw()) };

        // INVARIANT: A positive result means that it was counted.
        (in_use > 0).then(|| Self(dev.into()))
    }
}

impl Clone for ActiveRef {
    fn clone(&self) -> Self {
        // SAFETY: The device is valid.
        unsafe { bindings::pm_runtime_get_noresume(self.0.as_raw()) };
        // INVARIANT: Counted just now; it is on because of `self`.
        Self(self.0.clone())
    }
}

impl Drop for ActiveRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariant there is one to put. This does not sleep: what turns the
        // device off is left to a worker.
        unsafe { bindings::pm_runtime_put_autosuspend(self.0.as_raw()) };
    }
}
