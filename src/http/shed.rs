//! `POST /api/shed`: some of this replica's clients go to the others. `DELETE /api/shed` ends it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Extension;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::Desk;
use super::authorize::authorize;
use super::problem::Problem;
use crate::accept::Peer;
use crate::drain::Refused;
use crate::settings::notation::{LONGEST, duration, guess_duration, write_duration};

/// The largest body: what it says is short.
const BODY: usize = 4096;

/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    fraction: f64,
    #[serde(default = "a_minute")]
    over: String,
}

fn a_minute() -> String {
    "60s".into()
}

/// Takes the order, and answers how many connections will be closed over which time.
pub async fn shed(State(desk): State<Arc<Desk>>, peer: Extension<Peer>, request: Request) -> Response {
    match try_shed(&desk, *peer, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

/// Ends what is under way, and answers how many had yet to go.
pub async fn end(State(desk): State<Arc<Desk>>, peer: Extension<Peer>, headers: HeaderMap) -> Response {
    match authorize(&desk.rooms.live.get().internal.api_keys, *peer, &headers) {
        Ok(()) => axum::Json(json!({ "spared": desk.shedder.end().await })).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn try_shed(desk: &Desk, peer: Peer, request: Request) -> Result<Response, Problem> {
    authorize(&desk.rooms.live.get().internal.api_keys, peer, request.headers())?;
    let body = tokio::time::timeout(BODY_TIME, to_bytes(request.into_body(), BODY)).await;
    let slow = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, format!("the body did not come within {BODY_TIME:?}"));
    let too_large = |_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {BODY} bytes here"));
    let (fraction, over) = order(&body.map_err(slow)?.map_err(too_large)?)?;
    let shed = match desk.draining.load(Ordering::Relaxed) {
        true => Err(Refused::Draining),
        false => desk.shedder.shed(fraction, over),
    };
    let shed = shed.map_err(|refused| Problem::new(StatusCode::CONFLICT, refused.to_string()))?;
    let answer = json!({ "connections": shed.connections, "of": shed.of, "over_ms": over.as_millis() });
    Ok((StatusCode::ACCEPTED, axum::Json(answer)).into_response())
}

/// Which fraction, over which time.
fn order(body: &[u8]) -> Result<(f64, Duration), Problem> {
    let bad = |field, detail: String| Err(Problem::field(StatusCode::BAD_REQUEST, field, detail));
    let form: Form = match serde_json::from_slice(body) {
        // A list would be taken for the fields in their order.
        Ok(form) if body.trim_ascii_start().starts_with(b"{") => form,
        Ok(_) => return bad("body", r#"expected {"fraction": 0.2, "over": "60s"}: this is a list"#.into()),
        Err(error) => return bad("body", format!(r#"expected {{"fraction": 0.2, "over": "60s"}}: {error}"#)),
    };
    if !(form.fraction > 0.0 && form.fraction <= 1.0) {
        return bad("fraction", format!("expected a number above 0 and at most 1, not {}", form.fraction));
    }
    match duration(&form.over) {
        Some(over) if !over.is_zero() && over <= LONGEST => Ok((form.fraction, over)),
        _ => {
            let meant = guess_duration(&form.over).filter(|over| !over.is_zero());
            let meant = meant.map(|over| format!("; write {:?}", write_duration(over))).unwrap_or_default();
            let expected = r#"expected a duration above zero such as "30s" or "5m", at most "720h""#;
            let found: String = form.over.chars().take(40).collect();
            bad("over", format!("{expected}, not {found:?}{meant}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &str) -> String {
        format!("{:?}", order(body.as_bytes()))
    }

    #[test]
    fn a_fraction_and_a_duration_are_an_order() {
        assert_eq!(order(br#"{"fraction":0.2,"over":"1m30s"}"#).unwrap(), (0.2, Duration::from_secs(90)));
        assert_eq!(order(br#"{"fraction":1}"#).unwrap(), (1.0, Duration::from_secs(60)));
    }

    #[test]
    fn a_bad_order_names_what_is_wrong_and_what_to_write() {
        for fraction in ["0", "-0.1", "1.01", "20", "1e999"] {
            let said = said(&format!(r#"{{"fraction":{fraction},"over":"60s"}}"#));
            assert!(said.contains("above 0 and at most 1") || said.contains("out of range"), "{said}");
        }
        assert!(said(r#"{"fraction":0.2,"over":"60 sec"}"#).contains(r#"write \"1m\""#), "60 sec");
        assert!(said(r#"{"fraction":0.2,"over":"0s"}"#).contains("above zero"));
        assert!(said(r#"{"fraction":0.2,"over":"721h"}"#).contains("720h"));
        assert!(said(r#"{"fraction":"0.2"}"#).contains("body"));
        assert!(said(r#"{"fractoin":0.2}"#).contains("unknown field `fractoin`"));
        assert!(said(r#"[0.2,"60s"]"#).contains("a list"));
        assert!(said("").contains("expected {"));
    }
}
