//! What went wrong with a request, as `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// What went wrong with a request.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    field: Option<&'static str>,
    published: Option<Value>,
    refused: Option<String>,
}

impl Problem {
    /// A status, and what was found and expected.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), field: None, published: None, refused: None }
    }

    /// A bad request, and the field that makes it one.
    pub fn field(status: StatusCode, field: &'static str, detail: impl Into<String>) -> Self {
        Self { field: Some(field), ..Self::new(status, detail) }
    }

    /// Redis refused, with this word.
    #[must_use]
    pub fn refused(self, word: &str) -> Self {
        Self { refused: (!word.is_empty()).then(|| word.to_owned()), ..self }
    }

    /// What was done before it went wrong.
    #[must_use]
    pub fn after(self, published: Value) -> Self {
        Self { published: Some(published), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(field) = self.field {
            body["field"] = field.into();
        }
        if let Some(word) = self.refused {
            body["refused"] = word.into();
        }
        if let Some(published) = self.published {
            body["topics"] = published;
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
