// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Where the blocks of the firmware interface lie in the shared section, and their fields.
//!
//! The offsets inside the blocks, the places of the control blocks and the request
//! bits are fixed by what drivers expect (driver fact: `panthor_fw.h`). Where the input
//! and output blocks lie is the firmware's choice; the control blocks say it:
//!
//! | at                    | what                                         |
//! |-----------------------|----------------------------------------------|
//! | 0x0000                | global control                               |
//! | 0x0400, 0x0800        | global input, global output                  |
//! | 0x1000 + n * 0x1000   | group n: control, then stream controls at 0x40 |
//! | ... + 0x200, 0x300    | group input, group output                    |
//! | ... + 0x400 + m * 0x80 | stream m's input                            |
//! | ... + 0x800 + m * 0x100 | stream m's output                          |

use mali_firmware::SHARED_VA;

/// Most group slots that the layout has room for.
pub(super) const MAX_GROUPS: u32 = 15;
/// Most streams per group slot that the layout has room for.
pub(super) const MAX_STREAMS: u32 = 8;

/// Bit of the global interface in `JOB_INT_RAWSTAT`.
pub(super) const JOB_INT_GLOBAL: u32 = 1 << 31;

/// MCU address of the global control block.
pub(super) const GLB_CONTROL: u64 = SHARED_VA as u64;
/// MCU address of the global input block.
pub(super) const GLB_INPUT: u64 = GLB_CONTROL + 0x400;
/// MCU address of the global output block.
pub(super) const GLB_OUTPUT: u64 = GLB_CONTROL + 0x800;
/// Distance between two group control blocks, in bytes.
pub(super) const GROUP_STRIDE: u32 = 0x1000;
/// Distance between two stream control blocks, in bytes.
pub(super) const STREAM_STRIDE: u32 = 0x10;

/// MCU address of a group's control block.
pub(super) fn csg_control(group: u32) -> u64 {
    GLB_CONTROL + 0x1000 + u64::from(group * GROUP_STRIDE)
}

/// MCU address of a group's input block.
pub(super) fn csg_input(group: u32) -> u64 {
    csg_control(group) + 0x200
}

/// MCU address of a group's output block.
pub(super) fn csg_output(group: u32) -> u64 {
    csg_control(group) + 0x300
}

/// MCU address of a stream's control block.
pub(super) fn cs_control(group: u32, stream: u32) -> u64 {
    csg_control(group) + 0x40 + u64::from(stream * STREAM_STRIDE)
}

/// MCU address of a stream's input block.
pub(super) fn cs_input(group: u32, stream: u32) -> u64 {
    csg_control(group) + 0x400 + u64::from(stream) * 0x80
}

/// MCU address of a stream's output block.
pub(super) fn cs_output(group: u32, stream: u32) -> u64 {
    csg_control(group) + 0x800 + u64::from(stream) * 0x100
}

/// Offsets of every block's request and acknowledge words, which are the same in all.
pub(super) mod common {
    /// Input block: requests, and the host's half of the event bits.
    pub(in crate::csf) const REQ: u64 = 0;
    /// Output block: acknowledgements, and the firmware's half of the event bits.
    pub(in crate::csf) const ACK: u64 = 0;
}

/// The global interface.
pub(super) mod glb {
    /// Input: which acknowledgements and events raise the interrupt.
    pub(in crate::csf) const ACK_IRQ_MASK: u64 = 4;
    /// Input: one toggle per group slot.
    pub(in crate::csf) const DOORBELL_REQ: u64 = 8;
    /// Input: cycles / 1024 that an endpoint job may take without progress.
    pub(in crate::csf) const PROGRESS_TIMER: u64 = 16;
    /// Input: idle time after which cores are powered off.
    pub(in crate::csf) const POWEROFF_TIMER: u64 = 20;
    /// Input, 64 bits: cores that the firmware may use.
    pub(in crate::csf) const CORE_EN_MASK: u64 = 24;
    /// Input: how long everything has to be idle before it is reported.
    pub(in crate::csf) const IDLE_TIMER: u64 = 128;

    /// Output: acknowledges `DOORBELL_REQ`.
    pub(in crate::csf) const DOORBELL_ACK: u64 = 8;
    /// Output: why the firmware halted.
    pub(in crate::csf) const HALT_STATUS: u64 = 16;

    /// Request, a level: halt the MCU.
    pub(in crate::csf) const HALT: u32 = 1 << 0;
    /// Request: take over the progress timer.
    pub(in crate::csf) const CFG_PROGRESS_TIMER: u32 = 1 << 1;
    /// Request: take over the core mask.
    pub(in crate::csf) const CFG_ALLOC_EN: u32 = 1 << 2;
    /// Request: take over the power-off timer.
    pub(in crate::csf) const CFG_POWEROFF_TIMER: u32 = 1 << 3;
    /// Request, a level: let the GPU's counters run.
    pub(in crate::csf) const COUNTER_EN: u32 = 1 << 7;
    /// Request: say that you are alive.
    pub(in crate::csf) const PING: u32 = 1 << 8;
    /// Request, a level: report when everything is idle.
    pub(in crate::csf) const IDLE_EN: u32 = 1 << 10;
    /// Event: everything is idle.
    pub(in crate::csf) const IDLE: u32 = 1 << 26;

    /// Bits that are levels: the firmware copies them into the acknowledgement.
    pub(in crate::csf) const LEVELS: u32 = COUNTER_EN | IDLE_EN;
    /// Bits that are toggled requests.
    pub(in crate::csf) const TOGGLES: u32 =
        CFG_PROGRESS_TIMER | CFG_ALLOC_EN | CFG_POWEROFF_TIMER | PING;
    /// Bits that are events.
    pub(in crate::csf) const EVENTS: u32 = 0x7f << 20;
}

/// The interface of a group slot.
pub(super) mod csg {
    /// Input: which acknowledgements and events raise the interrupt.
    pub(in crate::csf) const ACK_IRQ_MASK: u64 = 4;
    /// Input: one toggle per stream.
    pub(in crate::csf) const DOORBELL_REQ: u64 = 8;
    /// Input: acknowledges `CS_IRQ_REQ`.
    pub(in crate::csf) const CS_IRQ_ACK: u64 = 12;
    /// Input, 64 bits: cores that compute jobs may use.
    pub(in crate::csf) const ALLOW_COMPUTE: u64 = 32;
    /// Input, 64 bits: cores that fragment jobs may use.
    pub(in crate::csf) const ALLOW_FRAGMENT: u64 = 40;
    /// Input: tilers that may be used.
    pub(in crate::csf) const ALLOW_OTHER: u64 = 48;
    /// Input: how many endpoints of each kind, and the priority.
    pub(in crate::csf) const ENDPOINT_REQ: u64 = 52;
    /// Input, 64 bits: MCU address of the suspend buffer.
    pub(in crate::csf) const SUSPEND_BUF: u64 = 64;
    /// Input: number of the group's address space, in 3:0.
    pub(in crate::csf) const CONFIG: u64 = 80;

    /// Output: acknowledges `DOORBELL_REQ`.
    pub(in crate::csf) const DOORBELL_ACK: u64 = 8;
    /// Output: one toggle per stream that has an event.
    pub(in crate::csf) const CS_IRQ_REQ: u64 = 12;
    /// Output: endpoints that the group has now, as in `ENDPOINT_REQ`.
    pub(in crate::csf) const STATUS_ENDPOINT_CURRENT: u64 = 16;
    /// Output: endpoints that the group asks for, as in `ENDPOINT_REQ`.
    pub(in crate::csf) const STATUS_ENDPOINT_REQ: u64 = 20;
    /// Output: bit 0 says that the group is idle.
    pub(in crate::csf) const STATUS_STATE: u64 = 24;
    /// Output: streams that wait for another one's resources.
    pub(in crate::csf) const RESOURCE_DEP: u64 = 28;

    /// Request bits that hold the state wanted, not a toggle.
    pub(in crate::csf) const STATE: u32 = 7;
    /// State: drop the group.
    pub(in crate::csf) const TERMINATE: u32 = 0;
    /// State: start a fresh group.
    pub(in crate::csf) const START: u32 = 1;
    /// State: save the group and take it off the slot.
    pub(in crate::csf) const SUSPEND: u32 = 2;
    /// State: go on with a saved group.
    pub(in crate::csf) const RESUME: u32 = 3;
    /// Request: take over the endpoint configuration.
    pub(in crate::csf) const ENDPOINT_CONFIG: u32 = 1 << 4;
    /// Request: write the status words.
    pub(in crate::csf) const STATUS_UPDATE: u32 = 1 << 5;
    /// Event: a stream changed a sync object.
    pub(in crate::csf) const SYNC_UPDATE: u32 = 1 << 28;
    /// Event: the group became idle.
    pub(in crate::csf) const IDLE: u32 = 1 << 29;
    /// Event: an endpoint job made no progress.
    pub(in crate::csf) const PROGRESS_TIMER: u32 = 1 << 31;

    /// Bits that are toggled requests.
    pub(in crate::csf) const TOGGLES: u32 = ENDPOINT_CONFIG | STATUS_UPDATE;
    /// Bits that are events.
    pub(in crate::csf) const EVENTS: u32 = SYNC_UPDATE | IDLE | (1 << 30) | PROGRESS_TIMER;
}

/// The interface of a stream.
pub(super) mod cs {
    /// Input: priority in 3:0, number of the doorbell page in 15:8.
    pub(in crate::csf) const CONFIG: u64 = 4;
    /// Input: which acknowledgements and events raise the interrupt.
    pub(in crate::csf) const ACK_IRQ_MASK: u64 = 12;
    /// Input, 64 bits: GPU address of the ring, in the group's address space.
    pub(in crate::csf) const RING_BASE: u64 = 16;
    /// Input: size of the ring, in bytes.
    pub(in crate::csf) const RING_SIZE: u64 = 24;
    /// Input, 64 bits: first new chunk of the tiler heap, 0 if there is none.
    ///
    /// GPU address in 63:12, size in units of 4096 bytes in 11:0.
    pub(in crate::csf) const HEAP_START: u64 = 32;
    /// Input, 64 bits: last new chunk of the tiler heap.
    pub(in crate::csf) const HEAP_END: u64 = 40;
    /// Input, 64 bits: MCU address of the ring's input block.
    pub(in crate::csf) const RING_INPUT: u64 = 48;
    /// Input, 64 bits: MCU address of the ring's output block.
    pub(in crate::csf) const RING_OUTPUT: u64 = 56;

    /// Output, 64 bits: GPU address of the instruction that is executed or waits.
    pub(in crate::csf) const STATUS_CMD_PTR: u64 = 64;
    /// Output: what the stream waits for.
    pub(in crate::csf) const STATUS_WAIT: u64 = 72;
    /// Output: resources that the stream asked for.
    pub(in crate::csf) const STATUS_REQ_RESOURCE: u64 = 76;
    /// Output, 64 bits: GPU address of the sync object that the stream waits for.
    pub(in crate::csf) const STATUS_WAIT_SYNC_PTR: u64 = 80;
    /// Output: low word of the value that the sync object is compared with.
    pub(in crate::csf) const STATUS_WAIT_SYNC_VALUE: u64 = 88;
    /// Output: one bit per busy scoreboard slot.
    pub(in crate::csf) const STATUS_SCOREBOARDS: u64 = 92;
    /// Output: why the stream is blocked.
    pub(in crate::csf) const STATUS_BLOCKED_REASON: u64 = 96;
    /// Output: high word of the value that the sync object is compared with.
    pub(in crate::csf) const STATUS_WAIT_SYNC_VALUE_HI: u64 = 100;
    /// Output: exception of the last fault.
    pub(in crate::csf) const FAULT: u64 = 128;
    /// Output: exception of the last fatal fault.
    pub(in crate::csf) const FATAL: u64 = 132;
    /// Output, 64 bits: details of the last fault.
    pub(in crate::csf) const FAULT_INFO: u64 = 136;
    /// Output, 64 bits: details of the last fatal fault.
    pub(in crate::csf) const FATAL_INFO: u64 = 144;
    /// Output: render passes whose tiling was started.
    pub(in crate::csf) const HEAP_VT_START: u64 = 192;
    /// Output: render passes whose tiling is complete.
    pub(in crate::csf) const HEAP_VT_END: u64 = 196;
    /// Output: render passes whose fragment work is complete.
    pub(in crate::csf) const HEAP_FRAG_END: u64 = 204;
    /// Output, 64 bits: GPU address of the tiler heap's context.
    pub(in crate::csf) const HEAP_ADDRESS: u64 = 208;

    /// Request bits that hold the state wanted, not a toggle.
    pub(in crate::csf) const STATE: u32 = 7;
    /// State: stop the stream.
    pub(in crate::csf) const STOP: u32 = 0;
    /// State: run the stream.
    pub(in crate::csf) const START: u32 = 1;
    /// Request: report that the ring's extract offset moved.
    pub(in crate::csf) const EXTRACT_EVENT: u32 = 1 << 4;
    /// Level: a stream that waits for a sync object counts as idle.
    pub(in crate::csf) const IDLE_SYNC_WAIT: u32 = 1 << 8;
    /// Level: a stream that waits for protected mode counts as idle.
    pub(in crate::csf) const IDLE_PROTM_PENDING: u32 = 1 << 9;
    /// Level: a stream with an empty ring counts as idle.
    pub(in crate::csf) const IDLE_EMPTY: u32 = 1 << 10;
    /// Level: a stream that waits for resources counts as idle.
    pub(in crate::csf) const IDLE_RESOURCE_REQ: u32 = 1 << 11;
    /// Event: the tiler heap is exhausted.
    pub(in crate::csf) const TILER_OOM: u32 = 1 << 26;
    /// Event: the stream waits for protected mode.
    pub(in crate::csf) const PROTM_PENDING: u32 = 1 << 27;
    /// Event: the stream cannot go on.
    pub(in crate::csf) const FATAL_EVENT: u32 = 1 << 30;
    /// Event: the stream met an error and goes on.
    pub(in crate::csf) const FAULT_EVENT: u32 = 1 << 31;

    /// Bits that are levels: the firmware copies them into the acknowledgement.
    pub(in crate::csf) const LEVELS: u32 =
        IDLE_SYNC_WAIT | IDLE_PROTM_PENDING | IDLE_EMPTY | IDLE_RESOURCE_REQ;
    /// Bits that are events.
    pub(in crate::csf) const EVENTS: u32 = TILER_OOM | PROTM_PENDING | FATAL_EVENT | FAULT_EVENT;

    /// `STATUS_WAIT`: the mask in 15:0 is that of a WAIT instruction.
    pub(in crate::csf) const WAIT_SB_SRC_WAIT: u32 = 8 << 16;
    /// `STATUS_WAIT`: shift of the condition of a wait for a sync object.
    pub(in crate::csf) const WAIT_SYNC_COND_SHIFT: u32 = 24;
    /// `STATUS_WAIT`: the stream waits for another one's progress.
    pub(in crate::csf) const WAIT_PROGRESS: u32 = 1 << 28;
    /// `STATUS_WAIT`: the sync object has 64 bits.
    pub(in crate::csf) const WAIT_SYNC_64B: u32 = 1 << 30;
    /// `STATUS_WAIT`: the stream waits for a sync object.
    pub(in crate::csf) const WAIT_SYNC: u32 = 1 << 31;
}

/// The two blocks beside a ring.
pub(super) mod ring {
    /// Input, 64 bits: how far the host has written, in bytes since the beginning.
    pub(in crate::csf) const INSERT: u64 = 0;
    /// Input, 64 bits: where a fresh stream starts.
    pub(in crate::csf) const EXTRACT_INIT: u64 = 8;
    /// Output, 64 bits: how far the stream has come.
    pub(in crate::csf) const EXTRACT: u64 = 0;
    /// Output: 1 while the stream has something to do.
    pub(in crate::csf) const ACTIVE: u64 = 8;
}
