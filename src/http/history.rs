//! `GET /api/history`: a page of a topic's history.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;

use super::Desk;
use super::authorize::authorize;
use super::parameters;
use super::problem::Problem;
use crate::accept::Peer;
use crate::broker::history::operators_chapter;
use crate::broker::{Chapter, HistoryError};
use crate::clock;
use crate::command::{From, MOST_TOLD, Question};
use crate::event::Event;
use crate::position::Position;
use crate::protocol;
use crate::quote::Quoted;
use crate::topic::Topic;

/// What the query may say.
const PARAMETERS: [&str; 4] = ["topic", "since", "before", "limit"];

/// Answers a page as the json protocol does.
pub async fn history(State(desk): State<Arc<Desk>>, peer: Extension<Peer>, uri: Uri, headers: HeaderMap) -> Response {
    match try_history(&desk, *peer, &uri, &headers).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn try_history(desk: &Desk, peer: Peer, uri: &Uri, headers: &HeaderMap) -> Result<Response, Problem> {
    authorize(&desk.rooms.live.get().internal.api_keys, peer, uri, headers)?;
    let (topic, question) = understand(uri.query().unwrap_or_default())?;
    if !desk.rooms.live.get().topics.rule(topic.as_str()).keeps_history() {
        let detail = format!("{topic} keeps no history: set history_size in its topic rule");
        return Err(Problem::field(StatusCode::NOT_FOUND, "topic", detail));
    }
    let Chapter { publications, newest, more } =
        operators_chapter(&*desk.rooms.broker, &topic, question).await.map_err(|error| unread(&topic, &error))?;
    let mut body = BytesMut::new();
    let page = Event::History { topic: &topic, id: None, publications: &publications, newest, more };
    protocol::json_object(&page, &mut body);
    Ok(([(header::CONTENT_TYPE, "application/json")], body.freeze()).into_response())
}

fn understand(query: &str) -> Result<(Topic, Question), Problem> {
    let bad = |field, detail: String| Problem::field(StatusCode::BAD_REQUEST, field, detail);
    let query = parameters::read(query, &PARAMETERS, &[])?;
    let name = query.first("topic").ok_or_else(|| bad("topic", "give ?topic=…".into()))?;
    let topic = Topic::parse_client(name).map_err(|why| bad("topic", format!("{}: {why}", Quoted(name))))?;
    let from = match (query.first("since"), query.first("before")) {
        (Some(_), Some(_)) => return Err(bad("since", "give since or before, not both".into())),
        (Some(since), None) => From::After(position(since).map_err(|detail| bad("since", detail))?),
        (None, Some(before)) => From::Before(position(before).map_err(|detail| bad("before", detail))?),
        (None, None) => From::Newest,
    };
    let limit = match query.first("limit").map(|text| (text, text.parse())) {
        None => MOST_TOLD,
        Some((_, Ok(limit @ 1..=MOST_TOLD))) => limit,
        Some((found, _)) => return Err(bad("limit", format!("limit is {}; write 1 to {MOST_TOLD}", Quoted(found)))),
    };
    Ok((topic, Question { from, limit }))
}

/// A position, or the one just before a time in ms.
fn position(text: &str) -> Result<Position, String> {
    let time = text.parse().ok().or_else(|| text.parse().ok().and_then(clock::whole_ms));
    let before = time.map(|ms| Position::at(ms).before());
    before.map_or_else(|| text.parse(), Ok).map_err(|bad: crate::position::BadPosition| {
        format!("{} is neither a position nor a time in ms since 1970: {bad}", Quoted(text))
    })
}

fn unread(topic: &Topic, error: &HistoryError) -> Problem {
    let status = match error {
        HistoryError::Away(_) => StatusCode::SERVICE_UNAVAILABLE,
        HistoryError::Refused(_) => StatusCode::BAD_GATEWAY,
    };
    Problem::new(status, format!("the history of {topic} was not read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_a_topic_and_where() {
        let ask = |query| understand(query).map(|(_, question)| (question.from, question.limit)).ok();
        assert_eq!(ask("topic=a"), Some((From::Newest, 300)));
        assert_eq!(ask("topic=a&since=5-1&limit=7"), Some((From::After("5-1".parse().unwrap()), 7)));
        assert_eq!(ask("topic=a&since=5"), Some((From::After(Position::at(5).before()), 300)));
        assert_eq!(ask("topic=a&since=5.75"), ask("topic=a&since=5"), "of a time with a fraction none is missed");
        assert_eq!(ask("topic=a&before=5-1"), Some((From::Before("5-1".parse().unwrap()), 300)));
        for bad in [
            "",
            "topic=@a",
            "topic=a&limit=301",
            "topic=a&limit=0",
            "topic=a&since=x",
            "topic=a&from=1-0",
            "topic=a&topic=a",
        ] {
            assert_eq!(ask(bad), None, "{bad}");
        }
        assert_eq!(ask("topic=a&since=1-0&before=2-0"), None);
    }
}
