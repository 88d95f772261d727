// SPDX-License-Identifier: GPL-2.0 OR MIT

//! GPU control: identity, resets, cache flushes, counters, power, coherency.

pub mod power;

use std::time::{Duration, Instant};

use crate::profile::Profile;
use crate::regs::gpu::{self as reg, command, irq, status};
use power::{Block, Power};

/// How long a reset takes.
const RESET_TIME: Duration = Duration::from_micros(100);
/// How long a cache flush takes.
const FLUSH_TIME: Duration = Duration::from_micros(10);

/// What a write to GPU control asks of the rest of the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Put everything back to its state after a reset.
    Reset,
    /// Clean and invalidate the caches.
    Flush,
}

/// The GPU control block.
pub struct GpuControl {
    /// Power of the blocks.
    pub power: Power,
    epoch: Instant,
    /// Cycles up to the time from which they are counted, and that time if they are.
    cycles: (u64, Option<Instant>),
    reset_due: Option<Instant>,
    flush_due: Option<Instant>,
    /// A test ordered that the reset, or the flush, does not complete.
    reset_hangs: bool,
    flush_hangs: bool,
    fault_status: u32,
    fault_address: u64,
    /// The fault's interrupt is not cleared yet, so that another fault is not shown.
    fault_latched: bool,
    l2_config: u32,
    coherency: u32,
    asn_hash: [u32; 3],
}

impl GpuControl {
    /// GPU control as after a reset.
    pub fn new(profile: &Profile, now: Instant) -> Self {
        Self {
            power: Power::new(profile),
            epoch: now,
            cycles: (0, None),
            reset_due: None,
            flush_due: None,
            reset_hangs: false,
            flush_hangs: false,
            fault_status: 0,
            fault_address: 0,
            fault_latched: false,
            l2_config: 0,
            coherency: 0,
            asn_hash: [0; 3],
        }
    }

    /// The system timestamp.
    pub fn timestamp(&self, profile: &Profile, now: Instant) -> u64 {
        ticks(now - self.epoch, profile.timestamp_hz)
    }

    /// The cycle counter, which a reset clears and stops.
    pub fn cycles(&self, profile: &Profile, now: Instant) -> u64 {
        let (before, since) = self.cycles;
        before + since.map_or(0, |since| ticks(now - since, profile.core_hz))
    }

    /// Lets the cycle counter run, or stops it.
    pub fn count_cycles(&mut self, on: bool, profile: &Profile, now: Instant) {
        if on != self.cycles.1.is_some() {
            self.cycles = (self.cycles(profile, now), on.then_some(now));
        }
    }

    /// Whether a reset is going on.
    pub fn resetting(&self) -> bool {
        self.reset_due.is_some() || self.reset_hangs
    }

    /// Whether the reset that is going on will not complete.
    pub fn reset_hangs(&self) -> bool {
        self.reset_hangs
    }

    /// Keeps the reset that was just begun from completing.
    pub fn hang_reset(&mut self) {
        self.reset_due = None;
        self.reset_hangs = true;
    }

    /// Keeps the flush that was just begun from completing.
    pub fn hang_flush(&mut self) {
        self.flush_due = None;
        self.flush_hangs = true;
    }

    /// When something finishes by itself.
    pub fn due(&self) -> Option<Instant> {
        [self.reset_due, self.flush_due, self.power.due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Finishes what is due; bits for the GPU's RAWSTAT.
    pub fn settle(&mut self, now: Instant) -> u32 {
        let mut bits = self.power.settle(now);
        for (due, bit) in [
            (&mut self.reset_due, irq::RESET_COMPLETED),
            (&mut self.flush_due, irq::CLEAN_CACHES_COMPLETED),
        ] {
            if due.is_some_and(|due| due <= now) {
                *due = None;
                bits |= bit;
            }
        }
        bits
    }

    /// Latches a GPU fault, unless an older one is still there.
    pub fn latch_fault(&mut self, fault_status: u32, address: u64) {
        if !std::mem::replace(&mut self.fault_latched, true) {
            (self.fault_status, self.fault_address) = (fault_status, address);
        }
    }

    /// The driver cleared the fault interrupt: the next fault may be latched. The
    /// registers keep the last one, because drivers read them afterwards (driver fact).
    pub fn fault_cleared(&mut self) {
        self.fault_latched = false;
    }

    fn clear_fault(&mut self) {
        (self.fault_status, self.fault_address) = (0, 0);
        self.fault_latched = false;
    }

    /// Reads the register at `offset`; `None` if there is none.
    pub fn read(
        &self,
        offset: u32,
        profile: &Profile,
        page_fault: bool,
        now: Instant,
    ) -> Option<u32> {
        if (reg::POWER_FIRST..=reg::POWER_LAST).contains(&offset) {
            return self.power.read(offset);
        }
        let (low, high) = (|v: u64| v as u32, |v: u64| (v >> 32) as u32);
        Some(match offset {
            reg::GPU_ID => profile.gpu_id,
            reg::L2_FEATURES => profile.l2_features,
            reg::CORE_FEATURES => profile.core_features,
            reg::TILER_FEATURES => profile.tiler_features,
            reg::MEM_FEATURES => profile.mem_features,
            reg::MMU_FEATURES => profile.mmu_features,
            reg::AS_PRESENT => profile.as_present,
            reg::CSF_ID => profile.csf_id,
            reg::GPU_STATUS => {
                let busy = self.resetting() || self.flushing();
                [
                    (busy, status::ACTIVE),
                    (self.power.active(), status::PWR_ACTIVE),
                    (page_fault, status::PAGE_FAULT),
                ]
                .into_iter()
                .filter_map(|(on, bit)| on.then_some(bit))
                .sum()
            }
            reg::GPU_FAULTSTATUS => self.fault_status,
            reg::GPU_FAULTADDRESS_LO => low(self.fault_address),
            reg::GPU_FAULTADDRESS_HI => high(self.fault_address),
            reg::L2_CONFIG => self.l2_config,
            reg::GPU_FEATURES_LO => low(profile.gpu_features),
            reg::GPU_FEATURES_HI => high(profile.gpu_features),
            reg::TIMESTAMP_OFFSET_LO | reg::TIMESTAMP_OFFSET_HI => 0,
            reg::CYCLE_COUNT_LO => low(self.cycles(profile, now)),
            reg::CYCLE_COUNT_HI => high(self.cycles(profile, now)),
            reg::TIMESTAMP_LO => low(self.timestamp(profile, now)),
            reg::TIMESTAMP_HI => high(self.timestamp(profile, now)),
            reg::THREAD_MAX_THREADS => profile.max_threads,
            reg::THREAD_MAX_WORKGROUP_SIZE => profile.thread_max_workgroup_size,
            reg::THREAD_MAX_BARRIER_SIZE => profile.thread_max_barrier_size,
            reg::THREAD_FEATURES => profile.thread_features,
            reg::TEXTURE_FEATURES_0
            | reg::TEXTURE_FEATURES_1
            | reg::TEXTURE_FEATURES_2
            | reg::TEXTURE_FEATURES_3 => {
                profile.texture_features[((offset - reg::TEXTURE_FEATURES_0) / 4) as usize]
            }
            reg::ASN_HASH_0 | reg::ASN_HASH_1 | reg::ASN_HASH_2 => {
                self.asn_hash[((offset - reg::ASN_HASH_0) / 4) as usize]
            }
            reg::REVIDR => profile.gpu_rev,
            reg::COHERENCY_FEATURES => profile.coherency_features,
            reg::COHERENCY_PROTOCOL => self.coherency,
            // Write-only.
            reg::GPU_COMMAND | reg::PWR_KEY | reg::PWR_OVERRIDE0 | reg::PWR_OVERRIDE1 => 0,
            _ => return None,
        })
    }

    /// Writes the register at `offset`.
    ///
    /// # Errors
    ///
    /// What real hardware would not forgive.
    pub fn write(
        &mut self,
        offset: u32,
        value: u32,
        profile: &Profile,
        now: Instant,
    ) -> Result<Action, String> {
        if (reg::POWER_FIRST..=reg::POWER_LAST).contains(&offset) {
            return self.power.write(offset, value, now).map(|()| Action::None);
        }
        match offset {
            reg::GPU_COMMAND => return self.command(value, now),
            reg::COHERENCY_PROTOCOL => {
                let offered = value == COHERENCY_NONE
                    || value < 31 && (profile.coherency_features >> value) & 1 != 0;
                if !offered {
                    return Err(format!(
                        "COHERENCY_PROTOCOL {value} is not offered (features {:#x})",
                        profile.coherency_features
                    ));
                }
                if value != self.coherency && self.power.ready(Block::L2) != 0 {
                    return Err("COHERENCY_PROTOCOL changed while the L2 is on".to_owned());
                }
                self.coherency = value;
            }
            reg::L2_CONFIG => {
                if value != self.l2_config && self.power.ready(Block::L2) != 0 {
                    return Err("L2_CONFIG changed while the L2 is on".to_owned());
                }
                self.l2_config = value;
            }
            reg::ASN_HASH_0 | reg::ASN_HASH_1 | reg::ASN_HASH_2 => {
                self.asn_hash[((offset - reg::ASN_HASH_0) / 4) as usize] = value;
            }
            reg::PWR_KEY | reg::PWR_OVERRIDE0 | reg::PWR_OVERRIDE1 => {}
            _ => {
                return Err(format!(
                    "write of {value:#x} to {}, which is read-only or undefined",
                    crate::regs::name(offset)
                ))
            }
        }
        Ok(Action::None)
    }

    fn flushing(&self) -> bool {
        self.flush_due.is_some() || self.flush_hangs
    }

    fn command(&mut self, value: u32, now: Instant) -> Result<Action, String> {
        let (kind, payload) = (value & 0xff, value >> 8);
        if self.reset_hangs && kind != command::RESET {
            // The host has waited long enough, and has to give the GPU up.
            return Ok(Action::None);
        }
        if self.resetting() && !self.reset_hangs && kind != command::NOP {
            return Err(format!("GPU_COMMAND {value:#x} while a reset is going on"));
        }
        match (kind, payload) {
            (command::NOP, _) => Ok(Action::None),
            (command::RESET, command::RESET_SOFT | command::RESET_HARD) => {
                self.power.reset();
                self.flush_due = None;
                (self.reset_hangs, self.flush_hangs) = (false, false);
                self.cycles = (0, None);
                self.clear_fault();
                (self.l2_config, self.coherency, self.asn_hash) = (0, 0, [0; 3]);
                self.reset_due = Some(now + RESET_TIME);
                Ok(Action::Reset)
            }
            (command::CLEAR_FAULT, 0) => {
                self.clear_fault();
                Ok(Action::None)
            }
            (command::FLUSH_CACHES, _) => {
                if self.flushing() {
                    return Err("cache flush while another one is going on".to_owned());
                }
                let mode = |shift: u32| (payload >> shift) & 0xf;
                // 0 nothing, 1 clean, 2 invalidate, 3 both; read-only caches: 0 or 2.
                if payload >> 12 != 0 || mode(0) > 3 || mode(4) > 3 || !matches!(mode(8), 0 | 2) {
                    return Err(format!("cache flush with the undefined modes {payload:#x}"));
                }
                self.flush_due = Some(now + FLUSH_TIME);
                Ok(Action::Flush)
            }
            _ => Err(format!("GPU_COMMAND {value:#x} is not a command")),
        }
    }
}

/// Value of COHERENCY_PROTOCOL for a GPU that does not take part.
const COHERENCY_NONE: u32 = 31;

fn ticks(elapsed: Duration, hz: u64) -> u64 {
    (elapsed.as_nanos() * u128::from(hz) / 1_000_000_000) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control() -> (GpuControl, Profile, Instant) {
        let (profile, now) = (Profile::g610(), Instant::now());
        (GpuControl::new(&profile, now), profile, now)
    }

    #[test]
    fn identity_is_the_profiles() {
        let (control, profile, now) = control();
        let read = |offset| control.read(offset, &profile, false, now);
        assert_eq!(read(reg::GPU_ID).map(|id| id >> 16), Some(0xa867));
        assert_eq!(read(reg::AS_PRESENT), Some(0xff));
        assert_eq!(read(reg::GPU_FEATURES_LO), Some(0));
        assert_eq!(read(0x5c), None);
    }

    #[test]
    fn a_reset_takes_time_and_wipes() {
        let (mut control, profile, now) = control();
        control.power.set(Block::L2, 1);
        control.latch_fault(0x80, 0x1234);
        let action = control.write(reg::GPU_COMMAND, 0x101, &profile, now);
        assert_eq!(action, Ok(Action::Reset));
        assert_eq!(control.settle(now), 0);
        assert!(control
            .write(reg::GPU_COMMAND, 0x101, &profile, now)
            .is_err());
        assert_eq!(control.settle(control.due().unwrap()), irq::RESET_COMPLETED);
        assert_eq!(control.power.ready(Block::L2), 0);
        assert_eq!(
            control.read(reg::GPU_FAULTSTATUS, &profile, false, now),
            Some(0)
        );
    }

    #[test]
    fn a_flush_takes_time_and_only_one_runs() {
        let (mut control, profile, now) = control();
        let flush = 4 | (0x233 << 8);
        assert_eq!(
            control.write(reg::GPU_COMMAND, flush, &profile, now),
            Ok(Action::Flush)
        );
        assert!(control
            .write(reg::GPU_COMMAND, flush, &profile, now)
            .is_err());
        assert_eq!(
            control.settle(now + FLUSH_TIME),
            irq::CLEAN_CACHES_COMPLETED
        );
        assert_eq!(control.settle(now + FLUSH_TIME), 0);
        assert!(control
            .write(reg::GPU_COMMAND, 4 | (0x933 << 8), &profile, now)
            .is_err());
        assert!(control.write(reg::GPU_COMMAND, 9, &profile, now).is_err());
    }

    #[test]
    fn counters_run_at_their_rates() {
        let (mut control, profile, now) = control();
        let later = now + Duration::from_millis(10);
        assert_eq!(control.timestamp(&profile, later), 625_000);
        assert_eq!(control.cycles(&profile, later), 0, "nobody asked for it");
        control.count_cycles(true, &profile, now);
        control.count_cycles(true, &profile, now + Duration::from_millis(1));
        assert_eq!(control.cycles(&profile, later), 10_000_000);
        control.count_cycles(false, &profile, later);
        let much_later = later + Duration::from_secs(1);
        assert_eq!(control.cycles(&profile, much_later), 10_000_000);
        control.count_cycles(true, &profile, much_later);
        let end = much_later + Duration::from_millis(1);
        assert_eq!(control.cycles(&profile, end), 11_000_000);
        control
            .write(reg::GPU_COMMAND, 0x101, &profile, end)
            .unwrap();
        assert_eq!(control.cycles(&profile, end), 0);
        assert_ne!(
            control.timestamp(&profile, end),
            0,
            "the system's, not the GPU's"
        );
    }

    #[test]
    fn the_first_fault_is_kept_until_cleared() {
        let (mut control, profile, now) = control();
        control.latch_fault(0x80, 0x1_0000_0004);
        control.latch_fault(0x88, 0x2000);
        let read = |control: &GpuControl, at| control.read(at, &profile, false, now);
        assert_eq!(read(&control, reg::GPU_FAULTSTATUS), Some(0x80));
        assert_eq!(read(&control, reg::GPU_FAULTADDRESS_HI), Some(1));
        control.fault_cleared();
        assert_eq!(
            read(&control, reg::GPU_FAULTSTATUS),
            Some(0x80),
            "still there"
        );
        control.latch_fault(0x88, 0x2000);
        assert_eq!(read(&control, reg::GPU_FAULTADDRESS_LO), Some(0x2000));
        control.write(reg::GPU_COMMAND, 7, &profile, now).unwrap();
        assert_eq!(read(&control, reg::GPU_FAULTSTATUS), Some(0));
    }

    #[test]
    fn coherency_is_chosen_before_the_l2_is_on() {
        let (mut control, profile, now) = control();
        let write = |control: &mut GpuControl, value| {
            control.write(reg::COHERENCY_PROTOCOL, value, &profile, now)
        };
        assert!(write(&mut control, 0).is_err(), "ACE-Lite is not offered");
        assert!(write(&mut control, 31).is_ok());
        control.power.set(Block::L2, 1);
        assert!(write(&mut control, 31).is_ok(), "no change");
        let written = control.write(reg::L2_CONFIG, 5, &profile, now);
        assert!(written.is_err());
        assert!(control.write(reg::GPU_ID, 0, &profile, now).is_err());
    }
}
