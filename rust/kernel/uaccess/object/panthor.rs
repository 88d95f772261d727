// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The structures of the panthor interface that may grow.
//!
//! They belong to the `uapi` crate and the trait to this one, so that this is their place.
//!
//! C header: [`include/uapi/drm/panthor_drm.h`](srctree/include/uapi/drm/panthor_drm.h)

use super::UserObject;
use crate::uapi;

/// Declares structures of the interface, each with the end of its last field that was there from
/// the beginning.
macro_rules! user_objects {
    ($( $object:ty: $last:ident ($last_type:ty); )*) => {
        $(
            // SAFETY: The structures consist of integers and explicit padding only.
            unsafe impl UserObject for $object {
                const MIN_SIZE: usize =
                    core::mem::offset_of!($object, $last) + size_of::<$last_type>();
            }
        )*
    };
}

user_objects! {
    uapi::drm_panthor_gpu_info: tiler_present (u64);
    uapi::drm_panthor_csif_info: pad (u32);
    uapi::drm_panthor_timestamp_info: current_timestamp (u64);
    uapi::drm_panthor_group_priorities_info: pad ([u8; 3]);
    uapi::drm_panthor_mmu_info: page_size_bitmap (u64);
    uapi::drm_panthor_vm_bind_op: syncs (uapi::drm_panthor_obj_array);
    uapi::drm_panthor_sync_op: timeline_value (u64);
    uapi::drm_panthor_queue_create: ringbuf_size (u32);
    uapi::drm_panthor_queue_submit: syncs (uapi::drm_panthor_obj_array);
    uapi::drm_panthor_bo_sync_op: size (u64);
}
