// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The VMs of an open file.

use super::vm::Vm;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

/// The most VMs that a file can have; their numbers start at 1.
const MAX_VMS: usize = 32;

/// The VMs of an open file, by number.
///
/// Dropping it destroys them.
#[pin_data(PinnedDrop)]
pub(crate) struct VmPool {
    #[pin]
    vms: Mutex<[Option<Arc<Vm>>; MAX_VMS]>,
}

impl VmPool {
    /// Returns an initialiser for a pool with no VMs.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            vms <- new_mutex!([const { None }; MAX_VMS]),
        })
    }

    /// Adds a VM and returns its number.
    ///
    /// # Errors
    ///
    /// `EBUSY` if there are 32 already.
    pub(crate) fn add(&self, vm: Arc<Vm>) -> Result<u32> {
        let mut vms = self.vms.lock();
        let index = vms.iter().position(Option::is_none).ok_or(EBUSY)?;
        vms[index] = Some(vm);

        Ok(index as u32 + 1)
    }

    fn index(id: u32) -> Option<usize> {
        (id as usize)
            .checked_sub(1)
            .filter(|index| *index < MAX_VMS)
    }

    /// The VM with number `id`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is none.
    pub(crate) fn get(&self, id: u32) -> Result<Arc<Vm>> {
        let index = Self::index(id).ok_or(EINVAL)?;

        self.vms.lock()[index].clone().ok_or(EINVAL)
    }

    /// Destroys the VM with number `id`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is none.
    pub(crate) fn destroy(&self, id: u32) -> Result {
        let index = Self::index(id).ok_or(EINVAL)?;
        let vm = self.vms.lock()[index].take().ok_or(EINVAL)?;
        vm.destroy();

        Ok(())
    }
}

#[pinned_drop]
impl PinnedDrop for VmPool {
    fn drop(self: Pin<&mut Self>) {
        for vm in self.vms.lock().iter().flatten() {
            vm.destroy();
        }
    }
}
