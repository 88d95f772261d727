// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Work queues: upstream's, and queues of the driver's own.
//!
//! Upstream's module can put work on the system's queues only. A driver on the path of a DMA
//! fence needs queues with a rescuer thread ([`Builder::mem_reclaim`]), and needs to take work
//! back before what it works on goes away.

mod builder;
mod cancel;
mod deferred;
mod module_queue;

pub use rk::workqueue::*;

pub use self::builder::{
    Builder,
    DelayedOn,
    OwnedQueue, //
};
pub use self::cancel::{
    cancel_delayed,
    cancel_delayed_work_sync,
    cancel_work_sync, //
};
pub use self::deferred::Deferred;
pub use self::module_queue::{
    ModuleQueue,
    ModuleQueueGuard,
    ModuleQueueUse, //
};
