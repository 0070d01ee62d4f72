//! Names of topics: what clients listen to and producers publish on.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The longest name of a topic, in bytes.
pub const MAX_LEN: usize = 200;

/// A valid topic name: 1 to [`MAX_LEN`] bytes of `A-Za-z0-9_-=@,.;:/+~%!$#`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

/// Why a text is no topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTopic {
    /// Nothing at all.
    #[error("a topic needs at least one character")]
    Empty,
    /// Longer than [`MAX_LEN`] bytes.
    #[error("a topic has at most {MAX_LEN} bytes, this one has {0}")]
    TooLong(usize),
    /// A character outside the alphabet.
    #[error("{0:?} is no character of a topic; name it with {code} in its place (allowed: A-Z a-z 0-9 _-=@,.;:/+~%!$#)", code = encoded(*.0))]
    Character(char),
    /// A name of the gateway's own, asked for by a stranger.
    #[error("topics beginning with '@' are the gateway's own")]
    Reserved,
}

impl Topic {
    /// Checks a name that comes from our own side: the bus, the configuration, an operator.
    ///
    /// # Errors
    /// What makes `name` no topic.
    pub fn parse(name: &str) -> Result<Self, BadTopic> {
        if name.is_empty() {
            return Err(BadTopic::Empty);
        }
        if name.len() > MAX_LEN {
            return Err(BadTopic::TooLong(name.len()));
        }
        match name.chars().find(|&c| !allowed(c)) {
            Some(stranger) => Err(BadTopic::Character(stranger)),
            None => Ok(Self(name.into())),
        }
    }

    /// Checks a name that a client gave: as [`Topic::parse`], and never one of the gateway's own.
    ///
    /// # Errors
    /// What makes `name` no topic for a client.
    pub fn parse_client(name: &str) -> Result<Self, BadTopic> {
        match name.starts_with('@') {
            true => Err(BadTopic::Reserved),
            false => Self::parse(name),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a character may stand in a topic's name.
#[must_use]
pub fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-=@,.;:/+~%!$#".contains(c)
}

/// A character as percent-encoding writes it, which is a part of a name like any other.
#[must_use]
pub fn encoded(c: char) -> String {
    c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02X}")).collect()
}

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_allowed_character_makes_a_topic_and_every_other_is_named() {
        assert!(Topic::parse("room:42/A-z_=,.;+~%!$#@").is_ok());
        assert_eq!(Topic::parse("a b"), Err(BadTopic::Character(' ')));
        assert_eq!(Topic::parse("ä"), Err(BadTopic::Character('ä')));
        let advice = "'ä' is no character of a topic; name it with %C3%A4 in its place";
        assert!(BadTopic::Character('ä').to_string().starts_with(advice));
        assert_eq!(Topic::parse("a*"), Err(BadTopic::Character('*')));
        assert_eq!(Topic::parse(""), Err(BadTopic::Empty));
    }

    #[test]
    fn two_hundred_bytes_are_a_topic_and_one_more_is_not() {
        assert!(Topic::parse(&"x".repeat(200)).is_ok());
        assert_eq!(Topic::parse(&"x".repeat(201)), Err(BadTopic::TooLong(201)));
    }

    #[test]
    fn a_client_never_names_a_topic_of_ours() {
        assert_eq!(Topic::parse_client("@user:1"), Err(BadTopic::Reserved));
        assert!(Topic::parse("@user:1").is_ok());
        assert!(Topic::parse_client("user@1").is_ok());
    }
}
