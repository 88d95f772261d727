// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The GPUs that can be emulated, as data.

use std::time::Duration;

/// One GPU model: the values of its read-only registers and what its firmware offers.
///
/// Register values follow the names of the uAPI's `drm_panthor_gpu_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Short name, as given on the command line.
    pub name: &'static str,
    /// `GPU_ID`: architecture, product and revision.
    pub gpu_id: u32,
    /// `CSF_ID`: version of the command-stream frontend.
    pub csf_id: u32,
    /// `GPU_REVID`.
    pub gpu_rev: u32,
    /// `L2_FEATURES`.
    pub l2_features: u32,
    /// `CORE_FEATURES`.
    pub core_features: u32,
    /// `TILER_FEATURES`.
    pub tiler_features: u32,
    /// `MEM_FEATURES`.
    pub mem_features: u32,
    /// `MMU_FEATURES`: virtual address bits in 7:0, physical ones in 15:8.
    pub mmu_features: u32,
    /// `AS_PRESENT`: one bit per address space.
    pub as_present: u32,
    /// `GPU_FEATURES`.
    pub gpu_features: u64,
    /// `COHERENCY_FEATURES`.
    pub coherency_features: u32,
    /// `THREAD_MAX_THREADS`.
    pub max_threads: u32,
    /// `THREAD_MAX_WORKGROUP_SIZE`.
    pub thread_max_workgroup_size: u32,
    /// `THREAD_MAX_BARRIER_SIZE`.
    pub thread_max_barrier_size: u32,
    /// `THREAD_FEATURES`.
    pub thread_features: u32,
    /// `TEXTURE_FEATURES_0..3`.
    pub texture_features: [u32; 4],
    /// `SHADER_PRESENT`: one bit per shader core.
    pub shader_present: u64,
    /// `TILER_PRESENT`: one bit per tiler.
    pub tiler_present: u64,
    /// `L2_PRESENT`: one bit per L2 slice group.
    pub l2_present: u64,
    /// Rate of the system timestamp, in Hz.
    pub timestamp_hz: u64,
    /// Rate of the GPU's cycle counter, in Hz.
    pub core_hz: u64,
    /// What the firmware offers.
    pub csf: CsfProfile,
    /// How long a `RUN_*` instruction keeps its scoreboard slot busy.
    pub run_time: Duration,
}

/// What the firmware of a GPU offers through its interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsfProfile {
    /// Interface version: major in 31:24, minor in 23:16, patch in 15:0.
    pub version: u32,
    /// Global features word.
    pub features: u32,
    /// Instrumentation features word.
    pub instr_features: u32,
    /// Size of the performance counter samples, in bytes as the interface packs them.
    pub perfcnt_size: u32,
    /// Number of group slots.
    pub group_num: u32,
    /// Number of streams in each group slot.
    pub stream_num: u32,
    /// Number of 32-bit work registers of a stream.
    pub work_registers: u32,
    /// Number of scoreboard slots of a stream.
    pub scoreboards: u32,
    /// Size of a group's suspend buffer, in bytes.
    pub suspend_size: u32,
    /// Size of a group's protected-mode suspend buffer, in bytes.
    pub protm_suspend_size: u32,
    /// Deepest nesting of CALL below the ring.
    pub max_calls: u32,
    /// Words to publish instead of the true ones, to test the driver's checks.
    pub wrong: WrongInterface,
}

/// Interface words that are to be published wrongly; `None` publishes the true one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrongInterface {
    /// Global control block: interface version.
    pub version: Option<u32>,
    /// Global control block: MCU address of the input block.
    pub glb_input_va: Option<u32>,
    /// Global control block: MCU address of the output block.
    pub glb_output_va: Option<u32>,
    /// Global control block: number of group slots.
    pub group_num: Option<u32>,
    /// Global control block: distance between group control blocks, in bytes.
    pub group_stride: Option<u32>,
    /// Every group control block: MCU address of the input block.
    pub csg_input_va: Option<u32>,
    /// Every group control block: MCU address of the output block.
    pub csg_output_va: Option<u32>,
    /// Every group control block: size of the suspend buffer, in bytes.
    pub suspend_size: Option<u32>,
    /// Every group control block: number of streams.
    pub stream_num: Option<u32>,
    /// Every group control block: distance between stream control blocks, in bytes.
    pub stream_stride: Option<u32>,
    /// Every stream control block: features word.
    pub cs_features: Option<u32>,
    /// Every stream control block: MCU address of the input block.
    pub cs_input_va: Option<u32>,
    /// Every stream control block: MCU address of the output block.
    pub cs_output_va: Option<u32>,
}

/// A setting that a profile does not have, or whose value does not fit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// No field has this name.
    #[error("there is no such setting")]
    Unknown,
    /// The value is too large for the field.
    #[error("the value does not fit")]
    TooLarge,
}

impl Profile {
    /// Names of all profiles.
    pub const NAMES: &'static [&'static str] = &["g610"];

    /// The profile called `name`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "g610" => Some(Self::g610()),
            _ => None,
        }
    }

    /// Changes one value: a field's name, `csf.` and a field's name, `wrong.` and the
    /// name of an interface word to publish wrongly, or `run_time_us`.
    ///
    /// # Errors
    ///
    /// If there is no such field, or if the value does not fit it.
    pub fn set(&mut self, key: &str, value: u64) -> Result<(), SettingError> {
        let word = u32::try_from(value).map_err(|_| SettingError::TooLarge);
        macro_rules! fields {
            ($($name:literal => $($place:ident).+;)*) => {
                match key {
                    $($name => self.$($place).+ = word?,)*
                    _ => return self.set_wide(key, value),
                }
            };
        }
        fields! {
            "gpu_id" => gpu_id;
            "csf_id" => csf_id;
            "gpu_rev" => gpu_rev;
            "l2_features" => l2_features;
            "core_features" => core_features;
            "tiler_features" => tiler_features;
            "mem_features" => mem_features;
            "mmu_features" => mmu_features;
            "as_present" => as_present;
            "coherency_features" => coherency_features;
            "csf.version" => csf.version;
            "csf.features" => csf.features;
            "csf.group_num" => csf.group_num;
            "csf.stream_num" => csf.stream_num;
            "csf.suspend_size" => csf.suspend_size;
        }
        Ok(())
    }

    fn set_wide(&mut self, key: &str, value: u64) -> Result<(), SettingError> {
        let word = u32::try_from(value).map_err(|_| SettingError::TooLarge);
        let wrong = &mut self.csf.wrong;
        let place = match key {
            "gpu_features" => {
                self.gpu_features = value;
                return Ok(());
            }
            "shader_present" => {
                self.shader_present = value;
                return Ok(());
            }
            "tiler_present" => {
                self.tiler_present = value;
                return Ok(());
            }
            "l2_present" => {
                self.l2_present = value;
                return Ok(());
            }
            "timestamp_hz" => {
                self.timestamp_hz = value;
                return Ok(());
            }
            "run_time_us" => {
                self.run_time = Duration::from_micros(value);
                return Ok(());
            }
            "wrong.version" => &mut wrong.version,
            "wrong.glb_input_va" => &mut wrong.glb_input_va,
            "wrong.glb_output_va" => &mut wrong.glb_output_va,
            "wrong.group_num" => &mut wrong.group_num,
            "wrong.group_stride" => &mut wrong.group_stride,
            "wrong.csg_input_va" => &mut wrong.csg_input_va,
            "wrong.csg_output_va" => &mut wrong.csg_output_va,
            "wrong.suspend_size" => &mut wrong.suspend_size,
            "wrong.stream_num" => &mut wrong.stream_num,
            "wrong.stream_stride" => &mut wrong.stream_stride,
            "wrong.cs_features" => &mut wrong.cs_features,
            "wrong.cs_input_va" => &mut wrong.cs_input_va,
            "wrong.cs_output_va" => &mut wrong.cs_output_va,
            _ => return Err(SettingError::Unknown),
        };
        *place = Some(word?);
        Ok(())
    }

    /// Mali-G610 MC4 as on the RK3588.
    pub fn g610() -> Self {
        Self {
            name: "g610",
            gpu_id: 0xa867_0005,
            csf_id: 0x040a_0412,
            gpu_rev: 0,
            l2_features: 0x0712_0306,
            core_features: 0,
            tiler_features: 0x0000_0809,
            mem_features: 0x0000_0301,
            mmu_features: 0x0000_2830,
            as_present: 0xff,
            gpu_features: 0,
            coherency_features: 0,
            max_threads: 0x800,
            thread_max_workgroup_size: 0x400,
            thread_max_barrier_size: 0x400,
            thread_features: 0x0401_0000,
            texture_features: [0xc1ff_ff9e, 0xdfbf_ffff, 0xffff_ffff, 0],
            shader_present: 0x5_0005,
            tiler_present: 1,
            l2_present: 1,
            timestamp_hz: 62_500_000,
            core_hz: 1_000_000_000,
            csf: CsfProfile {
                version: (1 << 24) | (1 << 16),
                features: 0,
                instr_features: 0x71,
                perfcnt_size: 0,
                group_num: 8,
                stream_num: 8,
                work_registers: 96,
                scoreboards: 8,
                suspend_size: 0x4000,
                protm_suspend_size: 0x1000,
                max_calls: 7,
                wrong: WrongInterface::default(),
            },
            run_time: Duration::from_micros(50),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_profile() {
        for name in Profile::NAMES {
            assert_eq!(Profile::named(name).unwrap().name, *name);
        }
        assert_eq!(Profile::named("g52"), None);
    }

    #[test]
    fn settings_change_their_field_only() {
        let mut profile = Profile::g610();
        profile.set("gpu_id", 0xf000_0000).unwrap();
        profile.set("wrong.group_num", 1000).unwrap();
        profile.set("run_time_us", 7).unwrap();
        let mut expected = Profile::g610();
        expected.gpu_id = 0xf000_0000;
        expected.csf.wrong.group_num = Some(1000);
        expected.run_time = Duration::from_micros(7);
        assert_eq!(profile, expected);
    }

    #[test]
    fn wrong_settings_are_refused() {
        let mut profile = Profile::g610();
        assert_eq!(profile.set("colour", 1), Err(SettingError::Unknown));
        assert_eq!(profile.set("gpu_id", 1 << 32), Err(SettingError::TooLarge));
        let refused = profile.set("wrong.group_num", 1 << 32);
        assert_eq!(refused, Err(SettingError::TooLarge));
        assert_eq!(profile, Profile::g610());
    }
}
