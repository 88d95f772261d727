// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Broken firmware images, each broken in one way, for tests of a driver's parser.

use crate::container::{Entry, Image, Section};
use crate::{container, image, DATA_VA, SHARED_SIZE, SHARED_VA};

/// A broken image.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Short name in lower case, digits and dashes; unique.
    pub name: String,
    /// What is wrong with it.
    pub why: String,
    /// The file.
    pub bytes: Vec<u8>,
    /// Who has to refuse it.
    pub refused_by: Refused,
}

/// Who has to refuse a broken image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The driver's parser: the file alone shows that it is wrong.
    Parser,
    /// The microcontroller: the container is right, but what is in it does not boot.
    Boot,
}

/// Every broken image, in a fixed order; the same bytes each time.
pub fn all() -> Vec<Variant> {
    let mut variants = vec![parser("empty", "the file is empty", Vec::new())];
    headers(&mut variants);
    truncations(&mut variants);
    sections(&mut variants);
    entries(&mut variants);
    variants.push(parser(
        "noise",
        "1 MiB of noise",
        noise(0x6d61_676e_6921, 1 << 20),
    ));
    let mut bytes = container::MAGIC.to_le_bytes().to_vec();
    bytes.extend_from_slice(&[0; 12]);
    bytes.extend_from_slice(&(1u32 << 20).to_le_bytes());
    let rest = (1 << 20) - bytes.len();
    bytes.extend_from_slice(&noise(0x7468_6f72, rest));
    variants.push(parser(
        "noise-after-header",
        "a good header with 1 MiB of noise",
        bytes,
    ));
    variants.push(boot(
        "no-signature",
        "the code section is not the test image's",
        changed(|image| section(image, "code").data.fill(0)),
    ));
    variants
}

/// The broken image called `name`.
pub fn find(name: &str) -> Option<Variant> {
    all().into_iter().find(|variant| variant.name == name)
}

fn parser(name: &str, why: &str, bytes: Vec<u8>) -> Variant {
    Variant {
        name: name.into(),
        why: why.into(),
        bytes,
        refused_by: Refused::Parser,
    }
}

fn boot(name: &str, why: &str, bytes: Vec<u8>) -> Variant {
    Variant {
        refused_by: Refused::Boot,
        ..parser(name, why, bytes)
    }
}

fn changed(change: impl FnOnce(&mut Image)) -> Vec<u8> {
    let mut image = image();
    change(&mut image);
    image.encode()
}

fn patched(at: usize, word: u32) -> Vec<u8> {
    let mut bytes = image().encode();
    bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    bytes
}

fn section<'a>(image: &'a mut Image, name: &str) -> &'a mut Section {
    image
        .entries
        .iter_mut()
        .find_map(|entry| match entry {
            Entry::Section(section) if section.name == name => Some(section),
            _ => None,
        })
        .expect("the good image has this section")
}

/// File offset of the entry of section `name`.
fn entry_of(name: &str) -> usize {
    let image = image();
    let layout = image.encode_with_layout().1;
    let index = image
        .entries
        .iter()
        .position(|entry| matches!(entry, Entry::Section(section) if section.name == name))
        .expect("the good image has this section");
    layout.entries[index]
}

fn headers(variants: &mut Vec<Variant>) {
    variants.push(parser(
        "wrong-magic",
        "the magic word is wrong",
        patched(0, container::MAGIC ^ 0x100),
    ));
    variants.push(parser(
        "wrong-version",
        "the container's major version is 1",
        changed(|image| image.major = 1),
    ));
    variants.push(parser(
        "size-too-large",
        "the header claims more bytes than the file has",
        patched(16, u32::MAX),
    ));
    variants.push(parser(
        "size-zero",
        "the header claims 0 bytes",
        patched(16, 0),
    ));
}

/// The file cut at every boundary: inside and after the header, before and inside
/// each entry, at the start, in the middle and just before the end of each datum.
fn truncations(variants: &mut Vec<Variant>) {
    let (bytes, layout) = image().encode_with_layout();
    let mut cuts = vec![3, container::HEADER_SIZE - 1];
    for pair in layout.entries.windows(2) {
        cuts.extend([pair[0], pair[0] + 2, pair[1] - 1]);
    }
    for range in &layout.data {
        cuts.extend([
            range.start,
            range.start + range.len() / 2,
            range.start + range.len() - 1,
        ]);
    }
    // Past the last section's data only optional build information is cut off,
    // which drivers rightly forgive.
    let needed = layout
        .data
        .iter()
        .map(|range| range.end)
        .nth(1)
        .expect("two sections with data");
    cuts.sort_unstable();
    cuts.dedup();
    for cut in cuts.into_iter().filter(|cut| *cut < needed) {
        variants.push(parser(
            &format!("cut-at-{cut}"),
            &format!("the file ends after {cut} bytes"),
            bytes[..cut].to_vec(),
        ));
    }
    // The same inside the entries, with a header that agrees with the cut.
    for pair in layout.entries.windows(2) {
        let cut = pair[0] + 2;
        let mut short = bytes[..cut].to_vec();
        short[16..20].copy_from_slice(&(cut as u32).to_le_bytes());
        variants.push(parser(
            &format!("short-at-{cut}"),
            &format!("file and header end after {cut} bytes, inside an entry"),
            short,
        ));
    }
}

fn sections(variants: &mut Vec<Variant>) {
    let data = entry_of("data");
    let shared = entry_of("shared");
    let file = image().encode().len() as u32;

    variants.push(parser(
        "sections-overlap",
        "the data section covers the code section",
        changed(|image| section(image, "data").va = 0x1000..0x3000),
    ));
    variants.push(parser(
        "sections-equal",
        "the bss section has the data section's addresses",
        changed(|image| section(image, "bss").va = DATA_VA..DATA_VA + 0x1000),
    ));
    variants.push(parser(
        "overlaps-shared",
        "the data section covers the shared section",
        changed(|image| {
            section(image, "data").va = SHARED_VA + 0x1000..SHARED_VA + SHARED_SIZE;
        }),
    ));
    variants.push(parser(
        "va-backwards",
        "a section's address range ends before it starts",
        patched(data + 12, DATA_VA - 0x1000),
    ));
    variants.push(parser(
        "va-unaligned-start",
        "a section's address is not page aligned",
        patched(data + 8, DATA_VA + 8),
    ));
    variants.push(parser(
        "va-unaligned-end",
        "a section's end is not page aligned",
        patched(data + 12, DATA_VA + 0x2010),
    ));
    variants.push(parser(
        "data-backwards",
        "a section's data ends before it starts",
        patched(data + 20, 0),
    ));
    variants.push(parser(
        "data-past-end",
        "a section's data lies past the end of the file",
        patched(data + 20, file + 1),
    ));
    variants.push(parser(
        "data-far-past-end",
        "a section's data lies 4 GiB away",
        patched(data + 20, u32::MAX),
    ));
    variants.push(parser(
        "data-larger-than-section",
        "a section's data is larger than the section",
        patched(data + 12, DATA_VA + 0x1000),
    ));
    variants.push(parser(
        "unknown-section-flag",
        "a section has a flag that no version defines",
        patched(
            data + 4,
            container::READ | container::WRITE | container::CACHED | (1 << 12),
        ),
    ));
    variants.push(parser(
        "shared-not-shared",
        "the interface section is not marked shared",
        patched(
            shared + 4,
            container::READ | container::WRITE | container::ZERO_REST,
        ),
    ));
    variants.push(parser(
        "no-shared",
        "there is no interface section",
        changed(|image| {
            image.entries.retain(
                |entry| !matches!(entry, Entry::Section(section) if section.name == "shared"),
            );
        }),
    ));
    variants.push(parser(
        "no-entries",
        "there are no entries",
        changed(|image| image.entries.clear()),
    ));
    variants.push(boot(
        "no-code",
        "there is no code section",
        changed(|image| {
            image.entries.retain(
                |entry| !matches!(entry, Entry::Section(section) if section.name == "code"),
            );
        }),
    ));
    variants.push(boot(
        "code-not-executable",
        "the code section is not executable",
        changed(|image| {
            section(image, "code").flags = container::READ | container::CACHED;
        }),
    ));
}

fn entries(variants: &mut Vec<Variant>) {
    let code = entry_of("code");
    let head = |kind: u32, length: u32| kind | (length << 8);
    variants.push(parser(
        "entry-length-zero",
        "an entry has length 0",
        patched(code, head(0, 0)),
    ));
    variants.push(parser(
        "entry-length-odd",
        "an entry's length is not a multiple of 4",
        patched(code, head(0, 27)),
    ));
    variants.push(parser(
        "entry-too-short",
        "a section entry is too short for its fields",
        patched(code, head(0, 8)),
    ));
    variants.push(parser(
        "entry-unknown",
        "an entry of an unknown type that may not be skipped",
        changed(|image| {
            image.entries.push(Entry::Other {
                kind: 0x55,
                optional: false,
                words: vec![0; 2],
            });
        }),
    ));
    variants.push(parser(
        "entry-past-end",
        "the last entry is longer than the rest of the file's entries",
        {
            let (mut bytes, layout) = image().encode_with_layout();
            let last = layout.entries[layout.entries.len() - 2];
            bytes[last..last + 4].copy_from_slice(&(head(0x2a, 0xfc) | (1 << 31)).to_le_bytes());
            bytes
        },
    ));
}

/// `length` bytes that look like nothing, the same each time (xorshift).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(length)
    .collect()
}
