//! The table of all keys, for the README.

use super::keys::{Key, keys};
use super::kinds::Show;
use super::rules::{Draft, route_keys, topic_keys};
use crate::settings::{Settings, TopicRule};

/// One key, explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `section.key`, e.g. `public.listen`, `topics.match`, `routes.path`.
    pub key: String,
    /// Completes "expected …".
    pub expected: String,
    /// As TOML; empty where leaving the key out means something no value says.
    pub default: String,
    /// One line.
    pub doc: &'static str,
    /// Whether SIGHUP changes it; the others wait for a restart.
    pub live: bool,
}

/// Every key, in the order of the file.
#[must_use]
pub fn reference() -> Vec<Reference> {
    let (mut settings, mut rule, mut draft) = (Settings::default(), TopicRule::default(), Draft::default());
    let mut all: Vec<_> = keys(&mut settings).iter().flat_map(|key| with_twin(entry(key, ""), key)).collect();
    all.extend(topic_keys(&mut rule).iter().map(|key| entry(key, "topics.")));
    all.extend(route_keys(&mut draft).iter().map(|key| entry(key, "routes.")));
    all
}

fn entry(key: &Key<'_>, section: &str) -> Reference {
    Reference {
        key: format!("{section}{}", key.name),
        expected: key.field.expected(),
        default: key.field.write(Show::Masked).unwrap_or_default(),
        doc: key.doc,
        live: key.live,
    }
}

fn with_twin(entry: Reference, key: &Key<'_>) -> Vec<Reference> {
    let twin = key.twin().map(|twin| Reference {
        key: twin,
        expected: "the path of a file".into(),
        default: String::new(),
        doc: "The same, read from a file; its last line break is taken off.",
        live: entry.live,
    });
    std::iter::once(entry).chain(twin).collect()
}
