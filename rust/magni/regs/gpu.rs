// SPDX-License-Identifier: GPL-2.0 OR MIT

//! GPU control: identity, power, caches, reset.

use super::{
    IrqRegs,
    Reg64, //
};
use kernel::register;

register! {
    /// What GPU this is.
    pub(crate) GPU_ID(u32) @ 0x0 {
        /// Release status.
        3:0     version_status;
        /// Minor release.
        11:4    version_minor;
        /// Major release.
        15:12   version_major;
        /// Product within its architecture.
        19:16   product_major;
        /// Architecture patch level.
        23:20   arch_rev;
        /// Architecture minor version.
        27:24   arch_minor;
        /// Architecture major version.
        31:28   arch_major;
    }

    /// Second-level cache.
    pub(crate) L2_FEATURES(u32) @ 0x4 {
        31:0    value;
    }

    /// Shader core variant.
    pub(crate) CORE_FEATURES(u32) @ 0x8 {
        31:0    value;
    }

    /// Tiler.
    pub(crate) TILER_FEATURES(u32) @ 0xc {
        31:0    value;
    }

    /// Memory system.
    pub(crate) MEM_FEATURES(u32) @ 0x10 {
        31:0    value;
    }

    /// Address sizes.
    pub(crate) MMU_FEATURES(u32) @ 0x14 {
        /// Bits of a virtual address.
        7:0     va_bits;
        /// Bits of a physical address.
        15:8    pa_bits;
    }

    /// Address spaces, a bit each.
    pub(crate) AS_PRESENT(u32) @ 0x18 {
        31:0    value;
    }

    /// Command stream front end version.
    pub(crate) CSF_ID(u32) @ 0x1c {
        31:0    value;
    }

    /// Commands; writing executes.
    pub(crate) GPU_COMMAND(u32) @ 0x30 {
        /// What to do: see [`Command`].
        7:0     command;
        /// How, by command.
        31:8    payload;
    }

    /// Cause of a GPU fault.
    pub(crate) GPU_FAULT_STATUS(u32) @ 0x3c {
        /// Exception type.
        7:0     exception;
    }

    /// L2 configuration.
    pub(crate) L2_CONFIG(u32) @ 0x48 {
        /// Use the hash in [`ASN_HASH`].
        24:24   asn_hash_enable => bool;
    }

    /// Threads per core.
    pub(crate) THREAD_MAX_THREADS(u32) @ 0xa0 {
        31:0    value;
    }

    /// Threads per workgroup.
    pub(crate) THREAD_MAX_WORKGROUP_SIZE(u32) @ 0xa4 {
        31:0    value;
    }

    /// Threads per barrier.
    pub(crate) THREAD_MAX_BARRIER_SIZE(u32) @ 0xa8 {
        31:0    value;
    }

    /// Thread properties.
    pub(crate) THREAD_FEATURES(u32) @ 0xac {
        31:0    value;
    }

    /// Texture formats, a bit each.
    pub(crate) TEXTURE_FEATURES(u32)[4] @ 0xb0 {
        31:0    value;
    }

    /// Revision.
    pub(crate) REVIDR(u32) @ 0x280 {
        31:0    value;
    }

    /// Hash that spreads addresses over L2 slices (architecture 11 and later).
    pub(crate) ASN_HASH(u32)[3] @ 0x2c0 {
        31:0    value;
    }

    /// Coherency protocols that the bus interface can speak.
    pub(crate) COHERENCY_FEATURES(u32) @ 0x300 {
        /// ACE-Lite.
        0:0     ace_lite => bool;
        /// ACE.
        1:1     ace => bool;
    }

    /// The coherency protocol in use; takes effect when the L2 is powered on.
    pub(crate) COHERENCY_PROTOCOL(u32) @ 0x304 {
        31:0    value;
    }
}

/// Commands of [`GPU_COMMAND`].
pub(crate) enum Command {
    /// Reset everything but the settings that survive (interrupt masks, for one).
    SoftReset,
    /// Write back and invalidate all caches, and invalidate the read-only ones.
    FlushCaches,
}

impl From<Command> for GPU_COMMAND {
    fn from(command: Command) -> Self {
        match command {
            Command::SoftReset => Self::from_raw(0x1 | 1 << 8),
            // Clean and invalidate (3) for the L2 and the load/store caches, invalidate (2) for
            // the others; four bits each.
            Command::FlushCaches => Self::from_raw(0x4 | 0x233 << 8),
        }
    }
}

/// Interrupt line "gpu".
pub(crate) const IRQ: IrqRegs = IrqRegs(0x20);

/// Events of [`IRQ`].
pub(crate) mod irq {
    /// A fault outside of the MMU: see `GPU_FAULT_STATUS`.
    pub(crate) const FAULT: u32 = 1 << 0;
    /// A fault in protected mode.
    pub(crate) const PROTECTED_FAULT: u32 = 1 << 1;
    /// A reset is done.
    pub(crate) const RESET_COMPLETED: u32 = 1 << 8;
    /// A unit was turned on or off.
    pub(crate) const POWER_CHANGED: u32 = 1 << 9;
    /// All units that were to be turned on or off are.
    pub(crate) const POWER_CHANGED_ALL: u32 = 1 << 10;
    /// A cache flush is done.
    pub(crate) const CLEAN_CACHES_COMPLETED: u32 = 1 << 17;
    /// The microcontroller has started or stopped.
    pub(crate) const MCU_STATUS_CHANGED: u32 = 1 << 19;
}

/// Address of a GPU fault.
pub(crate) const GPU_FAULT_ADDRESS: Reg64 = Reg64(0x40);
/// Features that came with architecture 11.
pub(crate) const GPU_FEATURES: Reg64 = Reg64(0x60);
/// Difference between the GPU's and the system's timestamp.
pub(crate) const TIMESTAMP_OFFSET: Reg64 = Reg64(0x88);
/// Cycles since the last reset.
pub(crate) const CYCLE_COUNT: Reg64 = Reg64(0x90);
/// System timestamp.
pub(crate) const TIMESTAMP: Reg64 = Reg64(0x98);

/// Shader cores that exist.
pub(crate) const SHADER_PRESENT: Reg64 = Reg64(0x100);
/// Tilers that exist.
pub(crate) const TILER_PRESENT: Reg64 = Reg64(0x110);
/// L2 caches that exist.
pub(crate) const L2_PRESENT: Reg64 = Reg64(0x120);
/// Shader cores that are powered and ready.
pub(crate) const SHADER_READY: Reg64 = Reg64(0x140);
/// Tilers that are powered and ready.
pub(crate) const TILER_READY: Reg64 = Reg64(0x150);
/// L2 caches that are powered and ready.
pub(crate) const L2_READY: Reg64 = Reg64(0x160);
/// Powers on L2 caches.
pub(crate) const L2_PWRON: Reg64 = Reg64(0x1a0);
/// Powers off L2 caches.
pub(crate) const L2_PWROFF: Reg64 = Reg64(0x1e0);
/// L2 caches whose power state is changing.
pub(crate) const L2_PWRTRANS: Reg64 = Reg64(0x220);
