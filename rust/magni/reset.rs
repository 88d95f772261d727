// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The need of a reset.
//!
//! Who finds the hardware stuck says so to [`Reset`] and goes on without it, without waiting; until
//! the GPU has been reset nobody asks it for anything. What a reset does, and what it saves, is up
//! to [`lifecycle`](crate::lifecycle).

use crate::{
    lifecycle::Lifecycle,
    trace::{
        self,
        ResetStage, //
    },
};
use kernel::{
    device::Device,
    new_spinlock,
    prelude::*,
    static_lock_class,
    sync::{
        aref::ARef,
        atomic::{
            ordering,
            Atomic, //
        },
        wait::WaitQueue,
        Arc,
        SpinLock, //
    },
    time::msecs_to_jiffies,
};

/// Longer than any reset can take, all its waits and attempts together, in milliseconds.
const RESET_LIMIT_MS: u32 = 30_000;

/// A reset was asked for and has not begun.
const REQUESTED: u32 = 1 << 0;
/// A reset has begun and has not ended.
const RUNNING: u32 = 1 << 1;
/// The GPU could not be reset; it never will be.
const LOST: u32 = 1 << 2;

/// Whether a reset is needed: what there is of the three above.
struct Need(Atomic<u32>);

impl Need {
    /// Sets the bits in `set` and clears those in `clear`; returns what there was before.
    fn change(&self, set: u32, clear: u32) -> u32 {
        let mut old = self.0.load(ordering::Relaxed);
        while let Err(now) = self.0.cmpxchg(old, old & !clear | set, ordering::Full) {
            old = now;
        }
        old
    }

    fn get(&self) -> u32 {
        self.0.load(ordering::Acquire)
    }

    /// Asks for a reset; returns whether somebody has to be told.
    fn ask(&self) -> bool {
        self.change(REQUESTED, 0) & (REQUESTED | LOST) == 0
    }

    fn begin(&self) {
        self.change(RUNNING, 0);
    }

    fn forget(&self) {
        self.change(0, REQUESTED);
    }

    fn end(&self) {
        self.change(0, RUNNING);
    }

    fn give_up(&self) {
        self.change(LOST, RUNNING | REQUESTED);
    }
}

/// The GPU's need of a reset.
#[pin_data]
pub(crate) struct Reset {
    dev: ARef<Device>,
    need: Need,
    /// Who wait for its end.
    #[pin]
    ended: WaitQueue,
    /// Who does it, while there is somebody.
    #[pin]
    worker: SpinLock<Option<Arc<Lifecycle>>>,
}

impl Reset {
    /// No reset is needed.
    pub(crate) fn new(dev: &Device) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                dev: dev.into(),
                need: Need(Atomic::new(0)),
                ended <- WaitQueue::new(c"magni::Reset::ended", static_lock_class!()),
                worker <- new_spinlock!(None, "magni::Reset::worker"),
            }),
            GFP_KERNEL,
        )
    }

    /// Asks for a reset because of `reason`. May be called from any task context, any number of
    /// times. One that is asked for while the GPU is being reset is done after that.
    pub(crate) fn schedule(&self, reason: &str) {
        if !self.need.ask() {
            return;
        }

        trace::reset(&self.dev, ResetStage::Scheduled);
        dev_err!(self.dev, "{reason}: the GPU is reset\n");
        if let Some(worker) = &*self.worker.lock() {
            worker.queue_reset();
        }
    }

    /// Whether the GPU is stuck or being reset, or lost: there is no point in asking it for
    /// anything.
    pub(crate) fn is_pending(&self) -> bool {
        self.need.get() != 0
    }

    /// Whether the GPU could not be reset.
    pub(crate) fn is_lost(&self) -> bool {
        self.need.get() & LOST != 0
    }

    /// Whether a reset was asked for that has not been [done](Self::forget_requests).
    pub(crate) fn is_requested(&self) -> bool {
        self.need.get() & REQUESTED != 0
    }

    /// The GPU is being reset, or brought up otherwise, until [`end`](Self::end): nobody begins to
    /// use it.
    pub(crate) fn begin(&self) {
        self.need.begin();
    }

    /// The hardware has been reset: what was asked for before is done with it.
    ///
    /// Whoever found the hardware stuck as it was before has said so by now: the caller has waited
    /// for them, or kept them out. Else one of them would come late, and be taken to speak of the
    /// hardware as it is from here on.
    pub(crate) fn forget_requests(&self) {
        self.need.forget();
    }

    /// The GPU works again, unless a reset was asked for meanwhile.
    pub(crate) fn end(&self) {
        self.need.end();
        self.ended.wake_all();
    }

    /// The GPU does not work, and never will.
    pub(crate) fn give_up(&self) {
        self.need.give_up();
        self.ended.wake_all();
    }

    /// Waits until no reset is pending. Not for what a reset waits for.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the GPU is lost, or the device is going away, so that nobody resets it.
    pub(crate) fn wait(&self) -> Result {
        let timeout = msecs_to_jiffies(RESET_LIMIT_MS);
        let ended = self.ended.wait_timeout(timeout, || {
            !self.is_pending() || self.is_lost() || self.worker.lock().is_none()
        });

        if ended && !self.is_pending() {
            Ok(())
        } else {
            Err(ENODEV)
        }
    }

    /// From now on `worker` does what is asked for, and what was asked for before.
    pub(crate) fn connect(&self, worker: Arc<Lifecycle>) {
        let mut place = self.worker.lock();

        // Under the lock, so that one of the two, this or `schedule`, sees the other.
        if self.is_pending() {
            worker.queue_reset();
        }
        *place = Some(worker);
    }

    /// Nobody resets the GPU from now on.
    pub(crate) fn disconnect(&self) {
        let worker = self.worker.lock().take();
        self.ended.wake_all();
        drop(worker);
    }
}

#[kunit_tests(magni_reset)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_asked_for_once() {
        let need = Need(Atomic::new(0));
        assert!(need.ask());
        assert!(!need.ask());
        need.begin();
        assert!(!need.ask());
        need.forget();
        assert_eq!(need.get(), RUNNING);
        need.end();
        assert_eq!(need.get(), 0);
        assert!(need.ask());
    }

    #[test]
    fn what_is_asked_for_until_the_hardware_is_reset_is_done() {
        let need = Need(Atomic::new(0));
        need.begin();
        // Somebody who had begun before finds the old state of things.
        assert!(need.ask());
        need.forget();
        need.end();
        assert_eq!(need.get(), 0);
    }

    #[test]
    fn what_is_asked_for_after_that_is_not_lost() {
        let need = Need(Atomic::new(0));
        need.begin();
        need.forget();
        assert!(need.ask());
        need.end();
        assert_eq!(need.get(), REQUESTED);
    }

    #[test]
    fn what_is_lost_stays_lost() {
        let need = Need(Atomic::new(0));
        need.ask();
        need.begin();
        need.give_up();
        assert_eq!(need.get(), LOST);
        assert!(!need.ask());
        need.begin();
        need.end();
        assert!(need.get() & LOST != 0);
    }
}
