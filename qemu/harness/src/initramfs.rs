// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The guest's root file system: a cpio archive that the kernel unpacks at start.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

/// File types of cpio's mode field, as in `stat(2)`.
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER: u32 = 0o020_000;

/// An archive under construction.
pub(crate) struct Archive {
    out: BufWriter<File>,
    folders: BTreeSet<String>,
    inode: u32,
}

impl Archive {
    /// Starts an archive in the file `path`.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        let mut archive = Self {
            out: BufWriter::new(file),
            folders: BTreeSet::new(),
            inode: 0,
        };
        archive.folder("dev")?;
        // The kernel opens it for init before anything is mounted.
        let console = cpio::NewcBuilder::new("dev/console")
            .rdev_major(5)
            .rdev_minor(1);
        archive.entry(console, CHARACTER | 0o600, b"")?;
        Ok(archive)
    }

    /// Adds the file `path` (absolute, in the guest) and the folders above it.
    ///
    /// # Errors
    ///
    /// When the archive cannot be written.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let path = path.trim_start_matches('/');
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder)?;
        }
        self.entry(cpio::NewcBuilder::new(path), REGULAR | mode, content)
            .with_context(|| format!("adding /{path} to the guest's files"))
    }

    /// Adds a copy of the file `source` of this machine.
    ///
    /// # Errors
    ///
    /// When it cannot be read or added.
    pub(crate) fn copy(&mut self, path: &str, mode: u32, source: &Path) -> Result<()> {
        let content = std::fs::read(source)
            .with_context(|| format!("reading {} for the guest", source.display()))?;
        self.file(path, mode, &content)
    }

    /// Ends the archive.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn finish(self) -> Result<()> {
        cpio::newc::trailer(self.out)?.flush()?;
        Ok(())
    }

    fn folder(&mut self, path: &str) -> Result<()> {
        let ends = path
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([path.len()]);
        for end in ends {
            if let Some(folder) = path.get(..end) {
                if self.folders.insert(folder.to_owned()) {
                    self.entry(cpio::NewcBuilder::new(folder), DIRECTORY | 0o755, b"")?;
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: cpio::NewcBuilder, mode: u32, content: &[u8]) -> Result<()> {
        self.inode += 1;
        let size = u32::try_from(content.len()).context("a file above 4 GiB")?;
        let mut writer = entry
            .ino(self.inode)
            .mode(mode)
            .nlink(1)
            .write(&mut self.out, size);
        writer.write_all(content)?;
        writer.finish()?;
        Ok(())
    }
}
