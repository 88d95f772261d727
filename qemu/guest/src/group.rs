// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Groups of queues, and jobs for them.

use std::sync::atomic::{fence, Ordering};

use crate::bo::Buffer;
use crate::cs;
use crate::device::Device;
use crate::ioctl::Result;
use crate::uapi::panthor::{
    GpuInfo, GroupCreate, GroupDestroy, GroupGetState, GroupSubmit, ObjArray, QueueCreate,
    QueueSubmit, SyncOp, GROUP_PRIORITY_MEDIUM,
};
use crate::vm::Vm;

/// What a group is made of.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// Its queues.
    pub queues: Vec<QueueCreate>,
    /// `GROUP_PRIORITY_*`.
    pub priority: u8,
}

impl GroupConfig {
    /// `count` like queues with rings of 64 KiB, at medium priority.
    pub fn queues(count: usize) -> Self {
        let queue = QueueCreate {
            priority: 1,
            pad: [0; 3],
            ringbuf_size: 64 * 1024,
        };
        Self {
            queues: vec![queue; count],
            priority: GROUP_PRIORITY_MEDIUM,
        }
    }

    /// The ioctl's argument for this group in `vm`, using every core of `gpu`. It points to `self.queues`.
    pub fn args(&self, gpu: &GpuInfo, vm_id: u32) -> GroupCreate {
        GroupCreate {
            queues: ObjArray::of(&self.queues),
            max_compute_cores: gpu.shader_present.count_ones() as u8,
            max_fragment_cores: gpu.shader_present.count_ones() as u8,
            max_tiler_cores: gpu.tiler_present.count_ones() as u8,
            priority: self.priority,
            pad: 0,
            compute_core_mask: gpu.shader_present,
            fragment_core_mask: gpu.shader_present,
            tiler_core_mask: gpu.tiler_present,
            vm_id,
            group_handle: 0,
        }
    }
}

/// One job for a queue.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Queue within the group.
    pub queue: u32,
    /// GPU address of the stream; 0 for none.
    pub stream: u64,
    /// Bytes of the stream; 0 for none.
    pub size: u32,
    /// Flush id read before the stream was written, 0 to flush in any case.
    pub latest_flush: u32,
    /// Waits and signals.
    pub syncs: Vec<SyncOp>,
}

impl Job {
    /// A job that runs the stream at `va`.
    pub fn new(queue: u32, va: u64, size: u32) -> Self {
        Self {
            queue,
            stream: va,
            size,
            ..Default::default()
        }
    }

    /// A job without a stream: it only orders the queue's syncs.
    pub fn sync_point(queue: u32) -> Self {
        Self {
            queue,
            ..Default::default()
        }
    }

    /// Adds a wait or signal.
    pub fn sync(mut self, op: SyncOp) -> Self {
        self.syncs.push(op);
        self
    }

    /// Sets the flush id.
    pub fn flush_id(mut self, id: u32) -> Self {
        self.latest_flush = id;
        self
    }
}

/// State of a group as the kernel reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// `GROUP_STATE_*`; 0 if all is well.
    pub state: u32,
    /// One bit per queue with a fatal fault.
    pub fatal_queues: u32,
}

/// A group of queues; destroyed on drop.
#[derive(Debug)]
pub struct Group {
    vm: Vm,
    handle: u32,
    /// Whether drop has to destroy it.
    live: bool,
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.live {
            // Fails only if a test destroyed it by its number, which is that test's business.
            let _ = destroy(self.vm.device(), self.handle);
        }
    }
}

fn destroy(device: &Device, handle: u32) -> Result<()> {
    device.call(&mut GroupDestroy {
        group_handle: handle,
        pad: 0,
    })
}

impl Group {
    /// Creates a group that uses every core.
    pub fn new(vm: &Vm, config: &GroupConfig) -> Result<Self> {
        let gpu = vm.device().gpu_info()?;
        let mut args = config.args(&gpu, vm.id());
        vm.device().call(&mut args)?;
        Ok(Self {
            vm: vm.clone(),
            handle: args.group_handle,
            live: true,
        })
    }

    /// The VM in which its queues run.
    pub fn vm(&self) -> &Vm {
        &self.vm
    }

    /// Its handle, never zero.
    pub fn handle(&self) -> u32 {
        self.handle
    }

    /// Submits jobs, all or none.
    pub fn submit(&self, jobs: &[Job]) -> Result<()> {
        let submits: Vec<QueueSubmit> = jobs
            .iter()
            .map(|job| QueueSubmit {
                queue_index: job.queue,
                stream_size: job.size,
                stream_addr: job.stream,
                latest_flush: job.latest_flush,
                pad: 0,
                syncs: ObjArray::of(&job.syncs),
            })
            .collect();
        // The streams and data that the CPU wrote come before the doorbell.
        fence(Ordering::SeqCst);
        self.vm.device().call(&mut GroupSubmit {
            group_handle: self.handle,
            pad: 0,
            queue_submits: ObjArray::of(&submits),
        })
    }

    /// Its state.
    pub fn state(&self) -> Result<GroupState> {
        let mut args = GroupGetState {
            group_handle: self.handle,
            ..Default::default()
        };
        self.vm.device().call(&mut args)?;
        Ok(GroupState {
            state: args.state,
            fatal_queues: args.fatal_queues,
        })
    }

    /// Destroys it now, so that a failure can be seen.
    pub fn destroy(mut self) -> Result<()> {
        self.live = false;
        destroy(self.vm.device(), self.handle)
    }
}

/// A buffer full of command streams, each at a 64-byte boundary.
#[derive(Debug)]
pub struct StreamBuffer {
    buffer: Buffer,
    used: usize,
}

/// A stream in GPU memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// GPU address, a multiple of 64.
    pub va: u64,
    /// Bytes.
    pub size: u32,
}

impl Stream {
    /// A job that runs this stream on `queue`.
    pub fn on(self, queue: u32) -> Job {
        Job::new(queue, self.va, self.size)
    }
}

impl StreamBuffer {
    /// Room for `size` bytes of streams.
    pub fn new(vm: &Vm, size: u64) -> Result<Self> {
        Ok(Self {
            buffer: Buffer::new(vm, size, 0)?,
            used: 0,
        })
    }

    /// Assembles a stream and puts it into memory.
    ///
    /// # Panics
    ///
    /// If the buffer is full or the stream does not assemble: both are mistakes in the program.
    pub fn add(&mut self, builder: &cs::Builder) -> Stream {
        let words = builder.finish().expect("the stream must assemble");
        self.add_words(&words)
    }

    /// Puts instruction words into memory.
    ///
    /// # Panics
    ///
    /// If the buffer is full.
    pub fn add_words(&mut self, words: &[u64]) -> Stream {
        let at = self.used;
        self.buffer.cpu().write_all(at, words);
        self.used = (at + words.len() * 8).next_multiple_of(64);
        Stream {
            va: self.buffer.va() + at as u64,
            size: (words.len() * 8) as u32,
        }
    }

    /// GPU address at which the next stream will be put.
    pub fn next_va(&self) -> u64 {
        self.buffer.va() + self.used as u64
    }
}
