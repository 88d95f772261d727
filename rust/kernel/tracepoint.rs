// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tracepoints: calling those that C code defines.
//!
//! A driver's trace events are defined in C, by `TRACE_EVENT` in a header and a C file with
//! `CREATE_TRACE_POINTS` and `CREATE_RUST_TRACE_POINTS`. [`declare_trace!`](crate::declare_trace)
//! makes a function of each. As long as an event is off it costs a branch that is patched out, or
//! the look at a counter where the architecture has no such branches; where it is on, the call
//! neither allocates nor waits. So it may be called in any context that RCU knows of, with any lock
//! held.
//!
//! C header: [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h)

use crate::{
    bindings,
    device::Device,
    prelude::*, //
};

/// What can be given to a tracepoint.
///
/// # Safety
///
/// A tracepoint may do whatever it likes with the result while it is called, and keeps nothing that
/// it points to.
pub unsafe trait TraceArg {
    /// What C is given.
    type C;

    /// Makes it.
    fn into_c(self) -> Self::C;
}

macro_rules! plain {
    ($($ty:ty),*) => {$(
        // SAFETY: It is a number.
        unsafe impl TraceArg for $ty {
            type C = $ty;

            fn into_c(self) -> $ty {
                self
            }
        }
    )*};
}

plain!(bool, u32, i32, u64);

// SAFETY: The device lives as long as the reference, so at least until the call returns.
unsafe impl TraceArg for &Device {
    type C = *const bindings::device;

    fn into_c(self) -> Self::C {
        AsRawDevice::as_raw(self)
    }
}

/// Declares functions that call the tracepoints of their names.
///
/// Upstream's macro of this name declares unsafe functions, with C's types. The functions of this
/// one are safe, because their arguments are [`TraceArg`]s. The C prototype is checked by the
/// compiler.
///
/// # Examples
///
/// ```ignore
/// declare_trace! {
///     /// The interrupt `irq` was served.
///     pub(crate) fn magni_irq(dev: &Device, irq: u32);
/// }
/// ```
#[macro_export]
macro_rules! declare_trace {
    ($($(#[$attr:meta])* $pub:vis fn $name:ident($($arg:ident : $ty:ty),* $(,)?);)*) => {$(
        $(#[$attr])*
        #[inline(always)]
        $pub fn $name($($arg: $ty),*) {
            #[cfg(CONFIG_TRACEPOINTS)]
            {
                $crate::macros::paste! {
                    if $crate::trace_enabled!($name) {
                        // SAFETY: The arguments are what `TraceArg` says a tracepoint may be given.
                        unsafe {
                            $crate::bindings::[< rust_do_trace_ $name >](
                                $($crate::tracepoint::TraceArg::into_c($arg)),*
                            )
                        };
                    }
                }
            }

            #[cfg(not(CONFIG_TRACEPOINTS))]
            {
                $(let _ = $arg;)*
            }
        }
    )*};
}

/// Whether somebody listens to the tracepoint of this name: for what is expensive to find out.
#[macro_export]
macro_rules! trace_enabled {
    ($name:ident) => {{
        #[cfg(CONFIG_TRACEPOINTS)]
        {
            $crate::macros::paste! {
                // SAFETY: The key is that of a tracepoint, which C defines.
                #[allow(unused_unsafe)]
                unsafe {
                    $crate::jump_label::static_branch_unlikely!(
                        $crate::bindings::[< __tracepoint_ $name >],
                        $crate::bindings::tracepoint,
                        key
                    )
                }
            }
        }

        #[cfg(not(CONFIG_TRACEPOINTS))]
        {
            false
        }
    }};
}

pub use declare_trace;
pub use trace_enabled;
