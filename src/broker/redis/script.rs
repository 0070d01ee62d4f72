//! What runs inside Redis: what publishes with a history, one text, as a script for us and as a function for producers; and
//! what reads one.

use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use sha1::{Digest, Sha1};

use crate::link::keys::Keys;
use crate::publication::ONCE;
use crate::settings::{TopicRule, TopicRules};

/// The text, without what the settings say.
const BODY: &str = include_str!("publish.lua");

/// Reads a part of a history. Redis alone knows how large what it keeps is before it is sent.
pub(super) static READ: LazyLock<Text> = LazyLock::new(|| Text::new(include_str!("read.lua").into()));

/// The version of the text to publish: a library of a later one is left alone. To be raised with every change of the text.
pub const VERSION: u32 = 3;

/// How the line begins that says a library's prefix.
const PREFIX: &str = "local PREFIX = ";

/// How the first line of a library's code begins, before its version.
const STAMP: &str = "-- fanline ";

/// A script.
#[derive(Debug)]
pub struct Text {
    /// What EVAL takes.
    pub source: String,
    /// What EVALSHA takes.
    pub sha: String,
}

impl Text {
    fn new(source: String) -> Self {
        let sha = Sha1::digest(source.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Self { source, sha }
    }
}

/// The text that publishes, with what the settings say.
#[derive(Debug)]
pub struct Script {
    /// For which rules.
    pub rules: Arc<TopicRules>,
    /// The script.
    pub text: Text,
    /// What FUNCTION LOAD takes.
    pub library: String,
    /// The library's name.
    pub name: String,
    /// The prefix, as the text has it.
    prefix: String,
}

impl Script {
    /// For these rules, under this prefix; `publish` is `PUBLISH` or `SPUBLISH`.
    #[must_use]
    pub fn new(prefix: &str, rules: Arc<TopicRules>, publish: &str) -> Self {
        let (text, keys) = (settings(prefix, &rules, publish) + BODY, Keys::new(prefix));
        let name = keys.library();
        let script = Text::new(format!("{text}\nreturn fanline_publish(KEYS, ARGV)\n"));
        let library = format!(
            "#!lua name={name}\n{STAMP}{VERSION}\n{text}\nredis.register_function('{}', fanline_publish)\n",
            keys.function()
        );
        Self { rules, text: script, library, name, prefix: quoted(prefix) }
    }

    /// Whether the library found in Redis under our name is to be replaced by this one: an older one, or another's, as
    /// gateways of before brought it for any prefix.
    #[must_use]
    pub fn replaces(&self, found: Option<&str>) -> bool {
        let Some(code) = found else { return true };
        code != self.library && (!is_of(code, &self.prefix) || version(code).is_none_or(|found| found <= VERSION))
    }
}

/// Whether a library is of this prefix, or of none that can be told.
fn is_of(code: &str, prefix: &str) -> bool {
    let found = code.lines().find_map(|line| line.strip_prefix(PREFIX));
    found.is_none_or(|found| found == prefix)
}

/// The version of a library of ours.
fn version(code: &str) -> Option<u32> {
    code.lines().nth(1)?.strip_prefix(STAMP)?.trim().parse().ok()
}

fn settings(prefix: &str, rules: &TopicRules, publish: &str) -> String {
    let mut text = format!(
        "{PREFIX}{}\nlocal PUBLISH, ONCE = '{publish}', {}\nlocal RULES = {{\n",
        quoted(prefix),
        ONCE.as_secs()
    );
    for rule in &rules.rules {
        text.push_str(&line(rule));
    }
    text + "}\n"
}

/// One rule; also one without a history, for it keeps later ones from its topics.
fn line(rule: &TopicRule) -> String {
    let (name, prefix) = rule.matches.strip_suffix('*').map_or((&*rule.matches, false), |name| (name, true));
    let kept = match rule.keeps_history() {
        true => format!(
            "size = {}, ttl = {}, last = {}",
            rule.history_size,
            rule.history_ttl.as_millis(),
            rule.remembered().as_millis()
        ),
        false => "none = true".into(),
    };
    format!("  {{ name = {}, prefix = {prefix}, {kept} }},\n", quoted(name))
}

/// A text of Lua, of visible ASCII.
fn quoted(text: &str) -> String {
    let escaped = text.bytes().fold(String::new(), |mut escaped, byte| {
        let _ = if byte.is_ascii_alphanumeric() || b":_-*.".contains(&byte) {
            write!(escaped, "{}", char::from(byte))
        } else {
            write!(escaped, "\\{byte:03}")
        };
        escaped
    });
    format!("'{escaped}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(list: &[(&str, u32)]) -> Arc<TopicRules> {
        let rule = |&(name, size): &(&str, u32)| TopicRule {
            matches: name.into(),
            history_size: size,
            ..TopicRule::default()
        };
        Arc::new(TopicRules::new(list.iter().map(rule).collect()))
    }

    #[test]
    fn the_settings_stand_before_the_text() {
        let script = Script::new("fan'line:", rules(&[("a:*", 10), ("b", 0)]), "PUBLISH");
        let head = "local PREFIX = 'fan\\039line:'\nlocal PUBLISH, ONCE = 'PUBLISH', 300\n\
                    local RULES = {\n  { name = 'a:', prefix = true, size = 10, ttl = 300000, last = 3900000 },\n  \
                    { name = 'b', prefix = false, none = true },\n}\n";
        assert!(script.text.source.starts_with(head), "{}", script.text.source);
        assert!(script.library.starts_with("#!lua name=fanline1_fan_27line\n-- fanline 3\n"));
        assert_eq!(script.text.sha.len(), 40);
    }

    #[test]
    fn a_library_is_replaced_by_a_newer_one_or_by_other_settings_but_never_by_an_older() {
        let ours = Script::new("fanline:", rules(&[("a:*", 10)]), "PUBLISH");
        let other = Script::new("fanline:", rules(&[("a:*", 20)]), "PUBLISH");
        assert!(ours.replaces(None) && ours.replaces(Some("#!lua name=fanline1\n-- something\n")));
        assert!(!ours.replaces(Some(&ours.library)) && ours.replaces(Some(&other.library)));
        let later = ours.library.replace("-- fanline 3\n", "-- fanline 4\n");
        assert!(!ours.replaces(Some(&later)));
        let neighbour = Script::new("staging:", rules(&[("a:*", 20)]), "PUBLISH");
        assert_ne!(neighbour.name, ours.name, "another deployment has its own");
        let squatter =
            neighbour.library.replace(&neighbour.name, &ours.name).replace("-- fanline 3\n", "-- fanline 1\n");
        assert!(ours.replaces(Some(&squatter)), "what another prefix has left under our name");
    }
}
