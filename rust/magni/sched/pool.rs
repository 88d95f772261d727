// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The groups of one file.

use super::group::Group;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

/// The most groups that a file may have.
pub(crate) const MAX_GROUPS: usize = 128;

/// The groups of one file, by handle: 1 to [`MAX_GROUPS`], the lowest free one first.
#[pin_data(PinnedDrop)]
pub(crate) struct GroupPool {
    #[pin]
    groups: Mutex<KVec<Option<Arc<Group>>>>,
}

impl GroupPool {
    /// A pool without groups.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            groups <- new_mutex!(KVec::new(), "magni::GroupPool"),
        })
    }

    /// The place of a handle.
    fn place(handle: u32) -> Option<usize> {
        (handle as usize).checked_sub(1)
    }

    /// Gives a handle to `group`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if there are [`MAX_GROUPS`] already; `ENOMEM`.
    pub(crate) fn add(&self, group: &Arc<Group>) -> Result<u32> {
        let mut groups = self.groups.lock();
        let place = match groups.iter().position(Option::is_none) {
            Some(place) => place,
            None if groups.len() < MAX_GROUPS => {
                groups.push(None, GFP_KERNEL)?;
                groups.len() - 1
            }
            None => return Err(EBUSY),
        };
        groups[place] = Some(group.clone());
        Ok(place as u32 + 1)
    }

    /// The group behind `handle`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is none.
    pub(crate) fn get(&self, handle: u32) -> Result<Arc<Group>> {
        let place = Self::place(handle).ok_or(EINVAL)?;
        let groups = self.groups.lock();
        groups.get(place).cloned().flatten().ok_or(EINVAL)
    }

    /// Bytes that the kernel has allocated for the groups, and for those of them that are on the
    /// hardware.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let (mut all, mut active) = (0, 0);
        for group in self.groups.lock().iter().flatten() {
            let size = group.memory();
            all += size;
            if group.residency.slot().is_some() {
                active += size;
            }
        }
        (all, active)
    }

    /// Takes `handle` back and destroys its group.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is none.
    pub(crate) fn destroy(&self, handle: u32) -> Result {
        let place = Self::place(handle).ok_or(EINVAL)?;
        let group = self.groups.lock().get_mut(place).and_then(Option::take);
        group.ok_or(EINVAL)?.destroy();
        Ok(())
    }
}

#[pinned_drop]
impl PinnedDrop for GroupPool {
    fn drop(self: Pin<&mut Self>) {
        for group in self.groups.lock().iter().flatten() {
            group.destroy();
        }
    }
}
