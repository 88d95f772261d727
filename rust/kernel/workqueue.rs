// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Work queues: upstream's, and queues of the driver's own.
//!
//! Upstream's module can put work on the system's queues only. A driver on the path of a DMA
//! fence needs queues with a rescuer thread ([`Builder::mem_reclaim`]), needs to know that what
//! it is given is one ([`SignallingQueue`]), and needs to take work back before what it works on
//! goes away ([`cancel_work_sync`]).
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

mod builder;
mod cancel;
mod deferred;
mod module_queue;
mod owned;
#[cfg(CONFIG_KUNIT = "y")]
mod tests;

pub use rk::workqueue::*;

pub use self::builder::{
    Builder,
    Ordered,
    Ordinary,
    PerCpu,
    Reclaim,
    Unbound, //
};
pub(crate) use self::cancel::might_wait_for;
pub use self::cancel::{
    cancel_delayed,
    cancel_delayed_work_sync,
    cancel_work_sync,
    flush_delayed_work,
    flush_work, //
};
pub use self::deferred::Deferred;
pub use self::module_queue::{
    ModuleQueue,
    ModuleQueueGuard,
    ModuleQueueUse, //
};
pub use self::owned::{
    DelayedOn,
    OwnedQueue,
    SignallingQueue, //
};

pub use crate::new_deferred;
