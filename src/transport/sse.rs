//! The door for event streams: a GET that is answered for as long as the client stays.
//!
//! The head of the answer is the first thing in the client's outbox, and the socket is taken from hyper before it has
//! written a byte: a delivery is the same bare write as a WebSocket's, and neither hyper nor a body's task stays. The
//! stream ends where the connection does, so a frame is the same for all whatever version of HTTP they speak.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::handshake::{Refused, has_token};
use super::house::Threshold;
use super::refusal::Refusal;
use super::socket::Tcp;
use super::template::Query;
use super::{cors, guest};
use crate::accept::Loan;
use crate::command::{Resume, Wanted};
use crate::connection::Connection;
use crate::metrics;
use crate::outbox::{Journal, Outbox, Terms};
use crate::position::Position;
use crate::session::Wish;
use crate::topic::Topic;

/// The head of every stream, but for the date and what a page of another origin may do.
///
/// A cache would keep what is for this client and this moment; what compresses on the way would hold it back, as
/// would nginx's buffer.
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\
                    Cache-Control: no-store, no-transform\r\nX-Accel-Buffering: no\r\nConnection: close\r\n";

/// The door of a route that speaks Server-Sent Events.
pub struct Door {
    /// What it has in common with other doors.
    pub threshold: Arc<Threshold>,
    /// What its clients are promised.
    pub terms: Arc<Terms>,
}

/// Answers a request on a route.
pub async fn open(State(door): State<Arc<Door>>, path: RawPathParams, request: Request) -> Response {
    let (asked, _) = request.into_parts();
    let metrics = &door.threshold.house.rooms.metrics;
    if let Err(refusal) = door.threshold.admit(&asked.headers) {
        return refusal.answer(metrics);
    }
    let grants = cors::grants(&door.threshold.house.rooms.live.get().public.origins, &asked.headers);
    let mut response = match asked.method {
        Method::OPTIONS => cors::preflight(&asked.headers),
        _ => match knock(&door, &path, &asked, &grants).await {
            Ok(()) => {
                metrics.handshake(metrics::Handshake::Accepted).inc();
                return nothing_more();
            }
            Err(refusal) => refusal.answer(metrics),
        },
    };
    response.headers_mut().extend(grants);
    response
}

async fn knock(door: &Door, path: &RawPathParams, asked: &Parts, grants: &HeaderMap) -> Result<(), Refusal> {
    let threshold = &door.threshold;
    let house = &threshold.house;
    let _knock = house.gate.knock().ok_or(Refusal::Busy)?;
    check(asked)?;
    let (wish, journal) = wish(threshold, path, asked)?;
    let slot = house.rooms.slots.take().ok_or(Refusal::Busy)?;
    let socket = Outbox::new(door.terms.clone(), slot.number(), Tcp::with(journal));
    let outbox: Arc<Outbox> = socket.clone();
    // It waits for the socket, and so do the first publications behind it.
    outbox.send(&head(grants));
    let caller = threshold.caller(&asked.headers, &asked.extensions);
    let session = threshold.greet(slot, &socket, wish, &caller).await;
    // hyper has it as long as it asks for an answer, unless the one before is still on its way.
    let (stream, place) = asked.extensions.get().and_then(Loan::take).ok_or(Refusal::Busy)?;
    socket.wire().attach(stream);
    threshold.watch(socket.wire());
    guest::settle(threshold, Box::new(Connection::new(socket, session)), place);
    Ok(())
}

/// What no `EventSource` sends is told what to do instead.
fn check(asked: &Parts) -> Result<(), Refused> {
    if asked.method != Method::GET {
        let what = "an event stream is opened by GET: new EventSource(url)";
        return Err(Refused { status: StatusCode::METHOD_NOT_ALLOWED, what });
    }
    if has_token(&asked.headers, header::UPGRADE, "websocket") {
        let what = "this path speaks Server-Sent Events: open it with new EventSource(url); WebSockets have another, \
                    by default /ws";
        return Err(Refused { status: StatusCode::BAD_REQUEST, what });
    }
    Ok(())
}

fn wish(threshold: &Threshold, path: &RawPathParams, asked: &Parts) -> Result<(Wish, Option<Journal>), Refusal> {
    let query = Query::parse(asked.uri.query().unwrap_or_default())?;
    let topics = threshold.topics(path, &query, false)?;
    if topics.is_empty() {
        return Err(Refusal::NoTopic);
    }
    let kept = threshold.kept(&topics);
    let topics = threshold.resumed(topics, &query)?;
    let topics = resume(topics, &kept, last_event_id(&asked.headers, &query));
    let said = |topic: &Topic| topics.iter().find(|wanted| wanted.topic == *topic).and_then(|wanted| wanted.resume);
    let said: Vec<_> = kept.iter().map(|topic| said(topic).and_then(Resume::position)).collect();
    let journal = (!kept.is_empty()).then(|| Journal::new(kept, &said));
    Ok((Wish { route: threshold.route, topics }, journal))
}

/// Where each topic goes on: behind the last event that the client has seen, of which the id says how far it had come on
/// each of its topics with history. An id that does not is no reason to go on in silence.
fn resume(topics: Vec<Wanted>, kept: &[Topic], last_event_id: Option<&str>) -> Vec<Wanted> {
    let Some(id) = last_event_id else { return topics };
    let positions = Journal::read_id(id, kept.len()).unwrap_or_else(|| vec![Some(Position::NOWHERE); kept.len()]);
    let resume = |wanted: Wanted| match kept.iter().position(|topic| *topic == wanted.topic) {
        Some(place) => Wanted { resume: positions[place].map(Resume::After), ..wanted },
        None => wanted,
    };
    topics.into_iter().map(resume).collect()
}

/// The last event that a client has seen, as it says. A browser that comes back sends a header; a page that begins
/// anew, or a program that cannot set headers, says it in the query.
fn last_event_id<'a>(headers: &'a HeaderMap, query: &'a Query) -> Option<&'a str> {
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    header.or_else(|| query.first("last_event_id")).filter(|id| !id.is_empty())
}

/// Closed by its end, so that it says neither a length nor chunks.
fn head(grants: &HeaderMap) -> Bytes {
    let mut head = HEAD.as_bytes().to_vec();
    let date = httpdate::fmt_http_date(SystemTime::now());
    head.extend_from_slice(format!("Date: {date}\r\n").as_bytes());
    for (name, value) in grants {
        let line = [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"];
        line.iter().for_each(|part| head.extend_from_slice(part));
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

/// What hyper writes into nowhere: it has no socket any more, and is to end.
fn nothing_more() -> Response {
    [(header::CONNECTION, HeaderValue::from_static("close"))].into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, lines: &[(&'static str, &'static str)]) -> Parts {
        let mut request = axum::http::Request::builder().method(method);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_a_get_that_asks_for_no_websocket_is_taken() {
        let status = |method, lines: &[_]| check(&asked(method, lines)).err().map(|refused| refused.status.as_u16());
        assert_eq!(status(Method::GET, &[("Connection", "keep-alive"), ("Upgrade", "h2c")]), None);
        assert_eq!(status(Method::GET, &[("Upgrade", "WebSocket")]), Some(400));
        assert_eq!([Method::POST, Method::HEAD, Method::PUT].map(|method| status(method, &[])), [Some(405); 3]);
    }

    #[test]
    fn the_head_says_no_length_and_ends() {
        let grants = HeaderMap::from_iter([(header::VARY, HeaderValue::from_static("Origin"))]);
        let head = String::from_utf8(head(&grants).to_vec()).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"), "{head}");
        assert!(head.ends_with(" GMT\r\nvary: Origin\r\n\r\n"), "{head}");
        assert!(!head.contains("Length") && !head.contains("chunked"), "{head}");
    }

    #[test]
    fn the_last_event_is_said_by_a_header_or_by_the_query() {
        let id = |lines: &[_], query| {
            let query = Query::parse(query).unwrap();
            last_event_id(&asked(Method::GET, lines).headers, &query).map(str::to_owned)
        };
        assert_eq!(id(&[("Last-Event-ID", "1-0")], "last_event_id=2-0").as_deref(), Some("1-0"));
        assert_eq!(id(&[], "topic=a&last_event_id=2-0").as_deref(), Some("2-0"));
        assert_eq!((id(&[], ""), id(&[], "last_event_id=")), (None, None));
    }
}
