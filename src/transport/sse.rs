//! The door for event streams: a GET that is answered for as long as the client stays.
//!
//! The head of the answer is the first thing in the client's outbox, and the door takes the socket before anything was
//! written to it: a delivery is the same bare write as a WebSocket's, and no body's task stays. The
//! stream ends with its last chunk, or where the connection does for those who know no chunks; either way an event's
//! bytes are the same for all of one version of HTTP.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use axum::body::{Body, HttpBody};
use axum::extract::{RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;

use super::handshake::{Refused, has_token};
use super::house::Threshold;
use super::query::Query;
use super::refusal::Refusal;
use super::socket::Tcp;
use super::{cors, guest};
use crate::accept::{Loan, lines};
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

/// The line that tells a client of HTTP/1.1 that the stream comes in chunks.
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// The door of a route that speaks Server-Sent Events.
pub struct Door {
    /// Streams of clients that speak HTTP/1.1.
    pub chunked: Streams,
    /// Streams of clients that speak HTTP/1.0, and so know no chunks.
    pub bare: Streams,
}

/// What streams with the same bytes have in common.
pub struct Streams {
    /// What they share with other doors.
    pub threshold: Arc<Threshold>,
    /// What their clients are promised.
    pub terms: Arc<Terms>,
}

impl Door {
    /// The streams that a client of this version of HTTP understands.
    fn of(&self, version: Version) -> &Streams {
        if version == Version::HTTP_10 { &self.bare } else { &self.chunked }
    }
}

/// Answers a request on a route.
pub async fn open(State(door): State<Arc<Door>>, path: RawPathParams, request: Request) -> Response {
    let (asked, _) = request.into_parts();
    let streams = door.of(asked.version);
    let threshold = &streams.threshold;
    if let Err(refusal) = threshold.admit(&asked.headers) {
        return threshold.turn_away(refusal, &asked);
    }
    let grants = cors::grants(&threshold.house.rooms.live.get().public.origins, &asked.headers);
    let mut response = match asked.method {
        Method::OPTIONS => cors::preflight(&asked.headers),
        Method::HEAD => match check(&asked).map_err(Refusal::from).and_then(|()| wish(threshold, &path, &asked)) {
            Ok(_) => looked(),
            Err(refusal) => threshold.turn_away(refusal, &asked),
        },
        _ => match knock(streams, &path, &asked, &grants).await {
            Ok(()) => {
                threshold.house.rooms.metrics.handshake(metrics::Handshake::Accepted).inc();
                // The socket is taken, so nobody is answered by this.
                return ().into_response();
            }
            Err(refusal) => threshold.turn_away(refusal, &asked),
        },
    };
    response.headers_mut().extend(grants);
    response
}

async fn knock(streams: &Streams, path: &RawPathParams, asked: &Parts, grants: &HeaderMap) -> Result<(), Refusal> {
    let threshold = &streams.threshold;
    let house = &threshold.house;
    let _knock = house.gate.knock().map_err(Refusal::Busy)?;
    check(asked)?;
    let (wish, journal) = wish(threshold, path, asked)?;
    let slot = house.rooms.slots.take().ok_or(Refusal::Busy("public.max_connections"))?;
    let socket = Outbox::new(streams.terms.clone(), slot.number(), Tcp::with(journal));
    let outbox: Arc<Outbox> = socket.clone();
    // It waits for the socket, and so do the first publications behind it.
    outbox.send(&head(asked.version, grants));
    let session = threshold.greet(slot, &socket, wish, asked).await?;
    // Nothing was written to it, so the head fits.
    let lent = asked.extensions.get().and_then(Loan::take).ok_or(Refusal::Gone)?;
    socket.wire().attach(lent.stream);
    threshold.watch(socket.wire());
    guest::settle(threshold, Box::new(Connection::new(socket, session)), Bytes::new(), lent.place);
    Ok(())
}

/// What no `EventSource` sends is told what to do instead.
fn check(asked: &Parts) -> Result<(), Refused> {
    if asked.method != Method::GET && asked.method != Method::HEAD {
        let what = "an event stream is opened by GET: new EventSource(url)";
        return Err(Refused::method("GET, HEAD, OPTIONS", what));
    }
    if has_token(&asked.headers, header::UPGRADE, "websocket") {
        let what = "this path speaks Server-Sent Events: open it with new EventSource(url); WebSockets have another, \
                    by default /ws";
        return Err(Refused::new(StatusCode::BAD_REQUEST, what));
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
    Ok((Wish { route: threshold.route, topics, warning: None }, journal))
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

/// It says no length; what delimits the stream is chunks, or its end.
fn head(version: Version, grants: &HeaderMap) -> Bytes {
    let mut head = HEAD.as_bytes().to_vec();
    if version != Version::HTTP_10 {
        head.extend_from_slice(CHUNKED.as_bytes());
    }
    let date = httpdate::fmt_http_date(SystemTime::now());
    head.extend_from_slice(format!("Date: {date}\r\n").as_bytes());
    lines(grants, &mut head);
    head.extend_from_slice(b"\r\n");
    head.into()
}

/// The answer to HEAD: the head that a GET would get, and no stream. What delimits it is left out.
fn looked() -> Response {
    let mut answer = Response::new(Body::new(Endless));
    for (name, value) in HEAD.lines().skip(1).filter_map(|line| line.split_once(": ")) {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
    }
    answer
}

/// A body whose length nobody says. It is never read: it stands for a stream that is only looked at.
struct Endless;

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
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
        assert_eq!(status(Method::HEAD, &[]), None);
        assert_eq!(status(Method::GET, &[("Upgrade", "WebSocket")]), Some(400));
        assert_eq!([Method::POST, Method::PUT].map(|method| status(method, &[])), [Some(405); 2]);
    }

    #[test]
    fn the_head_says_no_length_and_who_knows_chunks_gets_them() {
        let grants = HeaderMap::from_iter([(header::VARY, HeaderValue::from_static("Origin"))]);
        let said = |version| String::from_utf8(head(version, &grants).to_vec()).unwrap();
        let head = said(Version::HTTP_10);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"), "{head}");
        assert!(head.ends_with(" GMT\r\nVary: Origin\r\n\r\n"), "{head}");
        assert!(!head.contains("Length") && !head.contains("chunked"), "{head}");
        assert!(said(Version::HTTP_11).contains("\r\nTransfer-Encoding: chunked\r\n"));
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
