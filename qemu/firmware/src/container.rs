// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The container format of CSF firmware files (driver fact: `panthor_fw.c`).
//!
//! A 20-byte header, entries up to the header's `size`, and after them the data
//! that the entries point at by file offset. All words are little-endian.

use std::ops::Range;

/// First word of every image.
pub const MAGIC: u32 = 0xc3f1_3a6e;
/// Size of the header, in bytes.
pub const HEADER_SIZE: usize = 20;

/// Entry type: a range of MCU addresses to map and fill.
pub const SECTION: u8 = 0;
/// Entry type: a setting of the firmware.
pub const CONFIG: u8 = 1;
/// Entry type: a trace buffer.
pub const TRACE_BUFFER: u8 = 3;
/// Entry type: where the build information is.
pub const BUILD_INFO: u8 = 6;

/// Section flag: the MCU reads it.
pub const READ: u32 = 1 << 0;
/// Section flag: the MCU writes it.
pub const WRITE: u32 = 1 << 1;
/// Section flag: the MCU executes it.
pub const EXECUTE: u32 = 1 << 2;
/// Section flag: mapped cached.
pub const CACHED: u32 = 1 << 3;
/// Section flag: mapped uncached and coherent.
pub const UNCACHED_COHERENT: u32 = 2 << 3;
/// Section flag: for protected mode only.
pub const PROTECTED: u32 = 1 << 5;
/// Section flag: shared with the host.
pub const SHARED: u32 = 1 << 30;
/// Section flag: what the data does not cover is zeroed.
pub const ZERO_REST: u32 = 1 << 31;

/// Entry flag: a driver that does not know the type may skip it.
const OPTIONAL: u32 = 1 << 31;

/// A firmware image, before it is laid out.
#[derive(Clone, Debug)]
pub struct Image {
    /// Major version of the container; drivers know 0 only.
    pub major: u8,
    /// Minor version of the container.
    pub minor: u8,
    /// Hash of the firmware's version.
    pub version_hash: u32,
    /// The entries, in file order.
    pub entries: Vec<Entry>,
}

/// One entry of an image.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A range of MCU addresses to map and fill.
    Section(Section),
    /// Text about the build, with its terminating NUL.
    BuildInfo(Vec<u8>),
    /// Any other type.
    Other {
        /// The type.
        kind: u8,
        /// Whether drivers that do not know the type may skip it.
        optional: bool,
        /// The payload.
        words: Vec<u32>,
    },
}

/// A range of MCU addresses to map and fill.
#[derive(Clone, Debug)]
pub struct Section {
    /// Name, for logs only.
    pub name: &'static str,
    /// [`READ`] and the other section flags.
    pub flags: u32,
    /// MCU addresses; multiples of 4096 in a good image.
    pub va: Range<u32>,
    /// What it starts with; at most as long as `va` in a good image.
    pub data: Vec<u8>,
}

/// Where the parts of a laid-out image are.
#[derive(Clone, Debug)]
pub struct Layout {
    /// File offset of each entry, in order, and of their common end.
    pub entries: Vec<usize>,
    /// File range of the data of each entry that has some, in order.
    pub data: Vec<Range<usize>>,
}

impl Entry {
    /// Words after the entry's head that are not offsets into the file.
    fn encoded_len(&self) -> usize {
        match self {
            Entry::Section(section) => 24 + padded(section.name.len()),
            Entry::BuildInfo(_) => 12,
            Entry::Other { words, .. } => 4 + words.len() * 4,
        }
    }

    fn data(&self) -> &[u8] {
        match self {
            Entry::Section(section) => &section.data,
            Entry::BuildInfo(text) => text,
            Entry::Other { .. } => &[],
        }
    }
}

impl Image {
    /// Lays the image out in a file.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_with_layout().0
    }

    /// As [`Image::encode`], and says where the parts are.
    ///
    /// # Panics
    ///
    /// If an entry does not fit the format's 8-bit length or the file 4 GiB.
    pub fn encode_with_layout(&self) -> (Vec<u8>, Layout) {
        let mut entries = vec![HEADER_SIZE];
        for entry in &self.entries {
            entries.push(entries[entries.len() - 1] + entry.encoded_len());
        }
        let end = entries[entries.len() - 1];

        let mut out = Vec::new();
        let mut word = |value: u32| out.extend_from_slice(&value.to_le_bytes());
        word(MAGIC);
        word(u32::from(self.minor) | (u32::from(self.major) << 8));
        word(self.version_hash);
        word(0);
        word(offset(end));

        let mut data = Vec::new();
        let mut at = end;
        for entry in &self.entries {
            let range = at..at + entry.data().len();
            let length = u8::try_from(entry.encoded_len()).expect("entry of at most 255 bytes");
            let head = |kind: u8| u32::from(kind) | (u32::from(length) << 8);
            let mut word = |value: u32| out.extend_from_slice(&value.to_le_bytes());
            match entry {
                Entry::Section(section) => {
                    word(head(SECTION));
                    word(section.flags);
                    word(section.va.start);
                    word(section.va.end);
                    word(offset(range.start));
                    word(offset(range.end));
                    out.extend_from_slice(section.name.as_bytes());
                    out.resize(out.len().next_multiple_of(4), 0);
                }
                Entry::BuildInfo(text) => {
                    word(head(BUILD_INFO));
                    word(offset(range.start));
                    word(offset(text.len()));
                }
                Entry::Other {
                    kind,
                    optional,
                    words,
                } => {
                    word(head(*kind) | if *optional { OPTIONAL } else { 0 });
                    words.iter().for_each(|value| word(*value));
                }
            }
            if !range.is_empty() {
                at = range.end.next_multiple_of(64);
                data.push(range);
            }
        }
        for (range, bytes) in data.iter().zip(
            self.entries
                .iter()
                .map(Entry::data)
                .filter(|d| !d.is_empty()),
        ) {
            out.resize(range.start, 0);
            out.extend_from_slice(bytes);
        }
        (out, Layout { entries, data })
    }
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("image below 4 GiB")
}
