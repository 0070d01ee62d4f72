//! Why a door stays shut, as the answer to give.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::handshake::Refused;
use super::template::BadRequest;
use crate::metrics;

/// Why the door stays shut.
pub(super) enum Refusal {
    Handshake(Refused),
    Request(BadRequest),
    NoTopic,
    Origin,
    Busy,
    /// No room for another topic.
    Full,
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self::Handshake(refused)
    }
}

impl From<BadRequest> for Refusal {
    fn from(bad: BadRequest) -> Self {
        Self::Request(bad)
    }
}

impl Refusal {
    /// Counts it, and says what to do.
    pub fn answer(self, metrics: &metrics::Metrics) -> Response {
        let (outcome, status, what) = match self {
            Self::Handshake(refused) => (metrics::Handshake::BadRequest, refused.status, refused.what.to_owned()),
            Self::Request(bad @ BadRequest::Forbidden(_)) => {
                (metrics::Handshake::Forbidden, StatusCode::FORBIDDEN, bad.to_string())
            }
            Self::Request(bad) => (metrics::Handshake::BadRequest, StatusCode::BAD_REQUEST, bad.to_string()),
            Self::NoTopic => (
                metrics::Handshake::BadRequest,
                StatusCode::BAD_REQUEST,
                "nothing to listen to: name a topic, as in ?topic=hello, once for each".to_owned(),
            ),
            Self::Origin => (
                metrics::Handshake::Forbidden,
                StatusCode::FORBIDDEN,
                "pages of this origin may not connect: add it to public.origins".to_owned(),
            ),
            Self::Busy => (metrics::Handshake::Busy, StatusCode::SERVICE_UNAVAILABLE, "too busy, try again".to_owned()),
            Self::Full => (
                metrics::Handshake::Busy,
                StatusCode::SERVICE_UNAVAILABLE,
                "this replica holds as many topics as it may (limits.replica_topics), try again".to_owned(),
            ),
        };
        metrics.handshake(outcome).inc();
        let mut response = (status, Body::from(what + "\n")).into_response();
        decorate(&mut response, status);
        response
    }
}

fn decorate(response: &mut Response, status: StatusCode) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    match status {
        StatusCode::UPGRADE_REQUIRED => {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            // Spread, so that a storm does not come back as one.
            headers.insert(header::RETRY_AFTER, HeaderValue::from(fastrand::u16(1..=5)));
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
}

/// Nothing is here.
pub async fn not_found(metrics: Arc<metrics::Metrics>) -> Response {
    metrics.handshake(metrics::Handshake::BadRequest).inc();
    let mut response = (
        StatusCode::NOT_FOUND,
        Body::from("no route on this path: the defaults are /ws and /sse, others are set by [[routes]]\n"),
    )
        .into_response();
    decorate(&mut response, StatusCode::NOT_FOUND);
    response
}
