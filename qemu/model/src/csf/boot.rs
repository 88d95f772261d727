// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Boot: checks of the image that the driver loaded, and publishing of the interface.

use mali_firmware as image;

use super::layout;
use super::mem::{self, MCU};
use crate::bus::{Access, Bus, Fault};
use crate::profile::Profile;

/// What the firmware leaves at the beginning of its writable data when it has run.
const USED: [u8; 16] = *b"has been running";

/// Why the firmware did not boot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootError {
    /// A section cannot be reached through address space 0.
    #[error("firmware section {section}: {fault}; map it before the MCU is enabled")]
    Unreachable {
        /// Name of the section.
        section: &'static str,
        /// The access that failed.
        fault: Fault,
    },
    /// The code is not that of the test image.
    #[error(
        "firmware code differs from the test image at MCU address {va:#x}; load the image that mkfw wrote"
    )]
    WrongCode {
        /// MCU address of the first byte that differs.
        va: u64,
    },
    /// A writable section does not hold what the image says, nor what the firmware left.
    #[error(
        "firmware section {section} differs from the image at MCU address {va:#x}; after anything but a clean halt every section has to be loaded again"
    )]
    NotReloaded {
        /// Name of the section.
        section: &'static str,
        /// MCU address of the first byte that differs.
        va: u64,
    },
}

/// Checks every section through the MCU's address space.
///
/// `clean` says that the firmware was halted before it was stopped, so that its data may
/// be as it left them.
pub(super) fn check_image(bus: &mut dyn Bus, clean: bool) -> Result<(), BootError> {
    let code = read(
        bus,
        "code",
        image::CODE_VA,
        image::CODE_SIZE,
        Access::Execute,
    )?;
    if let Some(at) = first_difference(&code, &image::code()) {
        let va = u64::from(image::CODE_VA) + at;
        return Err(BootError::WrongCode { va });
    }
    check_permissions(bus, &code[..16]);

    let mut data = image::data_init();
    data.resize(image::DATA_SIZE as usize, 0);
    check_writable(bus, "data", image::DATA_VA, &data, clean)?;
    let bss = vec![0; image::BSS_SIZE as usize];
    check_writable(bus, "bss", image::BSS_VA, &bss, clean)?;

    let size = image::SHARED_SIZE;
    let shared = read(bus, "shared", image::SHARED_VA, size, Access::Read)?;
    if let Some(at) = first_difference(&shared, &vec![0; size as usize]).filter(|_| !clean) {
        return Err(BootError::NotReloaded {
            section: "shared",
            va: u64::from(image::SHARED_VA) + at,
        });
    }
    Ok(())
}

/// Tries what the section flags forbid.
fn check_permissions(bus: &mut dyn Bus, code: &[u8]) {
    if bus.write(MCU, image::CODE_VA.into(), code).is_ok() {
        bus.misuse(format_args!(
            "the firmware's code at MCU address {:#x} is mapped writable; the section says read-only",
            image::CODE_VA
        ));
    }
    for (section, va) in [
        ("data", image::DATA_VA),
        ("bss", image::BSS_VA),
        ("shared", image::SHARED_VA),
    ] {
        if bus.fetch(MCU, va.into(), &mut [0; 4]).is_ok() {
            bus.misuse(format_args!(
                "the firmware's {section} section at MCU address {va:#x} is mapped executable; the section says it is not"
            ));
        }
    }
}

/// Checks a writable section, and marks it as used.
fn check_writable(
    bus: &mut dyn Bus,
    section: &'static str,
    va: u32,
    pristine: &[u8],
    clean: bool,
) -> Result<(), BootError> {
    let now = read(bus, section, va, pristine.len() as u32, Access::Read)?;
    let mut used = pristine.to_vec();
    used[..USED.len()].copy_from_slice(&USED);
    if let Some(at) = first_difference(&now, pristine) {
        if !(clean && now == used) {
            let va = u64::from(va) + at;
            return Err(BootError::NotReloaded { section, va });
        }
    }
    bus.write(MCU, va.into(), &USED)
        .map_err(|fault| BootError::Unreachable { section, fault })
}

fn read(
    bus: &mut dyn Bus,
    section: &'static str,
    va: u32,
    size: u32,
    access: Access,
) -> Result<Vec<u8>, BootError> {
    let mut buf = vec![0; size as usize];
    let result = match access {
        Access::Execute => bus.fetch(MCU, va.into(), &mut buf),
        Access::Read | Access::Write => bus.read(MCU, va.into(), &mut buf),
    };
    match result {
        Ok(()) => Ok(buf),
        Err(fault) => Err(BootError::Unreachable { section, fault }),
    }
}

fn first_difference(a: &[u8], b: &[u8]) -> Option<u64> {
    let at = a.iter().zip(b).position(|(a, b)| a != b);
    at.map(|at| at as u64)
}

/// Fills the control blocks.
///
/// # Errors
///
/// The MCU cannot reach the shared section.
pub(super) fn publish(bus: &mut dyn Bus, profile: &Profile) -> Result<(), Fault> {
    let csf = &profile.csf;
    let wrong = &csf.wrong;
    let words = [
        wrong.version.unwrap_or(csf.version),
        csf.features,
        wrong.glb_input_va.unwrap_or(layout::GLB_INPUT as u32),
        wrong.glb_output_va.unwrap_or(layout::GLB_OUTPUT as u32),
        wrong.group_num.unwrap_or(csf.group_num),
        wrong.group_stride.unwrap_or(layout::GROUP_STRIDE),
        csf.perfcnt_size,
        csf.instr_features,
    ];
    write_words(bus, layout::GLB_CONTROL, &words)?;

    for group in 0..csf.group_num {
        let words = [
            0,
            wrong
                .csg_input_va
                .unwrap_or(layout::csg_input(group) as u32),
            wrong
                .csg_output_va
                .unwrap_or(layout::csg_output(group) as u32),
            wrong.suspend_size.unwrap_or(csf.suspend_size),
            csf.protm_suspend_size,
            wrong.stream_num.unwrap_or(csf.stream_num),
            wrong.stream_stride.unwrap_or(layout::STREAM_STRIDE),
        ];
        write_words(bus, layout::csg_control(group), &words)?;

        for stream in 0..csf.stream_num {
            // Compute, fragment and tiler in 18:16.
            let features = (csf.work_registers - 1) | (csf.scoreboards << 8) | (7 << 16);
            let words = [
                wrong.cs_features.unwrap_or(features),
                wrong
                    .cs_input_va
                    .unwrap_or(layout::cs_input(group, stream) as u32),
                wrong
                    .cs_output_va
                    .unwrap_or(layout::cs_output(group, stream) as u32),
            ];
            write_words(bus, layout::cs_control(group, stream), &words)?;
        }
    }
    Ok(())
}

fn write_words(bus: &mut dyn Bus, va: u64, words: &[u32]) -> Result<(), Fault> {
    for (at, &word) in (va..).step_by(4).zip(words) {
        mem::write32(bus, MCU, at, word)?;
    }
    Ok(())
}
