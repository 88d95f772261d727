// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Knowing when Magni's trace event `gpu_power_status` is turned on.
//!
//! This is no abstraction of something of the kernel's: it goes with the C part of Magni's own trace
//! events, `rust/helpers/magni_trace.c`, and is here because it is not safe Rust.

use crate::{
    bindings,
    prelude::*,
    types::Opaque, //
};

/// Who wants to know when the trace event `gpu_power_status` is turned on and off.
///
/// `'static`, since a registration that is forgotten instead of dropped stays.
pub trait PowerStatusListener: Send + Sync + 'static {
    /// It is on, or it is not, from now on. May sleep; must not register or unregister a listener.
    fn set(&self, on: bool);
}

/// Keeps a [`PowerStatusListener`] informed while it lives.
///
/// # Invariants
///
/// Once it is initialised, `raw` is in the list of listeners.
#[pin_data(PinnedDrop)]
#[repr(C)]
pub struct PowerStatusRegistration<T: PowerStatusListener> {
    // First, so that a pointer to it is one to the whole.
    #[pin]
    raw: Opaque<bindings::magni_trace_listener>,
    listener: T,
}

// SAFETY: C uses it under a lock; listeners can be shared and sent.
unsafe impl<T: PowerStatusListener> Send for PowerStatusRegistration<T> {}
// SAFETY: As above.
unsafe impl<T: PowerStatusListener> Sync for PowerStatusRegistration<T> {}

impl<T: PowerStatusListener> PowerStatusRegistration<T> {
    /// Returns an initialiser. The listener is told at once if the event is on.
    pub fn new(listener: T) -> impl PinInit<Self> {
        pin_init!(&this in Self {
            listener,
            raw <- Opaque::ffi_init(|raw: *mut bindings::magni_trace_listener| {
                let _: *mut Self = this.as_ptr();
                // SAFETY: The memory is that of the object that is being made, which is pinned;
                // all else of it, which `set` will use, was initialised before.
                unsafe {
                    raw.write(bindings::magni_trace_listener {
                        link: pin_init::zeroed(),
                        set: Some(Self::set),
                    });
                    bindings::magni_trace_listen(raw);
                }
            }),
        })
    }

    /// # Safety
    ///
    /// `raw` is that of a `Self` which is a registered listener.
    unsafe extern "C" fn set(raw: *mut bindings::magni_trace_listener, on: bool) {
        // SAFETY: `Self` begins with `raw`, and is not dropped before it was unregistered.
        let this = unsafe { &*raw.cast::<Self>() };
        this.listener.set(on);
    }
}

#[pinned_drop]
impl<T: PowerStatusListener> PinnedDrop for PowerStatusRegistration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant it is in the list.
        unsafe { bindings::magni_trace_forget(self.raw.get()) };
    }
}

#[kunit_tests(magni_tracepoint)]
mod tests {
    use super::*;
    use crate::{
        sync::{
            atomic::{
                ordering::Relaxed,
                Atomic, //
            },
            Arc, //
        },
        trace_enabled, //
    };

    extern "C" {
        /// Turns the event of a system on or off, for everybody.
        fn trace_set_clr_event(system: *const c_char, event: *const c_char, set: c_int) -> c_int;
    }

    /// Turns the event on or off.
    fn turn(on: bool) -> Result {
        // SAFETY: Both strings end with a NUL.
        crate::error::to_result(unsafe {
            trace_set_clr_event(
                c"magni".as_char_ptr(),
                c"gpu_power_status".as_char_ptr(),
                on.into(),
            )
        })
    }

    /// Counts what it is told, with those who told it that it is on above those that it is off.
    struct Count(Arc<Atomic<u32>>);

    impl PowerStatusListener for Count {
        fn set(&self, on: bool) {
            self.0.add(if on { 0x100 } else { 1 }, Relaxed);
        }
    }

    fn listen(count: &Arc<Atomic<u32>>) -> Result<Pin<KBox<PowerStatusRegistration<Count>>>> {
        KBox::pin_init(
            PowerStatusRegistration::new(Count(count.clone())),
            GFP_KERNEL,
        )
    }

    #[test]
    fn listeners_are_told() -> Result {
        let early = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let late = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let first = listen(&early)?;
        assert!(!trace_enabled!(gpu_power_status));
        assert_eq!(early.load(Relaxed), 0);

        turn(true)?;
        assert!(trace_enabled!(gpu_power_status));
        assert!(!trace_enabled!(magni_tick));
        assert_eq!(early.load(Relaxed), 0x100);
        // Who comes late is told at once.
        let second = listen(&late)?;
        assert_eq!(late.load(Relaxed), 0x100);

        drop(first);
        turn(false)?;
        assert!(!trace_enabled!(gpu_power_status));
        assert_eq!(early.load(Relaxed), 0x100);
        assert_eq!(late.load(Relaxed), 0x101);
        drop(second);
        turn(true)?;
        turn(false)?;
        assert_eq!(late.load(Relaxed), 0x101);
        Ok(())
    }
}
