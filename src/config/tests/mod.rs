//! The promises of the configuration; its messages are an interface, so the tests have them word for word.

mod changes;
mod mistakes;
mod precedence;
mod printing;
mod properties;
mod rules;
mod secrets;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Limits, Loaded, Mistakes, Override, Sources, load};

/// A file, an environment and flags, loaded from a directory of their own.
pub(super) struct Try {
    directory: TempDir,
    sources: Sources,
}

/// A configuration file with this text.
pub(super) fn file(text: &str) -> Try {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fanline.toml");
    std::fs::write(&path, text).unwrap();
    Try { directory, sources: Sources { file: Some(path), ..Sources::default() } }
}

/// An empty file and this environment.
pub(super) fn env(pairs: &[(&str, &str)]) -> Try {
    file("").env(pairs)
}

impl Try {
    pub(super) fn env(mut self, pairs: &[(&str, &str)]) -> Self {
        self.sources.env.extend(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        self
    }

    pub(super) fn flag(mut self, flag: &str, key: &str, value: &str) -> Self {
        self.sources.flags.push(Override { flag: flag.into(), key: key.into(), value: value.into() });
        self
    }

    pub(super) fn descriptors(mut self, limit: u64) -> Self {
        self.sources.limits = Limits { descriptors: Some(limit) };
        self
    }

    /// A file beside the configuration, readable by its owner alone.
    pub(super) fn beside(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        mode(&path, 0o600);
        path
    }

    pub(super) fn load(&self) -> Result<Loaded, Mistakes> {
        load(&self.sources)
    }

    /// The mistakes, with the directory's name taken away.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let mistakes = self.load().expect_err("expected mistakes");
        mistakes.list().iter().map(|mistake| self.local(&mistake.to_string())).collect()
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        self.load().unwrap().warnings.iter().map(|warning| self.local(warning)).collect()
    }

    fn local(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.directory.path().display()), "")
    }
}

pub(super) fn mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
