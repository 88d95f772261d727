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

impl Profile {
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
                version: 1 << 24 | 1 << 16,
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
