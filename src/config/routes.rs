//! `[[routes]]`: reading them, and what must hold among them.

use std::collections::BTreeMap;

use config::{Map, Value, ValueKind};

use super::fill::{read_table, tables};
use super::layer::Layer;
use super::mistakes::Report;
use super::nearest::either;
use super::rules::{Answer, Draft, route_keys};
use crate::settings::{Part, ProtocolChoice, Route, Settings, Template};

/// The default routes, with those of the file added or in the place of the same path.
pub(super) fn read(values: &Layer, settings: &Settings, report: &mut Report) -> Vec<Route> {
    let mut all = Route::defaults();
    let mut places = BTreeMap::<String, String>::new();
    for (index, (place, table)) in tables(values, "routes").into_iter().enumerate() {
        let label = format!("routes[{index}]");
        let mut draft = Draft::default();
        read_table(route_keys(&mut draft), &label, &spread_heartbeat(table), report);
        if !table.contains_key("path") {
            report.mistake(&place, format!("{label} has no path; write path = \"/rooms/{{id}}\""));
            continue;
        }
        if let Some(first) = places.insert(draft.path.clone(), place.clone()) {
            report.mistake(&place, format!("{label}: path {:?} stands at {first} already; take one away", draft.path));
            continue;
        }
        check(&draft, &label, &place, report);
        let route = draft.route(&settings.limits, &settings.heartbeat);
        match all.iter_mut().find(|other| other.path == route.path) {
            Some(other) => *other = route,
            None => all.push(route),
        }
    }
    check_paths(&all, &places, report);
    all
}

/// `heartbeat = "off"` is short for `heartbeat.every = "off"`.
fn spread_heartbeat(table: &Map<String, Value>) -> Map<String, Value> {
    let mut table = table.clone();
    if let Some(value) = table.get("heartbeat").filter(|value| !matches!(value.kind, ValueKind::Table(_))).cloned() {
        table.remove("heartbeat");
        table.insert("heartbeat.every".into(), value);
    }
    table
}

/// What must hold within a route.
fn check(draft: &Draft, label: &str, place: &str, report: &mut Report) {
    if let Some(reason) = bad_path(&draft.path) {
        report.mistake(place, format!("{label}.path = {:?}: {reason}", draft.path));
    }
    let segments = segments(&draft.path);
    for (index, text) in draft.topics.iter().enumerate() {
        let Ok(template) = Template::parse(text) else { continue };
        for part in template.parts() {
            if let Part::Path(name) = part
                && !segments.contains(name)
            {
                let held: Vec<_> = segments.iter().map(|name| format!("{{path.{name}}}")).collect();
                let there = match held.as_slice() {
                    [] => format!("it has none; write path = \"{}/{{{name}}}\"", draft.path.trim_end_matches('/')),
                    held => format!("it has {}", either(held)),
                };
                report.mistake(
                    place,
                    format!(
                        "{label}.topics[{index}] = {text:?}: path {:?} has no segment {{{name}}}; {there}",
                        draft.path
                    ),
                );
            }
        }
    }
    if draft.echo.is_some() && draft.on_message != Answer::Echo {
        report.mistake(place, format!("{label}.echo is set but nothing echoes; write on_message = \"echo\""));
    }
    if draft.protocol == ProtocolChoice::Sse && draft.on_message != Answer::Refuse {
        report.mistake(
            place,
            format!(
                "{label}.on_message is set, but on a route with protocol = \"sse\" clients only listen; take one away"
            ),
        );
    }
    if draft.include_sender && draft.on_message != Answer::Publish {
        report.warn(place, &format!("{label}.include_sender does nothing without on_message = \"publish\""));
    }
}

/// Why the router would not take a path, in its own terms where they are clear.
fn bad_path(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        let slashed = format!("/{path}");
        let better = if bad_path(&slashed).is_none() { &slashed } else { "/rooms/{id}" };
        return Some(format!("a path begins with \"/\"; write \"{better}\""));
    }
    if path.contains(['?', '#']) || path.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Some("a path has no \"?\", \"#\" nor blanks; write \"/rooms/{id}\"".into());
    }
    if let Some(old) = path.split('/').find_map(|segment| segment.strip_prefix(':')) {
        return Some(format!("a segment is named in braces; write {{{old}}}"));
    }
    if let Some(old) = path.split('/').find_map(|segment| segment.strip_prefix('*')) {
        return Some(format!("what remains is named in braces; write {{*{old}}}"));
    }
    let names = segments(path);
    if let Some(twice) = names.iter().enumerate().find_map(|(i, name)| names[..i].contains(name).then_some(name)) {
        return Some(format!("{{{twice}}} stands twice; give each segment its own name"));
    }
    match matchit::Router::new().insert(path, ()) {
        Ok(()) => None,
        Err(_) => Some("no path with segments in braces; write \"/rooms/{id}\", or \"/{*rest}\" at the end".into()),
    }
}

/// The names in braces; `{{` is a brace that stands for itself.
fn segments(path: &str) -> Vec<String> {
    let path = path.replace("{{", "").replace("}}", "");
    let pieces = path.split('{').skip(1);
    let names = pieces.filter_map(|piece| piece.split_once('}')).map(|(name, _)| name.trim_start_matches('*'));
    names.map(str::to_owned).collect()
}

/// What must hold among routes: the router knows for every path which one is meant.
fn check_paths(routes: &[Route], places: &BTreeMap<String, String>, report: &mut Report) {
    let mut router = matchit::Router::new();
    for route in routes.iter().filter(|route| bad_path(&route.path).is_none()) {
        if let Err(matchit::InsertError::Conflict { with }) = router.insert(&route.path, ()) {
            let place = places.get(&route.path).map_or("default", String::as_str);
            report.mistake(
                place,
                format!("path {:?} and path {with:?} fit the same requests; change or take away one", route.path),
            );
        }
    }
}
