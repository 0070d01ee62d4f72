//! `/livez` and `/readyz`: is this process alive, and should clients be sent to it?

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;

use super::Desk;
use super::authorize::may_look;
use crate::accept::Peer;
use crate::broker;
use crate::clock;
use crate::quote::Quoted;
use crate::settings::RedisReadiness;

/// A shard or supervisor that has not gone round for this long is stuck, in ms.
const STUCK: u64 = 10_000;

/// What `strict` may be where it means that, and where it does not; anything else counts as strict, and is named.
const STRICT: [&str; 3] = ["", "true", "1"];
const NOT_STRICT: [&str; 2] = ["false", "0"];

/// How the replica is.
pub struct Health {
    redis: Option<broker::Health>,
    /// What is wrong with Redis, in a sentence.
    cause: Option<String>,
    draining: bool,
    required: bool,
}

impl Health {
    /// How the replica is now.
    #[must_use]
    pub fn of(desk: &Desk) -> Self {
        Self {
            redis: desk.has_redis.then(|| desk.rooms.broker.health()),
            cause: desk.rooms.broker.trouble(),
            draining: desk.draining.load(Ordering::Relaxed),
            required: desk.rooms.live.get().readiness.redis == RedisReadiness::Required,
        }
    }

    /// Whether clients should be sent here.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.draining
            && match self.redis {
                None | Some(broker::Health::Open) => true,
                Some(broker::Health::Starting | broker::Health::Deaf) => false,
                // Away for all: sending clients elsewhere would help nobody, unless the operator wants it.
                Some(broker::Health::Away) => !self.required,
            }
    }

    fn status(&self) -> &'static str {
        match (self.draining, self.is_ready(), self.redis) {
            (true, ..) => "draining",
            (_, true, Some(broker::Health::Away)) => "degraded",
            (_, true, _) => "ready",
            (_, false, _) => "unready",
        }
    }

    fn redis(&self) -> &'static str {
        match self.redis {
            None => "none",
            Some(broker::Health::Open) => "open",
            Some(broker::Health::Starting) => "starting",
            Some(broker::Health::Deaf) => "deaf",
            Some(broker::Health::Away) => "away",
        }
    }
}

/// Whether the process lives.
pub struct Vitals(Arc<Desk>);

impl Vitals {
    /// Those of the house that this desk knows.
    #[must_use]
    pub fn of(desk: &Arc<Desk>) -> Self {
        Self(desk.clone())
    }

    /// Whether all of its parts go round; where not, only a restart helps.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let (shards, links) = self.ages();
        shards.max(links) < STUCK
    }

    /// How long ago the slowest shard and the slowest link went round, in ms.
    fn ages(&self) -> (u64, u64) {
        let (now, rooms) = (clock::now_ms(), &self.0.rooms);
        (now.saturating_sub(rooms.hub.last_tick()), now.saturating_sub(rooms.broker.last_tick()))
    }
}

/// 503 only where restarting the process would help.
pub(super) async fn livez(State(desk): State<Arc<Desk>>) -> Response {
    let vitals = Vitals::of(&desk);
    let status = if vitals.is_alive() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let (shards, links) = vitals.ages();
    (status, Json(json!({ "shards_ms_ago": shards, "links_ms_ago": links }))).into_response()
}

/// 503 where clients should go elsewhere; with `?strict` also while merely degraded. What is wrong with Redis names its
/// address, and so is not for a page that stands under a name of its own.
pub(super) async fn readyz(
    State(desk): State<Arc<Desk>>,
    peer: Extension<Peer>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let mut health = Health::of(&desk);
    let said = || strict(uri.query().unwrap_or_default());
    health.required |= said().any(|word| !NOT_STRICT.contains(&word));
    let status = if health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut told = json!({ "status": health.status(), "redis": health.redis() });
    let may_look = may_look(&desk.rooms.live.get().internal.api_keys, *peer, &uri, &headers).is_ok();
    if let Some(cause) = health.cause.filter(|_| may_look) {
        told["cause"] = cause.into();
    }
    if let Some(word) = said().find(|word| !STRICT.contains(word) && !NOT_STRICT.contains(word)) {
        let word = Quoted(word);
        told["strict"] = format!("{word} counts as strict; write ?strict, or strict=true or strict=false").into();
    }
    (status, Json(told)).into_response()
}

/// What a query says of `strict`, one word for each time. Other parameters are ignored, and none is a mistake: who probes
/// takes the replica out of service for it.
fn strict(query: &str) -> impl Iterator<Item = &str> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(name, _)| *name == "strict").map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_is_all_that_a_query_says_and_nothing_in_it_is_a_mistake() {
        for (query, words) in [
            ("", &[][..]),
            ("strict", &[""]),
            ("strict=", &[""]),
            ("verbose&strict=true&_=17", &["true"]),
            ("strict=0&strict", &["0", ""]),
            ("strict=a=b", &["a=b"]),
            ("strct&strict2&xstrict=1&%ff=%ff&&=", &[]),
        ] {
            assert!(strict(query).eq(words.iter().copied()), "{query}");
        }
    }
}
