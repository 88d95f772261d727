// SPDX-License-Identifier: GPL-2.0 OR MIT

//! CPU cache maintenance for parts of shmem objects.
//!
//! C header: [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h)

use crate::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    drm::gem::{
        shmem,
        BaseObject,
        DriverObject, //
    },
    prelude::*, //
};
use core::ops::Range;

/// Writes what the CPU's caches hold of `range` of `object` back to memory, and with `invalidate`
/// has the CPU read it anew afterwards. `range` is in bytes.
///
/// # Errors
///
/// `EINVAL` if the range is not inside of the object or `dev` is not its device; those of
/// [`shmem::Object::sg_table`].
pub fn sync_range<T: DriverObject>(
    object: &shmem::Object<T>,
    dev: &Device<Bound>,
    range: Range<u64>,
    invalidate: bool,
) -> Result {
    if range.start > range.end || range.end > object.size() as u64 {
        return Err(EINVAL);
    }

    // `Device` is a transparent wrapper of a `struct device`.
    let raw: *mut bindings::device = core::ptr::from_ref(dev).cast_mut().cast();
    let mut start = 0;

    for entry in object.sg_table(dev)?.iter() {
        let end = start + entry.dma_len();
        let part = range.start.max(start)..range.end.min(end);

        if part.start < part.end {
            let address = entry.dma_address() + (part.start - start);
            let len = (part.end - part.start) as usize;

            // SAFETY: The table is mapped for `dev` in both directions, and the part is inside of
            // one of its entries. Lines are written back before they are dropped.
            unsafe {
                bindings::dma_sync_single_for_device(
                    raw,
                    address,
                    len,
                    bindings::dma_data_direction::DMA_TO_DEVICE,
                );
                if invalidate {
                    bindings::dma_sync_single_for_cpu(
                        raw,
                        address,
                        len,
                        bindings::dma_data_direction::DMA_FROM_DEVICE,
                    );
                }
            }
        }
        start = end;
    }

    Ok(())
}
