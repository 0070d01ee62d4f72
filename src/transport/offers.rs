//! `Sec-WebSocket-Extensions`: which offer of permessage-deflate suits us (RFC 6455 §9.1, RFC 7692 §5 and §7.1).
//!
//! We compress without context takeover, so that all clients share what is compressed, and with the window of
//! 15 bits that goes with it; we inflate without either, so that an idle connection holds no window.

use std::borrow::Cow;

use axum::http::{HeaderMap, header};

/// What we do and what the client must do; every client knows the second, whether it offered it or not.
const ACCEPTED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The same to a client that asked for our largest window by its size: it must be told (RFC 7692 §7.1.2.1).
const ACCEPTED_WITH_WINDOW: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15";

/// The answer to the first offer that suits us; none where none does, and then nothing is compressed.
pub(super) fn accept(headers: &HeaderMap) -> Option<&'static str> {
    let lines = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).into_iter();
    lines.filter_map(|line| line.to_str().ok()).flat_map(|line| split(line, ',')).find_map(answer)
}

/// The answer to one offer; none where it is something else, is malformed, or asks for what we do not do.
fn answer(offer: &str) -> Option<&'static str> {
    let mut parts = split(offer, ';').map(str::trim);
    if parts.next()? != "permessage-deflate" {
        return None;
    }
    let mut answer = ACCEPTED;
    let mut seen = Vec::new();
    for part in parts {
        let (name, value) = parameter(part)?;
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
        match (name, value.as_deref()) {
            ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => {}
            // Whatever its window is, ours holds it.
            ("client_max_window_bits", Some(bits)) if is_window(bits) => {}
            ("server_max_window_bits", Some("15")) => answer = ACCEPTED_WITH_WINDOW,
            _ => return None,
        }
    }
    Some(answer)
}

/// `name`, `name=value` or `name="value"`.
fn parameter(text: &str) -> Option<(&str, Option<Cow<'_, str>>)> {
    match text.split_once('=') {
        None => Some((text, None)),
        Some((name, value)) => Some((name.trim_end(), Some(unquoted(value.trim_start())?))),
    }
}

/// A value without its quotes, if it has any; what stands behind a backslash there stands for itself.
fn unquoted(value: &str) -> Option<Cow<'_, str>> {
    let Some(quoted) = value.strip_prefix('"') else { return Some(Cow::Borrowed(value)) };
    let (mut plain, mut chars) = (String::new(), quoted.chars());
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => plain.push(chars.next()?),
            other => plain.push(other),
        }
    }
    chars.as_str().is_empty().then_some(Cow::Owned(plain))
}

/// A number of window bits (RFC 7692 §7.1.2), without leading zeros.
fn is_window(bits: &str) -> bool {
    matches!(bits, "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")
}

/// The pieces of `text` between `at`; inside quotes it is no end.
fn split(text: &str, at: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let ends = c == at && !quoted;
        escaped = match c {
            _ if escaped => false,
            '"' => {
                quoted = !quoted;
                false
            }
            c => c == '\\' && quoted,
        };
        ends
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn accepted(lines: &[&str]) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        accept(&headers)
    }

    #[test]
    fn what_chromium_firefox_ws_and_websockets_offer_is_accepted_without_context_takeover() {
        for offer in [
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits=15",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "permessage-deflate ;client_max_window_bits = \"10\" ; server_no_context_takeover",
            "x-webkit-deflate-frame, permessage-deflate",
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
        ] {
            assert_eq!(accepted(&[offer]), Some(ACCEPTED), "{offer}");
        }
        assert_eq!(accepted(&["a", "b; c=\"d,e;f\"", "permessage-deflate"]), Some(ACCEPTED));
    }

    #[test]
    fn the_largest_window_is_confirmed_to_who_asks_for_it_and_a_smaller_one_declined() {
        let bits = |bits: &str| accepted(&[&format!("permessage-deflate; server_max_window_bits={bits}")]);
        assert_eq!(
            (bits("15"), bits("\"15\""), bits("\"1\\5\"")),
            (Some(ACCEPTED_WITH_WINDOW), bits("15"), bits("15"))
        );
        for declined in ["8", "14", "16", "015", "7", "", "\"15", "\"15\"x", "1 5"] {
            assert_eq!(bits(declined), None, "{declined}");
        }
    }

    #[test]
    fn the_first_offer_that_suits_us_holds() {
        let window = "permessage-deflate; server_max_window_bits=15";
        let both = format!("{window}, permessage-deflate");
        assert_eq!(accepted(&[&both]), Some(ACCEPTED_WITH_WINDOW));
        assert_eq!(accepted(&["permessage-deflate", window]), Some(ACCEPTED));
        assert_eq!(accepted(&["permessage-deflate; server_max_window_bits=9", &both]), Some(ACCEPTED_WITH_WINDOW));
    }

    #[test]
    fn an_offer_with_unknown_repeated_or_malformed_parameters_is_declined() {
        for offer in [
            "",
            "permessage-bzip2",
            "permessage-deflate; unknown",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=15",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=\"\"",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate;",
            "permessage-deflate; ; client_max_window_bits",
            "permessage-deflate=1",
            "permessage-deflate client_max_window_bits",
            "x; y=\"a, permessage-deflate, b\"",
            r#"x; y="\", permessage-deflate, b""#,
        ] {
            assert_eq!(accepted(&[offer]), None, "{offer}");
        }
    }

    /// A parameter, and whether an offer with it suits us.
    fn parameters() -> impl Strategy<Value = Vec<(String, bool)>> {
        let known = prop::sample::subsequence(
            vec![
                "server_no_context_takeover",
                "client_no_context_takeover",
                "client_max_window_bits",
                "bits",
                "window",
            ],
            0..=5,
        );
        (known, 8..=15_u8, any::<bool>(), "[a-z_]{1,12}(=([a-z0-9]{1,3}|\"[a-z,;= ]{0,5}\"))?").prop_map(
            |(known, bits, quoted, strange)| {
                let number = |bits: u8| if quoted { format!("\"{bits}\"") } else { bits.to_string() };
                let all = known.into_iter().map(|name| match name {
                    "bits" => (format!("server_max_window_bits={}", number(bits)), bits == 15),
                    "window" => (strange.clone(), false),
                    "client_max_window_bits" if bits % 2 == 0 => (format!("{name}={}", number(bits)), true),
                    name => (name.to_owned(), true),
                });
                all.collect()
            },
        )
    }

    proptest! {
        #[test]
        fn offers_are_judged_one_by_one_in_their_order_however_they_are_spread_over_lines(
            offers in prop::collection::vec((parameters(), any::<bool>()), 0..5), blank in "[ \t]{0,2}",
        ) {
            let (mut lines, mut expected) = (vec![String::new()], None);
            for (parameters, breaks) in offers {
                let mut offer = "permessage-deflate".to_owned();
                parameters.iter().for_each(|(text, _)| offer.push_str(&format!("{blank};{blank}{text}")));
                if parameters.iter().all(|(_, suits)| *suits) {
                    let window = offer.contains("server_max_window_bits");
                    expected = expected.or(Some(if window { ACCEPTED_WITH_WINDOW } else { ACCEPTED }));
                }
                let line = lines.last_mut().unwrap();
                line.push_str(if line.is_empty() { "" } else { "," });
                line.push_str(&offer);
                lines.extend(breaks.then(String::new));
            }
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            prop_assert_eq!(accepted(&lines), expected);
        }

        #[test]
        fn no_header_is_too_strange(lines in prop::collection::vec("[ -~\t]{0,60}", 0..4)) {
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let _ = accepted(&lines);
        }
    }
}
