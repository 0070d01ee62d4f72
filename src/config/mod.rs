//! The configuration: file < `REDIS_URL`, `PORT` < `FANLINE_<SECTION>__<KEY>` < flags, into
//! [`Settings`].
//!
//! One list of keys (`keys`, `rules`) is behind all of it: reading, "did you mean", `print-config`, the
//! reference, and what a reload cannot change. Each layer is sifted first, so that only keys that exist reach
//! the `config` crate, which lays the layers over each other; then every value is read, and every mistake told
//! at once. The crate guesses no types (`try_parsing` would turn the password `007` into 7): the key says what
//! a variable's text stands for.

mod catalog;
mod changes;
mod check;
mod environment;
mod file;
mod fill;
mod keys;
mod kinds;
mod layer;
mod mistakes;
mod nearest;
mod print;
mod reference;
mod routes;
mod rules;
mod secret_file;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use changes::{Change, changes};
pub use mistakes::{Mistake, Mistakes};
pub use print::{example, print};
pub use reference::{Reference, reference};

use crate::settings::Settings;
use catalog::Catalog;
use fill::Origins;
use layer::Layer;
use mistakes::Report;

/// Read where no file is named, if it is there.
pub const DEFAULT_FILE: &str = "fanline.toml";

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A file that must be there; without one, [`DEFAULT_FILE`] if it is there.
    pub file: Option<PathBuf>,
    /// The environment; see [`environment`](fn@environment) for the process's own.
    pub env: BTreeMap<String, String>,
    /// What the command line sets; a later one wins.
    pub flags: Vec<Override>,
    /// What the machine allows.
    pub limits: Limits,
}

/// A key set on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// What a mistake is told of, e.g. `--public-listen`.
    pub flag: String,
    /// E.g. `public.listen`.
    pub key: String,
    /// As in a variable: lists with commas.
    pub value: String,
}

/// What the machine allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// The hard limit of descriptors (`RLIMIT_NOFILE`), where it is known.
    pub descriptors: Option<u64>,
}

/// A configuration without mistakes.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What to run with.
    pub settings: Settings,
    /// What looks like a slip but stops nothing.
    pub warnings: Vec<String>,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
    /// Whether that file is there and says nothing, not even in a comment.
    pub blank: bool,
    origins: Origins,
}

impl Loaded {
    /// Where a key was set: a file with its line, a variable, or a flag; none where it has its default.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&str> {
        self.origins.is_set(key).then(|| self.origins.of(key))
    }
}

/// Puts the settings together.
///
/// # Errors
/// Every mistake at once.
pub fn load(sources: &Sources) -> Result<Loaded, Mistakes> {
    let catalog = Catalog::new();
    let mut report = Report::default();
    let (path, text) = read_file(sources.file.as_deref(), &mut report);
    let file = match &path {
        Some(path) => file::read(path, &text, &catalog, &mut report),
        None => Layer::default(),
    };
    let platform = environment::platform(&sources.env, &file, &mut report);
    let variables = environment::variables(&sources.env, &catalog, &mut report);
    let flags = environment::flags(&sources.flags, &catalog, &mut report);

    let mut layers = vec![file, platform, variables, flags];
    for layer in &mut layers {
        catalog.twins.iter().for_each(|(secret, file)| layer.hide_twin(secret, file));
    }
    let values = Layer::merge(layers).unwrap_or_else(|error| {
        report.mistake("the configuration", error.to_string());
        Layer::default()
    });
    let (settings, origins) = fill::settings(&values, &mut report);
    check::check(&settings, &origins, sources.limits, &mut report);
    let blank = path.is_some() && text.trim_start_matches('\u{feff}').trim().is_empty();
    Ok(Loaded { settings, warnings: report.finish()?, file: path, blank, origins })
}

/// The variables of this process that concern us; what is no Unicode in them becomes `�`.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    let ours = |name: &str| name.starts_with("FANLINE_") || name == "REDIS_URL" || name == "PORT";
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    };
    std::env::vars_os().filter_map(text).filter(|(name, _)| ours(name)).collect()
}

/// The file to read and its text.
fn read_file(named: Option<&Path>, report: &mut Report) -> (Option<PathBuf>, String) {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    match std::fs::read_to_string(path) {
        Ok(text) => (Some(path.into()), text),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => (None, String::new()),
        Err(error) => {
            report.mistake(&path.display().to_string(), format!("the file cannot be read: {error}"));
            (None, String::new())
        }
    }
}
