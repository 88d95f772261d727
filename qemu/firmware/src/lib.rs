// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The test firmware image, in the container format of the real CSF firmware.
//!
//! The image holds no code: the emulated GPU plays the microcontroller's part
//! itself. It only has to be loaded, mapped and protected as a real image would,
//! which the emulated GPU checks through the MCU's address space before it boots;
//! the constants here are what both sides agree on.
//!
//! [`build`] makes the good image, [`damage::all`] the broken ones that a driver
//! has to refuse.

pub mod container;
pub mod damage;

use container::{Entry, Image, Section};

/// MCU address of the section that a real image starts executing in.
pub const CODE_VA: u32 = 0;
/// Size of the code section, in bytes.
pub const CODE_SIZE: u32 = 0x4000;
/// MCU address of the mark that says "this is the project's test image".
pub const SIGNATURE_VA: u32 = CODE_VA + 0x40;
/// The mark at [`SIGNATURE_VA`].
pub const SIGNATURE: [u8; 16] = *b"Magni test image";
/// MCU address of the initialised, writable data.
pub const DATA_VA: u32 = 0x0010_0000;
/// Size of the data section in bytes; the part after [`data_init`] is zero.
pub const DATA_SIZE: u32 = 0x2000;
/// MCU address of the zeroed section without data in the file.
pub const BSS_VA: u32 = 0x0020_0000;
/// Size of the zeroed section, in bytes.
pub const BSS_SIZE: u32 = 0x1000;
/// MCU address of the section shared with the host (driver fact: `panthor_fw.c`).
pub const SHARED_VA: u32 = 0x0400_0000;
/// Size of the shared section in bytes: holds 8 groups of 8 streams.
pub const SHARED_SIZE: u32 = 0x1_0000;
/// What the build-information entry says after `git_sha: `.
pub const BUILD_ID: &str = "magni-test-image";

/// What the data section starts with; a reload has to put it back.
pub fn data_init() -> Vec<u8> {
    (0..0x800u32)
        .flat_map(|i| (i ^ 0x5a5a_0000).to_le_bytes())
        .collect()
}

/// Contents of the code section: the mark, and a pattern over the rest.
pub fn code() -> Vec<u8> {
    let mut code: Vec<u8> = (0..CODE_SIZE / 4)
        .flat_map(|i| (0xbf00_bf00 ^ i).to_le_bytes())
        .collect();
    let at = (SIGNATURE_VA - CODE_VA) as usize;
    code[at..at + SIGNATURE.len()].copy_from_slice(&SIGNATURE);
    code
}

/// The good image, before it is laid out in a file.
pub fn image() -> Image {
    Image {
        major: 0,
        minor: 1,
        version_hash: 0x6d61_676e,
        entries: vec![
            Entry::Section(Section {
                name: "code",
                flags: container::READ | container::EXECUTE | container::CACHED,
                va: CODE_VA..CODE_VA + CODE_SIZE,
                data: code(),
            }),
            Entry::Section(Section {
                name: "data",
                flags: container::READ
                    | container::WRITE
                    | container::CACHED
                    | container::ZERO_REST,
                va: DATA_VA..DATA_VA + DATA_SIZE,
                data: data_init(),
            }),
            Entry::Section(Section {
                name: "bss",
                flags: container::READ
                    | container::WRITE
                    | container::CACHED
                    | container::ZERO_REST,
                va: BSS_VA..BSS_VA + BSS_SIZE,
                data: Vec::new(),
            }),
            Entry::Section(Section {
                name: "shared",
                flags: container::READ
                    | container::WRITE
                    | container::UNCACHED_COHERENT
                    | container::SHARED
                    | container::ZERO_REST,
                va: SHARED_VA..SHARED_VA + SHARED_SIZE,
                data: Vec::new(),
            }),
            // Real images carry these too, and drivers have to step over them.
            Entry::Other {
                kind: container::CONFIG,
                optional: false,
                words: vec![DATA_VA, 0, 1, u32::from_le_bytes(*b"Log\0")],
            },
            Entry::Other {
                kind: container::TRACE_BUFFER,
                optional: false,
                words: vec![1, DATA_VA + 0x10, DATA_VA + 0x20, 0, 0, 0],
            },
            Entry::BuildInfo(format!("git_sha: {BUILD_ID}\0").into_bytes()),
            Entry::Other {
                kind: 0x2a,
                optional: true,
                words: vec![0xdead_beef],
            },
        ],
    }
}

/// The good image as the bytes of a file.
pub fn build() -> Vec<u8> {
    image().encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(file: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(file[at..at + 4].try_into().unwrap())
    }

    /// Walks the file by hand, on the offsets of the format alone.
    #[test]
    fn good_image_has_the_sections_where_the_constants_say() {
        let file = build();
        assert_eq!(word(&file, 0), 0xc3f1_3a6e);
        assert_eq!(file[5], 0, "major version");
        let size = word(&file, 16) as usize;
        assert!(size <= file.len());

        let mut sections = Vec::new();
        let mut at = 20;
        while at < size {
            let head = word(&file, at);
            let length = ((head >> 8) & 0xff) as usize;
            assert!(length >= 4 && length % 4 == 0 && at + length <= size);
            if head & 0xff == 0 {
                let (flags, start, end) = (
                    word(&file, at + 4),
                    word(&file, at + 8),
                    word(&file, at + 12),
                );
                let (from, to) = (word(&file, at + 16), word(&file, at + 20));
                assert!(start % 4096 == 0 && end % 4096 == 0 && start < end);
                assert!(from <= to && to as usize <= file.len() && to - from <= end - start);
                sections.push((flags, start, end, file[from as usize..to as usize].to_vec()));
            }
            at += length;
        }
        assert_eq!(at, size, "entries end exactly where the header says");

        let find = |va: u32| sections.iter().find(|s| s.1 == va).unwrap();
        assert_eq!(find(CODE_VA).3, code());
        assert_eq!(find(CODE_VA).0 & 0x7, 0x5, "code is read and execute");
        assert_eq!(find(DATA_VA).3, data_init());
        assert_eq!(find(DATA_VA).0 & 0x7, 0x3, "data is read and write");
        assert_eq!(find(SHARED_VA).2, SHARED_VA + SHARED_SIZE);
        assert_ne!(find(SHARED_VA).0 & (1 << 30), 0, "shared section is shared");
        let at = (SIGNATURE_VA - CODE_VA) as usize;
        assert_eq!(&find(CODE_VA).3[at..at + 16], &SIGNATURE);
    }

    #[test]
    fn damaged_images_differ_from_the_good_one_and_from_each_other() {
        let good = build();
        let all = damage::all();
        let mut names = std::collections::HashSet::new();
        for variant in &all {
            assert_ne!(variant.bytes, good, "{}", variant.name);
            assert!(names.insert(variant.name.clone()), "{} twice", variant.name);
        }
        for (i, a) in all.iter().enumerate() {
            for b in &all[i + 1..] {
                assert_ne!(a.bytes, b.bytes, "{} and {}", a.name, b.name);
            }
        }
    }
}
