// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Register offsets from the start of the register window, by block.
//!
//! Facts from the driver's `panthor_{gpu,mmu,fw}_regs.h`.

pub mod csf;
pub mod gpu;
pub mod mmu;

/// Size of the register window, in bytes.
pub const WINDOW_SIZE: u64 = 0x20_0000;

/// Offsets within each interrupt block.
pub mod int {
    /// All events, masked or not.
    pub const RAWSTAT: u32 = 0x0;
    /// Write 1 to clear.
    pub const CLEAR: u32 = 0x4;
    /// Events that reach the interrupt line.
    pub const MASK: u32 = 0x8;
    /// RAWSTAT & MASK.
    pub const STAT: u32 = 0xc;
}

/// The register's name, for traces; unknown ones are shown by offset.
pub fn name(offset: u32) -> String {
    let int = |block: &str, base: u32| {
        let register = match offset - base {
            int::RAWSTAT => "RAWSTAT",
            int::CLEAR => "CLEAR",
            int::MASK => "MASK",
            _ => "STAT",
        };
        format!("{block}_INT_{register}")
    };
    match offset {
        gpu::INT_BASE..=0x2c => int("GPU", gpu::INT_BASE),
        csf::JOB_INT_BASE..=0x100c => int("JOB", csf::JOB_INT_BASE),
        mmu::INT_BASE..=0x200c => int("MMU", mmu::INT_BASE),
        mmu::AS_BASE..=0x2bff => {
            let at = offset - mmu::AS_BASE;
            let register = mmu::name(at % mmu::AS_STRIDE);
            format!("AS{}_{register}", at / mmu::AS_STRIDE)
        }
        csf::DOORBELL_BASE.. if (offset - csf::DOORBELL_BASE) % csf::DOORBELL_STRIDE == 0 => {
            let page = (offset - csf::DOORBELL_BASE) / csf::DOORBELL_STRIDE;
            format!("DOORBELL{page}")
        }
        gpu::POWER_FIRST..=gpu::POWER_LAST if offset % 8 == 4 => match gpu::name(offset - 4) {
            Some(name) => format!("{name}_HI"),
            None => format!("{offset:#07x}"),
        },
        _ => match gpu::name(offset).or_else(|| csf::name(offset)) {
            Some(name) => name.to_owned(),
            None => format!("{offset:#07x}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_of_every_block_have_names() {
        for (offset, expected) in [
            (0x0, "GPU_ID"),
            (0x28, "GPU_INT_MASK"),
            (0x1a0, "L2_PWRON"),
            (0x1a4, "L2_PWRON_HI"),
            (0x704, "MCU_STATUS"),
            (0x1004, "JOB_INT_CLEAR"),
            (0x2000, "MMU_INT_RAWSTAT"),
            (0x2458, "AS1_COMMAND"),
            (0x1_0000, "LATEST_FLUSH"),
            (0x9_0000, "DOORBELL1"),
            (0x9_0004, "0x90004"),
            (0x5c, "0x0005c"),
        ] {
            assert_eq!(name(offset), expected);
        }
    }
}
