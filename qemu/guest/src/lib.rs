// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Safe access to the panthor uAPI from userspace.
//!
//! * [`uapi`]: the structures and constants of `panthor_drm.h`, `drm.h` and `sync_file.h`, laid out by hand.
//! * [`ioctl`]: typed ioctl calls, and the raw one.
//! * [`device`], [`vm`], [`bo`], [`group`], [`sync`]: owners of kernel objects that free them on drop.
//! * [`cs`]: an assembler for command streams of arch 10.
//! * [`rig`]: what test programs start from: a device, a VM, a group, buffers.
//! * [`kernel`]: what the kernel tells about the driver: parameters, power, trace events, memory.
//! * [`control`]: commands to the emulated GPU, beside the driver.
//!
//! Nothing here knows which kernel driver it talks to: whatever calls itself "panthor" will do.

pub mod bo;
pub mod control;
pub mod cs;
pub mod device;
pub mod group;
pub mod ioctl;
pub mod kernel;
pub mod rig;
pub mod sync;
pub mod uapi;
pub mod vm;

pub use bo::{Bo, Buffer, Mapping};
pub use device::Device;
pub use group::{Group, GroupConfig, Job};
pub use ioctl::Errno;
pub use sync::Syncobj;
pub use vm::Vm;
