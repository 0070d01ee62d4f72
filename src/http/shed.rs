//! `POST /api/shed`: some of this replica's clients go to the others. `DELETE /api/shed` ends it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::authorize::authorize;
use super::parameters;
use super::problem::Problem;
use super::{Desk, body};
use crate::accept::Peer;
use crate::drain::Refused;
use crate::quote::{Quoted, beginning};
use crate::settings::notation::{LONGEST, duration, guess_duration, write_duration};

/// The largest body: what it says is short.
const BODY: usize = 4096;

/// The time where none is given.
const OVER: Duration = Duration::from_secs(60);

/// What an order looks like.
const FORM: &str = r#"expected {"fraction": 0.2, "over": "60s"}"#;

/// Takes the order, and answers how many connections will be closed over which time.
pub async fn shed(State(desk): State<Arc<Desk>>, peer: Extension<Peer>, request: Request) -> Response {
    match try_shed(&desk, *peer, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

/// Ends what is under way, and answers how many had yet to go.
pub async fn end(State(desk): State<Arc<Desk>>, peer: Extension<Peer>, uri: Uri, headers: HeaderMap) -> Response {
    let may = authorize(&desk.rooms.live.get().internal.api_keys, *peer, &uri, &headers);
    match may.and_then(|()| parameters::read(uri.query().unwrap_or_default(), &[], &[])) {
        Ok(_) => axum::Json(json!({ "spared": desk.shedder.end().await })).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn try_shed(desk: &Desk, peer: Peer, request: Request) -> Result<Response, Problem> {
    authorize(&desk.rooms.live.get().internal.api_keys, peer, request.uri(), request.headers())?;
    if request.uri().query().is_some_and(|query| !query.is_empty()) {
        return Err(bad("query", format!("there are no parameters here; send a body: {FORM}")));
    }
    let (fraction, over) = order(&body::read(request.into_body(), BODY).await?)?;
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
    let form: Map<String, Value> = serde_json::from_slice(body::unmarked(body)).map_err(|error| {
        let found =
            if body.is_empty() { ", found nothing".into() } else { format!(": {}", beginning(&error.to_string())) };
        bad("body", format!("{FORM}{found}"))
    })?;
    if let Some(stranger) = form.keys().find(|key| !["fraction", "over"].contains(&key.as_str())) {
        return Err(bad("body", format!("{FORM}: {} is no field of it", Quoted(stranger))));
    }
    let fraction = match form.get("fraction") {
        Some(Value::Number(number)) => number.as_f64().filter(|fraction| *fraction > 0.0 && *fraction <= 1.0),
        _ => None,
    };
    let fraction = fraction.ok_or_else(|| {
        let found = form.get("fraction").map_or_else(|| "nothing".into(), |found| shortened(&found.to_string()));
        bad("fraction", format!("expected a number above 0 and at most 1, such as 0.2; found {found}"))
    })?;
    Ok((fraction, form.get("over").map_or(Ok(OVER), over)?))
}

fn over(found: &Value) -> Result<Duration, Problem> {
    let fits = |over: &Duration| !over.is_zero() && *over <= LONGEST;
    let text = found.as_str().map_or_else(|| found.to_string(), ToOwned::to_owned);
    if let (Value::String(_), Some(over)) = (found, duration(&text).filter(fits)) {
        return Ok(over);
    }
    let meant = guess_duration(&text).filter(fits).map(|over| format!("; write {:?}", write_duration(over)));
    let expected = r#"expected a duration above zero such as "30s" or "5m", at most "720h""#;
    let (found, meant) = (shortened(&found.to_string()), meant.unwrap_or_default());
    Err(bad("over", format!("{expected}; found {found}{meant}")))
}

fn bad(field: &'static str, detail: String) -> Problem {
    Problem::field(StatusCode::BAD_REQUEST, field, detail)
}

/// As much of what a stranger sent as a message needs.
fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
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
        assert_eq!(order("\u{feff}{\"fraction\":1}".as_bytes()).unwrap().0, 1.0, "behind a byte order mark");
    }

    #[test]
    fn a_bad_order_names_the_field_what_was_found_and_what_to_write() {
        for fraction in ["0", "-0.1", "1.01", "20", "\"0.5\"", "null"] {
            let said = said(&format!(r#"{{"fraction":{fraction},"over":"60s"}}"#));
            assert!(said.contains("field: Some(\"fraction\")") && said.contains("above 0 and at most 1"), "{said}");
        }
        assert!(said("{}").contains("found nothing"), "{}", said("{}"));
        for (over, told) in [
            (r#""60 sec""#, r#"write \"1m\""#),
            ("60", r#"write \"1m\""#),
            (r#""0s""#, "above zero"),
            (r#""721h""#, "at most"),
            ("null", "found null"),
        ] {
            let said = said(&format!(r#"{{"fraction":0.2,"over":{over}}}"#));
            assert!(said.contains("field: Some(\"over\")") && said.contains(told), "{over}: {said}");
        }
        assert!(said(r#"{"fractoin":0.2}"#).contains("fractoin"));
        for body in ["", "[0.2]", "null", "{", "1"] {
            assert!(
                said(body).contains("expected {") && said(body).contains("field: Some(\"body\")"),
                "{}",
                said(body)
            );
        }
    }
}
