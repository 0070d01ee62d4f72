//! Rules for topics by name.

use std::time::Duration;

use super::ByteSize;

/// How much longer than its publications the last position of a topic is remembered: a clock may be set back by so much
/// before a place is given twice, and a replica may be cut off for so long before it cannot tell whether it missed anything.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// `[[topics]]`: what holds for the topics it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRule {
    /// A name, or a prefix that ends in `*`.
    pub matches: String,
    /// The largest publication.
    pub publication: ByteSize,
    /// What happens when a client's outbox is full.
    pub on_full: OnFull,
    /// Whether clients may listen by name.
    pub subscribe: Grant,
    /// Whether clients may publish.
    pub publish: Grant,
    /// How many of its newest publications each topic keeps; 0: none, and no positions.
    pub history_size: u32,
    /// How long they are kept after the last of them.
    pub history_ttl: Duration,
}

/// What happens when a publication meets a full outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    /// The client is closed with 4100.
    #[default]
    Disconnect,
    /// The oldest waiting publication under the same rule makes room.
    DropOldest,
    /// The arriving publication is dropped.
    DropNewest,
    /// Only the newest per header `key` waits (none: per topic).
    Conflate,
}

/// Who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grant {
    /// Nobody.
    #[default]
    None,
    /// Every client.
    Anyone,
}

/// All rules, in order; what none matches falls under the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicRules {
    /// As written.
    pub rules: Vec<TopicRule>,
    fallback: TopicRule,
}

/// The place of a rule in its list; the fallback's is one past the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleIndex(pub u16);

impl Default for TopicRule {
    fn default() -> Self {
        Self {
            matches: "*".into(),
            publication: ByteSize::kib(512),
            on_full: OnFull::Disconnect,
            subscribe: Grant::Anyone,
            publish: Grant::None,
            history_size: 0,
            history_ttl: Duration::from_secs(300),
        }
    }
}

impl TopicRule {
    /// Whether its topics keep a history.
    #[must_use]
    pub fn keeps_history(&self) -> bool {
        self.history_size > 0
    }

    /// How long the last position of a topic is remembered after its last publication.
    #[must_use]
    pub fn remembered(&self) -> Duration {
        self.history_ttl + REMEMBERED
    }

    /// Whether clients may make as many topics with history as they like.
    #[must_use]
    pub fn is_filled_by_clients(&self) -> bool {
        self.publish == Grant::Anyone && self.keeps_history() && self.matches.ends_with('*')
    }

    fn covers(&self, topic: &str) -> bool {
        match self.matches.strip_suffix('*') {
            Some(prefix) => topic.starts_with(prefix),
            None => self.matches == topic,
        }
    }
}

impl TopicRules {
    /// Whether any topic keeps a history.
    #[must_use]
    pub fn keeps_histories(&self) -> bool {
        self.rules.iter().any(TopicRule::keeps_history)
    }

    /// Rules in the order they are asked.
    #[must_use]
    pub fn new(rules: Vec<TopicRule>) -> Self {
        Self { rules, fallback: TopicRule::default() }
    }

    /// The rule that holds for a topic: the first that matches.
    #[must_use]
    pub fn rule(&self, topic: &str) -> &TopicRule {
        self.rules.iter().find(|rule| rule.covers(topic)).unwrap_or(&self.fallback)
    }

    /// The largest publication that any rule allows, in bytes.
    #[must_use]
    pub fn largest_publication(&self) -> usize {
        let rules = self.rules.iter().chain([&self.fallback]);
        rules.map(|rule| rule.publication.0).max().unwrap_or(0)
    }

    /// The rule that holds for a topic, and its place.
    #[must_use]
    pub fn find(&self, topic: &str) -> (RuleIndex, &TopicRule) {
        let place = self.rules.iter().position(|rule| rule.covers(topic)).unwrap_or(self.rules.len());
        let index = RuleIndex(u16::try_from(place).unwrap_or(u16::MAX));
        (index, self.rules.get(place).unwrap_or(&self.fallback))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_match_wins_and_a_star_ends_a_prefix() {
        let rule = |matches: &str, on_full| TopicRule { matches: matches.into(), on_full, ..TopicRule::default() };
        let rules = TopicRules::new(vec![
            rule("price:eur", OnFull::DropNewest),
            rule("price:*", OnFull::Conflate),
            rule("a", OnFull::DropOldest),
        ]);
        assert_eq!(rules.rule("price:eur").on_full, OnFull::DropNewest);
        assert_eq!(rules.rule("price:usd").on_full, OnFull::Conflate);
        assert_eq!(rules.rule("a").on_full, OnFull::DropOldest);
        assert_eq!(rules.rule("ab").on_full, OnFull::Disconnect);
        assert_eq!(rules.find("ab").0, RuleIndex(3));
    }
}
