// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DMA: the installed kernel's abstractions, and what they lack.

use crate::{
    bindings,
    device, //
};

pub use rk::dma::*;

/// Whether the firmware description says that `dev` sees the CPU's caches.
///
/// C: `device_get_dma_attr()`.
pub fn is_coherent(dev: &device::Device<device::Bound>) -> bool {
    let raw: *const bindings::device =
        core::ptr::from_ref::<device::Device<device::Bound>>(dev).cast();

    // SAFETY: `Device` is a transparent wrapper of a `struct device`, which the reference keeps
    // alive.
    let attr = unsafe { bindings::device_get_dma_attr(raw) };

    attr == bindings::dev_dma_attr_DEV_DMA_COHERENT
}
