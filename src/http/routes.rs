//! Which path answers what, on both listeners.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use prometheus::{Encoder, TextEncoder};

use super::authorize::may_look;
use super::{Desk, health, history, publish, shed};
use crate::accept::Peer;
use crate::transport::house::House;
use crate::transport::{self, Door};

/// The public listener: one door per route, and a word to those who find none.
pub fn public(doors: Vec<(String, Door)>, house: Arc<House>) -> Router {
    let mut paths = matchit::Router::new();
    for (path, _) in &doors {
        // The configuration checked them by the same matcher.
        let _ = paths.insert(path.clone(), path.clone());
    }
    let paths = Arc::new(paths);
    let stray = move |request: Request| {
        let paths = paths.clone();
        let route = move |path: &str| paths.at(path).ok().map(|found| found.value.clone());
        transport::not_found(house.clone(), route, request.into_parts().0)
    };
    doors.into_iter().fold(Router::new(), |router, (path, door)| router.route(&path, door.answers())).fallback(stray)
}

/// The internal listener: API, health, metrics.
pub fn internal(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/api/publish", post(publish::publish))
        .route("/api/history", get(history::history))
        .route("/api/shed", post(shed::shed).delete(shed::end))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .with_state(desk)
}

async fn metrics(State(desk): State<Arc<Desk>>, peer: Extension<Peer>, uri: Uri, headers: HeaderMap) -> Response {
    if let Err(problem) = may_look(&desk.rooms.live.get().internal.api_keys, *peer, &uri, &headers) {
        return problem.into_response();
    }
    let metrics = &desk.rooms.metrics;
    metrics.outbox_bytes.set(i64::try_from(desk.outboxes.used()).unwrap_or(i64::MAX));
    metrics.unfinished_bytes.set(i64::try_from(desk.rooms.unfinished.used()).unwrap_or(i64::MAX));
    metrics.inbox_publications.set(i64::try_from(desk.interest.held()).unwrap_or(i64::MAX));
    metrics.ready.set(i64::from(health::Health::of(&desk).is_ready()));
    let mut page = Vec::new();
    match TextEncoder::new().encode(&metrics.registry().gather(), &mut page) {
        Ok(()) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn version() -> Response {
    axum::Json(serde_json::json!({ "name": "fanline", "version": env!("CARGO_PKG_VERSION") })).into_response()
}

async fn not_allowed() -> Response {
    let detail = "this path takes another method; the answer's Allow header names it";
    super::problem::Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).into_response()
}

async fn not_found() -> Response {
    super::problem::Problem::new(
        StatusCode::NOT_FOUND,
        "here are /api/publish /api/history /api/shed /livez /readyz /metrics /version",
    )
    .into_response()
}
