//! What becomes of topics that another connection held before.

use super::{Desired, Entry, Wire};
use crate::topic::Topic;

impl Desired {
    /// Those of these topics that are live and wanted.
    #[must_use]
    pub fn live_of(&self, topics: &[Topic]) -> Vec<Topic> {
        let live = |entry: &Entry| entry.is_wanted() && entry.wire == Wire::Held;
        topics.iter().filter(|topic| self.entries.get(*topic).is_some_and(live)).cloned().collect()
    }

    /// Whether some of these topics are wanted and will be live, and are not yet.
    #[must_use]
    pub fn awaits(&self, topics: &[Topic]) -> bool {
        let awaited = |(topic, entry): (&Topic, &Entry)| {
            entry.is_wanted() && entry.wire != Wire::Held && !self.refused.contains(topic)
        };
        topics.iter().filter_map(|topic| self.entries.get_key_value(topic)).any(awaited)
    }

    /// The topic of this name, where somebody wants it.
    #[must_use]
    pub fn wanted(&self, name: &str) -> Option<Topic> {
        self.entries.get_key_value(name).filter(|(_, entry)| entry.is_wanted()).map(|(topic, _)| topic.clone())
    }
}
