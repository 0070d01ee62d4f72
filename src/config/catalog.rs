//! The names of all keys, for recognising them and for guessing what was meant.

use std::collections::BTreeSet;

use config::ValueKind;

use super::keys::keys;
use super::kinds::Bad;
use super::nearest::{either, nearest};
use crate::settings::Settings;

/// The sections that are lists of tables, and stand in the file only.
pub(super) const LISTS: [&str; 2] = ["topics", "routes"];

/// The names of all keys outside `[[topics]]` and `[[routes]]`, secrets' files included.
pub(super) struct Catalog {
    /// `section.key`, in the order of the file.
    names: Vec<String>,
    /// A secret and the key of its file.
    pub(super) twins: Vec<(&'static str, String)>,
}

impl Catalog {
    pub(super) fn new() -> Self {
        let mut settings = Settings::default();
        let mut names = Vec::new();
        let mut twins = Vec::new();
        for key in keys(&mut settings) {
            names.push(key.name.to_owned());
            if let Some(twin) = key.twin() {
                names.push(twin.clone());
                twins.push((key.name, twin));
            }
        }
        Self { names, twins }
    }

    pub(super) fn knows(&self, key: &str) -> bool {
        self.names.iter().any(|name| name == key)
    }

    /// What a text from a variable or a flag stands for; nothing where it is empty and the key cannot be.
    pub(super) fn typed(&self, key: &str, text: &str) -> Option<ValueKind> {
        let mut settings = Settings::default();
        let Some(mut known) = keys(&mut settings).into_iter().find(|known| known.name == key) else {
            return (!text.is_empty()).then(|| text.into());
        };
        let value = known.field.typed(text);
        let unset = text.is_empty() && known.field.read(&value).is_err();
        (!unset).then_some(value)
    }

    pub(super) fn sections(&self) -> BTreeSet<&str> {
        self.names.iter().filter_map(|name| name.split_once('.')).map(|(section, _)| section).chain(LISTS).collect()
    }

    /// What to say of a key that does not exist.
    pub(super) fn unknown_key(&self, key: &str) -> String {
        let (section, last) = key.rsplit_once('.').unwrap_or(("", key));
        let inside = |name: &&String| name.rsplit_once('.').is_some_and(|(owner, _)| owner == section);
        let siblings: Vec<&str> = self.names.iter().filter(inside).filter_map(|name| name.rsplit('.').next()).collect();
        if let Some(near) = nearest(last, siblings.iter().copied()) {
            return format!("unknown key {key}; did you mean {section}.{near}?");
        }
        let elsewhere = self.names.iter().find(|name| name.rsplit('.').next() == Some(last));
        if let Some(near) =
            elsewhere.map(String::as_str).or_else(|| nearest(key, self.names.iter().map(String::as_str)))
        {
            return format!("unknown key {key}; did you mean {near}?");
        }
        match siblings.as_slice() {
            [] => format!("unknown key {key}; print-config shows all keys"),
            some => format!("unknown key {key}; [{section}] has {}", some.join(", ")),
        }
    }

    /// What to say of a section that does not exist, written as `[section]` or as `[[section]]`.
    pub(super) fn unknown_section(&self, section: &str, list: bool) -> String {
        let sections = self.sections();
        let found = if list { format!("[[{section}]]") } else { format!("[{section}]") };
        match nearest(section, sections.iter().copied()) {
            Some(near) => format!("unknown section {found}; did you mean {}?", headed(near)),
            None => {
                let all: Vec<_> = sections.iter().map(|section| headed(section)).collect();
                format!("unknown section {found}; there is {}", either(&all))
            }
        }
    }

    /// `FANLINE_<SECTION>__<KEY>` of every key, with the key.
    pub(super) fn variables(&self) -> impl Iterator<Item = (String, &str)> {
        self.names.iter().map(|name| (variable(name), name.as_str()))
    }
}

pub(super) fn variable(key: &str) -> String {
    format!("FANLINE_{}", key.replace('.', "__").to_uppercase())
}

fn headed(section: &str) -> String {
    if LISTS.contains(&section) { format!("[[{section}]]") } else { format!("[{section}]") }
}

/// One sentence on a wrong value: what was found, what is expected, what to write.
pub(super) fn sentence(key: &str, found: &str, expected: &str, bad: &Bad) -> String {
    let item = bad.item.map(|item| format!("[{item}]")).unwrap_or_default();
    let found = bad.found.as_deref().unwrap_or(found);
    let reason = bad.because.clone().unwrap_or_else(|| format!("expected {expected}"));
    let fix = bad.fix.as_ref().map(|fix| format!("; write {fix}")).unwrap_or_default();
    format!("{key}{item} = {found}: {reason}{fix}")
}
