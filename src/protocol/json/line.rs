//! One object of a client, its members still JSON text, and the words for what is wrong with one.

use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::command::{MessageId, Resume};
use crate::event::{Refusal, RefusalCode};
use crate::publication::MAX_NAME;
use crate::topic::{BadTopic, Topic};

/// The longest `id` we repeat, in bytes of JSON text.
const MAX_ID: usize = 64;

/// How much of what was found is repeated, in characters.
const MAX_QUOTE: usize = 40;

/// The members that have a meaning. `null` is as good as absent, but for `data`.
#[derive(Debug, Default)]
pub(super) struct Line<'a> {
    pub(super) kind: Option<&'a RawValue>,
    pub(super) id: Option<&'a RawValue>,
    pub(super) topic: Option<&'a RawValue>,
    pub(super) topics: Option<&'a RawValue>,
    pub(super) since: Option<&'a RawValue>,
    pub(super) last: Option<&'a RawValue>,
    pub(super) before: Option<&'a RawValue>,
    pub(super) limit: Option<&'a RawValue>,
    pub(super) data: Option<&'a RawValue>,
    pub(super) text: Option<&'a RawValue>,
    pub(super) b64: Option<&'a RawValue>,
    pub(super) event: Option<&'a RawValue>,
    pub(super) key: Option<&'a RawValue>,
    /// The first member that has none.
    other: Option<String>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Name {
    Type,
    Id,
    Topic,
    Topics,
    Since,
    Last,
    Before,
    Limit,
    Data,
    Text,
    B64,
    Event,
    Key,
    Other(String),
}

impl<'a> Line<'a> {
    /// The first member, with its name in quotes, that is none of these nor `type` nor `id`.
    pub(super) fn stranger(&self, members: &[&str]) -> Option<String> {
        let here = [
            ("topic", self.topic),
            ("topics", self.topics),
            ("since", self.since),
            ("last", self.last),
            ("before", self.before),
            ("limit", self.limit),
            ("data", self.data),
            ("text", self.text),
            ("b64", self.b64),
            ("event", self.event),
            ("key", self.key),
        ];
        let misplaced = here.iter().find(|(name, found)| found.is_some() && !members.contains(name));
        let name = self.other.as_deref().or_else(|| misplaced.map(|(name, _)| *name));
        name.map(|name| quote(&format!("{name:?}")))
    }

    /// The name and place of a member; none for one without a meaning, which is noted.
    fn place(&mut self, name: Name) -> Option<(&'static str, &mut Option<&'a RawValue>)> {
        Some(match name {
            Name::Type => ("type", &mut self.kind),
            Name::Id => ("id", &mut self.id),
            Name::Topic => ("topic", &mut self.topic),
            Name::Topics => ("topics", &mut self.topics),
            Name::Since => ("since", &mut self.since),
            Name::Last => ("last", &mut self.last),
            Name::Before => ("before", &mut self.before),
            Name::Limit => ("limit", &mut self.limit),
            Name::Data => ("data", &mut self.data),
            Name::Text => ("text", &mut self.text),
            Name::B64 => ("b64", &mut self.b64),
            Name::Event => ("event", &mut self.event),
            Name::Key => ("key", &mut self.key),
            Name::Other(name) => {
                self.other.get_or_insert(name);
                return None;
            }
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Line<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Members)
    }
}

/// Reads an object into a [`Line`].
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Line<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line<'de>, A::Error> {
        let mut line = Line::default();
        while let Some(name) = map.next_key::<Name>()? {
            let is_data = matches!(name, Name::Data);
            match line.place(name) {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some((name, Some(_))) => return Err(A::Error::duplicate_field(name)),
                Some((_, place)) => {
                    let value = map.next_value::<&RawValue>()?;
                    *place = Some(value).filter(|value| is_data || value.get() != "null");
                }
            }
        }
        Ok(line)
    }
}

/// What is wrong with a line, before it is known which command that is.
#[derive(Debug)]
pub(super) struct Fault {
    code: RefusalCode,
    message: String,
}

impl Fault {
    /// No object of the protocol.
    pub(super) fn message(message: impl Into<String>) -> Self {
        Self { code: RefusalCode::BadMessage, message: message.into() }
    }

    /// An object of a `type` that this version does not have.
    pub(super) fn kind(message: String) -> Self {
        Self { code: RefusalCode::UnknownType, message }
    }

    /// A text that is no topic, found in this member.
    fn topic(member: &str, found: &str, why: &BadTopic) -> Self {
        let message = format!("{member} is {}, which is no topic: {why}", quote(&format!("{found:?}")));
        Self { code: RefusalCode::BadTopic, message }
    }

    /// As it goes to the client.
    pub(super) fn refusal(self, id: Option<MessageId>) -> Refusal {
        Refusal { id, code: self.code, message: self.message }
    }

    /// The same, in this line of several.
    pub(super) fn in_line(mut self, number: usize) -> Self {
        self.message = format!("line {number}: {}", self.message);
        self
    }
}

/// A member that must be a string.
pub(super) fn string(member: &str, raw: &RawValue) -> Result<String, Fault> {
    serde_json::from_str(raw.get()).map_err(|error| match raw.get().starts_with('"') {
        // It is one by its form: what can be wrong with it is an escape.
        true => Fault::message(format!(
            "{member} holds half of a surrogate pair, which is no character ({error}); write both halves, as in \"\\ud83d\\ude00\", or the character itself"
        )),
        false => Fault::message(format!("{member} is {}; write a string", quote(raw.get()))),
    })
}

/// A member that must be the name of a topic for clients.
pub(super) fn topic(member: &str, raw: &RawValue) -> Result<Topic, Fault> {
    named(member, &string(member, raw)?)
}

/// A name that must be a topic for clients.
pub(super) fn named(member: &str, name: &str) -> Result<Topic, Fault> {
    Topic::parse_client(name).map_err(|why| Fault::topic(member, name, &why))
}

/// A short name that travels in the header.
pub(super) fn name(member: &str, raw: Option<&RawValue>) -> Result<Option<Box<str>>, Fault> {
    let Some(raw) = raw else { return Ok(None) };
    match string(member, raw)? {
        long if long.len() > MAX_NAME => {
            Err(Fault::message(format!("{member} has {} bytes; write at most {MAX_NAME}", long.len())))
        }
        name => Ok(Some(name.into())),
    }
}

/// The client's own name for the command, kept as JSON text.
pub(super) fn id(raw: Option<&RawValue>) -> Result<Option<MessageId>, Fault> {
    let Some(json) = raw.map(RawValue::get) else { return Ok(None) };
    match json.as_bytes() {
        [b'"' | b'-' | b'0'..=b'9', ..] if json.len() <= MAX_ID => Ok(Some(MessageId(json.into()))),
        _ => {
            let found = quote(json);
            Err(Fault::message(format!("\"id\" is {found}; write a string or a number of at most {MAX_ID} bytes")))
        }
    }
}

/// A position or a time in ms: where to resume.
pub(super) fn since(member: &str, raw: &RawValue) -> Result<Resume, Fault> {
    let position = || serde_json::from_str(raw.get()).map(Resume::After).ok();
    let time = Some(raw.get()).filter(|text| !text.starts_with('"')).and_then(Resume::parse);
    time.or_else(position).ok_or_else(|| {
        let found = quote(raw.get());
        Fault::message(format!(
            "{member} is {found}; write a position such as \"1700000000000-0\" or a time in ms since 1970"
        ))
    })
}

/// The beginning of what was found.
pub(super) fn quote(found: &str) -> String {
    match found.char_indices().nth(MAX_QUOTE) {
        Some((end, _)) => format!("{}…", &found[..end]),
        None => found.into(),
    }
}
