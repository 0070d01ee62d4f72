//! Answers that we write ourselves, so that each goes out whole or not at all, with header names as people write them.

use std::time::SystemTime;

use axum::body::to_bytes;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;

/// The most that a door says in an answer.
const MOST: usize = 64 * 1024;

/// An answer as bytes. It is the last over its connection, and says so.
pub(super) async fn encode(response: Response, method: &Method) -> Vec<u8> {
    let (parts, body) = response.into_parts();
    // What our doors answer is whole already.
    let body = to_bytes(body, MOST).await.unwrap_or_default();
    // To HEAD there is no body, and its length is what the router found before it took it out.
    let length = match *method {
        Method::HEAD => parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok()),
        _ => (parts.status != StatusCode::NO_CONTENT).then_some(body.len()),
    };
    let mut wire = status_line(parts.status);
    lines(parts.headers.iter().filter(|(name, _)| ![CONNECTION, CONTENT_LENGTH, DATE].contains(name)), &mut wire);
    let date = httpdate::fmt_http_date(SystemTime::now());
    let connection = connection(&parts.headers);
    wire.extend_from_slice(format!("Date: {date}\r\nConnection: {connection}\r\n").as_bytes());
    if let Some(length) = length {
        wire.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
    }
    wire.extend_from_slice(b"\r\n");
    if method != Method::HEAD {
        wire.extend_from_slice(&body);
    }
    wire
}

fn status_line(status: StatusCode) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or_default();
    format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes()
}

/// What names lines that are for this hop only names them still.
fn connection(headers: &HeaderMap) -> String {
    let options = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let options = options.filter(|option| *option != "close").chain(["close"]);
    options.collect::<Vec<_>>().join(", ")
}

/// Header lines, each name with capitals as in the RFCs: there are clients that compare them byte for byte.
pub fn lines<'a>(
    headers: impl IntoIterator<Item = (&'a axum::http::HeaderName, &'a axum::http::HeaderValue)>,
    wire: &mut Vec<u8>,
) {
    for (name, value) in headers {
        let from = wire.len();
        wire.extend_from_slice(name.as_str().as_bytes());
        let mut before = b'-';
        for byte in &mut wire[from..] {
            if before == b'-' {
                byte.make_ascii_uppercase();
            }
            before = *byte;
        }
        if name.as_str().starts_with("sec-websocket-") {
            wire[from + "sec-web".len()] = b'S';
        }
        for part in [b": ", value.as_bytes(), b"\r\n"] {
            wire.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::HeaderValue;

    use super::*;

    async fn encoded(status: u16, headers: &[(&'static str, &'static str)], method: Method) -> String {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let wire = String::from_utf8(encode(response.body(Body::from("why\n")).unwrap(), &method).await).unwrap();
        let (before, date) = wire.split_once("\r\nDate: ").unwrap();
        [before, "\r\nDate: …", &date[date.find("\r\n").unwrap()..]].concat()
    }

    #[tokio::test]
    async fn an_answer_is_whole_and_the_last() {
        assert_eq!(
            encoded(503, &[("retry-after", "3"), ("connection", "close")], Method::GET).await,
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\nDate: …\r\nConnection: close\r\nContent-Length: 4\r\n\r\nwhy\n"
        );
        let upgrade = [("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-version", "13")];
        assert_eq!(
            encoded(426, &upgrade, Method::GET).await,
            "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nDate: …\r\n\
             Connection: Upgrade, close\r\nContent-Length: 4\r\n\r\nwhy\n"
        );
        let looked = "HTTP/1.1 200 OK\r\nDate: …\r\nConnection: close\r\n";
        assert_eq!(encoded(200, &[], Method::HEAD).await, format!("{looked}\r\n"));
        let known = encoded(200, &[("content-length", "7")], Method::HEAD).await;
        assert_eq!(known, format!("{looked}Content-Length: 7\r\n\r\n"));
    }

    #[test]
    fn names_have_capitals_as_in_the_rfcs() {
        let headers = HeaderMap::from_iter([(
            axum::http::header::ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("https://a.example"),
        )]);
        let mut wire = Vec::new();
        lines(&headers, &mut wire);
        assert_eq!(wire, b"Access-Control-Allow-Origin: https://a.example\r\n");
    }
}
