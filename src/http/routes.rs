//! Which path answers what, on both listeners.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use prometheus::{Encoder, TextEncoder};

use super::authorize::may_look;
use super::problem::Problem;
use super::{Desk, health, history, publish, shed};
use crate::accept::Peer;
use crate::transport::house::House;
use crate::transport::{self, Door};

/// How long the internal listener takes for an answer at most: a body may come in 10 s, and publishing to 100 topics of a
/// Redis that is slow and answers takes minutes.
const TIME: Duration = Duration::from_secs(30);

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
        .layer(middleware::from_fn(in_time))
        .with_state(desk)
}

/// Whatever waits within a request, the whole has a deadline, so that its socket has one.
async fn in_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(TIME, next.run(request)).await.unwrap_or_else(|_| {
        let detail =
            format!("this took longer than {TIME:?} and was given up; what was asked may be done all the same");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, &detail).into_response()
    })
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
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).into_response()
}

async fn not_found() -> Response {
    Problem::new(StatusCode::NOT_FOUND, "here are /api/publish /api/history /api/shed /livez /readyz /metrics /version")
        .into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use tokio::time::Instant;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_that_waits_for_too_long_is_answered_why() {
        let never = Router::new().route("/never", get(std::future::pending::<()>)).layer(middleware::from_fn(in_time));
        let begun = Instant::now();
        let request = Request::get("/never").body(Body::empty()).unwrap();
        let answer = tokio::time::timeout(2 * TIME, never.oneshot(request)).await.expect("an answer").unwrap();
        assert_eq!((answer.status(), begun.elapsed().as_secs()), (StatusCode::SERVICE_UNAVAILABLE, TIME.as_secs()));
        let body = to_bytes(answer.into_body(), 1 << 10).await.unwrap();
        assert!(String::from_utf8_lossy(&body).contains("given up"), "{body:?}");
    }
}
