// SPDX-License-Identifier: GPL-2.0 OR MIT

//! IOMMU support: the installed kernel's, and what it lacks.

pub use rk::iommu::*;

pub mod devres_pgtable;
