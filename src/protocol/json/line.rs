//! One object of a client, its members still JSON text, and the words for what is wrong with one.

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

/// The members that have a meaning; others are ignored. `null` is as good as absent, but for `data`.
#[derive(Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) topic: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) topics: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) since: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) last: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) before: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) limit: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    pub(super) data: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) text: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) b64: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) event: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) key: Option<&'a RawValue>,
}

/// `null` is a value like others where it is data.
fn even_null<'de: 'a, 'a, D: Deserializer<'de>>(data: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(data).map(Some)
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
    serde_json::from_str(raw.get())
        .map_err(|_| Fault::message(format!("{member} is {}; write a string", quote(raw.get()))))
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
