// SPDX-License-Identifier: GPL-2.0 OR MIT

//! GROUP_CREATE, GROUP_DESTROY and GROUP_GET_STATE.

use anyhow::{ensure, Context, Result};
use guest::ioctl::{self, Errno};
use guest::uapi::panthor::{
    GroupCreate, GroupDestroy, GroupGetState, ObjArray, QueueCreate, GROUP_PRIORITY_HIGH,
    GROUP_PRIORITY_LOW, GROUP_PRIORITY_MEDIUM, GROUP_PRIORITY_REALTIME,
};
use guest::{Group, GroupConfig};

use crate::cx::{refused, Change, Cx, Row, Tests, NO_HANDLE};
use crate::roles;

/// Groups that one file may have.
const MAX_GROUPS: usize = 128;

pub(crate) fn tests(t: &mut Tests) {
    t.add_refusals("group_create", create, CREATE);
    t.add_refusals("group_create_queue", create_queue, QUEUE);
    t.add(
        "group_create::refuses_more_queues_than_the_firmware_has",
        too_many_queues,
    );
    t.add(
        "group_create::as_many_queues_as_the_firmware_has",
        all_queues,
    );
    t.add("group_create::ring_sizes", ring_sizes);
    t.add("group_create::queue_priorities", queue_priorities);
    t.add("group_create::priorities", priorities);
    t.add(
        "group_create::refuses_privileged_priorities_to_others",
        unprivileged,
    );
    t.add("group_create::fewer_cores_than_the_mask", fewer_cores);
    t.add("group_create::no_cores", no_cores);
    t.add("group_create::at_most_128_per_file", limit);
    t.add_refusals("group_destroy", destroy, DESTROY);
    t.add("group_destroy::twice", destroy_twice);
    t.add_refusals("group_get_state", get_state, GET_STATE);
    t.add("group_get_state::of_a_new_group", new_state);
}

/// Creates a group from changed arguments and destroys it.
fn create_args(cx: &Cx, mut args: GroupCreate) -> ioctl::Result<()> {
    cx.device.call(&mut args)?;
    cx.device.call(&mut GroupDestroy {
        group_handle: args.group_handle,
        pad: 0,
    })
}

fn create(cx: &Cx, change: Change<GroupCreate>) -> ioctl::Result<()> {
    let config = GroupConfig::queues(1);
    let mut args = config.args(&cx.gpu, cx.vm.id());
    change(cx, &mut args);
    create_args(cx, args)
}

/// The lowest core that the GPU does not have.
fn absent(present: u64) -> u64 {
    1 << present.trailing_ones()
}

const CREATE: &[Row<GroupCreate>] = &[
    ("pad", Errno::EINVAL, |_, a| a.pad = 1),
    ("no_queues", Errno::EINVAL, |_, a| a.queues.count = 0),
    ("33_queues", Errno::EINVAL, |_, a| {
        static QUEUES: [QueueCreate; 33] = [QueueCreate {
            priority: 0,
            pad: [0; 3],
            ringbuf_size: 4096,
        }; 33];
        a.queues = ObjArray::of(&QUEUES);
    }),
    // The count is looked at before the array is read.
    ("33_queues_nowhere", Errno::EINVAL, |_, a| {
        a.queues.count = 33;
        a.queues.array = 0x10;
    }),
    ("most_queues", Errno::EINVAL, |_, a| {
        a.queues.count = u32::MAX
    }),
    ("priority_4", Errno::EINVAL, |_, a| a.priority = 4),
    ("priority_255", Errno::EINVAL, |_, a| a.priority = 255),
    ("absent_compute_core", Errno::EINVAL, |cx, a| {
        a.compute_core_mask |= absent(cx.gpu.shader_present)
    }),
    ("absent_fragment_core", Errno::EINVAL, |cx, a| {
        a.fragment_core_mask |= absent(cx.gpu.shader_present)
    }),
    ("absent_tiler", Errno::EINVAL, |cx, a| {
        a.tiler_core_mask |= absent(cx.gpu.tiler_present)
    }),
    ("more_compute_cores_than_the_mask", Errno::EINVAL, |_, a| {
        a.max_compute_cores += 1
    }),
    (
        "more_fragment_cores_than_the_mask",
        Errno::EINVAL,
        |_, a| a.max_fragment_cores += 1,
    ),
    ("more_tilers_than_the_mask", Errno::EINVAL, |_, a| {
        a.max_tiler_cores += 1
    }),
    ("compute_cores_without_a_mask", Errno::EINVAL, |_, a| {
        a.compute_core_mask = 0
    }),
    ("vm_0", Errno::EINVAL, |_, a| a.vm_id = 0),
    ("unknown_vm", Errno::EINVAL, |_, a| a.vm_id = NO_HANDLE),
];

fn create_queue(cx: &Cx, change: Change<QueueCreate>) -> ioctl::Result<()> {
    // The second queue is the bad one: the first must not stay behind.
    let mut config = GroupConfig::queues(2);
    change(cx, &mut config.queues[1]);
    create_args(cx, config.args(&cx.gpu, cx.vm.id()))
}

const QUEUE: &[Row<QueueCreate>] = &[
    ("pad_0", Errno::EINVAL, |_, q| q.pad[0] = 1),
    ("pad_1", Errno::EINVAL, |_, q| q.pad[1] = 1),
    ("pad_2", Errno::EINVAL, |_, q| q.pad[2] = 1),
    ("priority_16", Errno::EINVAL, |_, q| q.priority = 16),
    ("priority_255", Errno::EINVAL, |_, q| q.priority = 255),
    ("ring_of_0", Errno::EINVAL, |_, q| q.ringbuf_size = 0),
    ("ring_of_2k", Errno::EINVAL, |_, q| q.ringbuf_size = 2048),
    ("ring_of_12k", Errno::EINVAL, |_, q| {
        q.ringbuf_size = 12 << 10
    }),
    ("ring_of_4k_and_1", Errno::EINVAL, |_, q| {
        q.ringbuf_size = 4097
    }),
    ("ring_of_128k", Errno::EINVAL, |_, q| {
        q.ringbuf_size = 128 << 10
    }),
    ("ring_of_2g", Errno::EINVAL, |_, q| q.ringbuf_size = 1 << 31),
];

fn too_many_queues() -> Result<()> {
    let cx = Cx::new()?;
    let count = cx.csif.cs_slot_count as usize + 1;
    let config = GroupConfig::queues(count);
    refused(
        create_args(&cx, config.args(&cx.gpu, cx.vm.id())),
        Errno::EINVAL,
    )
}

fn all_queues() -> Result<()> {
    let cx = Cx::new()?;
    let count = cx.csif.cs_slot_count as usize;
    Group::new(&cx.vm, &GroupConfig::queues(count))?;
    Ok(())
}

fn ring_sizes() -> Result<()> {
    let cx = Cx::new()?;
    for kib in [4, 8, 16, 32, 64] {
        let mut config = GroupConfig::queues(1);
        config.queues[0].ringbuf_size = kib << 10;
        Group::new(&cx.vm, &config).with_context(|| format!("{kib} KiB"))?;
    }
    Ok(())
}

fn queue_priorities() -> Result<()> {
    let cx = Cx::new()?;
    for priority in 0..16 {
        let mut config = GroupConfig::queues(1);
        config.queues[0].priority = priority;
        Group::new(&cx.vm, &config).with_context(|| format!("priority {priority}"))?;
    }
    Ok(())
}

fn priorities() -> Result<()> {
    let cx = Cx::new()?;
    for priority in GROUP_PRIORITY_LOW..=GROUP_PRIORITY_REALTIME {
        let mut config = GroupConfig::queues(1);
        config.priority = priority;
        Group::new(&cx.vm, &config).with_context(|| format!("priority {priority}"))?;
    }
    Ok(())
}

/// Runs in a process without privileges (see [`unprivileged`]).
pub(crate) fn unprivileged_role(device: guest::Device) -> Result<()> {
    let vm = guest::Vm::new(&device)?;
    for priority in GROUP_PRIORITY_LOW..=GROUP_PRIORITY_REALTIME {
        let mut config = GroupConfig::queues(1);
        config.priority = priority;
        let result = Group::new(&vm, &config).map(|g| g.handle());
        match priority {
            GROUP_PRIORITY_LOW | GROUP_PRIORITY_MEDIUM => {
                result.with_context(|| format!("priority {priority}"))?;
            }
            _ => refused(result, Errno::EACCES).with_context(|| format!("priority {priority}"))?,
        }
    }
    // An unknown priority is a bad argument, whoever asks.
    let mut config = GroupConfig::queues(1);
    config.priority = GROUP_PRIORITY_HIGH + 2;
    refused(Group::new(&vm, &config).map(|g| g.handle()), Errno::EINVAL)
}

fn unprivileged() -> Result<()> {
    roles::run_to_end(roles::UNPRIVILEGED_GROUPS)
}

fn fewer_cores() -> Result<()> {
    let cx = Cx::new()?;
    let config = GroupConfig::queues(1);
    let mut args = config.args(&cx.gpu, cx.vm.id());
    args.max_compute_cores = 1;
    args.max_fragment_cores = 0;
    create_args(&cx, args)?;
    let one_core = 1 << cx.gpu.shader_present.trailing_zeros();
    args.compute_core_mask = one_core;
    args.fragment_core_mask = 0;
    create_args(&cx, args)?;
    Ok(())
}

fn no_cores() -> Result<()> {
    let cx = Cx::new()?;
    let config = GroupConfig::queues(1);
    let args = GroupCreate {
        queues: ObjArray::of(&config.queues),
        priority: GROUP_PRIORITY_MEDIUM,
        vm_id: cx.vm.id(),
        ..Default::default()
    };
    create_args(&cx, args)?;
    Ok(())
}

fn limit() -> Result<()> {
    let cx = Cx::new()?;
    let mut config = GroupConfig::queues(1);
    config.queues[0].ringbuf_size = 4096;
    let mut groups = Vec::new();
    for i in 0..MAX_GROUPS {
        let group =
            Group::new(&cx.vm, &config).with_context(|| format!("group number {}", i + 1))?;
        groups.push(group);
    }
    let mut handles: Vec<u32> = groups.iter().map(Group::handle).collect();
    handles.sort();
    handles.dedup();
    ensure!(handles.len() == groups.len(), "handles repeat");
    ensure!(handles[0] != 0, "a handle is 0");
    refused(
        Group::new(&cx.vm, &config).map(|g| g.handle()),
        Errno::EBUSY,
    )?;
    groups.pop();
    Group::new(&cx.vm, &config).context("a group after one was destroyed")?;
    Ok(())
}

fn destroy(cx: &Cx, change: Change<GroupDestroy>) -> ioctl::Result<()> {
    let config = GroupConfig::queues(1);
    let mut group = config.args(&cx.gpu, cx.vm.id());
    cx.device.call(&mut group)?;
    let mut args = GroupDestroy {
        group_handle: group.group_handle,
        pad: 0,
    };
    change(cx, &mut args);
    cx.device.call(&mut args)
}

const DESTROY: &[Row<GroupDestroy>] = &[
    ("pad", Errno::EINVAL, |_, a| a.pad = 1),
    ("handle_0", Errno::EINVAL, |_, a| a.group_handle = 0),
    ("unknown_handle", Errno::EINVAL, |_, a| {
        a.group_handle = NO_HANDLE
    }),
    ("largest_handle", Errno::EINVAL, |_, a| {
        a.group_handle = u32::MAX
    }),
];

fn destroy_twice() -> Result<()> {
    let cx = Cx::new()?;
    let group = Group::new(&cx.vm, &GroupConfig::queues(1))?;
    let mut args = GroupDestroy {
        group_handle: group.handle(),
        pad: 0,
    };
    cx.device.call(&mut args)?;
    refused(cx.device.call(&mut args), Errno::EINVAL)?;
    refused(group.state(), Errno::EINVAL)
}

fn get_state(cx: &Cx, change: Change<GroupGetState>) -> ioctl::Result<()> {
    let group = Group::new(&cx.vm, &GroupConfig::queues(1))?;
    let mut args = GroupGetState {
        group_handle: group.handle(),
        ..Default::default()
    };
    change(cx, &mut args);
    cx.device.call(&mut args)
}

const GET_STATE: &[Row<GroupGetState>] = &[
    ("pad", Errno::EINVAL, |_, a| a.pad = 1),
    ("handle_0", Errno::EINVAL, |_, a| a.group_handle = 0),
    ("unknown_handle", Errno::EINVAL, |_, a| {
        a.group_handle = NO_HANDLE
    }),
];

fn new_state() -> Result<()> {
    let cx = Cx::new()?;
    let group = Group::new(&cx.vm, &GroupConfig::queues(1))?;
    // What the caller left in the answer's fields does not matter.
    let mut args = GroupGetState {
        group_handle: group.handle(),
        state: u32::MAX,
        fatal_queues: u32::MAX,
        pad: 0,
    };
    cx.device.call(&mut args)?;
    ensure!(
        args.state == 0 && args.fatal_queues == 0,
        "a new group reports {args:?}"
    );
    Ok(())
}
