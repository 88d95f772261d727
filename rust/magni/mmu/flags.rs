// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How a buffer is mapped for the GPU.

use kernel::{
    iommu::pgtable::prot,
    prelude::*,
    uapi, //
};

/// Access rights and caching of a mapping: `DRM_PANTHOR_VM_BIND_OP_MAP_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MapFlags(u32);

impl MapFlags {
    /// The GPU may only read.
    pub(crate) const READONLY: Self =
        Self(uapi::drm_panthor_vm_bind_op_flags_DRM_PANTHOR_VM_BIND_OP_MAP_READONLY as u32);
    /// The GPU may not execute.
    pub(crate) const NOEXEC: Self =
        Self(uapi::drm_panthor_vm_bind_op_flags_DRM_PANTHOR_VM_BIND_OP_MAP_NOEXEC as u32);
    /// The GPU does not cache.
    pub(crate) const UNCACHED: Self =
        Self(uapi::drm_panthor_vm_bind_op_flags_DRM_PANTHOR_VM_BIND_OP_MAP_UNCACHED as u32);

    /// Takes the flags of user space.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a flag that is not known.
    pub(crate) fn from_user(flags: u32) -> Result<Self> {
        if flags & !(Self::READONLY.0 | Self::NOEXEC.0 | Self::UNCACHED.0) != 0 {
            return Err(EINVAL);
        }

        Ok(Self(flags))
    }

    /// These flags and those in `other`.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among these flags.
    pub(crate) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags as page tables take them.
    pub(crate) fn prot(self) -> u32 {
        let mut bits = prot::READ;

        if !self.contains(Self::READONLY) {
            bits |= prot::WRITE;
        }
        if self.contains(Self::NOEXEC) {
            bits |= prot::NOEXEC;
        }
        if !self.contains(Self::UNCACHED) {
            bits |= prot::CACHE;
        }

        bits
    }
}

#[kunit_tests(magni_map_flags)]
mod tests {
    use super::*;

    #[test]
    fn prot_bits() {
        assert_eq!(
            MapFlags::default().prot(),
            prot::READ | prot::WRITE | prot::CACHE
        );
        assert_eq!(
            MapFlags::READONLY
                .and(MapFlags::NOEXEC)
                .and(MapFlags::UNCACHED)
                .prot(),
            prot::READ | prot::NOEXEC
        );
    }

    #[test]
    fn unknown_flags_are_refused() {
        assert!(MapFlags::from_user(7).is_ok());
        assert!(MapFlags::from_user(8).is_err());
        assert!(MapFlags::from_user(1 << 28).is_err());
    }
}
