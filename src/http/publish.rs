//! `POST /api/publish`: JSON that names topics and a payload, or a raw body with `?topic=`.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::Desk;
use super::authorize::authorize;
use super::problem::Problem;
use crate::accept::Peer;
use crate::broker::PublishError;
use crate::metrics::Source;
use crate::publication::Header;
use crate::topic::Topic;
use crate::transport::template::Query;

/// The most topics that one request may publish to.
const MAX_TOPICS: usize = 100;

/// What a body may add to the largest publication: names, and base64's third.
const BODY_ROOM: usize = 64 * 1024;

/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The JSON form of a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    topic: Option<String>,
    topics: Option<Vec<String>>,
    data: Option<Box<RawValue>>,
    text: Option<String>,
    b64: Option<String>,
    event: Option<Box<str>>,
    key: Option<Box<str>>,
    #[serde(default)]
    except: Vec<Box<str>>,
}

/// A request understood.
#[derive(Debug)]
struct Order {
    topics: Vec<Topic>,
    payload: Bytes,
    header: Header,
}

/// Publishes, and answers how many replicas listened on each topic.
pub async fn publish(State(desk): State<Arc<Desk>>, peer: Extension<Peer>, request: Request) -> Response {
    match try_publish(&desk, *peer, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn try_publish(desk: &Desk, peer: Peer, request: Request) -> Result<Response, Problem> {
    authorize(&desk.rooms.live.get().internal.api_keys, peer, request.headers())?;
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = read(desk, request.into_body()).await?;
    let order = if query.is_empty() { Order::from_json(&body)? } else { Order::from_query(&query, body)? };
    order.check_sizes(desk)?;
    let mut receipts = Map::new();
    for topic in &order.topics {
        let receipt = desk.rooms.broker.publish(topic, &order.header, order.payload.clone()).await;
        desk.rooms.metrics.publications(Source::Api).inc();
        match receipt {
            Ok(receipt) => receipts.insert(topic.to_string(), json!({ "replicas": receipt.replicas })),
            Err(error) => return Err(failed(topic, &error).after(Value::Object(receipts))),
        };
    }
    Ok(axum::Json(json!({ "topics": receipts })).into_response())
}

async fn read(desk: &Desk, body: Body) -> Result<Bytes, Problem> {
    let largest = desk.rooms.live.get().topics.largest_publication();
    let most = largest + largest / 2 + BODY_ROOM;
    let too_large = |_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {most} bytes here"));
    let read = tokio::time::timeout(BODY_TIME, to_bytes(body, most)).await;
    let slow = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, format!("the body did not come within {BODY_TIME:?}"));
    read.map_err(slow)?.map_err(too_large)
}

impl Order {
    fn from_json(body: &[u8]) -> Result<Self, Problem> {
        let bad = |error: serde_json::Error| {
            let detail = format!(
                "expected {{\"topic\": \"…\", \"data\": …}} (or topics; text or b64; event, key, except), or a raw \
                 body with ?topic=…: {error}"
            );
            Problem::field(StatusCode::BAD_REQUEST, "body", detail)
        };
        let form: Form = serde_json::from_slice(body).map_err(bad)?;
        let names = match (form.topic, form.topics) {
            (Some(topic), None) => vec![topic],
            (None, Some(topics)) => topics,
            _ => return Err(Problem::field(StatusCode::BAD_REQUEST, "topic", "give either topic or topics")),
        };
        let payload = match (form.data, form.text, form.b64) {
            (Some(data), None, None) => Bytes::from(data.get().to_owned()),
            (None, Some(text), None) => Bytes::from(text),
            (None, None, Some(b64)) => STANDARD
                .decode(b64)
                .map(Bytes::from)
                .map_err(|error| Problem::field(StatusCode::BAD_REQUEST, "b64", format!("not base64: {error}")))?,
            _ => return Err(Problem::field(StatusCode::BAD_REQUEST, "data", "give one of data, text and b64")),
        };
        let header = Header { ts: None, event: form.event, key: form.key, except: form.except };
        Self::new(&names, payload, header)
    }

    fn from_query(query: &str, body: Bytes) -> Result<Self, Problem> {
        let query =
            Query::parse(query).map_err(|error| Problem::field(StatusCode::BAD_REQUEST, "query", error.to_string()))?;
        let names: Vec<_> = query.all("topic").map(ToOwned::to_owned).collect();
        let header = Header {
            event: query.first("event").map(Into::into),
            key: query.first("key").map(Into::into),
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
                .map_err(|why| Problem::field(StatusCode::BAD_REQUEST, "topic", format!("{name:?}: {why}")))
        };
        let topics = names.iter().map(parse).collect::<Result<_, _>>()?;
        let header = Header { ts: Some(crate::clock::unix_ms()), ..header };
        Ok(Self { topics, payload, header })
    }

    fn check_sizes(&self, desk: &Desk) -> Result<(), Problem> {
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

fn failed(topic: &Topic, error: &PublishError) -> Problem {
    let status = match error {
        PublishError::Away(_) => StatusCode::SERVICE_UNAVAILABLE,
        PublishError::Refused(_) => StatusCode::BAD_GATEWAY,
    };
    Problem::new(status, format!("not published to {topic}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(body: &str) -> Result<Order, String> {
        Order::from_json(body.as_bytes()).map_err(|problem| format!("{problem:?}"))
    }

    #[test]
    fn data_passes_byte_for_byte_and_text_and_base64_are_payloads_too() {
        assert_eq!(json(r#"{"topic":"a","data":{"x": 1.0}}"#).unwrap().payload, r#"{"x": 1.0}"#);
        assert_eq!(json(r#"{"topics":["a","b"],"text":"hi"}"#).unwrap().topics.len(), 2);
        assert_eq!(json(r#"{"topic":"a","b64":"AP8="}"#).unwrap().payload, &b"\x00\xff"[..]);
        let order = json(r#"{"topic":"a","text":"","event":"e","key":"k","except":["r.1"]}"#).unwrap();
        assert_eq!((order.header.event.as_deref(), order.header.except.len()), (Some("e"), 1));
    }

    #[test]
    fn a_bad_request_names_the_field() {
        assert!(json("{").unwrap_err().contains("body"));
        assert!(json(r#"{"topic":"a","txt":"b"}"#).unwrap_err().contains("unknown field `txt`"));
        assert!(json(r#"{"text":"b"}"#).unwrap_err().contains("topic"));
        assert!(json(r#"{"topic":"@x","text":"b"}"#).unwrap_err().contains("gateway's own"));
        assert!(json(r#"{"topic":"a","text":"b","data":1}"#).unwrap_err().contains("one of data, text and b64"));
        assert!(json(r#"{"topic":"a","b64":"*"}"#).unwrap_err().contains("not base64"));
        assert!(json(r#"{"topics":[],"text":"b"}"#).unwrap_err().contains("topics"));
    }

    #[test]
    fn a_raw_body_is_the_payload() {
        let order = Order::from_query("topic=room%3A1&event=e", Bytes::from_static(b"\x00raw")).unwrap();
        assert_eq!((order.topics[0].as_str(), &order.payload[..]), ("room:1", &b"\x00raw"[..]));
        assert!(Order::from_query("event=e", Bytes::new()).is_err());
    }
}
