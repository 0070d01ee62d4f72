//! Why a door stays shut, as the answer to give and the line to log. The answer quotes what the client said; the line
//! repeats nothing of its query, where secrets may stand, and nothing else that is not quoted and cut.

use std::borrow::Cow;
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

/// How much of an origin or a path is repeated.
const QUOTED: usize = 100;

/// Why the door stays shut.
pub(super) enum Refusal {
    Handshake(Refused),
    Request(BadRequest),
    NoTopic,
    /// A page's, as it came.
    Origin(String),
    /// No route has this path; perhaps this route is meant.
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

    /// Counts it, logs it where a line of its kind is due, and says what to do. `read` are the parameters of the route.
    pub fn answer(self, house: &House, asked: &Parts, read: &[&str]) -> Response {
        let (outcome, status) = (self.outcome(), self.status());
        house.rooms.metrics.handshake(outcome).inc();
        self.log(house, asked, read);
        let mut response = (status, Body::from(self.what().into_owned() + "\n")).into_response();
        self.decorate(&mut response, status);
        response
    }

    fn log(&self, house: &House, asked: &Parts, read: &[&str]) {
        let what = self.logged(read);
        // What a line says is what tells its cause from others: it holds words of ours and of the configuration.
        let (origin, due) = match self {
            Self::Origin(found) => (Some(found.as_str()), house.origins.due(found)),
            _ => (None, house.refusals.due(&what)),
        };
        if let Some(repeated) = due {
            let (client, status) = (house.caller(asked).address, self.status().as_u16());
            let path: String = asked.uri.path().chars().take(QUOTED).collect();
            info!(%client, path, origin, status, repeated, "handshake refused: {what}");
        }
    }

    fn outcome(&self) -> metrics::Handshake {
        match self {
            Self::Request(BadRequest::Forbidden { .. }) | Self::Origin(_) => metrics::Handshake::Forbidden,
            Self::Handshake(_) | Self::Request(_) | Self::NoTopic | Self::NoRoute(_) => metrics::Handshake::BadRequest,
            Self::Busy(_) => metrics::Handshake::Busy,
            Self::Gone => metrics::Handshake::Timeout,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Handshake(refused) => refused.status,
            Self::Request(BadRequest::Forbidden { .. }) | Self::Origin(_) => StatusCode::FORBIDDEN,
            Self::Request(_) | Self::NoTopic => StatusCode::BAD_REQUEST,
            Self::NoRoute(_) => StatusCode::NOT_FOUND,
            Self::Busy(_) | Self::Gone => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What the log says.
    fn logged(&self, read: &[&str]) -> Cow<'static, str> {
        match self {
            Self::Request(bad) => bad.logged(read),
            other => other.what(),
        }
    }

    /// What the client is told.
    fn what(&self) -> Cow<'static, str> {
        match self {
            Self::Handshake(refused) => refused.what.into(),
            Self::Request(bad) => bad.to_string().into(),
            Self::NoTopic => "nothing to listen to: name a topic, as in ?topic=hello, once for each".into(),
            Self::Origin(found) => format!("pages of {found:?} may not connect: add it to public.origins").into(),
            Self::NoRoute(None) => {
                "no route on this path: the defaults are /ws and /sse, others are set by [[routes]]".into()
            }
            Self::NoRoute(Some(meant)) => {
                format!("no route on this path, but one on {meant}: the last / tells them apart").into()
            }
            Self::Busy(setting) => format!("too busy, try again: {setting} is reached").into(),
            Self::Gone => "too late".into(),
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

/// Nothing is here. `route` knows which route a path has, by the path in its configuration.
pub async fn not_found(house: Arc<House>, route: impl Fn(&str) -> Option<String>, asked: Parts) -> Response {
    let path = asked.uri.path();
    let other = path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned);
    Refusal::NoRoute(route(&other)).answer(&house, &asked, &[])
}
