// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The interface's structures in shared memory, field by field.
//!
//! The control blocks say what there is; input blocks are written by the host, output blocks by
//! the firmware. A block's place is checked once, when it is found; from then on accesses to it
//! cannot fail.

#![expect(
    dead_code,
    reason = "the structures are described in full, also what is not used yet"
)]

use crate::gem::KernelBo;
use kernel::sync::Arc;

/// A block of shared memory.
#[derive(Clone)]
pub(crate) struct Window {
    memory: Arc<KernelBo>,
    offset: usize,
}

impl Window {
    /// The block of `size` bytes at `offset` bytes, if it is inside of `memory` and a multiple of
    /// `align`.
    fn new(memory: &Arc<KernelBo>, offset: u64, size: usize, align: usize) -> Option<Self> {
        let end = offset.checked_add(size as u64)?;

        (offset % align as u64 == 0 && end <= memory.size()).then(|| Self {
            memory: memory.clone(),
            offset: offset as usize,
        })
    }

    fn read32(&self, field: usize) -> u32 {
        // Inside of the memory and aligned, since `new`.
        self.memory.cpu().read32(self.offset + field).unwrap_or(0)
    }

    fn read64(&self, field: usize) -> u64 {
        self.memory.cpu().read64(self.offset + field).unwrap_or(0)
    }

    fn write32(&self, field: usize, value: u32) {
        let _ = self.memory.cpu().write32(self.offset + field, value);
    }

    fn write64(&self, field: usize, value: u64) {
        let _ = self.memory.cpu().write64(self.offset + field, value);
    }
}

/// The alignment of a block with fields of these sizes.
const fn alignment(sizes: &[usize]) -> usize {
    let mut align = 1;
    let mut index = 0;
    while index < sizes.len() {
        if sizes[index] > align {
            align = sizes[index];
        }
        index += 1;
    }

    align
}

macro_rules! block {
    (
        $(#[$meta:meta])* $name:ident ($size:literal) {
            $( $(#[$doc:meta])* $field:ident : $ty:ident @ $offset:literal $(, $set:ident)?; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone)]
        pub(crate) struct $name(Window);

        impl $name {
            /// Size of the block, in bytes.
            pub(crate) const SIZE: usize = $size;
            /// What its place is a multiple of, in bytes.
            const ALIGN: usize = alignment(&[$( ::core::mem::size_of::<$ty>() ),*]);

            /// Where the block is, in bytes from the start of its memory.
            pub(crate) fn offset(&self) -> u64 {
                self.0.offset as u64
            }

            /// The block at `offset` bytes of `memory`, if it fits and is aligned.
            pub(crate) fn at(memory: &Arc<KernelBo>, offset: u64) -> Option<Self> {
                Window::new(memory, offset, Self::SIZE, Self::ALIGN).map(Self)
            }

            $( block!(@field $(#[$doc])* $field $ty $offset $($set)?); )*
        }
    };
    (@field $(#[$doc:meta])* $field:ident u32 $offset:literal $($set:ident)?) => {
        $(#[$doc])*
        pub(crate) fn $field(&self) -> u32 {
            const { ::core::assert!($offset % 4 == 0 && $offset + 4 <= Self::SIZE) };
            self.0.read32($offset)
        }
        $( block!(@set $field u32 $offset $set); )?
    };
    (@field $(#[$doc:meta])* $field:ident u64 $offset:literal $($set:ident)?) => {
        $(#[$doc])*
        pub(crate) fn $field(&self) -> u64 {
            const { ::core::assert!($offset % 8 == 0 && $offset + 8 <= Self::SIZE) };
            self.0.read64($offset)
        }
        $( block!(@set $field u64 $offset $set); )?
    };
    (@set $field:ident u32 $offset:literal $set:ident) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
        pub(crate) fn $set(&self, value: u32) {
            self.0.write32($offset, value);
        }
    };
    (@set $field:ident u64 $offset:literal $set:ident) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
        pub(crate) fn $set(&self, value: u64) {
            self.0.write64($offset, value);
        }
    };
}

block! {
    /// Global control block, at the start of the shared section.
    GlbControl (0x20) {
        /// Interface version: major 31:24, minor 23:16, patch 15:0.
        version: u32 @ 0x00;
        /// Optional features.
        features: u32 @ 0x04;
        /// Microcontroller address of the input block.
        input_va: u32 @ 0x08;
        /// Microcontroller address of the output block.
        output_va: u32 @ 0x0c;
        /// Number of group slots.
        group_num: u32 @ 0x10;
        /// Distance between their control blocks, in bytes.
        group_stride: u32 @ 0x14;
        /// Instrumentation features (from version 1.1 on).
        instr_features: u32 @ 0x1c;
    }
}

block! {
    /// What the input blocks of the global interface and of a group slot begin with.
    RequestInput (0x0c) {
        /// Requests: see [`glb`] and [`csg`].
        req: u32 @ 0x00, set_req;
        /// What to look at, a bit each, toggled against the output's `doorbell_ack`.
        doorbell_req: u32 @ 0x08, set_doorbell_req;
    }
}

block! {
    /// What the output blocks of the global interface and of a group slot begin with.
    RequestOutput (0x0c) {
        /// Acknowledged requests, and events.
        ack: u32 @ 0x00;
        /// Acknowledged doorbells.
        doorbell_ack: u32 @ 0x08;
    }
}

block! {
    /// Global input block, without what is in [`RequestInput`].
    GlbInput (0x84) {
        /// Which acknowledgements raise the interrupt.
        ack_irq_mask: u32 @ 0x04, set_ack_irq_mask;
        /// Progress timeout, in units of 1024 GPU cycles.
        progress_timer: u32 @ 0x10, set_progress_timer;
        /// How long unused cores stay powered: see [`glb::TIMER_GPU_COUNTER`].
        poweroff_timer: u32 @ 0x14, set_poweroff_timer;
        /// Shader cores that may be powered.
        core_en_mask: u64 @ 0x18, set_core_en_mask;
        /// How long a group has to be idle until that is reported.
        idle_timer: u32 @ 0x80, set_idle_timer;
    }
}

block! {
    /// Global output block, without what is in [`RequestOutput`].
    GlbOutput (0x1c) {
        /// Why the firmware stopped.
        halt_status: u32 @ 0x10;
    }
}

block! {
    /// Control block of a group slot.
    CsgControl (0x1c) {
        /// Optional features.
        features: u32 @ 0x00;
        /// Microcontroller address of the input block.
        input_va: u32 @ 0x04;
        /// Microcontroller address of the output block.
        output_va: u32 @ 0x08;
        /// Size of a group's suspend buffer, in bytes.
        suspend_size: u32 @ 0x0c;
        /// Size of a group's suspend buffer for protected mode, in bytes.
        protm_suspend_size: u32 @ 0x10;
        /// Number of streams.
        stream_num: u32 @ 0x14;
        /// Distance between their control blocks, in bytes.
        stream_stride: u32 @ 0x18;
    }
}

block! {
    /// Input block of a group slot, without what is in [`RequestInput`].
    CsgInput (0x58) {
        /// Which acknowledgements and events raise the interrupt.
        ack_irq_mask: u32 @ 0x04, set_ack_irq_mask;
        /// Acknowledges the output's `cs_irq_req`.
        cs_irq_ack: u32 @ 0x0c, set_cs_irq_ack;
        /// Cores that compute work may use.
        allow_compute: u64 @ 0x20, set_allow_compute;
        /// Cores that fragment work may use.
        allow_fragment: u64 @ 0x28, set_allow_fragment;
        /// Tilers that may be used.
        allow_other: u32 @ 0x30, set_allow_other;
        /// How many of each are wanted, and the priority (versions before 4).
        endpoint_req: u32 @ 0x34, set_endpoint_req;
        /// The same, from version 4 on.
        endpoint_req2: u64 @ 0x38, set_endpoint_req2;
        /// Where the group's state goes when it is suspended.
        suspend_buf: u64 @ 0x40, set_suspend_buf;
        /// The same for protected mode.
        protm_suspend_buf: u64 @ 0x48, set_protm_suspend_buf;
        /// The group's address space.
        config: u32 @ 0x50, set_config;
    }
}

block! {
    /// Output block of a group slot, without what is in [`RequestOutput`].
    CsgOutput (0x20) {
        /// Streams with an event, a bit each, toggled against the input's `cs_irq_ack`.
        cs_irq_req: u32 @ 0x0c;
        /// Bit 0: the group is idle.
        status_state: u32 @ 0x18;
    }
}

block! {
    /// Control block of a stream.
    CsControl (0x0c) {
        /// Registers minus one 7:0, scoreboard entries 15:8, and what it can run.
        features: u32 @ 0x00;
        /// Microcontroller address of the input block.
        input_va: u32 @ 0x04;
        /// Microcontroller address of the output block.
        output_va: u32 @ 0x08;
    }
}

block! {
    /// Input block of a stream.
    CsInput (0x58) {
        /// Requests: see [`cs`].
        req: u32 @ 0x00, set_req;
        /// Priority 3:0, doorbell 15:8.
        config: u32 @ 0x04, set_config;
        /// Which acknowledgements and events raise the interrupt.
        ack_irq_mask: u32 @ 0x0c, set_ack_irq_mask;
        /// GPU address of the ring.
        ringbuf_base: u64 @ 0x10, set_ringbuf_base;
        /// Size of the ring, in bytes.
        ringbuf_size: u32 @ 0x18, set_ringbuf_size;
        /// Start of a tiler heap chunk that is handed over.
        heap_start: u64 @ 0x20, set_heap_start;
        /// Its end.
        heap_end: u64 @ 0x28, set_heap_end;
        /// Microcontroller address of the ring's input block.
        ringbuf_input: u64 @ 0x30, set_ringbuf_input;
        /// Microcontroller address of the ring's output block.
        ringbuf_output: u64 @ 0x38, set_ringbuf_output;
        /// Instrumentation.
        instr_config: u32 @ 0x40, set_instr_config;
    }
}

block! {
    /// Output block of a stream.
    CsOutput (0xd8) {
        /// Acknowledged requests, and events.
        ack: u32 @ 0x00;
        /// Address of the instruction being executed.
        status_cmd_ptr: u64 @ 0x40;
        /// What the stream waits for: see [`cs`].
        status_wait: u32 @ 0x48;
        /// Resources that the stream asked for.
        status_req_resource: u32 @ 0x4c;
        /// Address of the sync object it waits for.
        status_wait_sync_ptr: u64 @ 0x50;
        /// Value it is compared with, low half.
        status_wait_sync_value: u32 @ 0x58;
        /// Scoreboard entries that are not zero, a bit each.
        status_scoreboards: u32 @ 0x5c;
        /// Why the stream is blocked: see [`cs`].
        status_blocked_reason: u32 @ 0x60;
        /// Value it is compared with, high half.
        status_wait_sync_value_hi: u32 @ 0x64;
        /// The last fault: exception type 7:0, data 31:8.
        fault: u32 @ 0x80;
        /// The last fatal error, likewise.
        fatal: u32 @ 0x84;
        /// More about the fault.
        fault_info: u64 @ 0x88;
        /// More about the fatal error.
        fatal_info: u64 @ 0x90;
        /// Tiler heap: vertex work that started.
        heap_vt_start: u32 @ 0xc0;
        /// Tiler heap: vertex work that ended.
        heap_vt_end: u32 @ 0xc4;
        /// Tiler heap: fragment work that ended.
        heap_frag_end: u32 @ 0xcc;
        /// Tiler heap: its context.
        heap_address: u64 @ 0xd0;
    }
}

/// Bits of the global request.
pub(crate) mod glb {
    /// Stop the microcontroller (versions before 4.1). Not acknowledged.
    pub(crate) const HALT: u32 = 1 << 0;
    /// Take over the progress timer.
    pub(crate) const CFG_PROGRESS_TIMER: u32 = 1 << 1;
    /// Take over the core mask.
    pub(crate) const CFG_ALLOC_EN: u32 = 1 << 2;
    /// Take over the power-off timer.
    pub(crate) const CFG_POWEROFF_TIMER: u32 = 1 << 3;
    /// Keep the timestamp counter running.
    pub(crate) const COUNTER_EN: u32 = 1 << 7;
    /// Say that you are alive.
    pub(crate) const PING: u32 = 1 << 8;
    /// Report idleness.
    pub(crate) const IDLE_EN: u32 = 1 << 10;
    /// The microcontroller's state (from version 4.1 on).
    pub(crate) const STATE_MASK: u32 = 7 << 12;
    /// State: running.
    pub(crate) const STATE_ACTIVE: u32 = 0 << 12;
    /// State: stopped.
    pub(crate) const STATE_HALT: u32 = 1 << 12;
    /// Event: everything is idle.
    pub(crate) const IDLE: u32 = 1 << 26;

    /// In a timer: count GPU cycles instead of ticks of the system counter.
    pub(crate) const TIMER_GPU_COUNTER: u32 = 1 << 31;
}

/// Bits of a group slot's request.
pub(crate) mod csg {
    /// The state that the group is to have.
    pub(crate) const STATE_MASK: u32 = 7;
    /// State: gone.
    pub(crate) const STATE_TERMINATE: u32 = 0;
    /// State: running, from the beginning.
    pub(crate) const STATE_START: u32 = 1;
    /// State: saved to its suspend buffer.
    pub(crate) const STATE_SUSPEND: u32 = 2;
    /// State: running, from its suspend buffer.
    pub(crate) const STATE_RESUME: u32 = 3;
    /// Take over masks, endpoints and priority.
    pub(crate) const ENDPOINT_CONFIG: u32 = 1 << 4;
    /// Bring the streams' status up to date.
    pub(crate) const STATUS_UPDATE: u32 = 1 << 5;
    /// Event: a stream changed a sync object.
    pub(crate) const SYNC_UPDATE: u32 = 1 << 28;
    /// Event: the group is idle.
    pub(crate) const IDLE: u32 = 1 << 29;
    /// Event: a job makes no progress.
    pub(crate) const PROGRESS_TIMER_EVENT: u32 = 1 << 31;
    /// All events.
    pub(crate) const EVENTS: u32 = SYNC_UPDATE | IDLE | PROGRESS_TIMER_EVENT;

    /// In `status_state`: idle.
    pub(crate) const STATUS_IDLE: u32 = 1 << 0;

    /// Endpoints: so many cores for compute work.
    pub(crate) const fn endpoint_compute(cores: u8) -> u64 {
        cores as u64
    }

    /// Endpoints: so many cores for fragment work.
    pub(crate) const fn endpoint_fragment(cores: u8) -> u64 {
        (cores as u64) << 8
    }

    /// Endpoints: so many tilers, at most 15.
    pub(crate) const fn endpoint_tiler(tilers: u8) -> u64 {
        (tilers as u64 & 0xf) << 16
    }

    /// Endpoints: priority, 0 to 15; higher is more.
    pub(crate) const fn endpoint_priority(priority: u8) -> u64 {
        (priority as u64 & 0xf) << 28
    }
}

/// Bits of a stream's request and status.
pub(crate) mod cs {
    /// The state that the stream is to have.
    pub(crate) const STATE_MASK: u32 = 7;
    /// State: not running.
    pub(crate) const STATE_STOP: u32 = 0;
    /// State: running.
    pub(crate) const STATE_START: u32 = 1;
    /// Report every change of the ring's extract offset.
    pub(crate) const EXTRACT_EVENT: u32 = 1 << 4;
    /// Waiting for a sync object counts as idle.
    pub(crate) const IDLE_SYNC_WAIT: u32 = 1 << 8;
    /// Waiting for protected mode counts as idle.
    pub(crate) const IDLE_PROTM_PENDING: u32 = 1 << 9;
    /// An empty ring counts as idle.
    pub(crate) const IDLE_EMPTY: u32 = 1 << 10;
    /// Waiting for resources counts as idle.
    pub(crate) const IDLE_RESOURCE_REQ: u32 = 1 << 11;
    /// Event: the tiler needs memory.
    pub(crate) const TILER_OOM: u32 = 1 << 26;
    /// Event: protected mode is wanted.
    pub(crate) const PROTM_PENDING: u32 = 1 << 27;
    /// Event: the stream cannot go on.
    pub(crate) const FATAL: u32 = 1 << 30;
    /// Event: something went wrong; the stream goes on.
    pub(crate) const FAULT: u32 = 1 << 31;
    /// All events.
    pub(crate) const EVENTS: u32 = TILER_OOM | PROTM_PENDING | FATAL | FAULT;

    /// In `config`: priority 0 to 15 and doorbell number.
    pub(crate) const fn config(priority: u8, doorbell: u8) -> u32 {
        priority as u32 & 0xf | (doorbell as u32) << 8
    }

    /// In `status_wait`: scoreboard entries waited for.
    pub(crate) const WAIT_SCOREBOARD_MASK: u32 = 0xffff;
    /// In `status_wait`: the condition's bits.
    pub(crate) const WAIT_SYNC_CONDITION_MASK: u32 = 0xf << 24;
    /// In `status_wait`: until the object is at most the value.
    pub(crate) const WAIT_SYNC_LE: u32 = 0 << 24;
    /// In `status_wait`: until the object is more than the value.
    pub(crate) const WAIT_SYNC_GT: u32 = 1 << 24;
    /// In `status_wait`: the object has 64 bits.
    pub(crate) const WAIT_SYNC_64: u32 = 1 << 30;
    /// In `status_wait`: waits for a sync object.
    pub(crate) const WAIT_SYNC: u32 = 1 << 31;

    /// In `status_blocked_reason`: the reason's bits.
    pub(crate) const BLOCKED_MASK: u32 = 0xf;
    /// Not blocked.
    pub(crate) const BLOCKED_NOT: u32 = 0;
    /// Blocked by a sync object.
    pub(crate) const BLOCKED_SYNC_WAIT: u32 = 3;
    /// Blocked because cores or the tiler that it asked for are others' at present.
    pub(crate) const BLOCKED_RESOURCE: u32 = 5;
}
