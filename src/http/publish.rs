//! `POST /api/publish`: from a request to publications and their receipts.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::authorize::authorize;
use super::order::Order;
use super::problem::Problem;
use super::{Desk, body};
use crate::accept::Peer;
use crate::broker::{PublishError, Receipt};
use crate::metrics::Source;
use crate::topic::Topic;

/// What a body may add to the largest publication beside its encoding: 100 topics and the longest header.
const BODY_ROOM: usize = 96 * 1024;

/// Publishes, and answers how many replicas listened on each topic, and where the publication stands in its history.
pub async fn publish(State(desk): State<Arc<Desk>>, peer: Extension<Peer>, request: Request) -> Response {
    match try_publish(&desk, *peer, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn try_publish(desk: &Desk, peer: Peer, request: Request) -> Result<Response, Problem> {
    authorize(&desk.rooms.live.get().internal.api_keys, peer, request.uri(), request.headers())?;
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = body::read(request.into_body(), most(desk)).await?;
    let order = if query.is_empty() { Order::from_json(&body)? } else { Order::from_query(&query, body)? };
    order.check_sizes(desk)?;
    let mut receipts = Map::new();
    for topic in &order.topics {
        let receipt = desk.rooms.broker.publish(topic, &order.header, order.payload.clone()).await;
        match receipt {
            Ok(receipt) => receipts.insert(topic.to_string(), told(&receipt)),
            Err(error) => return Err(failed(topic, &error).after(Value::Object(receipts))),
        };
        desk.rooms.metrics.publications(Source::Api).inc();
    }
    Ok(axum::Json(json!({ "topics": receipts })).into_response())
}

/// What a body may hold: the largest publication, and what is around it.
fn most(desk: &Desk) -> usize {
    let largest = desk.rooms.live.get().topics.largest_publication();
    largest + largest / 2 + BODY_ROOM
}

/// A receipt as it is answered.
fn told(receipt: &Receipt) -> Value {
    let mut told = json!({ "replicas": receipt.replicas });
    if let Some(position) = receipt.position {
        told["position"] = position.to_string().into();
    }
    if receipt.repeated {
        told["repeated"] = true.into();
    }
    told
}

fn failed(topic: &Topic, error: &PublishError) -> Problem {
    let status = match error {
        PublishError::Away(_) => StatusCode::SERVICE_UNAVAILABLE,
        PublishError::Refused(refused) if refused.passes() => StatusCode::SERVICE_UNAVAILABLE,
        PublishError::Refused(_) => StatusCode::BAD_GATEWAY,
        PublishError::Header(_) => StatusCode::BAD_REQUEST,
    };
    let problem = Problem::new(status, format!("not published to {topic}: {error}"));
    match error {
        PublishError::Refused(refused) => problem.refused(&refused.word),
        PublishError::Away(_) | PublishError::Header(_) => problem,
    }
}
