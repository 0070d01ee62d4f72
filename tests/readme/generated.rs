//! What the README says that the code knows better: written from it, and compared with it.

use fanline::close::{Close, Retry};
use fanline::config::{Reference, reference};
use fanline::metrics::Metrics;

use crate::blocks;
use crate::gateway::repository;
use crate::wire;

/// A part's name, and what writes it.
type Part = (&'static str, fn() -> String);

/// The parts between `<!-- generated: NAME -->` and `<!-- end -->`.
const PARTS: [Part; 7] = [
    ("events", wire::events),
    ("refusals", wire::refusals),
    ("gaps", wire::gaps),
    ("stream", wire::stream),
    ("closes", closes),
    ("settings", settings),
    ("metrics", metrics),
];

/// The README with every generated part as the code has it.
fn current() -> String {
    PARTS.iter().fold(blocks::text(), |text, (name, write)| {
        let begin = format!("<!-- generated: {name} -->\n");
        let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("the README has no {begin}"));
        let (_, after) = rest.split_once("<!-- end -->").unwrap_or_else(|| panic!("{name} has no end"));
        format!("{before}{begin}{}<!-- end -->{after}", write())
    })
}

#[test]
fn the_readme_says_what_the_code_knows() {
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(repository().join("README.md"), current()).expect("a written README");
        return;
    }
    for (found, expected) in blocks::text().lines().zip(current().lines()) {
        assert_eq!(found, expected, "run UPDATE_README=1 cargo test --test readme generated");
    }
    assert!(blocks::text() == current(), "run UPDATE_README=1 cargo test --test readme generated");
}

fn row(cells: &[&str]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn head(cells: &[&str]) -> String {
    row(cells) + &row(&vec!["---"; cells.len()])
}

/// Code in a cell; a bar would end the cell.
fn code(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!("`{}`", text.replace('|', "\\|")),
    }
}

fn plain(text: &str) -> String {
    text.replace('|', "\\|").replace('*', "\\*").replace('<', "&lt;")
}

/// Every close that this version may send, each once.
fn all_closes() -> [(Close, &'static str); 16] {
    // A new kind of close does not compile here until it has its place in the list below.
    let _ = |close: Close| match close {
        Close::Client(_) | Close::Protocol(_) | Close::NotUtf8 | Close::TooBig(_) | Close::Drain(_) => {}
        Close::Forbidden(_) | Close::BadRequest(_) | Close::Slow(_) | Close::RateLimited(_) => {}
        Close::Overloaded(_)
        | Close::Unfinished(_)
        | Close::Shed(_)
        | Close::NoPong
        | Close::Gap
        | Close::MaxAge(_)
        | Close::Lost => {}
    };
    [
        (Close::Client(1000), "the client closed; its own code is answered"),
        (Close::Protocol("…"), "the client broke RFC 6455, or 7692 where messages are compressed; the reason says how"),
        (Close::Lost, "never sent: the socket is gone"),
        (Close::NotUtf8, "a text message was not UTF-8"),
        (Close::TooBig(65536), "a message above `limits.message`"),
        (Close::Drain(1500), "this replica shuts down; the others are there"),
        (Close::Forbidden("…".into()), "the route or the topic's rule does not allow it; the reason says what"),
        (Close::BadRequest("…".into()), "messages that make no sense here"),
        (Close::Slow(1500), "the client reads too slowly: its outbox was full, or it took nothing for `outbox.stall`"),
        (
            Close::RateLimited(1500),
            "the client sent more messages, control frames or tiny fragments than `limits.messages_per_second` and `limits.burst`",
        ),
        (Close::Overloaded(1500), "all outboxes together passed `outbox.total`, and this was the fullest"),
        (
            Close::Unfinished(1500),
            "a message was not all here within `inbound.timeout`, or all such messages passed `inbound.total` and this was the oldest",
        ),
        (Close::Shed(1500), "the operator sends some of this replica's clients to the others"),
        (Close::NoPong, "no sign of life within `heartbeat.timeout`"),
        (Close::Gap, "something was missed, and the route says `on_gap = \"close\"`"),
        (Close::MaxAge(1500), "it was open for `public.max_age`"),
    ]
}

fn closes() -> String {
    let rows = all_closes().map(|(close, why)| {
        let retry = match close.retry() {
            Retry::Never => "not without a change",
            Retry::After(_) => "after `retry_ms`",
            Retry::Now => "at once",
        };
        row(&[&close.code().to_string(), &code(close.label()), why, &code(&close.reason()), retry])
    });
    head(&["code", "reason in metrics and `goodbye`", "why", "reason text", "come back"]) + &rows.concat()
}

fn settings() -> String {
    let line = |entry: Reference| {
        let live = if entry.live { "yes" } else { "" };
        let meaning = format!("{} *{}*", plain(entry.doc), plain(&entry.expected));
        row(&[&code(&entry.key), &code(&entry.default), &meaning, live])
    };
    let rows: Vec<_> = reference().into_iter().map(line).collect();
    head(&["key", "default", "what it is for, and what it may be", "SIGHUP"]) + &rows.concat()
}

fn metrics() -> String {
    let rows = Metrics::new().registry().gather().into_iter().map(|family| {
        let kind = format!("{:?}", family.get_field_type()).to_lowercase();
        row(&[&code(family.name()), &kind, &labels(&family), &plain(family.help())])
    });
    head(&["name", "type", "labels", "what it counts"]) + &rows.collect::<String>()
}

/// `name`: its values, in order; a version is whatever it is.
fn labels(family: &prometheus::proto::MetricFamily) -> String {
    let pairs = family.get_metric().iter().flat_map(|metric| metric.get_label());
    let mut labels = std::collections::BTreeMap::<_, Vec<_>>::new();
    for pair in pairs {
        let value = if pair.name() == "version" { "…" } else { pair.value() };
        labels.entry(pair.name()).or_default().push(code(value));
    }
    let shown = labels.iter().map(|(name, values)| format!("{}: {}", code(name), values.join(" ")));
    shown.collect::<Vec<_>>().join("; ")
}
