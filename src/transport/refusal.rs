//! Why a door stays shut, as the answer to give and the line to log.

use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tracing::info;

use super::handshake::Refused;
use super::house::House;
use super::template::BadRequest;
use crate::metrics;

/// How much of a stranger's text an answer repeats.
const QUOTED: usize = 100;

/// Why the door stays shut.
pub(super) enum Refusal {
    Handshake(Refused),
    Request(BadRequest),
    NoTopic,
    /// A page's, as it came.
    Origin(String),
    /// No route has this path; perhaps this one is meant.
    NoRoute(Option<String>),
    /// A bound is reached, of this setting.
    Busy(&'static str),
    /// The client went, or its time was over.
    Gone,
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
    pub fn origin(found: Option<&HeaderValue>) -> Self {
        let found = found.map(|found| String::from_utf8_lossy(found.as_bytes())).unwrap_or_default();
        Self::Origin(found.chars().take(QUOTED).collect())
    }

    /// Counts it, logs it where a line of its kind is due, and says what to do.
    pub fn answer(self, house: &House, asked: &Parts) -> Response {
        let (outcome, status, what) = (self.outcome(), self.status(), self.what());
        house.rooms.metrics.handshake(outcome).inc();
        self.log(house, asked, &what);
        let mut response = (status, Body::from(what + "\n")).into_response();
        self.decorate(&mut response, status);
        response
    }

    fn log(&self, house: &House, asked: &Parts, what: &str) {
        let (origin, due) = match self {
            Self::Origin(found) => (Some(found.as_str()), house.origins.due(found)),
            _ => (None, house.refusals.due((std::mem::discriminant(self), self.detail()))),
        };
        if let Some(repeated) = due {
            let (client, status) = (house.caller(asked).address, self.status().as_u16());
            let path: String = asked.uri.path().chars().take(QUOTED).collect();
            info!(%client, path, origin, status, repeated, "handshake refused: {what}");
        }
    }

    fn outcome(&self) -> metrics::Handshake {
        match self {
            Self::Request(BadRequest::Forbidden(_)) | Self::Origin(_) => metrics::Handshake::Forbidden,
            Self::Handshake(_) | Self::Request(_) | Self::NoTopic | Self::NoRoute(_) => metrics::Handshake::BadRequest,
            Self::Busy(_) => metrics::Handshake::Busy,
            Self::Gone => metrics::Handshake::Timeout,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Handshake(refused) => refused.status,
            Self::Request(BadRequest::Forbidden(_)) | Self::Origin(_) => StatusCode::FORBIDDEN,
            Self::Request(_) | Self::NoTopic => StatusCode::BAD_REQUEST,
            Self::NoRoute(_) => StatusCode::NOT_FOUND,
            Self::Busy(_) | Self::Gone => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What tells causes of one kind apart, by words of our own.
    fn detail(&self) -> &'static str {
        match self {
            Self::Handshake(refused) => refused.what,
            Self::Busy(setting) => setting,
            _ => "",
        }
    }

    fn what(&self) -> String {
        match self {
            Self::Handshake(refused) => refused.what.to_owned(),
            Self::Request(bad) => bad.to_string(),
            Self::NoTopic => "nothing to listen to: name a topic, as in ?topic=hello, once for each".to_owned(),
            Self::Origin(found) => format!("pages of {found:?} may not connect: add it to public.origins"),
            Self::NoRoute(None) => {
                "no route on this path: the defaults are /ws and /sse, others are set by [[routes]]".to_owned()
            }
            Self::NoRoute(Some(meant)) => {
                format!("no route on this path, but one on {meant}: the last / tells them apart")
            }
            Self::Busy(setting) => format!("too busy, try again: {setting} is reached"),
            Self::Gone => "too late".to_owned(),
        }
    }

    fn decorate(&self, response: &mut Response, status: StatusCode) {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        match status {
            StatusCode::UPGRADE_REQUIRED => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                // Spread, so that a storm does not come back as one.
                headers.insert(header::RETRY_AFTER, HeaderValue::from(fastrand::u16(1..=5)));
            }
            _ => {}
        }
        if let Self::Handshake(Refused { allow: Some(allow), .. }) = self {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
    }
}

/// Nothing is here. `has` knows which paths have a route.
pub async fn not_found(house: Arc<House>, has: impl Fn(&str) -> bool, asked: Parts) -> Response {
    let path = asked.uri.path();
    let other = path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned);
    Refusal::NoRoute(Some(other).filter(|other| has(other))).answer(&house, &asked)
}
