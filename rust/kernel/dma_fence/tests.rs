// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of fences.

use super::*;
use crate::{
    drm::syncobj::SyncObj,
    macros::kunit_tests,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        rcu,
        Arc, //
    },
    time::msecs_to_jiffies,
    timekeeping::uninterrupted,
    workqueue::OwnedQueue,
    ModuleMetadata,
    ThisModule, //
};

struct NoModule;

impl ModuleMetadata for NoModule {
    const NAME: &'static CStr = c"test";
    // SAFETY: A null pointer means that there is no module.
    const THIS_MODULE: ThisModule = unsafe { ThisModule::from_ptr(core::ptr::null_mut()) };
}

struct Names;

impl FenceNames for Names {
    type Module = NoModule;
    const DRIVER: &'static CStr = c"test-driver";
    const TIMELINE: &'static CStr = c"test-timeline";
}

fn fence(seqno: u64) -> Result<DriverFence> {
    Ok(FenceAlloc::<Names>::new(GFP_KERNEL)?.init(&FenceContext::new(), seqno))
}

fn counter() -> Result<Arc<Atomic<i32>>> {
    Ok(Arc::new(Atomic::new(0), GFP_KERNEL)?)
}

#[kunit_tests(magni_dma_fence)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_signals() -> Result {
        let fence = fence(7)?;
        let shared: ARef<Fence> = fence.fence().into();
        assert_eq!(shared.seqno(), 7);
        assert!(!shared.is_signalled());
        assert_eq!(shared.status(), None);
        assert!(!shared.wait_timeout(1));
        fence.signal();
        assert!(shared.is_signalled());
        assert_eq!(shared.status(), Some(Ok(())));
        assert!(shared.wait_timeout(0));
        shared.wait_interruptible()?;
        Ok(())
    }

    #[test]
    fn the_last_error_is_the_one_that_counts() -> Result {
        let mut fence = fence(1)?;
        let shared: ARef<Fence> = fence.fence().into();
        fence.set_error(EIO);
        assert_eq!(shared.status(), None);
        fence.signal_error(ENODEV);
        assert_eq!(shared.status(), Some(Err(ENODEV)));
        Ok(())
    }

    #[test]
    fn a_fence_that_is_dropped_is_cancelled() -> Result {
        let fence = fence(1)?;
        let shared: ARef<Fence> = fence.fence().into();
        drop(fence);
        assert_eq!(shared.status(), Some(Err(ECANCELED)));
        Ok(())
    }

    #[test]
    fn timelines_have_numbers_of_their_own() {
        let one = FenceContext::<Names>::new();
        let two = FenceContext::<Names>::new();
        assert!(one.id() != two.id());
    }

    #[test]
    fn fences_need_no_memory_once_allocated() -> Result {
        let context = FenceContext::new();
        let allocs = [
            FenceAlloc::<Names>::new(GFP_KERNEL)?,
            FenceAlloc::new(GFP_KERNEL)?,
        ];
        let calls = counter()?;
        let theirs = calls.clone();
        let memory = CallbackAlloc::new(GFP_KERNEL)?;
        // Nothing here may sleep; with debugging, what tries to is reported.
        let (first, callback) = uninterrupted(|| {
            let _section = SignallingSection::enter();
            let _nested = SignallingSection::enter();
            let [one, two] = allocs;
            let one = one.init(&context, 1);
            let two = two.init(&context, 2);
            let shared: ARef<Fence> = one.fence().into();
            let callback = one.add_callback(memory, move |_: &Fence| theirs.add(1, Relaxed));
            one.signal();
            two.signal_error(EIO);
            (shared, callback)
        });
        assert_eq!(first.status(), Some(Ok(())));
        assert_eq!(calls.load(Relaxed), 1);
        drop(callback);
        Ok(())
    }

    #[test]
    fn the_module_is_needed_until_a_fence_has_signalled() -> Result {
        // The names come from the driver's code; after signalling C has names of its own.
        let fence = fence(1)?;
        let shared: ARef<Fence> = fence.fence().into();
        let name = |fence: &Fence| {
            let _rcu = rcu::read_lock();
            // SAFETY: The fence is alive; the name is valid in this RCU section.
            unsafe {
                let name = bindings::dma_fence_timeline_name(fence.as_raw());
                CStr::from_char_ptr(name) == c"test-timeline"
            }
        };
        assert!(name(&shared));
        fence.signal();
        assert!(!name(&shared));
        Ok(())
    }

    #[test]
    fn a_fence_is_freed_after_a_grace_period() -> Result {
        let fence = fence(9)?;
        let shared: ARef<Fence> = fence.fence().into();
        fence.signal();
        let rcu = rcu::read_lock();
        let raw = shared.as_raw();
        drop(shared);
        // Without the grace period this is a use after free, which KASAN reports.
        //
        // SAFETY: The last reference was put in this RCU section.
        assert_eq!(unsafe { (*raw).seqno }, 9);
        drop(rcu);
        Ok(())
    }

    #[test]
    fn a_callback_is_called_once() -> Result {
        let calls = counter()?;
        let theirs = calls.clone();
        let fence = fence(3)?;
        let callback = fence
            .add_callback(CallbackAlloc::new(GFP_KERNEL)?, move |fence: &Fence| {
                if fence.seqno() == 3 && fence.is_signalled() {
                    theirs.add(1, Relaxed);
                }
            })
            .map_err(|_| EINVAL)?;
        assert_eq!(calls.load(Relaxed), 0);
        assert_eq!(callback.fence().seqno(), 3);
        fence.signal();
        assert_eq!(calls.load(Relaxed), 1);
        // The function is gone, with all that it held.
        assert!(callback.remove().is_none());
        assert_eq!(calls.load(Relaxed), 1);
        assert!(Arc::into_unique_or_drop(calls).is_some());
        Ok(())
    }

    #[test]
    fn a_callback_that_is_removed_is_not_called() -> Result {
        let calls = counter()?;
        let (removed, dropped) = (calls.clone(), calls.clone());
        let fence = fence(1)?;
        let callback = fence
            .add_callback(CallbackAlloc::new(GFP_KERNEL)?, move |_: &Fence| {
                removed.add(1, Relaxed)
            })
            .map_err(|_| EINVAL)?;
        let other = fence
            .add_callback(CallbackAlloc::new(GFP_KERNEL)?, move |_: &Fence| {
                dropped.add(1, Relaxed)
            })
            .map_err(|_| EINVAL)?;
        assert!(callback.remove().is_some());
        drop(other);
        fence.signal();
        assert_eq!(calls.load(Relaxed), 0);
        assert!(Arc::into_unique_or_drop(calls).is_some());
        Ok(())
    }

    #[test]
    fn a_fence_that_has_signalled_gives_the_function_back() -> Result {
        let calls = counter()?;
        let theirs = calls.clone();
        let fence = fence(1)?;
        let shared: ARef<Fence> = fence.fence().into();
        fence.signal();
        match shared.add_callback(CallbackAlloc::new(GFP_KERNEL)?, move |_: &Fence| {
            theirs.add(1, Relaxed)
        }) {
            Ok(_) => return Err(EINVAL),
            Err(call) => {
                assert_eq!(calls.load(Relaxed), 0);
                call(&shared);
            }
        }
        assert_eq!(calls.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn callbacks_may_be_removed_while_the_fence_signals() -> Result {
        let worker = OwnedQueue::new_unbound().build(c"magni-test-fences")?;
        for _ in 0..64 {
            let calls = counter()?;
            let theirs = calls.clone();
            let fence = fence(1)?;
            let callback = fence
                .add_callback(CallbackAlloc::new(GFP_KERNEL)?, move |_: &Fence| {
                    theirs.add(1, Relaxed)
                })
                .map_err(|_| EINVAL)?;
            worker.try_spawn(GFP_KERNEL, move || fence.signal())?;
            // Either it was called, or it is given back; and when that is known nothing uses it.
            let called = callback.remove().is_none();
            assert_eq!(calls.load(Relaxed), i32::from(called));
            worker.flush();
            assert_eq!(calls.load(Relaxed), i32::from(called));
            assert!(Arc::into_unique_or_drop(calls).is_some());
        }
        Ok(())
    }

    #[test]
    fn waiting_ends_when_the_fence_signals() -> Result {
        let worker = OwnedQueue::new_unbound().build(c"magni-test-fences")?;
        let fence = fence(1)?;
        let shared: ARef<Fence> = fence.fence().into();
        worker.try_spawn(GFP_KERNEL, move || fence.signal())?;
        assert!(shared.wait_timeout(msecs_to_jiffies(30_000)));
        Ok(())
    }

    #[test]
    fn chains_do_not_nest() -> Result {
        let syncobj = SyncObj::new()?;
        assert!(syncobj.fence().is_none());
        let (first, second) = (fence(1)?, fence(1)?);
        syncobj.add_point(FenceChain::new(GFP_KERNEL)?, &first, 5)?;
        let link = syncobj.fence().ok_or(ENOENT)?;
        assert!(link.is_chain());
        assert!(!first.is_chain());
        assert_eq!(link.seqno(), 5);
        assert_eq!(
            syncobj
                .add_point(FenceChain::new(GFP_KERNEL)?, &link, 6)
                .err(),
            Some(EINVAL)
        );
        syncobj.add_point(FenceChain::new(GFP_KERNEL)?, &second, 6)?;
        let newest = syncobj.fence().ok_or(ENOENT)?;
        assert_eq!(newest.seqno(), 6);
        // The newest stands for all before it.
        second.signal();
        assert!(!newest.is_signalled());
        first.signal();
        assert!(newest.wait_timeout(msecs_to_jiffies(30_000)));
        Ok(())
    }

    #[test]
    fn a_sync_object_holds_one_fence() -> Result {
        let syncobj = SyncObj::new()?;
        let first = fence(1)?;
        let second = fence(2)?;
        syncobj.replace_fence(&first);
        assert_eq!(syncobj.fence().ok_or(ENOENT)?.seqno(), 1);
        syncobj.replace_fence(&second);
        assert_eq!(syncobj.fence().ok_or(ENOENT)?.seqno(), 2);
        first.signal();
        second.signal();
        assert_eq!(syncobj.fence().ok_or(ENOENT)?.status(), Some(Ok(())));
        Ok(())
    }
}
