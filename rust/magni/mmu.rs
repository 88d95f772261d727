// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The MMU: address-space slots, and the virtual memories that take turns in them.
//!
//! A [`Vm`] has page tables of its own. To be used by the GPU it needs one of the hardware's few
//! address spaces (AS): [`Vm::activate`] gives it one, and an idle VM keeps its until another one
//! needs it. AS 0 is the microcontroller's.

mod address_space;
pub(crate) mod fault;
mod flags;
mod pool;
mod power;
mod slots;
mod tree;
mod va_space;
mod vm;

pub(crate) use self::{
    flags::MapFlags,
    pool::VmPool,
    slots::{
        Mmu,
        MmuIrq, //
    },
    vm::{
        ActiveVm,
        Vm,
        VmKind, //
    },
};
