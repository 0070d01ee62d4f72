//! What a page of another origin may do with an answer (WHATWG Fetch, 3.2): `public.origins` says whose.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::settings::Origins;

/// How long a browser may remember that it asked, in seconds: as long as Chromium at most does.
const REMEMBERED: &str = "7200";

/// The header lines by which a page that was let in may read the answer.
pub(super) fn grants(origins: &Origins, headers: &HeaderMap) -> HeaderMap {
    let mut grants = HeaderMap::new();
    if let Origins::List(_) = origins {
        grants.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return grants };
    let whom = match origins {
        Origins::Any => HeaderValue::from_static("*"),
        Origins::List(_) => {
            // Cookies come along from pages that the operator named, never from anybody's.
            grants.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            origin.clone()
        }
    };
    grants.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, whom);
    grants.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
    grants
}

/// The answer to a page that asks before it sends headers of its own, as replacements of `EventSource` do. They
/// change nothing here, so all are welcome.
pub(super) fn preflight(headers: &HeaderMap) -> Response {
    let mut answer = StatusCode::NO_CONTENT.into_response();
    let lines = answer.headers_mut();
    lines.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    lines.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET"));
    lines.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBERED));
    if let Some(asked) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        lines.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    fn from(origin: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))])
    }

    #[test]
    fn any_page_reads_and_a_listed_one_brings_its_cookies() {
        let list = Origins::List(vec!["https://a.example".into()]);
        assert_eq!(
            lines(&grants(&Origins::Any, &from("https://a.example"))),
            ["access-control-allow-origin: *", "access-control-expose-headers: Retry-After"]
        );
        assert_eq!(
            lines(&grants(&list, &from("https://a.example"))),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-origin: https://a.example",
                "access-control-expose-headers: Retry-After",
                "vary: Origin"
            ]
        );
        assert!(grants(&Origins::Any, &HeaderMap::new()).is_empty());
        assert_eq!(lines(&grants(&list, &HeaderMap::new())), ["vary: Origin"]);
    }

    #[test]
    fn a_page_may_send_the_headers_that_it_asks_for() {
        let asked = HeaderMap::from_iter([(
            header::ACCESS_CONTROL_REQUEST_HEADERS,
            HeaderValue::from_static("authorization,x-mine"),
        )]);
        let answer = preflight(&asked);
        assert_eq!(
            (answer.status(), &answer.headers()["access-control-allow-headers"]),
            (StatusCode::NO_CONTENT, &"authorization,x-mine".parse().unwrap())
        );
        assert_eq!(answer.headers()["access-control-allow-methods"], "GET");
        assert!(!preflight(&HeaderMap::new()).headers().contains_key("access-control-allow-headers"));
    }
}
