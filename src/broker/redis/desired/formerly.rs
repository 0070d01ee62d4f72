//! What becomes of topics that another connection held before.

use super::{Desired, Entry, Wire};
use crate::topic::Topic;

impl Desired {
    /// All topics that somebody wants.
    pub fn all_wanted(&self) -> impl Iterator<Item = &Topic> {
        self.entries.iter().filter(|(_, entry)| entry.is_wanted()).map(|(topic, _)| topic)
    }

    /// Those of these topics that somebody wants still.
    #[must_use]
    pub fn wanted_of(&self, topics: &[Topic]) -> Vec<Topic> {
        topics.iter().filter(|topic| self.entries.get(*topic).is_some_and(Entry::is_wanted)).cloned().collect()
    }

    /// Whether the topic of this name is wanted, and not live yet.
    #[must_use]
    pub fn awaits(&self, name: &str) -> bool {
        self.entries.get(name).is_some_and(|entry| entry.is_wanted() && entry.wire != Wire::Held)
    }

    /// The topic of this name, where somebody wants it.
    #[must_use]
    pub fn wanted(&self, name: &str) -> Option<Topic> {
        self.entries.get_key_value(name).filter(|(_, entry)| entry.is_wanted()).map(|(topic, _)| topic.clone())
    }
}
