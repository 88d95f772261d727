// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Locking many buffer objects at once.
//!
//! Reservation locks are taken in any order; when two tasks would wait for each other, one of
//! them drops all that it has and begins anew. [`Exec::lock`] is that loop: its closure says what
//! to lock and is called again after each such back-off; what comes back holds the locks.
//!
//! # Examples
//!
//! ```ignore
//! pin_init::stack_pin_init!(let exec = Exec::new(0));
//! let mut locked = exec.as_mut().lock(|locker| {
//!     locker.prepare_vm(vm, 1)?;
//!     locker.prepare_object(&*target, 1)
//! })?;
//! if let Some(resv) = locked.resv(&*target) {
//!     job.add_resv_dependencies(&resv, Usage::to_wait_for(true))?;
//! }
//! let finished = job.submit(|fence| {
//!     locked.add_vm_fence(vm, fence, Usage::Bookkeep, Usage::Bookkeep);
//! });
//! ```
//!
//! C header: [`include/drm/drm_exec.h`](srctree/include/drm/drm_exec.h)

use crate::{
    bindings,
    dma_fence::Fence,
    dma_resv::{
        HeldResv,
        Resv, //
    },
    drm::{
        gem::IntoGEMObject,
        gpuvm::{
            DriverGpuVm,
            GpuVm, //
        },
    },
    error::to_result,
    prelude::*,
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

pub use crate::dma_resv::Usage;

/// `DRM_EXEC_INTERRUPTIBLE_WAIT`, a macro that bindgen cannot evaluate.
const INTERRUPTIBLE_WAIT: u32 = 1 << 0;

/// `DRM_EXEC_IGNORE_DUPLICATES`, likewise.
const IGNORE_DUPLICATES: u32 = 1 << 1;

/// A context for locking.
#[pin_data(PinnedDrop)]
pub struct Exec {
    #[pin]
    inner: Opaque<bindings::drm_exec>,
    /// A round of locking was begun.
    used: bool,
    // A wound/wait context belongs to the task.
    _not_send: NotThreadSafe,
}

impl Exec {
    /// Makes a context with room for `objects` objects at first, a page of pointers if that is 0:
    /// waits can be interrupted by signals, and an object may be named twice.
    pub fn new(objects: u32) -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Opaque::ffi_init(|slot| {
                // SAFETY: The slot is writable, and pinned: the C code may keep its address.
                unsafe {
                    bindings::drm_exec_init(slot, INTERRUPTIBLE_WAIT | IGNORE_DUPLICATES, objects)
                }
            }),
            used: false,
            _not_send: NotThreadSafe,
        })
    }

    /// Locks what `f` locks, all of it.
    ///
    /// `f` is called again after each back-off, with nothing locked. The locks are released when
    /// the context is dropped.
    ///
    /// # Errors
    ///
    /// Those of `f`; `ERESTARTSYS` if a signal interrupted the wait for a lock; `EALREADY` if the
    /// context was used before: it is good for one round, and a second one would begin with locks
    /// held, which nothing that is locked then accounts for.
    pub fn lock<F>(self: Pin<&mut Self>, mut f: F) -> Result<Locked<'_>>
    where
        F: FnMut(&mut Locker<'_>) -> Result,
    {
        let this = self.project();
        if core::mem::replace(this.used, true) {
            return Err(EALREADY);
        }
        let inner: &Opaque<_> = this.inner.into_ref().get_ref();
        let exec = inner.get();
        let mut room = 0;
        // SAFETY: The context is initialised, and `self` is exclusive.
        while unsafe { bindings::drm_exec_cleanup(exec) } {
            let mut locker = Locker {
                exec: inner,
                room: u32::MAX,
            };
            let result = f(&mut locker);
            room = locker.room;
            // SAFETY: As above.
            if unsafe { bindings::drm_exec_is_contended(exec) } {
                continue;
            }
            result?;
        }
        // INVARIANT: The loop ended without contention, so the locks are held.
        Ok(Locked { exec: inner, room })
    }
}

#[pinned_drop]
impl PinnedDrop for Exec {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Initialised by `new`; unlocks and frees everything, in any state.
        unsafe { bindings::drm_exec_fini(self.inner.get()) };
    }
}

/// One round of locking, in [`Exec::lock`].
pub struct Locker<'a> {
    exec: &'a Opaque<bindings::drm_exec>,
    /// For how many fences there is room on every object.
    room: u32,
}

impl Locker<'_> {
    /// Locks the reservation that the private objects of `vm` share, and those of its other
    /// objects, and makes room for `fences` fences on each.
    ///
    /// # Errors
    ///
    /// `EDEADLK` on contention, which [`Exec::lock`] handles: pass it on. `ENOMEM`,
    /// `ERESTARTSYS`.
    pub fn prepare_vm<T: DriverGpuVm>(&mut self, vm: &GpuVm<T>, fences: u32) -> Result {
        // SAFETY: The context is in its locking loop, and the VM is alive.
        to_result(unsafe { bindings::drm_gpuvm_prepare_vm(vm.as_raw(), self.exec.get(), fences) })?;
        // SAFETY: As above; the VM's own reservation was locked just now, which keeps two of
        // these from running at once, as the function demands.
        to_result(unsafe {
            bindings::drm_gpuvm_prepare_objects(vm.as_raw(), self.exec.get(), fences)
        })?;
        self.room = self.room.min(fences);
        Ok(())
    }

    /// Locks the reservation of `object`, and makes room for `fences` fences.
    ///
    /// # Errors
    ///
    /// As [`prepare_vm`](Self::prepare_vm).
    pub fn prepare_object(&mut self, object: &impl IntoGEMObject, fences: u32) -> Result {
        // SAFETY: The context is in its locking loop, and the object is alive; the context takes a
        // reference of its own.
        to_result(unsafe {
            bindings::drm_exec_prepare_obj(self.exec.get(), object.as_raw(), fences)
        })?;
        self.room = self.room.min(fences);
        Ok(())
    }
}

/// Locks that are held, all of those that were asked for.
///
/// # Invariants
///
/// The context has left its locking loop without contention.
pub struct Locked<'a> {
    exec: &'a Opaque<bindings::drm_exec>,
    room: u32,
}

impl Locked<'_> {
    /// For how many fences there is room on every object that is locked.
    pub fn room(&self) -> u32 {
        self.room
    }

    /// The reservation of `object`, if it is among what was locked.
    pub fn resv(&self, object: &impl IntoGEMObject) -> Option<HeldResv<'_>> {
        let exec = self.exec.get();
        // SAFETY: The object is alive, and its reservation is set when it is made.
        let resv = unsafe { (*object.as_raw()).resv };
        // SAFETY: The context is initialised, and not changed any more; its objects are alive, for
        // it holds references.
        let held = unsafe {
            (0..(*exec).num_objects as usize).any(|at| (**(*exec).objects.add(at)).resv == resv)
        };
        // SAFETY: The locks are held by the type invariant, by this task, as long as `self` lives,
        // and with them the objects that the reservations are of.
        held.then(|| unsafe { HeldResv::new(Resv::from_raw(resv)) })
    }

    /// Puts `fence` on every object that is locked: as `private` on those that belong to `vm`
    /// alone, as `shared` on the others.
    ///
    /// Room must have been made for as many fences as are added, on every object: one that was
    /// locked with room for fewer counts for all, so that what is only to be looked at is
    /// locked with the same number. A fence beyond that is a bug of the driver, and is refused with
    /// a warning (the C code would stop the machine). So is a link of a chain, which stands for
    /// several fences.
    pub fn add_vm_fence<T: DriverGpuVm>(
        &mut self,
        vm: &GpuVm<T>,
        fence: &Fence,
        private: Usage,
        shared: Usage,
    ) {
        if crate::warn_on!(self.room == 0 || fence.is_chain()) {
            return;
        }
        self.room -= 1;
        // SAFETY: The locks are held by the type invariant, the VM and the fence are alive, and
        // there is room for the fence on each object.
        unsafe {
            bindings::drm_gpuvm_resv_add_fence(
                vm.as_raw(),
                self.exec.get(),
                fence.as_raw(),
                private as u32,
                shared as u32,
            )
        };
    }
}

#[kunit_tests(magni_drm_exec)]
mod tests {
    use super::*;
    use crate::{
        drm::test_driver::TestDrm,
        static_lock_class,
        sync::{
            atomic::{
                ordering::Relaxed,
                Atomic, //
            },
            wait::WaitQueue,
            Arc, //
        },
        time::Jiffies,
        workqueue::OwnedQueue, //
    };

    #[test]
    fn what_is_locked_is_known() -> Result {
        let drm = TestDrm::new()?;
        let (first, second, other) = (drm.object()?, drm.object()?, drm.object()?);
        pin_init::stack_pin_init!(let exec = Exec::new(1));
        let locked = exec.as_mut().lock(|locker| {
            locker.prepare_object(&*first, 3)?;
            locker.prepare_object(&*second, 2)?;
            // Once more does no harm.
            locker.prepare_object(&*first, 4)
        })?;
        assert!(locked.resv(&*first).is_some());
        assert!(locked.resv(&*second).is_some());
        assert!(locked.resv(&*other).is_none());
        // The least of all.
        assert_eq!(locked.room(), 2);
        Ok(())
    }

    #[test]
    fn room_is_made() -> Result {
        let drm = TestDrm::new()?;
        let object = drm.object()?;
        let fence = Fence::signalled();
        pin_init::stack_pin_init!(let exec = Exec::new(1));
        let locked = exec
            .as_mut()
            .lock(|locker| locker.prepare_object(&*object, 2))?;
        let resv = locked.resv(&*object).ok_or(EINVAL)?;
        // SAFETY: The lock is held, and there is room for two: the C code would stop the machine.
        unsafe {
            bindings::dma_resv_add_fence(resv.as_raw(), fence.as_raw(), Usage::Read as u32);
            bindings::dma_resv_add_fence(resv.as_raw(), fence.as_raw(), Usage::Write as u32);
        }
        Ok(())
    }

    #[test]
    fn locks_are_released() -> Result {
        let drm = TestDrm::new()?;
        let object = drm.object()?;
        for result in [Ok(()), Err(EIO)] {
            pin_init::stack_pin_init!(let exec = Exec::new(1));
            let locked = exec.as_mut().lock(|locker| {
                locker.prepare_object(&*object, 1)?;
                result
            });
            assert_eq!(locked.err(), result.err());
        }
        // SAFETY: The object is alive, and its reservation is set.
        let resv = unsafe { Resv::from_raw((*object.as_raw()).resv) };
        drop(resv.lock()?);
        Ok(())
    }

    #[test]
    fn a_context_is_good_for_one_round() -> Result {
        pin_init::stack_pin_init!(let exec = Exec::new(1));
        drop(exec.as_mut().lock(|_| Ok(()))?);
        assert_eq!(exec.as_mut().lock(|_| Ok(())).err(), Some(EALREADY));
        Ok(())
    }

    /// Counts who has got its first lock, and who has got all.
    #[pin_data]
    struct Meeting {
        first: Atomic<u32>,
        rounds: Atomic<u32>,
        done: Atomic<u32>,
        #[pin]
        changed: WaitQueue,
    }

    /// Two that lock the same objects in opposite order, each with one of them when it asks for the
    /// other: one has to give way, and begin anew.
    #[test]
    fn who_gives_way_begins_anew() -> Result {
        let drm = TestDrm::new()?;
        let (one, two) = (drm.object()?, drm.object()?);
        let meeting = Arc::pin_init(
            pin_init!(Meeting {
                first: Atomic::new(0),
                rounds: Atomic::new(0),
                done: Atomic::new(0),
                changed <- WaitQueue::new(c"exec::tests::Meeting", static_lock_class!()),
            }),
            GFP_KERNEL,
        )?;
        let workers = OwnedQueue::new_unbound().build(c"magni-test-lockers")?;
        for (mine, theirs) in [(one.clone(), two.clone()), (two.clone(), one.clone())] {
            let meeting = meeting.clone();
            workers.try_spawn(GFP_KERNEL, move || {
                pin_init::stack_pin_init!(let exec = Exec::new(1));
                let mut met = false;
                let locked = exec.as_mut().lock(|locker| {
                    meeting.rounds.add(1, Relaxed);
                    locker.prepare_object(&*mine, 1)?;
                    if !core::mem::replace(&mut met, true) {
                        meeting.first.add(1, Relaxed);
                        meeting.changed.wake_all();
                        let _ = meeting
                            .changed
                            .wait_timeout(Jiffies::MAX, || meeting.first.load(Relaxed) == 2);
                    }
                    locker.prepare_object(&*theirs, 1)
                });
                let both = locked.is_ok_and(|locked| {
                    locked.resv(&*mine).is_some() && locked.resv(&*theirs).is_some()
                });
                meeting.done.add(u32::from(both), Relaxed);
            })?;
        }
        workers.flush();
        assert_eq!(meeting.done.load(Relaxed), 2);
        assert!(meeting.rounds.load(Relaxed) >= 3);
        Ok(())
    }
}
