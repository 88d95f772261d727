// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Kernel modules: where they are, what they depend on, in which order to load them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};
use object::{Object, ObjectSection};

/// A module's name with its file's content, ready for `insmod`.
pub(crate) struct Module {
    /// Name, with underscores.
    pub(crate) name: String,
    /// The ELF file.
    pub(crate) image: Vec<u8>,
}

/// The modules of one installed kernel, by name.
pub(crate) struct Tree {
    files: BTreeMap<String, PathBuf>,
}

impl Tree {
    /// Finds all modules below `dir`.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub(crate) fn new(dir: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut folders = vec![dir.join("kernel")];
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(&folder)
                .with_context(|| format!("listing the kernel's modules in {}", folder.display()))?;
            for entry in entries {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Some(name) = module_name(&path) {
                    files.insert(name, path);
                }
            }
        }
        Ok(Self { files })
    }

    /// Reads the stock module `name`.
    ///
    /// # Errors
    ///
    /// When the kernel has no such module, or its file cannot be read.
    pub(crate) fn load(&self, name: &str) -> Result<Module> {
        let path = self
            .files
            .get(name)
            .with_context(|| format!("the stock kernel has no module {name}"))?;
        load(path)
    }

    /// Everything that `module` needs loaded before it, in order.
    ///
    /// # Errors
    ///
    /// When a dependency is missing or cannot be read.
    pub(crate) fn dependencies(&self, module: &Module) -> Result<Vec<Module>> {
        let mut done = BTreeSet::new();
        let mut order = Vec::new();
        for name in needs(module)? {
            self.visit(&name, &mut done, &mut order)?;
        }
        Ok(order)
    }

    fn visit(
        &self,
        name: &str,
        done: &mut BTreeSet<String>,
        order: &mut Vec<Module>,
    ) -> Result<()> {
        // Dependencies of modules have no cycles: depmod refuses them.
        if !done.insert(name.to_owned()) {
            return Ok(());
        }
        let module = self.load(name)?;
        for need in needs(&module)? {
            self.visit(&need, done, order)?;
        }
        order.push(module);
        Ok(())
    }
}

/// Reads a module from a file, which may be compressed with xz.
///
/// # Errors
///
/// When the file cannot be read or unpacked.
pub(crate) fn load(path: &Path) -> Result<Module> {
    let name = module_name(path)
        .with_context(|| format!("{} is not a kernel module's file", path.display()))?;
    let image = if path.extension().is_some_and(|ext| ext == "xz") {
        let output = Command::new("xz")
            .args(["-dc"])
            .arg(path)
            .output()
            .context("starting xz")?;
        if !output.status.success() {
            bail!(
                "unpacking {}: {}",
                path.display(),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        output.stdout
    } else {
        std::fs::read(path).with_context(|| format!("reading the module {}", path.display()))?
    };
    Ok(Module { name, image })
}

/// The name the kernel gives to the module in the file `path`.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let stem = file
        .strip_suffix(".ko")
        .or_else(|| file.strip_suffix(".ko.xz"))?;
    Some(stem.replace('-', "_"))
}

/// Names in the module's `depends` and `softdep … pre:` entries.
fn needs(module: &Module) -> Result<Vec<String>> {
    let file = object::File::parse(&*module.image)
        .with_context(|| format!("module {} is not an ELF file", module.name))?;
    let info = file
        .section_by_name(".modinfo")
        .with_context(|| format!("module {} has no .modinfo section", module.name))?
        .data()
        .with_context(|| format!("reading .modinfo of module {}", module.name))?;
    Ok(needs_in(info))
}

fn needs_in(info: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    for entry in info.split(|&byte| byte == 0) {
        let entry = String::from_utf8_lossy(entry);
        if let Some(list) = entry.strip_prefix("depends=") {
            names.extend(list.split(',').map(str::to_owned));
        } else if let Some(list) = entry.strip_prefix("softdep=") {
            names.extend(
                list.split_whitespace()
                    .skip_while(|&word| word != "pre:")
                    .skip(1)
                    .take_while(|&word| word != "post:")
                    .map(str::to_owned),
            );
        }
    }
    names.retain(|name| !name.is_empty());
    for name in &mut names {
        *name = name.replace('-', "_");
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_files() {
        let name = |path| module_name(Path::new(path));
        assert_eq!(name("a/gpu-sched.ko.xz").as_deref(), Some("gpu_sched"));
        assert_eq!(name("drm.ko").as_deref(), Some("drm"));
        assert_eq!(name("modules.builtin"), None);
    }

    #[test]
    fn hard_and_soft_dependencies_are_read() {
        let info = b"license=GPL\0depends=drm,gpu-sched\0softdep=pre: governor_x y post: z\0";
        assert_eq!(needs_in(info), ["drm", "gpu_sched", "governor_x", "y"]);
        assert!(needs_in(b"depends=\0").is_empty());
    }
}
