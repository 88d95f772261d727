// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Making work queues.

use super::{
    OwnedQueue,
    SignallingQueue, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

/// One item at a time, in the order of queuing.
pub enum Ordered {}

/// Items run on any CPU, as many at a time as the queue allows.
pub enum Unbound {}

/// Items run on the CPU that queued them, as many at a time as the queue allows on each.
pub enum PerCpu {}

/// No promise about running when memory is short.
pub enum Ordinary {}

/// The queue has a rescuer thread, and so makes progress when no thread can be made.
pub enum Reclaim {}

/// What an [`OwnedQueue`] will be.
///
/// `Kind` ([`Ordered`], [`Unbound`] or [`PerCpu`]) comes from the constructor, so that it is always
/// said. Each flag is a method, and the number of active items one of its own that only those kinds
/// have which allow more than one: so neither can land in the place of the other, and an ordered
/// queue stays ordered. `Progress` says whether memory reclaim may wait for the queue.
///
/// # Examples
///
/// ```
/// use kernel::workqueue::OwnedQueue;
///
/// let bounded = OwnedQueue::new_unbound().max_active::<4>().freezable().build(c"bounded")?;
/// let fences = OwnedQueue::new_ordered().mem_reclaim().highpri().build_signalling(c"fences")?;
/// # Ok::<(), Error>(())
/// ```
///
/// What cannot be is refused by the compiler:
///
/// ```compile_fail,E0599
/// # use kernel::workqueue::OwnedQueue;
/// // An ordered queue has no number of active items.
/// OwnedQueue::new_ordered().max_active::<2>();
/// ```
///
/// ```compile_fail,E0599
/// # use kernel::workqueue::OwnedQueue;
/// // Without a rescuer no queue may signal fences.
/// OwnedQueue::new_ordered().build_signalling(c"fences");
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder<Kind, Progress = Ordinary> {
    flags: bindings::wq_flags,
    max_active: c_int,
    _state: PhantomData<(Kind, Progress)>,
}

impl Builder<Ordered> {
    pub(super) const fn ordered() -> Self {
        Self::new(
            bindings::wq_flags_WQ_UNBOUND | bindings::wq_flags___WQ_ORDERED,
            1,
        )
    }
}

impl Builder<Unbound> {
    pub(super) const fn unbound() -> Self {
        Self::new(bindings::wq_flags_WQ_UNBOUND, 0)
    }
}

impl Builder<PerCpu> {
    pub(super) const fn percpu() -> Self {
        Self::new(bindings::wq_flags_WQ_PERCPU, 0)
    }
}

impl<Kind, Progress> Builder<Kind, Progress> {
    const fn new(flags: bindings::wq_flags, max_active: c_int) -> Self {
        Self {
            flags,
            max_active,
            _state: PhantomData,
        }
    }

    const fn with(self, flag: bindings::wq_flags) -> Self {
        Self::new(self.flags | flag, self.max_active)
    }

    /// Runs the items in threads of the highest nice level.
    pub const fn highpri(self) -> Self {
        self.with(bindings::wq_flags_WQ_HIGHPRI)
    }

    /// Runs no items while the system is suspended: it is frozen like a task of user space.
    pub const fn freezable(self) -> Self {
        self.with(bindings::wq_flags_WQ_FREEZABLE)
    }

    /// Makes the queue.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory for it or for its rescuer.
    pub fn build(self, name: &CStr) -> Result<OwnedQueue> {
        // SAFETY: The format has one string argument, which is NUL-terminated and outlives the
        // call (the queue keeps a copy).
        let queue = unsafe {
            bindings::alloc_workqueue_noprof(
                c"%s".as_char_ptr(),
                self.flags,
                self.max_active,
                name.as_char_ptr(),
            )
        };
        let queue = NonNull::new(queue).ok_or(ENOMEM)?;
        // SAFETY: A non-null result is a new queue, and it is ours.
        Ok(unsafe { OwnedQueue::from_new(queue) })
    }
}

impl<Kind> Builder<Kind, Ordinary> {
    /// Gives the queue a rescuer thread, so that it makes progress when no thread can be made.
    ///
    /// Required of every queue that memory reclaim may wait for: whatever leads to the signalling
    /// of a DMA fence.
    pub const fn mem_reclaim(self) -> Builder<Kind, Reclaim> {
        Builder::new(
            self.flags | bindings::wq_flags_WQ_MEM_RECLAIM,
            self.max_active,
        )
    }
}

/// The most items of a queue that can be active (`WQ_MAX_ACTIVE`).
const MOST_ACTIVE: u32 = bindings::wq_consts_WQ_MAX_ACTIVE;

macro_rules! bounded {
    ($kind:ty, $of:literal) => {
        impl<Progress> Builder<$kind, Progress> {
            #[doc = concat!("Lets at most `N` items run at a time", $of, ".")]
            ///
            /// The default is half of the limit of 2048. A number out of range does not compile.
            pub const fn max_active<const N: u32>(self) -> Self {
                const {
                    assert!(N >= 1 && N <= MOST_ACTIVE);
                }
                Self::new(self.flags, N as c_int)
            }
        }
    };
}

bounded!(Unbound, "");
bounded!(PerCpu, " on each CPU");

impl Builder<PerCpu> {
    /// Does not count the items among those that the CPU has to do: for long computations.
    pub const fn cpu_intensive(self) -> Self {
        self.with(bindings::wq_flags_WQ_CPU_INTENSIVE)
    }
}

impl Builder<Ordered, Reclaim> {
    /// Makes a queue on which DMA fences may be signalled.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_signalling(self, name: &CStr) -> Result<SignallingQueue> {
        Ok(SignallingQueue::from_ordered_reclaim(self.build(name)?))
    }
}
