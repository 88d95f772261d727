// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `panthor_drm.h`, uAPI version 1.9.

use bytemuck::{Pod, Zeroable};

use crate::ioctl::{request, Dir, Ioctl, ReadOnlyIoctl};

/// First driver-specific ioctl number.
const COMMAND_BASE: u8 = 0x40;

/// Implements [`Ioctl`] for a panthor ioctl; all of them are read-write.
macro_rules! panthor_ioctl {
    ($type:ty, $nr:expr) => {
        impl Ioctl for $type {
            const REQUEST: u64 =
                request(Dir::ReadWrite, b'd', COMMAND_BASE + $nr, size_of::<$type>());
        }
    };
}

/// File offset of the memory-mapped registers for a 32-bit process.
pub const USER_MMIO_OFFSET_32BIT: u64 = 1 << 43;
/// File offset of the memory-mapped registers for a 64-bit process.
pub const USER_MMIO_OFFSET_64BIT: u64 = 1 << 56;
/// File offset of the page that holds LATEST_FLUSH_ID (64-bit process).
pub const USER_FLUSH_ID_OFFSET: u64 = USER_MMIO_OFFSET_64BIT;

/// An array of objects whose size may grow from version to version.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct ObjArray {
    /// Bytes per object as the caller knows it.
    pub stride: u32,
    /// Number of objects.
    pub count: u32,
    /// User pointer.
    pub array: u64,
}

impl ObjArray {
    /// Describes `objects`. The result must not outlive it, or the kernel reads other memory than meant.
    pub fn of<T: Pod>(objects: &[T]) -> Self {
        Self {
            stride: size_of::<T>() as u32,
            count: objects.len() as u32,
            array: objects.as_ptr() as u64,
        }
    }
}

/// The mask of the handle type within [`SyncOp::flags`].
pub const SYNC_OP_HANDLE_TYPE_MASK: u32 = 0xff;
/// The handle is a binary sync object.
pub const SYNC_OP_SYNCOBJ: u32 = 0;
/// The handle is a timeline sync object.
pub const SYNC_OP_TIMELINE_SYNCOBJ: u32 = 1;
/// Wait before the job.
pub const SYNC_OP_WAIT: u32 = 0;
/// Signal after the job.
pub const SYNC_OP_SIGNAL: u32 = 1 << 31;

/// One wait or signal.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct SyncOp {
    /// `SYNC_OP_*`.
    pub flags: u32,
    /// Sync object.
    pub handle: u32,
    /// Point; zero for binary sync objects.
    pub timeline_value: u64,
}

/// GPU_INFO query.
pub const DEV_QUERY_GPU_INFO: u32 = 0;
/// CSIF_INFO query.
pub const DEV_QUERY_CSIF_INFO: u32 = 1;
/// TIMESTAMP_INFO query.
pub const DEV_QUERY_TIMESTAMP_INFO: u32 = 2;
/// GROUP_PRIORITIES_INFO query.
pub const DEV_QUERY_GROUP_PRIORITIES_INFO: u32 = 3;
/// MMU_INFO query.
pub const DEV_QUERY_MMU_INFO: u32 = 4;

/// Query of device information; the kernel writes through `pointer`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct DevQuery {
    /// `DEV_QUERY_*`.
    pub kind: u32,
    /// Bytes at `pointer`.
    pub size: u32,
    /// User pointer; NULL asks for the size.
    pub pointer: u64,
}
panthor_ioctl!(DevQuery, 0);

/// Answer to the GPU_INFO query.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct GpuInfo {
    /// GPU_ID register: arch, product, version.
    pub gpu_id: u32,
    /// Revision register.
    pub gpu_rev: u32,
    /// Command-stream frontend: hardware and MCU version.
    pub csf_id: u32,
    /// L2 features.
    pub l2_features: u32,
    /// Tiler features.
    pub tiler_features: u32,
    /// Memory features.
    pub mem_features: u32,
    /// MMU features; VA bits in 7:0.
    pub mmu_features: u32,
    /// Thread features.
    pub thread_features: u32,
    /// Threads per core.
    pub max_threads: u32,
    /// Threads per workgroup.
    pub thread_max_workgroup_size: u32,
    /// Threads per barrier.
    pub thread_max_barrier_size: u32,
    /// Bit mask of coherency protocols.
    pub coherency_features: u32,
    /// Texture formats.
    pub texture_features: [u32; 4],
    /// Address spaces.
    pub as_present: u32,
    /// The protocol in use: 0 ACE-Lite, 1 ACE, 31 none.
    pub selected_coherency: u32,
    /// Shader cores.
    pub shader_present: u64,
    /// L2 slices.
    pub l2_present: u64,
    /// Tilers.
    pub tiler_present: u64,
    /// Core variant.
    pub core_features: u32,
    /// Zero.
    pub pad: u32,
    /// GPU-wide features.
    pub gpu_features: u64,
}

impl GpuInfo {
    /// Architecture as (major, minor, revision).
    pub fn arch(&self) -> (u32, u32, u32) {
        let id = self.gpu_id;
        (id >> 28, (id >> 24) & 0xf, (id >> 20) & 0xf)
    }

    /// Product number within its architecture.
    pub fn product_major(&self) -> u32 {
        (self.gpu_id >> 16) & 0xf
    }

    /// Version as (major, minor, status), the "r0p0" of a product.
    pub fn version(&self) -> (u32, u32, u32) {
        let id = self.gpu_id;
        ((id >> 12) & 0xf, (id >> 4) & 0xff, id & 0xf)
    }

    /// Command-stream hardware version as (major, minor, revision).
    pub fn cshw(&self) -> (u32, u32, u32) {
        let id = self.csf_id;
        ((id >> 26) & 0x3f, (id >> 20) & 0x3f, (id >> 16) & 0xf)
    }

    /// MCU version as (major, minor, revision).
    pub fn mcu(&self) -> (u32, u32, u32) {
        let id = self.csf_id;
        ((id >> 10) & 0x3f, (id >> 4) & 0x3f, id & 0xf)
    }

    /// Bits of GPU virtual address.
    pub fn va_bits(&self) -> u32 {
        self.mmu_features & 0xff
    }
}

/// Answer to the CSIF_INFO query.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct CsifInfo {
    /// Groups that can be on the GPU at once.
    pub csg_slot_count: u32,
    /// Queues per group.
    pub cs_slot_count: u32,
    /// Registers of a queue.
    pub cs_reg_count: u32,
    /// Scoreboard slots of a queue.
    pub scoreboard_slot_count: u32,
    /// Registers, at the end, that the kernel overwrites between jobs.
    pub unpreserved_cs_reg_count: u32,
    /// Zero.
    pub pad: u32,
}

/// Answer to the TIMESTAMP_INFO query.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct TimestampInfo {
    /// Hz.
    pub timestamp_frequency: u64,
    /// Ticks.
    pub current_timestamp: u64,
    /// Ticks.
    pub timestamp_offset: u64,
    /// `TIMESTAMP_*`; 0 means GPU, GPU_OFFSET and FREQ.
    pub flags: u32,
    /// How long the query took, ns.
    pub duration_nsec: u32,
    /// GPU cycles.
    pub cycle_count: u64,
    /// CPU time, seconds.
    pub cpu_timestamp_sec: u64,
    /// CPU time, nanoseconds within the second.
    pub cpu_timestamp_nsec: u64,
}

/// Ask for the GPU's time.
pub const TIMESTAMP_GPU: u32 = 1 << 0;
/// Ask for CLOCK_MONOTONIC.
pub const TIMESTAMP_CPU_MONOTONIC: u32 = 1 << 1;
/// Ask for CLOCK_MONOTONIC_RAW.
pub const TIMESTAMP_CPU_MONOTONIC_RAW: u32 = 2 << 1;
/// Ask for the GPU timer's offset.
pub const TIMESTAMP_GPU_OFFSET: u32 = 1 << 4;
/// Ask for the cycle counter.
pub const TIMESTAMP_GPU_CYCLE_COUNT: u32 = 1 << 5;
/// Ask for the timer's frequency.
pub const TIMESTAMP_FREQ: u32 = 1 << 6;
/// Ask for the duration of the query.
pub const TIMESTAMP_DURATION: u32 = 1 << 7;

/// Answer to the GROUP_PRIORITIES_INFO query.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct GroupPrioritiesInfo {
    /// One bit per priority this process may use.
    pub allowed_mask: u8,
    /// Zero.
    pub pad: [u8; 3],
}

/// Answer to the MMU_INFO query.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct MmuInfo {
    /// One bit per page size in bytes.
    pub page_size_bitmap: u64,
}

/// Creation of a VM.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct VmCreate {
    /// Must be zero.
    pub flags: u32,
    /// Returned identifier.
    pub id: u32,
    /// In: wanted size of the user part, 0 for the default; out: size given.
    pub user_va_range: u64,
}
panthor_ioctl!(VmCreate, 1);

/// Destruction of a VM.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct VmDestroy {
    /// VM.
    pub id: u32,
    /// Must be zero.
    pub pad: u32,
}
panthor_ioctl!(VmDestroy, 2);

/// The GPU may only read.
pub const VM_BIND_OP_MAP_READONLY: u32 = 1 << 0;
/// The GPU must not execute.
pub const VM_BIND_OP_MAP_NOEXEC: u32 = 1 << 1;
/// The GPU does not cache.
pub const VM_BIND_OP_MAP_UNCACHED: u32 = 1 << 2;
/// Map a dummy object over the whole range.
pub const VM_BIND_OP_MAP_SPARSE: u32 = 1 << 3;
/// Map.
pub const VM_BIND_OP_TYPE_MAP: u32 = 0;
/// Unmap.
pub const VM_BIND_OP_TYPE_UNMAP: u32 = 1 << 28;
/// Only synchronise (asynchronous bind).
pub const VM_BIND_OP_TYPE_SYNC_ONLY: u32 = 2 << 28;

/// One map, unmap or synchronisation.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct VmBindOp {
    /// `VM_BIND_OP_*`.
    pub flags: u32,
    /// Buffer; zero unless mapping.
    pub bo_handle: u32,
    /// Byte offset in the buffer.
    pub bo_offset: u64,
    /// GPU address.
    pub va: u64,
    /// Bytes.
    pub size: u64,
    /// [`SyncOp`]s; empty for synchronous binds.
    pub syncs: ObjArray,
}

/// Queue the operations instead of doing them at once.
pub const VM_BIND_ASYNC: u32 = 1;

/// Changes to a VM.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct VmBind {
    /// VM.
    pub vm_id: u32,
    /// [`VM_BIND_ASYNC`] or 0.
    pub flags: u32,
    /// [`VmBindOp`]s; on failure of a synchronous bind, `count` is the index of the failed one.
    pub ops: ObjArray,
}
panthor_ioctl!(VmBind, 3);

/// State of a VM.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct VmGetState {
    /// VM.
    pub vm_id: u32,
    /// Returned: 0 usable, 1 unusable.
    pub state: u32,
}
panthor_ioctl!(VmGetState, 4);

/// The buffer will not be mapped by the CPU.
pub const BO_NO_MMAP: u32 = 1 << 0;
/// The CPU's mapping is cached.
pub const BO_WB_MMAP: u32 = 1 << 1;

/// Creation of a buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct BoCreate {
    /// In: bytes wanted; out: bytes allocated, whole pages.
    pub size: u64,
    /// `BO_*`.
    pub flags: u32,
    /// The only VM it may be mapped in, 0 for any.
    pub exclusive_vm_id: u32,
    /// Returned handle.
    pub handle: u32,
    /// Must be zero.
    pub pad: u32,
}
panthor_ioctl!(BoCreate, 5);

/// File offset for mmap of a buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct BoMmapOffset {
    /// Buffer.
    pub handle: u32,
    /// Must be zero.
    pub pad: u32,
    /// Returned offset.
    pub offset: u64,
}
panthor_ioctl!(BoMmapOffset, 6);

/// One queue of a new group.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct QueueCreate {
    /// 0 to 15, 15 being the highest.
    pub priority: u8,
    /// Must be zero.
    pub pad: [u8; 3],
    /// Bytes, a power of two from 4 KiB to 64 KiB.
    pub ringbuf_size: u32,
}

/// Low priority.
pub const GROUP_PRIORITY_LOW: u8 = 0;
/// Medium priority.
pub const GROUP_PRIORITY_MEDIUM: u8 = 1;
/// High priority, privileged.
pub const GROUP_PRIORITY_HIGH: u8 = 2;
/// Realtime priority, privileged.
pub const GROUP_PRIORITY_REALTIME: u8 = 3;

/// Creation of a group of queues.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct GroupCreate {
    /// [`QueueCreate`]s.
    pub queues: ObjArray,
    /// At most as many as `compute_core_mask` has bits.
    pub max_compute_cores: u8,
    /// At most as many as `fragment_core_mask` has bits.
    pub max_fragment_cores: u8,
    /// At most as many as `tiler_core_mask` has bits.
    pub max_tiler_cores: u8,
    /// `GROUP_PRIORITY_*`.
    pub priority: u8,
    /// Must be zero.
    pub pad: u32,
    /// Shader cores for compute.
    pub compute_core_mask: u64,
    /// Shader cores for fragments.
    pub fragment_core_mask: u64,
    /// Tilers.
    pub tiler_core_mask: u64,
    /// The VM in which the queues run.
    pub vm_id: u32,
    /// Returned handle.
    pub group_handle: u32,
}
panthor_ioctl!(GroupCreate, 7);

/// Destruction of a group.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct GroupDestroy {
    /// Group.
    pub group_handle: u32,
    /// Must be zero.
    pub pad: u32,
}
panthor_ioctl!(GroupDestroy, 8);

/// One job.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct QueueSubmit {
    /// Queue within the group.
    pub queue_index: u32,
    /// Bytes, a multiple of 8; zero with a zero address only synchronises.
    pub stream_size: u32,
    /// GPU address, a multiple of 64.
    pub stream_addr: u64,
    /// Flush id read before the stream was written, 0 to flush in any case.
    pub latest_flush: u32,
    /// Must be zero.
    pub pad: u32,
    /// [`SyncOp`]s.
    pub syncs: ObjArray,
}

/// Submission of jobs to a group.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct GroupSubmit {
    /// Group.
    pub group_handle: u32,
    /// Must be zero.
    pub pad: u32,
    /// [`QueueSubmit`]s.
    pub queue_submits: ObjArray,
}
panthor_ioctl!(GroupSubmit, 9);

/// A job ran too long or was killed unfinished.
pub const GROUP_STATE_TIMEDOUT: u32 = 1 << 0;
/// A queue had a fatal fault.
pub const GROUP_STATE_FATAL_FAULT: u32 = 1 << 1;
/// A reset for another group's sake killed it.
pub const GROUP_STATE_INNOCENT: u32 = 1 << 2;

/// State of a group.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct GroupGetState {
    /// Group.
    pub group_handle: u32,
    /// Returned: `GROUP_STATE_*`.
    pub state: u32,
    /// Returned: one bit per faulty queue.
    pub fatal_queues: u32,
    /// Must be zero.
    pub pad: u32,
}
panthor_ioctl!(GroupGetState, 10);

/// Creation of a tiler heap.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct TilerHeapCreate {
    /// VM.
    pub vm_id: u32,
    /// At least one.
    pub initial_chunk_count: u32,
    /// Bytes, whole pages, 128 KiB to 8 MiB.
    pub chunk_size: u32,
    /// At least `initial_chunk_count`.
    pub max_chunks: u32,
    /// Render passes in flight.
    pub target_in_flight: u32,
    /// Returned handle.
    pub handle: u32,
    /// Returned GPU address of the heap context.
    pub tiler_heap_ctx_gpu_va: u64,
    /// Returned GPU address of the first chunk.
    pub first_heap_chunk_gpu_va: u64,
}
panthor_ioctl!(TilerHeapCreate, 11);

/// Destruction of a tiler heap.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct TilerHeapDestroy {
    /// Heap.
    pub handle: u32,
    /// Must be zero.
    pub pad: u32,
}
panthor_ioctl!(TilerHeapDestroy, 12);

/// Label of a buffer, for debugging.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct BoSetLabel {
    /// Buffer.
    pub handle: u32,
    /// Must be zero.
    pub pad: u32,
    /// User pointer to a NUL-terminated string of at most 4096 bytes, or NULL.
    pub label: u64,
}
panthor_ioctl!(BoSetLabel, 13);

/// Choice of the register window's file offset.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct SetUserMmioOffset {
    /// One of the two `USER_MMIO_OFFSET_*`.
    pub offset: u64,
}
panthor_ioctl!(SetUserMmioOffset, 14);

/// Clean CPU caches.
pub const BO_SYNC_FLUSH: u32 = 0;
/// Clean and invalidate CPU caches.
pub const BO_SYNC_FLUSH_AND_INVALIDATE: u32 = 1;

/// CPU cache maintenance of one range.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct BoSyncOp {
    /// Buffer.
    pub handle: u32,
    /// `BO_SYNC_*`.
    pub kind: u32,
    /// Bytes.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// CPU cache maintenance.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct BoSync {
    /// [`BoSyncOp`]s.
    pub ops: ObjArray,
}
panthor_ioctl!(BoSync, 15);

/// Properties of a buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct BoQueryInfo {
    /// Buffer.
    pub handle: u32,
    /// Returned: 1 if imported from another driver.
    pub extra_flags: u32,
    /// Returned: the flags it was created with.
    pub create_flags: u32,
    /// Returned: zero.
    pub pad: u32,
}
panthor_ioctl!(BoQueryInfo, 16);

/// Marks the ioctls through whose pointers the kernel only reads: all but DEV_QUERY.
macro_rules! read_only {
    ($($type:ty),* $(,)?) => {
        // SAFETY: the uAPI gives these input arrays only (`drm_panthor_obj_array`, the label string).
        $(unsafe impl ReadOnlyIoctl for $type {})*
    };
}
read_only!(
    VmCreate,
    VmDestroy,
    VmBind,
    VmGetState,
    BoCreate,
    BoMmapOffset,
    GroupCreate,
    GroupDestroy,
    GroupSubmit,
    GroupGetState,
    TilerHeapCreate,
    TilerHeapDestroy,
    BoSetLabel,
    SetUserMmioOffset,
    BoSync,
    BoQueryInfo,
);

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn sizes_match_the_header() {
        assert_eq!(size_of::<ObjArray>(), 16);
        assert_eq!(size_of::<SyncOp>(), 16);
        assert_eq!(size_of::<DevQuery>(), 16);
        assert_eq!(size_of::<GpuInfo>(), 112);
        assert_eq!(size_of::<CsifInfo>(), 24);
        assert_eq!(size_of::<TimestampInfo>(), 56);
        assert_eq!(size_of::<GroupPrioritiesInfo>(), 4);
        assert_eq!(size_of::<MmuInfo>(), 8);
        assert_eq!(size_of::<VmCreate>(), 16);
        assert_eq!(size_of::<VmBindOp>(), 48);
        assert_eq!(size_of::<VmBind>(), 24);
        assert_eq!(size_of::<BoCreate>(), 24);
        assert_eq!(size_of::<BoMmapOffset>(), 16);
        assert_eq!(size_of::<QueueCreate>(), 8);
        assert_eq!(size_of::<GroupCreate>(), 56);
        assert_eq!(size_of::<QueueSubmit>(), 40);
        assert_eq!(size_of::<GroupSubmit>(), 24);
        assert_eq!(size_of::<GroupGetState>(), 16);
        assert_eq!(size_of::<TilerHeapCreate>(), 40);
        assert_eq!(size_of::<BoSetLabel>(), 16);
        assert_eq!(size_of::<BoSyncOp>(), 24);
        assert_eq!(size_of::<BoSync>(), 16);
        assert_eq!(size_of::<BoQueryInfo>(), 16);
    }

    #[test]
    fn offsets_match_the_header() {
        assert_eq!(offset_of!(GpuInfo, texture_features), 48);
        assert_eq!(offset_of!(GpuInfo, as_present), 64);
        assert_eq!(offset_of!(GpuInfo, shader_present), 72);
        assert_eq!(offset_of!(GpuInfo, tiler_present), 88);
        assert_eq!(offset_of!(GpuInfo, gpu_features), 104);
        assert_eq!(offset_of!(TimestampInfo, cycle_count), 32);
        assert_eq!(offset_of!(VmBindOp, syncs), 32);
        assert_eq!(offset_of!(GroupCreate, max_compute_cores), 16);
        assert_eq!(offset_of!(GroupCreate, compute_core_mask), 24);
        assert_eq!(offset_of!(GroupCreate, vm_id), 48);
        assert_eq!(offset_of!(QueueSubmit, latest_flush), 16);
        assert_eq!(offset_of!(QueueSubmit, syncs), 24);
        assert_eq!(offset_of!(TilerHeapCreate, tiler_heap_ctx_gpu_va), 24);
    }

    #[test]
    fn numbers_match_the_header() {
        assert_eq!(DevQuery::REQUEST, 0xc010_6440);
        assert_eq!(GroupCreate::REQUEST, 0xc038_6447);
        assert_eq!(BoQueryInfo::REQUEST, 0xc010_6450);
    }

    #[test]
    fn identifier_fields() {
        let info = GpuInfo {
            gpu_id: 0xa867_0000,
            csf_id: 0x0406_0081,
            ..Default::default()
        };
        assert_eq!(info.arch(), (10, 8, 6));
        assert_eq!(info.product_major(), 7);
        assert_eq!(info.cshw(), (1, 0, 6));
        assert_eq!(info.mcu(), (0, 8, 1));
    }
}
