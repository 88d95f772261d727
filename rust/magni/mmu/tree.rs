// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A VM's mappings: GPUVM's tree of them and the page table, changed together.

use super::flags::MapFlags;
use crate::{
    driver::MagniDrm,
    gem::Bo, //
};
use core::ops::Range;
use kernel::{
    device::{
        Bound,
        Device, //
    },
    drm::{
        gpuvm::{
            DriverGpuVm,
            GpuVaAlloc,
            OpMap,
            OpMapped,
            OpRemap,
            OpRemapped,
            OpUnmap,
            OpUnmapped, //
        },
        gpuvm_ext::GpuVaExt, //
    },
    iommu::devres_pgtable::{
        block_range,
        PageTable, //
    },
    prelude::*, //
};

/// What GPUVM's callbacks change.
pub(crate) struct Tree {
    table: PageTable,
}

/// One change of a VM's mappings, and what was allocated for it beforehand.
pub(crate) struct Update<'a> {
    /// The bound device; without one nothing can be mapped.
    pub(super) dev: Option<&'a Device<Bound>>,
    /// How to map what is mapped.
    pub(super) flags: MapFlags,
    /// Nodes: one for a new mapping, two for what is left of one that is cut.
    pub(super) nodes: [Option<GpuVaAlloc<Tree>>; 3],
    /// The page table is not what the tree says, because this change or an earlier one failed
    /// half-way.
    pub(super) torn: bool,
}

impl Update<'_> {
    fn node(&mut self) -> Result<GpuVaAlloc<Tree>> {
        self.nodes.iter_mut().find_map(Option::take).ok_or(EINVAL)
    }
}

impl Tree {
    pub(super) fn new(table: PageTable) -> Self {
        Self { table }
    }

    /// Maps `range` to `bo` from `offset` bytes on. On failure nothing of it is mapped.
    fn map_pages(
        &mut self,
        update: &mut Update<'_>,
        bo: &Bo,
        range: Range<u64>,
        mut offset: u64,
        flags: MapFlags,
    ) -> Result {
        let dev = update.dev.ok_or(ENODEV)?;
        let mut at = range.start;

        for entry in bo.sg_table(dev)?.iter() {
            if at == range.end {
                break;
            }

            let len = entry.dma_len();
            if offset >= len {
                offset -= len;
                continue;
            }

            let chunk = (len - offset).min(range.end - at);
            // SAFETY: GPUVM says what is mapped, and unmaps it before it maps anything in its
            // place. The hardware is kept out of what changes, see `Vm::update`. The buffer's
            // pages stay for as long as its scatter list is mapped, which is until the buffer is
            // freed or the device unbound, when the page table goes, too. The tree holds the
            // buffer for as long as it is mapped.
            let result = unsafe {
                self.table
                    .map(dev, at, entry.dma_address() + offset, chunk, flags.prot())
            };
            if let Err(error) = result {
                // The error matters more than that this one is reported, too.
                let _ = self.unmap_pages(update, range.start..at);
                return Err(error);
            }

            at += chunk;
            offset = 0;
        }

        if at != range.end {
            self.unmap_pages(update, range.start..at)?;
            return Err(EINVAL);
        }

        Ok(())
    }

    fn unmap_pages(&mut self, update: &mut Update<'_>, range: Range<u64>) -> Result {
        let len = range.end - range.start;

        // A page table that is not used any more, and not known, is left as it is.
        if update.torn || self.table.unmap(range) == len {
            Ok(())
        } else {
            // Something was not mapped that should have been, which is a bug.
            update.torn = true;
            Err(EFAULT)
        }
    }
}

impl DriverGpuVm for Tree {
    type Driver = MagniDrm;
    type Object = Bo;
    type VaData = MapFlags;
    type VmBoData = ();
    type SmContext<'ctx> = Update<'ctx>;

    fn sm_step_map<'op, 'ctx>(
        &mut self,
        op: OpMap<'op, Self>,
        update: &mut Update<'ctx>,
    ) -> Result<OpMapped<'op, Self>, Error> {
        let node = update.node()?;
        let range = op.addr()..op.addr() + op.length();

        let flags = update.flags;

        self.map_pages(update, op.obj(), range, op.gem_offset(), flags)?;

        Ok(op.insert(node, flags))
    }

    fn sm_step_unmap<'op, 'ctx>(
        &mut self,
        op: OpUnmap<'op, Self>,
        update: &mut Update<'ctx>,
    ) -> Result<OpUnmapped<'op, Self>, Error> {
        self.unmap_pages(update, op.va().range())?;
        let (unmapped, _node) = op.remove();

        Ok(unmapped)
    }

    fn sm_step_remap<'op, 'ctx>(
        &mut self,
        op: OpRemap<'op, Self>,
        update: &mut Update<'ctx>,
    ) -> Result<OpRemapped<'op, Self>, Error> {
        let old = op.va_to_unmap();
        let mapped = old.range();
        let flags = *old.data();
        let gem_offset = old.gem_offset();

        let hole = Range {
            start: op
                .prev()
                .map_or(mapped.start, |prev| prev.addr() + prev.length()),
            end: op.next().map_or(mapped.end, |next| next.addr()),
        };

        // A block cannot be cut: all of it goes, and what is to stay of it comes back as pages.
        let gone = block_range(&hole, &mapped);
        let nodes = [update.node()?, update.node()?];
        self.unmap_pages(update, gone.clone())?;
        for rest in [gone.start..hole.start, hole.end..gone.end] {
            if !rest.is_empty() {
                let offset = gem_offset + (rest.start - mapped.start);
                self.map_pages(update, op.obj(), rest, offset, flags)
                    .inspect_err(|_| update.torn = true)?;
            }
        }

        let (remapped, _nodes) = op.remap(nodes, flags, flags);

        Ok(remapped)
    }
}
