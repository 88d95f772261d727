// SPDX-License-Identifier: GPL-2.0 OR MIT

//! TILER_HEAP_CREATE and TILER_HEAP_DESTROY.

use anyhow::{ensure, Context, Result};
use guest::ioctl::{self, Errno};
use guest::uapi::panthor::{TilerHeapCreate, TilerHeapDestroy};

use crate::cx::{refused, Change, Cx, Row, Tests, NO_HANDLE};

/// Heaps that one VM may have.
const MAX_HEAPS: u32 = 128;

pub(crate) fn tests(t: &mut Tests) {
    t.add_refusals("later::tiler_heap_create", create, CREATE);
    t.add_refusals("later::tiler_heap_destroy", destroy, DESTROY);
    t.add("later::tiler_heap_create::addresses", addresses);
    t.add("later::tiler_heap_create::chunk_sizes", chunk_sizes);
    t.add("later::tiler_heap_create::at_most_128_per_vm", limit);
    t.add("later::tiler_heap_destroy::twice", twice);
    t.add("later::tiler_heap_destroy::vm_that_never_had_one", no_pool);
}

fn good(cx: &Cx) -> TilerHeapCreate {
    TilerHeapCreate {
        vm_id: cx.vm.id(),
        initial_chunk_count: 1,
        chunk_size: 128 << 10,
        max_chunks: 4,
        target_in_flight: 1,
        ..Default::default()
    }
}

fn create(cx: &Cx, change: Change<TilerHeapCreate>) -> ioctl::Result<()> {
    let mut args = good(cx);
    change(cx, &mut args);
    cx.device.call(&mut args)?;
    cx.device.call(&mut TilerHeapDestroy {
        handle: args.handle,
        pad: 0,
    })
}

const CREATE: &[Row<TilerHeapCreate>] = &[
    ("vm_0", Errno::EINVAL, |_, a| a.vm_id = 0),
    ("unknown_vm", Errno::EINVAL, |_, a| a.vm_id = NO_HANDLE),
    ("no_chunk", Errno::EINVAL, |_, a| a.initial_chunk_count = 0),
    ("more_chunks_than_the_most", Errno::EINVAL, |_, a| {
        a.initial_chunk_count = 5
    }),
    ("most_0", Errno::EINVAL, |_, a| a.max_chunks = 0),
    ("misaligned_chunk", Errno::EINVAL, |_, a| a.chunk_size += 64),
    ("small_chunk", Errno::EINVAL, |_, a| {
        a.chunk_size = 124 << 10
    }),
    ("chunk_of_0", Errno::EINVAL, |_, a| a.chunk_size = 0),
    ("large_chunk", Errno::EINVAL, |_, a| {
        a.chunk_size = (8 << 20) + 4096
    }),
];

fn destroy(cx: &Cx, change: Change<TilerHeapDestroy>) -> ioctl::Result<()> {
    let mut heap = good(cx);
    cx.device.call(&mut heap)?;
    let mut args = TilerHeapDestroy {
        handle: heap.handle,
        pad: 0,
    };
    change(cx, &mut args);
    cx.device.call(&mut args)
}

const DESTROY: &[Row<TilerHeapDestroy>] = &[
    ("pad", Errno::EINVAL, |_, a| a.pad = 1),
    ("unknown_heap", Errno::EINVAL, |_, a| a.handle += 77),
    ("unknown_vm", Errno::EINVAL, |_, a| a.handle = 0xdead_0000),
];

fn addresses() -> Result<()> {
    let cx = Cx::new()?;
    let mut heap = good(&cx);
    cx.device.call(&mut heap)?;
    ensure!(
        heap.handle >> 16 == cx.vm.id(),
        "the handle is {:#x}",
        heap.handle
    );
    let kernel = cx.vm.user_va_range();
    ensure!(
        heap.tiler_heap_ctx_gpu_va >= kernel && heap.first_heap_chunk_gpu_va >= kernel,
        "{heap:x?} is in the user's range"
    );
    ensure!(
        heap.first_heap_chunk_gpu_va % 4096 == 0,
        "the first chunk is at {:#x}",
        heap.first_heap_chunk_gpu_va
    );
    let mut second = good(&cx);
    cx.device.call(&mut second)?;
    ensure!(
        second.handle != heap.handle
            && second.tiler_heap_ctx_gpu_va != heap.tiler_heap_ctx_gpu_va
            && second.first_heap_chunk_gpu_va != heap.first_heap_chunk_gpu_va,
        "two heaps share {heap:x?} and {second:x?}"
    );
    Ok(())
}

fn chunk_sizes() -> Result<()> {
    let cx = Cx::new()?;
    for kib in [128, 132, 256, 2048, 8192] {
        let mut heap = good(&cx);
        heap.chunk_size = kib << 10;
        cx.device
            .call(&mut heap)
            .with_context(|| format!("{kib} KiB"))?;
    }
    Ok(())
}

fn limit() -> Result<()> {
    let cx = Cx::new()?;
    for i in 0..MAX_HEAPS {
        cx.device
            .call(&mut good(&cx))
            .with_context(|| format!("heap number {}", i + 1))?;
    }
    refused(cx.device.call(&mut good(&cx)), Errno::EBUSY)
}

fn twice() -> Result<()> {
    let cx = Cx::new()?;
    let mut heap = good(&cx);
    cx.device.call(&mut heap)?;
    let mut args = TilerHeapDestroy {
        handle: heap.handle,
        pad: 0,
    };
    cx.device.call(&mut args)?;
    refused(cx.device.call(&mut args), Errno::EINVAL)
}

fn no_pool() -> Result<()> {
    let cx = Cx::new()?;
    let mut args = TilerHeapDestroy {
        handle: cx.vm.id() << 16,
        pad: 0,
    };
    refused(cx.device.call(&mut args), Errno::ENOENT)
}
