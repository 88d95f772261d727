// SPDX-License-Identifier: GPL-2.0 OR MIT

//! GPU control: identity, interrupts, commands, counters, power.

macro_rules! registers {
    ($($(#[$doc:meta])* $name:ident = $offset:literal;)*) => {
        $($(#[$doc])* pub const $name: u32 = $offset;)*

        /// The register's name, if it is one of this block.
        pub fn name(offset: u32) -> Option<&'static str> {
            match offset {
                $($name => Some(stringify!($name)),)*
                _ => None,
            }
        }
    };
}

registers! {
    /// Architecture, product and revision.
    GPU_ID = 0x000;
    /// Shape of the L2.
    L2_FEATURES = 0x004;
    /// Shape of the shader cores.
    CORE_FEATURES = 0x008;
    /// Shape of the tiler.
    TILER_FEATURES = 0x00c;
    /// Shape of the memory system.
    MEM_FEATURES = 0x010;
    /// Virtual and physical address bits.
    MMU_FEATURES = 0x014;
    /// Address spaces present.
    AS_PRESENT = 0x018;
    /// Version of the command-stream frontend.
    CSF_ID = 0x01c;
    /// Commands: resets and cache flushes.
    GPU_COMMAND = 0x030;
    /// What is active.
    GPU_STATUS = 0x034;
    /// Type of the latched GPU fault.
    GPU_FAULTSTATUS = 0x03c;
    /// Address of the latched GPU fault, low word.
    GPU_FAULTADDRESS_LO = 0x040;
    /// Address of the latched GPU fault, high word.
    GPU_FAULTADDRESS_HI = 0x044;
    /// Configuration of the L2.
    L2_CONFIG = 0x048;
    /// Unlocks the power overrides.
    PWR_KEY = 0x050;
    /// Power override.
    PWR_OVERRIDE0 = 0x054;
    /// Power override.
    PWR_OVERRIDE1 = 0x058;
    /// Features from architecture 11 on, low word.
    GPU_FEATURES_LO = 0x060;
    /// Features from architecture 11 on, high word.
    GPU_FEATURES_HI = 0x064;
    /// What is added to the system timestamp, low word.
    TIMESTAMP_OFFSET_LO = 0x088;
    /// What is added to the system timestamp, high word.
    TIMESTAMP_OFFSET_HI = 0x08c;
    /// Cycle counter, low word.
    CYCLE_COUNT_LO = 0x090;
    /// Cycle counter, high word.
    CYCLE_COUNT_HI = 0x094;
    /// System timestamp, low word.
    TIMESTAMP_LO = 0x098;
    /// System timestamp, high word.
    TIMESTAMP_HI = 0x09c;
    /// Threads per core.
    THREAD_MAX_THREADS = 0x0a0;
    /// Threads per workgroup.
    THREAD_MAX_WORKGROUP_SIZE = 0x0a4;
    /// Threads per barrier.
    THREAD_MAX_BARRIER_SIZE = 0x0a8;
    /// Registers and tasks per core.
    THREAD_FEATURES = 0x0ac;
    /// Texture formats.
    TEXTURE_FEATURES_0 = 0x0b0;
    /// Texture formats.
    TEXTURE_FEATURES_1 = 0x0b4;
    /// Texture formats.
    TEXTURE_FEATURES_2 = 0x0b8;
    /// Texture formats.
    TEXTURE_FEATURES_3 = 0x0bc;
    /// Hash of the L2 slices.
    ASN_HASH_0 = 0x2c0;
    /// Hash of the L2 slices.
    ASN_HASH_1 = 0x2c4;
    /// Hash of the L2 slices.
    ASN_HASH_2 = 0x2c8;
    /// Revision.
    REVIDR = 0x280;
    /// Coherency protocols offered.
    COHERENCY_FEATURES = 0x300;
    /// Coherency protocol selected.
    COHERENCY_PROTOCOL = 0x304;

    /// Shader cores present; the power registers are 64 bits wide.
    SHADER_PRESENT = 0x100;
    /// Tilers present.
    TILER_PRESENT = 0x110;
    /// L2 slices present.
    L2_PRESENT = 0x120;
    /// Shader cores powered.
    SHADER_READY = 0x140;
    /// Tilers powered.
    TILER_READY = 0x150;
    /// L2 slices powered.
    L2_READY = 0x160;
    /// Powers shader cores on.
    SHADER_PWRON = 0x180;
    /// Powers tilers on.
    TILER_PWRON = 0x190;
    /// Powers L2 slices on.
    L2_PWRON = 0x1a0;
    /// Powers shader cores off.
    SHADER_PWROFF = 0x1c0;
    /// Powers tilers off.
    TILER_PWROFF = 0x1d0;
    /// Powers L2 slices off.
    L2_PWROFF = 0x1e0;
    /// Shader cores between off and on.
    SHADER_PWRTRANS = 0x200;
    /// Tilers between off and on.
    TILER_PWRTRANS = 0x210;
    /// L2 slices between off and on.
    L2_PWRTRANS = 0x220;
    /// Shader cores at work.
    SHADER_PWRACTIVE = 0x240;
    /// Tilers at work.
    TILER_PWRACTIVE = 0x250;
    /// L2 slices at work.
    L2_PWRACTIVE = 0x260;
}

/// The GPU's interrupt block.
pub const INT_BASE: u32 = 0x020;
/// First of the power registers.
pub const POWER_FIRST: u32 = SHADER_PRESENT;
/// Last of the power registers.
pub const POWER_LAST: u32 = L2_PWRACTIVE + 4;

/// Bits of the GPU's interrupt block.
pub mod irq {
    /// A GPU fault is latched.
    pub const FAULT: u32 = 1 << 0;
    /// A reset finished.
    pub const RESET_COMPLETED: u32 = 1 << 8;
    /// Some block finished a power transition.
    pub const POWER_CHANGED: u32 = 1 << 9;
    /// All blocks finished their power transitions.
    pub const POWER_CHANGED_ALL: u32 = 1 << 10;
    /// A cache flush finished.
    pub const CLEAN_CACHES_COMPLETED: u32 = 1 << 17;
    /// `MCU_STATUS` changed.
    pub const MCU_STATUS_CHANGED: u32 = 1 << 19;
}

/// Bits of `GPU_STATUS`.
pub mod status {
    /// A command is being executed.
    pub const ACTIVE: u32 = 1 << 0;
    /// A power transition is going on.
    pub const PWR_ACTIVE: u32 = 1 << 1;
    /// An address space has a page fault.
    pub const PAGE_FAULT: u32 = 1 << 4;
}

/// Commands of `GPU_COMMAND`: type in 7:0, payload from bit 8 on.
pub mod command {
    /// Does nothing.
    pub const NOP: u32 = 0;
    /// Reset; the payload says which.
    pub const RESET: u32 = 1;
    /// Payload of [`RESET`]: finish memory accesses first.
    pub const RESET_SOFT: u32 = 1;
    /// Payload of [`RESET`]: at once.
    pub const RESET_HARD: u32 = 2;
    /// Forget the latched GPU fault.
    pub const CLEAR_FAULT: u32 = 7;
    /// Flush caches: L2 in payload 3:0, load/store caches in 7:4, the others in 11:8.
    pub const FLUSH_CACHES: u32 = 4;
}
