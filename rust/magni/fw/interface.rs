// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The firmware's interface, found in shared memory and checked once.

use super::{
    image::SHARED_START,
    layout::*,
    requests::Requests, //
};
use crate::gem::KernelBo;
use core::ops::Deref;
use kernel::{
    device::Device,
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    },
    uapi, //
};

/// Offset of the first group slot's control block.
const GROUPS_OFFSET: u64 = 0x1000;
/// Offset of the first stream's control block in its group's.
const STREAMS_OFFSET: u64 = 0x40;

/// Limits to what a firmware may offer.
const GROUPS: core::ops::RangeInclusive<u32> = 3..=31;
const STREAMS: core::ops::RangeInclusive<u32> = 8..=32;

/// More than any firmware needs to save a group's state, in bytes.
const MAX_SUSPEND_SIZE: u32 = 16 << 20;

/// Two groups with the same priority can block each other for ever, and there are 16 priorities:
/// no more slots than that are used.
const MAX_GROUPS_USED: u32 = 16;

/// Registers at the end of a stream's register file that the kernel uses for itself.
const UNPRESERVED_REGISTERS: u32 = 4;

/// `major.minor.patch` as the interface version has it.
const fn version(major: u32, minor: u32, patch: u32) -> u32 {
    major << 24 | minor << 16 | patch
}

/// The global interface.
#[pin_data]
pub(crate) struct GlbInterface {
    /// What there is.
    pub(crate) control: GlbControl,
    /// Written by the host.
    pub(crate) input: GlbInput,
    /// Written by the firmware.
    pub(crate) output: GlbOutput,
    // The firmware may change it; only what was checked counts.
    version: u32,
    #[pin]
    requests: Requests,
}

impl Deref for GlbInterface {
    type Target = Requests;

    fn deref(&self) -> &Requests {
        &self.requests
    }
}

impl GlbInterface {
    /// Whether the microcontroller's state is part of the request.
    pub(crate) fn has_state(&self) -> bool {
        self.version >= version(4, 1, 0)
    }
}

/// The interface of a group slot.
#[pin_data]
pub(crate) struct CsgInterface {
    /// What there is.
    pub(crate) control: CsgControl,
    /// Written by the host.
    pub(crate) input: CsgInput,
    /// Written by the firmware.
    pub(crate) output: CsgOutput,
    /// Size of a group's suspend buffer, in bytes.
    pub(crate) suspend_size: u32,
    /// Size of a group's suspend buffer for protected mode, in bytes.
    pub(crate) protm_suspend_size: u32,
    streams: KVec<Pin<KBox<CsInterface>>>,
    wide_endpoints: bool,
    #[pin]
    requests: Requests,
}

impl Deref for CsgInterface {
    type Target = Requests;

    fn deref(&self) -> &Requests {
        &self.requests
    }
}

impl CsgInterface {
    /// The interface of stream `index`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is none.
    pub(crate) fn cs(&self, index: usize) -> Result<&CsInterface> {
        self.streams.get(index).map(|cs| &**cs).ok_or(EINVAL)
    }

    /// Sets endpoints and priority: see the functions in [`csg`].
    pub(crate) fn set_endpoints(&self, value: u64) {
        if self.wide_endpoints {
            self.input.set_endpoint_req2(value);
        } else {
            self.input.set_endpoint_req(value as u32);
        }
    }
}

/// The interface of a stream.
#[pin_data]
pub(crate) struct CsInterface {
    /// What there is.
    pub(crate) control: CsControl,
    /// Written by the host. `req` through this type's methods only.
    pub(crate) input: CsInput,
    /// Written by the firmware.
    pub(crate) output: CsOutput,
    #[pin]
    lock: SpinLock<()>,
}

impl CsInterface {
    /// Sets the request bits in `mask` to those in `value`.
    pub(crate) fn set(&self, mask: u32, value: u32) {
        let _guard = self.lock.lock();
        let req = self.input.req();
        self.input.set_req(value & mask | req & !mask);
    }
}

/// The whole interface.
pub(super) struct Interface {
    pub(super) glb: Pin<KBox<GlbInterface>>,
    pub(super) groups: KVec<Pin<KBox<CsgInterface>>>,
    pub(super) info: uapi::drm_panthor_csif_info,
    /// Registers and scoreboard entries of a stream, as its control block says it.
    cs_features: u32,
}

/// Where the interface does not hold.
struct Finder<'a> {
    dev: &'a Device,
    memory: &'a Arc<KernelBo>,
}

impl Finder<'_> {
    /// What `find` finds at microcontroller address `va`.
    fn at_va<T>(
        &self,
        what: &str,
        va: u32,
        find: impl FnOnce(&Arc<KernelBo>, u64) -> Option<T>,
    ) -> Result<T> {
        u64::from(va)
            .checked_sub(SHARED_START.into())
            .and_then(|offset| find(self.memory, offset))
            .ok_or(EINVAL)
            .inspect_err(|_| {
                dev_err!(
                    self.dev,
                    "firmware interface: the {what} at {va:#x} is not inside of the shared section ({} bytes)\n",
                    self.memory.size()
                );
            })
    }

    fn control<T>(&self, what: &str, found: Option<T>) -> Result<T> {
        found.ok_or(EINVAL).inspect_err(|_| {
            dev_err!(
                self.dev,
                "firmware interface: the {what} control block is not inside of the shared section ({} bytes)\n",
                self.memory.size()
            );
        })
    }

    /// The requests in the input block at `input_va`, answered in the output block at `output_va`.
    fn requests(
        &self,
        what: &str,
        input_va: u32,
        output_va: u32,
    ) -> Result<impl PinInit<Requests>> {
        self.at_va(what, input_va, |memory, input| {
            let output = u64::from(output_va).checked_sub(SHARED_START.into())?;
            Requests::at(memory, input, output)
        })
    }

    fn refuse<T>(&self, what: &str, value: u32) -> Result<T> {
        dev_err!(self.dev, "firmware interface: {what}: {value:#x}\n");
        Err(EINVAL)
    }

    fn glb(&self) -> Result<Pin<KBox<GlbInterface>>> {
        let control = self.control("global", GlbControl::at(self.memory, 0))?;
        let version = control.version();
        if version == 0 {
            return self.refuse("the firmware did not come up, its version is", 0);
        }
        let (input_va, output_va) = (control.input_va(), control.output_va());
        let input = self.at_va("global input block", input_va, GlbInput::at)?;
        let output = self.at_va("global output block", output_va, GlbOutput::at)?;
        let requests = self.requests("global", input_va, output_va)?;

        KBox::pin_init(
            pin_init!(GlbInterface {
                control,
                input,
                output,
                version,
                requests <- requests,
            }),
            GFP_KERNEL,
        )
    }

    fn csg(&self, offset: u64, version: u32) -> Result<Pin<KBox<CsgInterface>>> {
        let control = self.control("group", CsgControl::at(self.memory, offset))?;
        let (input_va, output_va) = (control.input_va(), control.output_va());
        let input = self.at_va("group input block", input_va, CsgInput::at)?;
        let output = self.at_va("group output block", output_va, CsgOutput::at)?;
        let requests = self.requests("group", input_va, output_va)?;

        let count = control.stream_num();
        if !STREAMS.contains(&count) {
            return self.refuse("impossible number of streams in a group", count);
        }
        let stride = u64::from(control.stream_stride());
        if stride < CsControl::SIZE as u64 {
            return self.refuse(
                "the streams' control blocks overlap, their distance is",
                stride as u32,
            );
        }
        let suspend_size = control.suspend_size();
        let protm_suspend_size = control.protm_suspend_size();
        if !(1..=MAX_SUSPEND_SIZE).contains(&suspend_size) || protm_suspend_size > MAX_SUSPEND_SIZE
        {
            return self.refuse("impossible size of a suspend buffer", suspend_size);
        }
        let mut streams = KVec::with_capacity(count as usize, GFP_KERNEL)?;
        for index in 0..u64::from(count) {
            // No sum or product here exceeds 2^40.
            let offset = offset + STREAMS_OFFSET + index * stride;
            streams.push(self.cs(offset)?, GFP_KERNEL)?;
        }

        KBox::pin_init(
            pin_init!(CsgInterface {
                control,
                input,
                output,
                suspend_size,
                protm_suspend_size,
                streams,
                wide_endpoints: version >= self::version(4, 0, 0),
                requests <- requests,
            }),
            GFP_KERNEL,
        )
    }

    fn cs(&self, offset: u64) -> Result<Pin<KBox<CsInterface>>> {
        let control = self.control("stream", CsControl::at(self.memory, offset))?;
        let input = self.at_va("stream input block", control.input_va(), CsInput::at)?;
        let output = self.at_va("stream output block", control.output_va(), CsOutput::at)?;

        KBox::pin_init(
            pin_init!(CsInterface {
                control,
                input,
                output,
                lock <- new_spinlock!(()),
            }),
            GFP_KERNEL,
        )
    }
}

fn same_group(a: &CsgInterface, b: &CsgInterface) -> Result<bool> {
    let (x, y) = (&a.control, &b.control);

    if x.features() != y.features()
        || a.suspend_size != b.suspend_size
        || a.protm_suspend_size != b.protm_suspend_size
        || a.streams.len() != b.streams.len()
    {
        return Ok(false);
    }

    let features = a.cs(0)?.control.features();
    Ok(b.streams.iter().all(|cs| cs.control.features() == features))
}

impl Interface {
    /// Finds the interface in the shared section `memory` of a firmware that has booted.
    ///
    /// # Errors
    ///
    /// `EINVAL`, after a line in the log, for whatever cannot be.
    pub(super) fn find(dev: &Device, memory: &Arc<KernelBo>) -> Result<Self> {
        let finder = Finder { dev, memory };
        let glb = finder.glb()?;
        let version = glb.version;

        let count = glb.control.group_num();
        if !GROUPS.contains(&count) {
            return finder.refuse("impossible number of groups", count);
        }
        let stride = u64::from(glb.control.group_stride());
        let mut groups = KVec::with_capacity(count as usize, GFP_KERNEL)?;
        for index in 0..u64::from(count) {
            groups.push(
                finder.csg(GROUPS_OFFSET + index * stride, version)?,
                GFP_KERNEL,
            )?;
        }

        let first = groups.first().ok_or(EINVAL)?;
        let group_size = STREAMS_OFFSET
            + (first.streams.len() as u64 - 1) * u64::from(first.control.stream_stride())
            + CsControl::SIZE as u64;
        if stride < group_size {
            return finder.refuse(
                "the groups' control blocks overlap, their distance is",
                stride as u32,
            );
        }
        for (index, group) in groups.iter().enumerate() {
            if !same_group(first, group)? {
                return finder.refuse("this group slot differs from the first one", index as u32);
            }
        }

        let cs_features = first.cs(0)?.control.features();
        let info = uapi::drm_panthor_csif_info {
            csg_slot_count: count.min(MAX_GROUPS_USED),
            cs_slot_count: first.streams.len() as u32,
            cs_reg_count: (cs_features & 0xff) + 1,
            scoreboard_slot_count: cs_features >> 8 & 0xff,
            unpreserved_cs_reg_count: UNPRESERVED_REGISTERS,
            pad: 0,
        };

        Ok(Self {
            glb,
            groups,
            info,
            cs_features,
        })
    }

    /// Whether a firmware that has been loaded again has its interface where the first one had it,
    /// and offers the same. Allocates nothing.
    pub(super) fn is_same(&self) -> bool {
        let at = |va: u32, offset: u64| u64::from(va) == u64::from(SHARED_START) + offset;
        let glb = &self.glb;
        let first = self.groups.first();

        glb.control.version() == glb.version
            && glb.control.group_num() as usize == self.groups.len()
            && at(glb.control.input_va(), glb.input.offset())
            && at(glb.control.output_va(), glb.output.offset())
            && self.groups.iter().all(|group| {
                at(group.control.input_va(), group.input.offset())
                    && at(group.control.output_va(), group.output.offset())
                    && group.control.suspend_size() == group.suspend_size
                    && group.control.protm_suspend_size() == group.protm_suspend_size
                    && group.control.stream_num() as usize == group.streams.len()
                    && first
                        .is_some_and(|first| first.control.features() == group.control.features())
                    && group.streams.iter().all(|cs| {
                        at(cs.control.input_va(), cs.input.offset())
                            && at(cs.control.output_va(), cs.output.offset())
                            && cs.control.features() & 0xffff == self.cs_features & 0xffff
                    })
            })
    }

    /// Writes what the firmware offers to the log.
    pub(super) fn log(&self, dev: &Device) {
        let version = self.glb.version;

        dev_info!(
            dev,
            "firmware interface {}.{}.{}, {} groups of {} streams, features {:#x}\n",
            version >> 24,
            version >> 16 & 0xff,
            version & 0xffff,
            self.groups.len(),
            self.info.cs_slot_count,
            self.glb.control.features()
        );
    }
}
