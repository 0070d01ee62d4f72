//! A client's JSON → commands. What is not understood is refused with what was found and what to write instead.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::line::{self, Fault, Line};
use super::{MAX_DEPTH, is_shallow};
use crate::close::Close;
use crate::command::{Command, From, MOST_TOLD, MessageId, Question, Resume, Wanted};
use crate::event::Refusal;
use crate::publication::PayloadKind;
use crate::topic::Topic;

/// After so many refusals one message is given up: its answers would outgrow it.
const MAX_REFUSALS: usize = 32;

/// What a line should have been.
const EXAMPLE: &str = r#"write one object a line, such as {"type":"subscribe","topic":"room:42"}"#;

/// What this version understands.
const TYPES: &str = "subscribe, unsubscribe, publish, history, ping";

/// What each command may have beside `type` and `id`.
const SUBSCRIBE: &[&str] = &["topic", "topics", "since", "last"];
const UNSUBSCRIBE: &[&str] = &["topic", "topics"];
const PUBLISH: &[&str] = &["topic", "data", "text", "b64", "event", "key"];
const HISTORY: &[&str] = &["topic", "since", "before", "limit"];
const PING: &[&str] = &[];

/// Appends what each line of `message` asks for, or why it is refused. An object alone may span lines.
///
/// # Errors
/// The message is not UTF-8, or too many of its lines make no sense.
pub(super) fn commands(message: &Bytes, commands: &mut Vec<Result<Command, Refusal>>) -> Result<(), Close> {
    let text = std::str::from_utf8(message).map_err(|_| Close::NotUtf8)?;
    // Some runtimes begin a text with a byte order mark, which no eye sees.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_ascii();
    if !text.contains('\n') || serde_json::from_str::<IgnoredAny>(text).is_ok() {
        if let Err(refusal) = object(text, 0, message, commands) {
            commands.push(Err(refusal));
        }
        return Ok(());
    }
    let mut refusals = 0;
    for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim_ascii().is_empty()) {
        if let Err(refusal) = object(line.trim_ascii(), number, message, commands) {
            commands.push(Err(refusal));
            refusals += 1;
        }
        if refusals == MAX_REFUSALS {
            return Err(Close::BadRequest(format!("{MAX_REFUSALS} lines of one message make no sense")));
        }
    }
    Ok(())
}

/// Why a binary message is refused.
pub(super) fn binary() -> Refusal {
    let what =
        r#"a binary message; write JSON in a text message, bytes as {"type":"publish","topic":"room:42","b64":"AAE="}"#;
    Fault::message(what).refusal(None)
}

/// Appends what one object asks for. It stands in line `number` of several; 0 where it is alone.
fn object(
    text: &str,
    number: usize,
    message: &Bytes,
    commands: &mut Vec<Result<Command, Refusal>>,
) -> Result<(), Refusal> {
    let place = |fault: Fault| if number > 0 { fault.in_line(number) } else { fault };
    let line = parse(text).map_err(|fault| place(fault).refusal(None))?;
    let id = line::id(line.id).map_err(|fault| place(fault).refusal(None))?;
    command(&line, id.clone(), message, commands).map_err(|fault| place(fault).refusal(id))
}

fn parse(text: &str) -> Result<Line<'_>, Fault> {
    if text.is_empty() {
        return Err(Fault::message(format!("an empty message; {EXAMPLE}")));
    }
    // An array would do for a struct, too.
    match text.starts_with('{') {
        true => {
            serde_json::from_str(text).map_err(|error| Fault::message(format!("no JSON object: {error}; {EXAMPLE}")))
        }
        false => Err(Fault::message(format!("found {} where an object should begin; {EXAMPLE}", line::quote(text)))),
    }
}

fn command(
    line: &Line<'_>,
    id: Option<MessageId>,
    message: &Bytes,
    commands: &mut Vec<Result<Command, Refusal>>,
) -> Result<(), Fault> {
    let kind = line.kind.ok_or_else(|| Fault::message(format!("the object has no \"type\"; write one of {TYPES}")))?;
    let (command, members) = match line::string("\"type\"", kind)?.as_str() {
        "subscribe" => (Command::Subscribe { topics: subscribe(line)?, id }, SUBSCRIBE),
        "unsubscribe" => (Command::Unsubscribe { topics: listed(line)?, id }, UNSUBSCRIBE),
        "publish" => (publish(line, id, message)?, PUBLISH),
        "ping" => (Command::Ping { id }, PING),
        "history" => (history(line, id)?, HISTORY),
        later @ ("presence" | "auth" | "send") => {
            return Err(Fault::kind(format!("this version does not have \"type\":{later:?}; it has {TYPES}")));
        }
        _ => return Err(Fault::kind(format!("\"type\" is {}; write one of {TYPES}", line::quote(kind.get())))),
    };
    commands.extend(line.stranger(members).map(|name| Ok(Command::Warn(ignored(&name, kind.get(), members)))));
    commands.push(Ok(command));
    Ok(())
}

/// What a newer client may mean and an older replica does not know is no reason to refuse the rest.
fn ignored(name: &str, kind: &str, members: &[&str]) -> String {
    let members = members.iter().fold(String::new(), |all, member| all + member + ", ");
    format!("{name} means nothing in a command of type {kind} and is ignored; it has {members}id")
}

fn subscribe(line: &Line<'_>) -> Result<Vec<Wanted>, Fault> {
    match line.topics {
        Some(topics) if topics.get().starts_with('{') => each_since(line, topics),
        _ => {
            let resume = resume(line)?;
            Ok(listed(line)?.into_iter().map(|topic| Wanted { topic, resume }).collect())
        }
    }
}

/// Where the whole command asks to resume.
fn resume(line: &Line<'_>) -> Result<Option<Resume>, Fault> {
    match (line.since, line.last) {
        (Some(_), Some(_)) => Err(Fault::message("both \"since\" and \"last\"; write one of them")),
        (Some(since), None) => line::since("\"since\"", since).map(Some),
        (None, Some(last)) => match serde_json::from_str(last.get()) {
            Ok(last) => Ok(Some(Resume::Last(last))),
            Err(_) => {
                Err(Fault::message(format!("\"last\" is {}; write how many publications", line::quote(last.get()))))
            }
        },
        (None, None) => Ok(None),
    }
}

/// The topics of `"topics":{"a":since,"b":null}`, each with where to resume.
fn each_since(line: &Line<'_>, topics: &RawValue) -> Result<Vec<Wanted>, Fault> {
    if line.since.or(line.last).or(line.topic).is_some() {
        return Err(Fault::message("\"topics\" is an object; leave out \"topic\", \"since\" and \"last\" beside it"));
    }
    let wanted = members(topics)?.into_iter().map(|(name, since)| {
        let topic = line::named("a name in \"topics\"", &name)?;
        let resume = since.map(|since| line::since(&format!("\"topics\".{topic:?}"), since)).transpose()?;
        Ok(Wanted { topic, resume })
    });
    let wanted: Vec<_> = wanted.collect::<Result<_, Fault>>()?;
    if wanted.is_empty() { Err(nameless()) } else { Ok(wanted) }
}

fn members(topics: &RawValue) -> Result<BTreeMap<String, Option<&RawValue>>, Fault> {
    serde_json::from_str(topics.get()).map_err(|error| Fault::message(format!("\"topics\": {error}")))
}

/// The topics of `"topic":"a"` or `"topics":["a","b"]`, at least one.
fn listed(line: &Line<'_>) -> Result<Vec<Topic>, Fault> {
    match (line.topic, line.topics) {
        (Some(_), Some(_)) => Err(Fault::message("both \"topic\" and \"topics\"; write one of them")),
        (Some(topic), None) => Ok(vec![line::topic("\"topic\"", topic)?]),
        (None, Some(topics)) => match serde_json::from_str::<Vec<&RawValue>>(topics.get()) {
            Ok(topics) if topics.is_empty() => Err(nameless()),
            Ok(topics) => {
                topics.iter().zip(0..).map(|(raw, i)| line::topic(&format!("\"topics\"[{i}]"), raw)).collect()
            }
            Err(_) => {
                Err(Fault::message(format!("\"topics\" is {}; write a list of strings", line::quote(topics.get()))))
            }
        },
        (None, None) => Err(nameless()),
    }
}

fn nameless() -> Fault {
    Fault::message(r#"no topic is named; write "topic":"room:42" or "topics":["room:42"]"#)
}

fn history(line: &Line<'_>, id: Option<MessageId>) -> Result<Command, Fault> {
    let topic = line.topic.ok_or_else(|| Fault::message(r#"no topic is named; write "topic":"room:42""#))?;
    let from = match (line.since, line.before) {
        (Some(_), Some(_)) => Err(Fault::message("both \"since\" and \"before\"; write one of them")),
        (Some(since), None) => line::since("\"since\"", since).map(From::since),
        (None, Some(before)) => match serde_json::from_str(before.get()) {
            Ok(position) => Ok(From::Before(position)),
            Err(_) => {
                Err(Fault::message(format!("\"before\" is {}; write a position (a string)", line::quote(before.get()))))
            }
        },
        (None, None) => Ok(From::Newest),
    };
    let (topic, from) = (line::topic("\"topic\"", topic)?, from?);
    let limit = line.limit.map_or(Ok(MOST_TOLD), |limit| match serde_json::from_str(limit.get()) {
        Ok(limit @ 1..=MOST_TOLD) => Ok(limit),
        _ => Err(Fault::message(format!("\"limit\" is {}; write 1 to {MOST_TOLD}", line::quote(limit.get())))),
    })?;
    Ok(Command::History { topic, question: Question { from, limit }, id })
}

fn publish(line: &Line<'_>, id: Option<MessageId>, message: &Bytes) -> Result<Command, Fault> {
    let topic = line.topic.ok_or_else(|| Fault::message(r#"no topic is named; write "topic":"room:42""#))?;
    let (payload, kind) = payload(line, message)?;
    Ok(Command::Publish {
        topic: line::topic("\"topic\"", topic)?,
        payload,
        kind,
        event: line::name("\"event\"", line.event)?,
        key: line::name("\"key\"", line.key)?,
        id,
    })
}

/// A part of a message: its own where it is most of it, for a slice keeps the whole alive.
fn part(message: &Bytes, part: &str) -> Bytes {
    match part.len() > message.len() / 2 {
        true => message.slice_ref(part.as_bytes()),
        false => Bytes::copy_from_slice(part.as_bytes()),
    }
}

/// What subscribers receive, `data` byte for byte as it stands in `message`; and what its member says it is.
fn payload(line: &Line<'_>, message: &Bytes) -> Result<(Bytes, PayloadKind), Fault> {
    match (line.data, line.text, line.b64) {
        (Some(data), None, None) if !is_shallow(data.get()) => Err(Fault::message(format!(
            "\"data\" nests more than {MAX_DEPTH} arrays and objects, which not every listener can read; nest less, or write it as \"text\""
        ))),
        (Some(data), None, None) => Ok((part(message, data.get()), PayloadKind::Json)),
        (None, Some(text), None) => Ok((line::string("\"text\"", text)?.into(), PayloadKind::Text)),
        (None, None, Some(b64)) => match STANDARD.decode(line::string("\"b64\"", b64)?) {
            Ok(bytes) => Ok((bytes.into(), PayloadKind::Binary)),
            Err(error) => Err(Fault::message(format!("\"b64\" is no standard base64 with padding: {error}"))),
        },
        (None, None, None) => Err(Fault::message("nothing to publish; write \"data\", \"text\" or \"b64\"")),
        _ => Err(Fault::message("more than one of \"data\", \"text\" and \"b64\"; write one of them")),
    }
}
