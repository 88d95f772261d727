// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Power of the L2, the tilers and the shader cores.

use std::time::{Duration, Instant};

use crate::profile::Profile;
use crate::regs::gpu;

/// How long a power transition takes.
const TRANSITION: Duration = Duration::from_micros(20);

/// The three kinds of block, in the order of their registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Shader cores.
    Shader = 0,
    /// Tilers.
    Tiler = 1,
    /// L2 slices.
    L2 = 2,
}

const BLOCKS: [Block; 3] = [Block::Shader, Block::Tiler, Block::L2];

/// Blocks of one kind, one bit each.
#[derive(Clone, Debug, Default)]
struct Domain {
    present: u64,
    ready: u64,
    rising: u64,
    falling: u64,
    due: Option<Instant>,
}

/// Power of all blocks.
#[derive(Clone, Debug)]
pub struct Power {
    domains: [Domain; 3],
}

impl Power {
    /// Everything off.
    pub fn new(profile: &Profile) -> Self {
        let domain = |present| Domain {
            present,
            ..Domain::default()
        };
        Self {
            domains: [
                domain(profile.shader_present),
                domain(profile.tiler_present),
                domain(profile.l2_present),
            ],
        }
    }

    /// Everything off at once, as a reset does.
    pub fn reset(&mut self) {
        for domain in &mut self.domains {
            *domain = Domain {
                present: domain.present,
                ..Domain::default()
            };
        }
    }

    /// Blocks of this kind that are powered.
    pub fn ready(&self, block: Block) -> u64 {
        self.domains[block as usize].ready
    }

    /// Powers exactly the blocks in `ready`, which the firmware looks after, at once.
    pub fn set(&mut self, block: Block, ready: u64) {
        let domain = &mut self.domains[block as usize];
        *domain = Domain {
            present: domain.present,
            ready: ready & domain.present,
            ..Domain::default()
        };
    }

    /// Whether a transition is going on.
    pub fn active(&self) -> bool {
        self.domains
            .iter()
            .any(|domain| domain.rising | domain.falling != 0)
    }

    /// Keeps the transition of these blocks that is going on from finishing.
    pub fn hang(&mut self, block: Block) {
        self.domains[block as usize].due = None;
    }

    /// When the next transition finishes.
    pub fn due(&self) -> Option<Instant> {
        self.domains.iter().filter_map(|domain| domain.due).min()
    }

    /// Finishes the transitions that are due; bits for the GPU's RAWSTAT.
    pub fn settle(&mut self, now: Instant) -> u32 {
        let mut changed = false;
        for domain in &mut self.domains {
            if domain.due.is_some_and(|due| due <= now) {
                domain.ready = (domain.ready | domain.rising) & !domain.falling;
                (domain.rising, domain.falling, domain.due) = (0, 0, None);
                changed = true;
            }
        }
        match (changed, self.active()) {
            (false, _) => 0,
            (true, true) => gpu::irq::POWER_CHANGED,
            (true, false) => gpu::irq::POWER_CHANGED | gpu::irq::POWER_CHANGED_ALL,
        }
    }

    /// Reads a power register; `None` if there is none at `offset`.
    pub fn read(&self, offset: u32) -> Option<u32> {
        let (bank, block, half) = decode(offset)?;
        let domain = &self.domains[block as usize];
        let value = match bank {
            gpu::SHADER_PRESENT => domain.present,
            gpu::SHADER_READY => domain.ready,
            gpu::SHADER_PWRTRANS => domain.rising | domain.falling,
            gpu::SHADER_PWRACTIVE | gpu::SHADER_PWRON | gpu::SHADER_PWROFF => 0,
            _ => return None,
        };
        Some((value >> half) as u32)
    }

    /// Writes a power register; says what is wrong with that.
    ///
    /// # Errors
    ///
    /// What real hardware would not forgive; nothing is changed then.
    pub fn write(&mut self, offset: u32, value: u32, now: Instant) -> Result<(), String> {
        let (bank, block, half) =
            decode(offset).ok_or_else(|| format!("{offset:#x} is not a power register"))?;
        let wanted = u64::from(value) << half;
        let l2 = self.domains[Block::L2 as usize].clone();
        let cores = BLOCKS[..2]
            .iter()
            .any(|block| self.domains[*block as usize].ready != 0);
        let domain = &mut self.domains[block as usize];
        if wanted & !domain.present != 0 {
            return Err(format!(
                "{block:?} power: {wanted:#x} has blocks that are not there (present: {:#x})",
                domain.present
            ));
        }
        match bank {
            gpu::SHADER_PWRON => {
                if block != Block::L2 && wanted != 0 && l2.ready == 0 {
                    return Err(format!("{block:?} powered on while the L2 is off"));
                }
                let rising = wanted & !domain.ready & !domain.falling;
                if rising & !domain.rising != 0 {
                    domain.rising |= rising;
                    domain.due = Some(now + TRANSITION);
                }
            }
            gpu::SHADER_PWROFF => {
                if block == Block::L2 && wanted & domain.ready != 0 && cores {
                    return Err("L2 powered off while shader cores or tilers are on".to_owned());
                }
                let falling = wanted & domain.ready;
                if falling & !domain.falling != 0 {
                    domain.falling |= falling;
                    domain.due = Some(now + TRANSITION);
                }
            }
            _ => return Err(format!("{} is read-only", crate::regs::name(offset))),
        }
        Ok(())
    }
}

/// Splits an offset into the bank's first register, the block and the bit shift of the half.
fn decode(offset: u32) -> Option<(u32, Block, u32)> {
    let block = BLOCKS.get(((offset >> 4) & 3) as usize)?;
    let half = match offset & 0xf {
        0 => 0,
        4 => 32,
        _ => return None,
    };
    Some((offset & !0x3f, *block, half))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn power() -> (Power, Instant) {
        (Power::new(&Profile::g610()), Instant::now())
    }

    #[test]
    fn the_l2_is_in_transition_before_it_is_ready() {
        let (mut power, now) = power();
        power.write(gpu::L2_PWRON, 1, now).unwrap();
        assert_eq!(power.settle(now), 0);
        assert_eq!(power.read(gpu::L2_PWRTRANS), Some(1));
        assert_eq!(power.read(gpu::L2_READY), Some(0));
        let irq = power.settle(now + TRANSITION);
        assert_eq!(irq, gpu::irq::POWER_CHANGED | gpu::irq::POWER_CHANGED_ALL);
        assert_eq!(power.read(gpu::L2_PWRTRANS), Some(0));
        assert_eq!(power.read(gpu::L2_READY), Some(1));
        power.write(gpu::L2_PWROFF, 1, now).unwrap();
        assert_eq!(power.read(gpu::L2_READY), Some(1));
        power.settle(now + TRANSITION);
        assert_eq!(power.ready(Block::L2), 0);
    }

    #[test]
    fn what_is_on_already_makes_no_transition() {
        let (mut power, now) = power();
        power.set(Block::L2, 1);
        power.write(gpu::L2_PWRON, 1, now).unwrap();
        assert_eq!(power.due(), None);
    }

    #[test]
    fn wrong_orders_are_refused() {
        let (mut power, now) = power();
        assert!(power.write(gpu::SHADER_PWRON, 1, now).is_err(), "L2 is off");
        power.set(Block::L2, 1);
        assert!(power.write(gpu::SHADER_PWRON, 2, now).is_err(), "no core 1");
        power.write(gpu::SHADER_PWRON, 5, now).unwrap();
        power.settle(now + TRANSITION);
        assert_eq!(power.read(gpu::SHADER_READY), Some(5));
        assert!(power.write(gpu::L2_PWROFF, 1, now).is_err(), "cores are on");
        assert!(power.write(gpu::L2_READY, 1, now).is_err(), "read-only");
        assert!(
            power.write(gpu::L2_PWRON + 8, 1, now).is_err(),
            "no register"
        );
    }

    #[test]
    fn halves_of_the_registers_are_told_apart() {
        let (mut power, now) = power();
        assert_eq!(power.read(gpu::SHADER_PRESENT), Some(0x5_0005));
        assert_eq!(power.read(gpu::SHADER_PRESENT + 4), Some(0));
        assert!(power.write(gpu::L2_PWRON + 4, 1, now).is_err(), "bit 32");
        assert!(power.write(gpu::L2_PWRON + 4, 0, now).is_ok());
    }
}
