//! Reading what a request brings: so much, and no longer than that.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use bytes::Bytes;

use super::problem::Problem;

/// How long a body may take.
const TIME: Duration = Duration::from_secs(10);

/// The whole body, of at most so many bytes.
pub(super) async fn read(body: Body, most: usize) -> Result<Bytes, Problem> {
    let slow = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, format!("the body did not come within {TIME:?}"));
    let too_large = |_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {most} bytes here"));
    tokio::time::timeout(TIME, to_bytes(body, most)).await.map_err(slow)?.map_err(too_large)
}

/// A text without the byte order mark that some editors and runtimes write before it, and that no eye sees.
pub(super) fn unmarked(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}
