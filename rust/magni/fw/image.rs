// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The firmware file's format.
//!
//! A header, then entries: a word with the entry's type, its size in bytes (that word included)
//! and flags, then its body. Entries of type 0 are sections, pieces of the microcontroller's
//! memory. All words are little endian. The source of these facts is the C driver.
//!
//! The parser looks at nothing but the bytes it is given, takes any of them, and names what is
//! wrong with them.

use core::ops::Range;
use kernel::{
    fmt,
    prelude::*,
    sizes::SZ_4K, //
};

const MAGIC: u32 = 0xc3f1_3a6e;
const HEADER_LEN: usize = 20;
const PAGE: u32 = SZ_4K as u32;

/// Where the section with the interfaces is in the microcontroller's memory.
pub(crate) const SHARED_START: u32 = 0x0400_0000;

/// All sections together may not take more memory than this, in bytes; real ones take 1 to 2 MiB.
const MAX_TOTAL: u64 = 64 << 20;

/// What is wrong with a firmware image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImageError {
    /// The file ends inside of the header.
    TruncatedHeader,
    /// The file is something else.
    Magic(u32),
    /// The format's major version is not 0.
    Version(u8),
    /// The file is shorter than its header says.
    Truncated(u32),
    /// An entry at this offset reaches beyond the end, or is too short for its own header.
    EntrySize(usize),
    /// An entry at this offset is of an unknown type and not optional.
    EntryType(usize, u8),
    /// The section in the entry at this offset ends before it starts.
    Inverted(usize),
    /// The section in the entry at this offset has data outside of the file.
    DataRange(usize),
    /// The section in the entry at this offset has more data than memory.
    DataTooLong(usize),
    /// The section in the entry at this offset is not made of whole pages.
    Alignment(usize),
    /// The section in the entry at this offset has unknown flags.
    Flags(usize, u32),
    /// The section in the entry at this offset has pages in common with another one.
    Overlap(usize),
    /// The section with the interfaces is not marked as shared.
    NotShared(usize),
    /// There is no section with the interfaces.
    NoSharedSection,
    /// The sections need more memory than is sensible.
    TooLarge(u64),
    /// No memory for the list of sections.
    NoMemory,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TruncatedHeader => write!(f, "shorter than its header"),
            Self::Magic(magic) => write!(f, "wrong magic {magic:#010x}, not a Mali firmware"),
            Self::Version(major) => write!(f, "format version {major} is not known"),
            Self::Truncated(size) => write!(f, "truncated, its header says {size} bytes"),
            Self::EntrySize(at) => write!(f, "the entry at {at:#x} has an impossible size"),
            Self::EntryType(at, kind) => {
                write!(f, "the entry at {at:#x} is of unknown type {kind}")
            }
            Self::Inverted(at) => write!(f, "the section at {at:#x} ends before it starts"),
            Self::DataRange(at) => {
                write!(f, "the section at {at:#x} has data outside of the file")
            }
            Self::DataTooLong(at) => {
                write!(f, "the section at {at:#x} has more data than memory")
            }
            Self::Alignment(at) => write!(f, "the section at {at:#x} is not page aligned"),
            Self::Flags(at, flags) => {
                write!(f, "the section at {at:#x} has unknown flags in {flags:#x}")
            }
            Self::Overlap(at) => write!(f, "the section at {at:#x} overlaps another one"),
            Self::NotShared(at) => {
                write!(
                    f,
                    "the section at {at:#x} holds the interfaces but is not shared"
                )
            }
            Self::NoSharedSection => write!(f, "it has no section with the interfaces"),
            Self::TooLarge(total) => write!(f, "its sections need {total} bytes"),
            Self::NoMemory => write!(f, "no memory to read it"),
        }
    }
}

impl From<ImageError> for Error {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::NoMemory => ENOMEM,
            _ => EINVAL,
        }
    }
}

/// How the microcontroller uses a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SectionFlags(u32);

impl SectionFlags {
    const WRITE: u32 = 1 << 1;
    const EXECUTE: u32 = 1 << 2;
    const CACHE_MODE: u32 = 3 << 3;
    const CACHE_MODE_CACHED: u32 = 1 << 3;
    const PROTECTED: u32 = 1 << 5;
    const SHARED: u32 = 1 << 30;
    const ZERO: u32 = 1 << 31;
    const KNOWN: u32 = 1
        | Self::WRITE
        | Self::EXECUTE
        | Self::CACHE_MODE
        | Self::PROTECTED
        | Self::SHARED
        | Self::ZERO;

    fn has(self, bits: u32) -> bool {
        self.0 & bits != 0
    }

    /// It writes there.
    pub(crate) fn writable(self) -> bool {
        self.has(Self::WRITE)
    }

    /// It executes from there.
    pub(crate) fn executable(self) -> bool {
        self.has(Self::EXECUTE)
    }

    /// It may cache what is there; the coherent modes count as uncached.
    pub(crate) fn cached(self) -> bool {
        self.0 & Self::CACHE_MODE == Self::CACHE_MODE_CACHED
    }

    /// The host uses the section, too.
    pub(crate) fn shared(self) -> bool {
        self.has(Self::SHARED)
    }

    /// What the file does not fill is zero.
    pub(crate) fn zeroed(self) -> bool {
        self.has(Self::ZERO)
    }
}

/// A piece of the microcontroller's memory.
#[derive(Clone, Debug)]
pub(crate) struct Section<'a> {
    /// Where it is for the microcontroller; whole pages, not empty.
    pub(crate) va: Range<u32>,
    /// How it is used.
    pub(crate) flags: SectionFlags,
    /// What it starts with; not longer than `va`.
    pub(crate) data: &'a [u8],
}

/// A firmware image.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    /// Its sections, which do not overlap; one of them is at [`SHARED_START`].
    pub(crate) sections: KVec<Section<'a>>,
    /// The revision that it was built from, where it says so.
    pub(crate) revision: Option<&'a [u8]>,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;

    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

impl<'a> Image<'a> {
    /// Reads the firmware file `file`.
    pub(crate) fn parse(file: &'a [u8]) -> Result<Self, ImageError> {
        use ImageError::*;

        let header = file.get(..HEADER_LEN).ok_or(TruncatedHeader)?;
        let magic = word(header, 0).ok_or(TruncatedHeader)?;
        if magic != MAGIC {
            return Err(Magic(magic));
        }
        if header[5] != 0 {
            return Err(Version(header[5]));
        }
        let size = word(header, 16).ok_or(TruncatedHeader)?;
        let entries = file.get(..size as usize).ok_or(Truncated(size))?;

        let mut image = Self {
            sections: KVec::new(),
            revision: None,
        };
        let mut at = HEADER_LEN;
        while at < entries.len() {
            at = image.parse_entry(file, entries, at)?;
        }

        let total = image.total();
        if total > MAX_TOTAL {
            return Err(TooLarge(total));
        }
        if image.shared_section().is_none() {
            return Err(NoSharedSection);
        }

        Ok(image)
    }

    /// The section with the interfaces.
    pub(crate) fn shared_section(&self) -> Option<&Section<'a>> {
        self.sections
            .iter()
            .find(|section| section.va.start == SHARED_START)
    }

    fn total(&self) -> u64 {
        self.sections
            .iter()
            .map(|section| u64::from(section.va.end - section.va.start))
            .sum()
    }

    /// Reads the entry at offset `at`; returns the offset of the next one.
    fn parse_entry(
        &mut self,
        file: &'a [u8],
        entries: &'a [u8],
        at: usize,
    ) -> Result<usize, ImageError> {
        const OPTIONAL: u32 = 1 << 31;

        let header = word(entries, at).ok_or(ImageError::EntrySize(at))?;
        let kind = header as u8;
        let size = usize::from((header >> 8) as u8);
        if size < 4 || size % 4 != 0 {
            return Err(ImageError::EntrySize(at));
        }
        let next = at + size;
        let body = entries.get(at + 4..next).ok_or(ImageError::EntrySize(at))?;

        match kind {
            // A section.
            0 => self.parse_section(file, body, at)?,
            // Configuration, tests, trace buffer, timeline: not used.
            1..=4 => {}
            // How it was built.
            6 => self.parse_revision(file, body),
            _ if header & OPTIONAL != 0 => {}
            _ => return Err(ImageError::EntryType(at, kind)),
        }

        Ok(next)
    }

    fn parse_section(&mut self, file: &'a [u8], body: &[u8], at: usize) -> Result<(), ImageError> {
        use ImageError::*;

        let field = |index: usize| word(body, index * 4).ok_or(EntrySize(at));
        let flags = SectionFlags(field(0)?);
        let va = field(1)?..field(2)?;
        let data = field(3)?..field(4)?;

        if flags.has(!SectionFlags::KNOWN) {
            return Err(Flags(at, flags.0));
        }
        if va.end < va.start || data.end < data.start {
            return Err(Inverted(at));
        }
        if (va.start | va.end) % PAGE != 0 {
            return Err(Alignment(at));
        }
        let data = file
            .get(data.start as usize..data.end as usize)
            .ok_or(DataRange(at))?;
        if data.len() > (va.end - va.start) as usize {
            return Err(DataTooLong(at));
        }
        // Protected mode is not used.
        if va.is_empty() || flags.has(SectionFlags::PROTECTED) {
            return Ok(());
        }
        if va.start == SHARED_START && !flags.shared() {
            return Err(NotShared(at));
        }
        if self
            .sections
            .iter()
            .any(|other| other.va.start < va.end && va.start < other.va.end)
        {
            return Err(Overlap(at));
        }

        self.sections
            .push(Section { va, flags, data }, GFP_KERNEL)
            .map_err(|_| NoMemory)
    }

    /// Finds out the revision. The entry is of interest for the log only: anything wrong with it
    /// is passed over.
    fn parse_revision(&mut self, file: &'a [u8], body: &[u8]) {
        let text = (|| {
            let start = word(body, 0)? as usize;
            let text = file.get(start..start.checked_add(word(body, 4)? as usize)?)?;
            text.strip_prefix(b"git_sha: ")?.strip_suffix(b"\0")
        })();

        self.revision = text.filter(|text| text.iter().all(u8::is_ascii_graphic));
    }
}

#[kunit_tests(magni_fw_image)]
mod tests {
    use super::*;

    /// A file with the given entries and sixteen bytes of data at its end.
    fn file(entries: &[&[u32]]) -> Result<KVec<u8>> {
        let words: usize = entries.iter().map(|entry| entry.len()).sum();
        let size = (HEADER_LEN + words * 4) as u32;
        let mut file = KVec::new();
        for word in [MAGIC, 0, 0, 0, size] {
            file.extend_from_slice(&word.to_le_bytes(), GFP_KERNEL)?;
        }
        for word in entries.iter().flat_map(|entry| entry.iter()) {
            file.extend_from_slice(&word.to_le_bytes(), GFP_KERNEL)?;
        }
        file.extend_from_slice(&[0xa5; 16], GFP_KERNEL)?;
        Ok(file)
    }

    const SHARED: [u32; 6] = [
        24 << 8,
        0x4000_0003,
        SHARED_START,
        SHARED_START + PAGE,
        0,
        16,
    ];

    fn error(entries: &[&[u32]]) -> Result<Option<ImageError>> {
        let file = file(entries)?;
        let error = Image::parse(&file).err();
        Ok(error)
    }

    #[test]
    fn a_good_image() -> Result {
        let file = file(&[&SHARED, &[24 << 8, 0x7, 0, 2 * PAGE, 20, 36]])?;
        let image = Image::parse(&file)?;
        assert_eq!(image.sections.len(), 2);
        assert_eq!(image.sections[1].va, 0..2 * PAGE);
        assert_eq!(image.sections[1].data.len(), 16);
        assert!(image.sections[1].flags.executable());
        assert!(image
            .shared_section()
            .is_some_and(|section| section.flags.writable()));
        Ok(())
    }

    #[test]
    fn every_truncation_is_refused() -> Result {
        let file = file(&[&SHARED])?;
        for len in 0..HEADER_LEN + 24 {
            assert!(Image::parse(&file[..len]).is_err());
        }
        Ok(())
    }

    #[test]
    fn bad_sections_are_named() -> Result {
        let entry = |flags, start, end, from, to| [24 << 8, flags, start, end, from, to];
        let cases = [
            (entry(3, PAGE, 0, 0, 0), ImageError::Inverted(20)),
            (entry(3, 0, PAGE, 8, 0), ImageError::Inverted(20)),
            (entry(3, 4, PAGE, 0, 0), ImageError::Alignment(20)),
            (entry(3, 0, PAGE, 0, 0xffff), ImageError::DataRange(20)),
            (entry(3, 0, 0, 0, 4), ImageError::DataTooLong(20)),
            (entry(0x40, 0, PAGE, 0, 0), ImageError::Flags(20, 0x40)),
            (
                entry(3, SHARED_START, SHARED_START + PAGE, 0, 0),
                ImageError::NotShared(20),
            ),
        ];
        for (entry, expected) in cases {
            assert_eq!(error(&[&entry])?, Some(expected));
        }
        assert_eq!(error(&[&SHARED, &SHARED])?, Some(ImageError::Overlap(44)));
        Ok(())
    }

    #[test]
    fn bad_entries_are_named() -> Result {
        assert_eq!(error(&[])?, Some(ImageError::NoSharedSection));
        assert_eq!(error(&[&[0]])?, Some(ImageError::EntrySize(20)));
        assert_eq!(error(&[&[6 << 8]])?, Some(ImageError::EntrySize(20)));
        assert_eq!(error(&[&[8 << 8]])?, Some(ImageError::EntrySize(20)));
        assert_eq!(error(&[&[4 << 8 | 9]])?, Some(ImageError::EntryType(20, 9)));
        assert_eq!(error(&[&[1 << 31 | 4 << 8 | 9], &SHARED])?, None);
        Ok(())
    }
}
