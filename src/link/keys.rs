//! The only author of names in Redis: channels, patterns, and what our connections are called.

use std::fmt::Write;
use std::sync::Arc;

use crate::identity::Replica;
use crate::link::placement::Link;
use crate::topic::{BadTopic, Topic};

/// The prefix whose producers call the function by its plain name.
const PLAIN: &str = "fanline:";

/// Turns topics into names in Redis and back. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: Arc<str>,
}

impl Keys {
    /// Names that all begin with `prefix`, literally; it may be empty.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// The channel of a topic.
    #[must_use]
    pub fn channel(&self, topic: &Topic) -> String {
        [&*self.prefix, topic.as_str()].concat()
    }

    /// What all names begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The stream of a topic's history: in the slot of its channel, as the braces say.
    #[must_use]
    pub fn stream(&self, topic: &Topic) -> String {
        ["{", &*self.prefix, topic.as_str(), "}:stream"].concat()
    }

    /// Where a topic's last position stands.
    #[must_use]
    pub fn last(&self, topic: &Topic) -> String {
        ["{", &*self.prefix, topic.as_str(), "}:last"].concat()
    }

    /// The library in Redis with the function by which producers publish with a history; `1` changes with what that
    /// answers to. Deployments that share a Redis each have their own.
    #[must_use]
    pub fn library(&self) -> String {
        ["fanline1", &*self.mark()].concat()
    }

    /// The function itself: what FCALL takes.
    #[must_use]
    pub fn function(&self) -> String {
        ["fanline_publish", &*self.mark()].concat()
    }

    /// What tells our names from those of other prefixes where a name has only letters, digits and `_`, and no case:
    /// nothing for the default, `_staging` for `staging:`. Other characters are two hexadecimal digits behind a `_`, and
    /// a prefix that ends in no colon has a `_` for it, so no two prefixes have one name.
    fn mark(&self) -> String {
        if &*self.prefix == PLAIN {
            return String::new();
        }
        let (name, end) = self.prefix.strip_suffix(':').map_or((&*self.prefix, "_"), |name| (name, ""));
        let mut mark = String::from("_");
        for byte in name.bytes() {
            let _ = match byte {
                b'a'..=b'z' | b'0'..=b'9' => write!(mark, "{}", char::from(byte)),
                _ => write!(mark, "_{byte:02x}"),
            };
        }
        mark + end
    }

    /// The topic's name in a channel of ours; none where the channel is another application's.
    /// It costs no allocation; whether it is a valid topic, whoever has it in a table knows.
    #[must_use]
    pub fn name<'c>(&self, channel: &'c [u8]) -> Option<&'c str> {
        std::str::from_utf8(channel.strip_prefix(self.prefix.as_bytes())?).ok()
    }

    /// The topic of a channel; none where it is no valid topic of ours.
    #[must_use]
    pub fn topic(&self, channel: &[u8]) -> Option<Topic> {
        Topic::parse(self.name(channel)?).ok()
    }

    /// The topic whose publications prove that a link hears. In a cluster there is one for each master, with
    /// `.<n>` behind it.
    ///
    /// # Errors
    /// The replica's name makes no topic.
    pub fn canary(&self, replica: &Replica, link: Link) -> Result<Topic, BadTopic> {
        Topic::parse(&format!("@canary:{}.{}", replica.as_str(), link.number()))
    }

    /// The glob of all our channels, as an ACL names it: `fanline:*`.
    #[must_use]
    pub fn pattern(&self) -> String {
        let mut pattern = String::with_capacity(self.prefix.len() + 1);
        for c in self.prefix.chars() {
            if "*?[]\\".contains(c) {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.push('*');
        pattern
    }
}

/// What `CLIENT LIST` calls a connection of ours: `fanline:<replica>:<use>`.
#[must_use]
pub fn client_name(replica: &Replica, purpose: &str) -> String {
    format!("fanline:{}:{purpose}", replica.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_in_redis_are_a_contract() {
        let keys = Keys::new("fanline:");
        let topic = Topic::parse("room:42").unwrap();
        assert_eq!(keys.channel(&topic), "fanline:room:42");
        assert_eq!(keys.stream(&topic), "{fanline:room:42}:stream");
        assert_eq!(keys.last(&topic), "{fanline:room:42}:last");
        let canary = keys.canary(&Replica::new("host-a1"), Link::new(3)).unwrap();
        assert_eq!(canary.as_str(), "@canary:host-a1.3");
        assert_eq!(client_name(&Replica::new("host-a1"), "0"), "fanline:host-a1:0");
        assert_eq!(keys.pattern(), "fanline:*");
    }

    #[test]
    fn each_prefix_has_a_function_of_its_own() {
        let names = |prefix: &str| (Keys::new(prefix).library(), Keys::new(prefix).function());
        assert_eq!(names("fanline:"), ("fanline1".into(), "fanline_publish".into()));
        assert_eq!(names("staging:"), ("fanline1_staging".into(), "fanline_publish_staging".into()));
        assert_eq!(names("").1, "fanline_publish__");
        assert_eq!(names("Eu-1:a").1, "fanline_publish__45u_2d1_3aa_");
    }

    #[test]
    fn a_channel_that_is_no_topic_of_ours_has_none() {
        let keys = Keys::new("fanline:");
        for stranger in [&b"other:room"[..], b"fanline:", b"fanline:a b", b"fanline:\xff", b"fanlin", b""] {
            assert_eq!(keys.topic(stranger), None, "{stranger:?}");
        }
    }

    #[test]
    fn the_prefix_is_literal_even_where_it_looks_like_a_pattern() {
        let keys = Keys::new("a*[b]?\\:");
        assert_eq!(keys.pattern(), "a\\*\\[b\\]\\?\\\\:*");
        assert_eq!(keys.channel(&Topic::parse("x").unwrap()), "a*[b]?\\:x");
    }

    proptest! {
        #[test]
        fn no_two_prefixes_share_a_function(one in "[ -z|~]{0,6}", two in "[ -z|~]{0,6}") {
            let [first, second] = [&one, &two].map(|prefix| Keys::new(prefix).function());
            prop_assert!(first.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
            prop_assert_eq!(first == second, one == two);
        }

        #[test]
        fn every_topic_comes_back_from_its_channel(prefix in ".{0,12}", name in "[A-Za-z0-9_=@,.;:/+~%!$#-]{1,200}") {
            let (keys, topic) = (Keys::new(&prefix), Topic::parse(&name).unwrap());
            prop_assert_eq!(keys.topic(keys.channel(&topic).as_bytes()), Some(topic));
        }
    }
}
