//! What a request to `POST /api/publish` asks for: JSON that names topics and a payload, or a raw body with
//! `?topic=`.

use std::collections::HashSet;

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Desk;
use super::body::unmarked;
use super::parameters;
use super::problem::Problem;
use crate::protocol::{MAX_DEPTH, is_shallow};
use crate::publication::{Header, MAX_NAME, PayloadKind};
use crate::quote::{Quoted, beginning};
use crate::topic::Topic;

/// The most topics that one request may publish to.
const MAX_TOPICS: usize = 100;

/// The most connections that a publication may except, and the longest id of one, in bytes: a replica's name
/// has at most 100, its numbers 20. The longest header of these, 57 KiB, is one that every replica reads.
const MAX_EXCEPT: usize = 400;
const MAX_CONNECTION: usize = 128;

/// What the query of a raw body may say, and of that what may come more than once.
const PARAMETERS: [&str; 6] = ["topic", "event", "key", "type", "idempotency_key", "except"];
const REPEATED: [&str; 2] = ["topic", "except"];

/// The JSON form of a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    topic: Option<String>,
    topics: Option<Vec<String>>,
    #[serde(default, deserialize_with = "any")]
    data: Option<Box<RawValue>>,
    text: Option<String>,
    b64: Option<String>,
    event: Option<Box<str>>,
    #[serde(rename = "type")]
    kind: Option<Box<str>>,
    key: Option<Box<str>>,
    idempotency_key: Option<Box<str>>,
    #[serde(default)]
    except: Vec<Box<str>>,
}

/// Any JSON is data, `null` too.
fn any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}

/// A request understood.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) topics: Vec<Topic>,
    pub(super) payload: Bytes,
    pub(super) header: Header,
}

impl Order {
    /// Understands the JSON form.
    pub(super) fn from_json(body: &[u8]) -> Result<Self, Problem> {
        let body = unmarked(body);
        let bad = |error: serde_json::Error| {
            let detail = format!(
                "expected {{\"topic\": \"…\", \"data\": …}} (or topics; text or b64; event, key, type, idempotency_key, except), or a raw \
                 body with ?topic=…: {}",
                beginning(&error.to_string())
            );
            Problem::field(StatusCode::BAD_REQUEST, "body", detail)
        };
        // A list would be taken for the fields in their order.
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(bad(serde_json::Error::custom("this is no JSON object")));
        }
        let form: Form = serde_json::from_slice(body).map_err(bad)?;
        let names = match (form.topic, form.topics) {
            (Some(topic), None) => vec![topic],
            (None, Some(topics)) => topics,
            _ => return Err(Problem::field(StatusCode::BAD_REQUEST, "topic", "give either topic or topics")),
        };
        let (payload, said) = match (form.data, form.text, form.b64) {
            (Some(data), None, None) if !is_shallow(data.get()) => {
                let detail =
                    format!("data nests more than {MAX_DEPTH} arrays and objects: nest less, or give it as text");
                return Err(Problem::field(StatusCode::BAD_REQUEST, "data", detail));
            }
            (Some(_), None, None) if matches!(form.kind.as_deref(), Some("text" | "binary")) => {
                let detail = "data is JSON; leave type out, or give text or b64 in place of data";
                return Err(Problem::field(StatusCode::BAD_REQUEST, "type", detail));
            }
            (Some(data), None, None) => (Bytes::from(data.get().to_owned()), PayloadKind::Json),
            (None, Some(text), None) => (Bytes::from(text), PayloadKind::Text),
            (None, None, Some(b64)) => {
                let bad = |error| Problem::field(StatusCode::BAD_REQUEST, "b64", format!("not base64: {error}"));
                (STANDARD.decode(b64).map(Bytes::from).map_err(bad)?, PayloadKind::Binary)
            }
            _ => return Err(Problem::field(StatusCode::BAD_REQUEST, "data", "give one of data, text and b64")),
        };
        let (id, except) = (form.idempotency_key, form.except);
        let kind = kind(form.kind.as_deref())?.or(Some(said));
        let header = Header { event: form.event, key: form.key, kind, id, except, ..Header::default() };
        Self::new(&names, payload, header)
    }

    /// Understands the raw form.
    pub(super) fn from_query(query: &str, body: Bytes) -> Result<Self, Problem> {
        let query = parameters::read(&with_blanks(query), &PARAMETERS, &REPEATED)?;
        let names: Vec<_> = query.all("topic").map(ToOwned::to_owned).collect();
        if names.is_empty() {
            let detail = "give ?topic=… to publish the body as it is, or drop the query to send JSON";
            return Err(Problem::field(StatusCode::BAD_REQUEST, "query", detail));
        }
        let except = query.all("except").flat_map(|ids| ids.split(',')).filter(|id| !id.is_empty());
        let header = Header {
            event: query.first("event").map(Into::into),
            key: query.first("key").map(Into::into),
            kind: kind(query.first("type"))?,
            id: query.first("idempotency_key").map(Into::into),
            except: except.map(Into::into).collect(),
            ..Header::default()
        };
        Self::new(&names, body, header)
    }

    fn new(names: &[String], payload: Bytes, header: Header) -> Result<Self, Problem> {
        if names.is_empty() || names.len() > MAX_TOPICS {
            let detail = format!("give 1 to {MAX_TOPICS} topics, not {}", names.len());
            return Err(Problem::field(StatusCode::BAD_REQUEST, "topics", detail));
        }
        let parse = |name: &String| {
            Topic::parse_client(name)
                .map_err(|why| Problem::field(StatusCode::BAD_REQUEST, "topic", format!("{}: {why}", Quoted(name))))
        };
        let mut topics = names.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let mut seen = HashSet::new();
        topics.retain(|topic| seen.insert(topic.clone()));
        check_name("event", header.event.as_deref())?;
        check_name("key", header.key.as_deref())?;
        check_name("idempotency_key", header.id.as_deref())?;
        check_except(&header.except)?;
        let header = Header { ts: Some(crate::clock::unix_ms()), ..header };
        Ok(Self { topics, payload, header })
    }

    /// Holds the payload against the topics' rules.
    pub(super) fn check_sizes(&self, desk: &Desk) -> Result<(), Problem> {
        let settings = desk.rooms.live.get();
        for topic in &self.topics {
            let most = settings.topics.rule(topic.as_str()).publication.0;
            let found = self.payload.len();
            if found > most {
                let detail = format!("a publication on {topic} has at most {most} bytes, this one has {found}");
                return Err(Problem::field(StatusCode::PAYLOAD_TOO_LARGE, "data", detail));
            }
        }
        Ok(())
    }
}

/// A form's `+` is a blank, as every library writes one into a query. In a topic's name and in a connection's id, which
/// have no blanks, it is a plus.
fn with_blanks(query: &str) -> String {
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name @ ("event" | "key" | "idempotency_key"), value)) => format!("{name}={}", value.replace('+', "%20")),
        _ => pair.to_owned(),
    };
    query.split('&').map(pair).collect::<Vec<_>>().join("&")
}

/// What a payload is said to be.
fn kind(word: Option<&str>) -> Result<Option<PayloadKind>, Problem> {
    let read = |word: &str| PayloadKind::parse(word).ok_or_else(|| unknown_kind(word));
    word.map(read).transpose()
}

fn unknown_kind(word: &str) -> Problem {
    let detail = format!("type is {}; write \"text\", \"json\" or \"binary\", or leave it out", Quoted(word));
    Problem::field(StatusCode::BAD_REQUEST, "type", detail)
}

fn check_name(field: &'static str, name: Option<&str>) -> Result<(), Problem> {
    match name.map_or(0, str::len) {
        0..=MAX_NAME => Ok(()),
        found => {
            let detail = format!("{field} has at most {MAX_NAME} bytes, this one has {found}");
            Err(Problem::field(StatusCode::BAD_REQUEST, field, detail))
        }
    }
}

fn check_except(ids: &[Box<str>]) -> Result<(), Problem> {
    let bad = |detail| Err(Problem::field(StatusCode::BAD_REQUEST, "except", detail));
    if ids.len() > MAX_EXCEPT {
        return bad(format!("except names at most {MAX_EXCEPT} connections, not {}", ids.len()));
    }
    // An id is made of a replica's name, which has the characters of a topic, and so needs no escapes in JSON.
    match ids.iter().find(|id| id.len() > MAX_CONNECTION || Topic::parse(id).is_err()) {
        Some(id) => {
            bad(format!("{} is no connection's id: write it as in its welcome, like \"web-1-k3x9ab.7\"", Quoted(id)))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(body: &str) -> Result<Order, String> {
        Order::from_json(body.as_bytes()).map_err(|problem| format!("{problem:?}"))
    }

    #[test]
    fn data_passes_byte_for_byte_and_text_and_base64_are_payloads_too() {
        assert_eq!(json(r#"{"topic":"a","data":null}"#).unwrap().payload, "null");
        assert_eq!(json(r#"{"topic":"a","data":{"x": 1.0}}"#).unwrap().payload, r#"{"x": 1.0}"#);
        assert_eq!(json(r#"{"topics":["a","b"],"text":"hi"}"#).unwrap().topics.len(), 2);
        assert_eq!(json(r#"{"topic":"a","b64":"AP8="}"#).unwrap().payload, &b"\x00\xff"[..]);
        let order = json(r#"{"topic":"a","text":"","event":"e","key":"k","except":["r.1"]}"#).unwrap();
        assert_eq!((order.header.event.as_deref(), order.header.except.len()), (Some("e"), 1));
    }

    #[test]
    fn a_topic_named_often_is_published_to_once() {
        let names = |order: Order| order.topics.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(json(r#"{"topics":["b","a","b","a"],"text":"hi"}"#).unwrap()), ["b", "a"]);
        assert_eq!(names(Order::from_query("topic=a&topic=a", Bytes::new()).unwrap()), ["a"]);
    }

    #[test]
    fn data_that_nests_deeper_than_listeners_read_is_refused() {
        let data = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(json(&format!(r#"{{"topic":"a","data":{}}}"#, data(60))).is_ok());
        let refused = json(&format!(r#"{{"topic":"a","data":{}}}"#, data(61))).unwrap_err();
        assert!(refused.contains("more than 60 arrays and objects"), "{refused}");
        assert!(json(&format!(r#"{{"topic":"a","text":"{}"}}"#, data(61))).is_ok(), "text is what it is");
    }

    #[test]
    fn the_member_says_what_the_payload_is_and_type_says_it_better() {
        let kind = |members: &str| json(&format!(r#"{{"topic":"a",{members}}}"#)).unwrap().header.kind;
        assert_eq!(kind(r#""data":1"#), Some(PayloadKind::Json));
        assert_eq!(kind(r#""data":1,"type":"json""#), Some(PayloadKind::Json));
        assert!(json(r#"{"topic":"a","data":1,"type":"text"}"#).is_err(), "it is either");
        assert_eq!(kind(r#""text":"1""#), Some(PayloadKind::Text));
        assert_eq!(kind(r#""b64":"MQ==""#), Some(PayloadKind::Binary));
        assert_eq!(kind(r#""text":"1","type":"json""#), Some(PayloadKind::Json));
        let raw = |query: &str| Order::from_query(query, Bytes::from_static(b"1")).map(|order| order.header.kind);
        assert_eq!(raw("topic=a").unwrap(), None, "bytes do not tell");
        assert_eq!(raw("topic=a&type=binary").unwrap(), Some(PayloadKind::Binary));
        let refused = format!("{:?}", raw("topic=a&type=xml").unwrap_err());
        assert!(refused.contains("xml") && refused.contains("binary"), "{refused}");
    }

    #[test]
    fn a_bad_request_names_the_field() {
        assert!(json("{").unwrap_err().contains("body"));
        assert!(json(r#"["hello",null,null,"x",null,null,null,[]]"#).unwrap_err().contains("no JSON object"));
        assert!(json(r#"{"topic":"a","txt":"b"}"#).unwrap_err().contains("unknown field `txt`"));
        assert!(json(r#"{"text":"b"}"#).unwrap_err().contains("topic"));
        assert!(json(r#"{"topic":"@x","text":"b"}"#).unwrap_err().contains("gateway's own"));
        assert!(json(r#"{"topic":"a","text":"b","data":1}"#).unwrap_err().contains("one of data, text and b64"));
        assert!(json(r#"{"topic":"a","b64":"*"}"#).unwrap_err().contains("not base64"));
        assert!(json(r#"{"topics":[],"text":"b"}"#).unwrap_err().contains("topics"));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_json() {
        let order = json("\u{feff}{\"topic\":\"a\",\"text\":\"\u{feff}hi\"}").unwrap();
        assert_eq!(order.payload, "\u{feff}hi", "in a payload it is the producer's");
    }

    #[test]
    fn a_plus_is_a_blank_in_names_and_a_plus_in_topics_and_ids() {
        let query = "topic=a+b&event=new+order&key=1%2B1+is&idempotency_key=x+y&except=web+1.7";
        let order = Order::from_query(query, Bytes::new()).unwrap();
        assert_eq!(order.topics[0].as_str(), "a+b");
        let header = order.header;
        assert_eq!(
            (header.event.as_deref(), header.key.as_deref(), header.id.as_deref()),
            (Some("new order"), Some("1+1 is"), Some("x y"))
        );
        assert_eq!(&*header.except[0], "web+1.7");
    }

    #[test]
    fn a_raw_body_is_the_payload() {
        let order = Order::from_query("topic=room%3A1&event=e", Bytes::from_static(b"\x00raw")).unwrap();
        assert_eq!((order.topics[0].as_str(), &order.payload[..]), ("room:1", &b"\x00raw"[..]));
        assert!(Order::from_query("event=e", Bytes::new()).is_err());
        for twice in ["event", "key", "type", "idempotency_key"] {
            let bad =
                Order::from_query(&format!("topic=a&topic=b&{twice}=text&{twice}=text"), Bytes::new()).unwrap_err();
            assert!(format!("{bad:?}").contains(&format!("{twice} is given more than once")), "{bad:?}");
        }
    }
}
