// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Object arrays: strides, tails and pointers, the same for every array of the uAPI.

use anyhow::{Context, Result};
use bytemuck::Pod;
use guest::ioctl::{self, Errno};
use guest::uapi::panthor::{
    GroupDestroy, GroupSubmit, ObjArray, QueueSubmit, VmBind, VmBindOp, VM_BIND_OP_TYPE_UNMAP,
};
use guest::{Group, GroupConfig, Syncobj};

use crate::cx::{refused, Cx, Tests};

/// A call whose outcome depends on one array.
type Call = fn(&Cx, ObjArray) -> ioctl::Result<()>;

/// The bytes of two good objects, and what they name, to be kept alive.
type Objects = fn(&Cx) -> Result<(Vec<u8>, Vec<Syncobj>)>;

/// One array of the uAPI: its name, the bytes of two good objects, the call that takes it.
struct Kind {
    name: &'static str,
    objects: Objects,
    call: Call,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "group_create_queues",
        objects: |_| Ok((bytes(&GroupConfig::queues(2).queues), vec![])),
        call: create_group,
    },
    Kind {
        name: "vm_bind_ops",
        objects: |_| Ok((bytes(&[unmap(0), unmap(1)]), vec![])),
        call: bind,
    },
    Kind {
        name: "group_submit_jobs",
        objects: |_| Ok((bytes(&[QueueSubmit::default(); 2]), vec![])),
        call: submit,
    },
    Kind {
        name: "group_submit_syncs",
        objects: |cx| {
            let objects = vec![cx.syncobj()?, cx.syncobj()?];
            let ops: Vec<_> = objects.iter().map(Syncobj::signal_op).collect();
            Ok((bytes(&ops), objects))
        },
        call: submit_syncs,
    },
];

pub(crate) fn tests(t: &mut Tests) {
    for kind in KINDS {
        let Kind {
            name,
            objects,
            call,
        } = kind;
        let mut add = |what: &str, test: fn(&Cx, &Array, Call) -> Result<()>| {
            t.add_fn(format!("array::{name}::{what}"), move || {
                let cx = Cx::new()?;
                let (bytes, _keep) = objects(&cx)?;
                let array = Array::new(bytes);
                call(&cx, array.strided(0, None).describe()).context("a good array")?;
                test(&cx, &array, call)
            });
        };
        add("refuses_short_stride", short_stride);
        add("takes_longer_stride", longer_stride);
        add("refuses_unknown_field_that_is_set", set_tail);
        add("refuses_bad_pointer", bad_pointer);
    }
}

fn bytes<T: Pod>(objects: &[T]) -> Vec<u8> {
    bytemuck::cast_slice(objects).to_vec()
}

/// Two objects back to back.
struct Array {
    bytes: Vec<u8>,
}

/// Two objects in memory at some stride.
struct Strided {
    bytes: Vec<u8>,
    stride: usize,
}

impl Array {
    fn new(bytes: Vec<u8>) -> Self {
        assert!(bytes.len() % 16 == 0, "two objects of whole words");
        Self { bytes }
    }

    /// Bytes per object.
    fn size(&self) -> usize {
        self.bytes.len() / 2
    }

    /// The objects with `extra` bytes of zeros after each, or of 1s after object `set`.
    fn strided(&self, extra: usize, set: Option<usize>) -> Strided {
        let stride = self.size() + extra;
        let mut out = vec![0u8; 2 * stride];
        for (i, object) in self.bytes.chunks(self.size()).enumerate() {
            out[i * stride..][..object.len()].copy_from_slice(object);
            if set == Some(i) {
                // The very last byte: the whole tail must be looked at.
                out[(i + 1) * stride - 1] = 1;
            }
        }
        Strided { bytes: out, stride }
    }
}

impl Strided {
    fn describe(&self) -> ObjArray {
        ObjArray {
            stride: self.stride as u32,
            count: 2,
            array: self.bytes.as_ptr() as u64,
        }
    }
}

fn unmap(n: u64) -> VmBindOp {
    VmBindOp {
        flags: VM_BIND_OP_TYPE_UNMAP,
        va: n << 20,
        size: 4096,
        ..Default::default()
    }
}

fn create_group(cx: &Cx, queues: ObjArray) -> ioctl::Result<()> {
    let config = GroupConfig::queues(2);
    let mut args = config.args(&cx.gpu, cx.vm.id());
    args.queues = queues;
    cx.device.call(&mut args)?;
    cx.device.call(&mut GroupDestroy {
        group_handle: args.group_handle,
        pad: 0,
    })
}

fn bind(cx: &Cx, ops: ObjArray) -> ioctl::Result<()> {
    cx.device.call(&mut VmBind {
        vm_id: cx.vm.id(),
        flags: 0,
        ops,
    })
}

fn submit(cx: &Cx, queue_submits: ObjArray) -> ioctl::Result<()> {
    let group = Group::new(&cx.vm, &GroupConfig::queues(1))?;
    cx.device.call(&mut GroupSubmit {
        group_handle: group.handle(),
        pad: 0,
        queue_submits,
    })
}

fn submit_syncs(cx: &Cx, syncs: ObjArray) -> ioctl::Result<()> {
    let submits = [QueueSubmit {
        syncs,
        ..Default::default()
    }];
    submit(cx, ObjArray::of(&submits))
}

fn short_stride(cx: &Cx, array: &Array, call: Call) -> Result<()> {
    let good = array.strided(0, None);
    for stride in [0, 1, array.size() - 1] {
        let short = ObjArray {
            stride: stride as u32,
            ..good.describe()
        };
        refused(call(cx, short), Errno::EINVAL).with_context(|| format!("stride {stride}"))?;
    }
    Ok(())
}

fn longer_stride(cx: &Cx, array: &Array, call: Call) -> Result<()> {
    for extra in [8, 64, 4096] {
        let long = array.strided(extra, None);
        call(cx, long.describe()).with_context(|| format!("{extra} bytes of zeros"))?;
    }
    Ok(())
}

fn set_tail(cx: &Cx, array: &Array, call: Call) -> Result<()> {
    for (extra, which) in [(8, 0), (8, 1), (4096, 1)] {
        let long = array.strided(extra, Some(which));
        refused(call(cx, long.describe()), Errno::E2BIG)
            .with_context(|| format!("object {which}, {extra} bytes"))?;
    }
    Ok(())
}

fn bad_pointer(cx: &Cx, array: &Array, call: Call) -> Result<()> {
    for extra in [0, 8] {
        for pointer in [0, 0x10, 0xffff_8000_0000_0000, u64::MAX - 4095] {
            let nowhere = ObjArray {
                stride: (array.size() + extra) as u32,
                count: 2,
                array: pointer,
            };
            refused(call(cx, nowhere), Errno::EFAULT)
                .with_context(|| format!("pointer {pointer:#x}, stride {}", nowhere.stride))?;
        }
    }
    Ok(())
}
