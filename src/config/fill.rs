//! From merged values to settings.

use std::collections::BTreeMap;

use config::{Map, Value, ValueKind};

use super::catalog::sentence;
use super::keys::{Key, keys};
use super::kinds::found;
use super::layer::{Layer, origin};
use super::mistakes::Report;
use super::nearest::nearest;
use super::routes;
use super::rules::topic_keys;
use super::secret_file;
use crate::settings::notation::write_duration;
use crate::settings::{Settings, TopicRule, TopicRules};

/// Where each key that was set got its value.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Origins(BTreeMap<String, String>);

impl Origins {
    pub(super) fn note(&mut self, key: &str, origin: String) {
        self.0.insert(key.into(), origin);
    }

    /// The origin of a key; the defaults' is "default".
    pub(super) fn of(&self, key: &str) -> &str {
        self.0.get(key).map_or("default", String::as_str)
    }

    pub(super) fn is_set(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }
}

/// Reads every key; what is wrong keeps its default and is reported.
pub(super) fn settings(values: &Layer, report: &mut Report) -> (Settings, Origins) {
    let mut settings = Settings::default();
    let mut origins = Origins::default();
    for mut key in keys(&mut settings) {
        let file = key.twin().and_then(|twin| Some((values.get(&twin)?, twin)));
        let value = match &file {
            Some((path, twin)) => secret_file::read(&key, twin, path, values.get(key.name), report),
            None => values.get(key.name).cloned(),
        };
        if let Some(value) = value {
            origins.note(key.name, origin(&value));
            let name = key.name;
            read(&mut key, name, &value, report);
            if let Some((Value { kind: ValueKind::String(path), .. }, _)) = file {
                key.field.stands_in(path);
            }
        }
    }
    settings.topics = TopicRules::new(topic_rules(values, &mut origins, report));
    settings.routes = routes::read(values, &settings, report);
    (settings, origins)
}

/// Reads one value into its place, or reports everything that is wrong with it. `label` names the key.
fn read(key: &mut Key<'_>, label: &str, value: &Value, report: &mut Report) {
    let Err(wrong) = key.field.read(&value.kind) else { return };
    let shown = match &value.kind {
        ValueKind::Array(_) | ValueKind::Table(_) => found(&value.kind),
        _ if key.field.secret() => "\"***\"".into(),
        kind => found(kind),
    };
    for bad in wrong {
        report.mistake(&origin(value), sentence(label, &shown, &key.field.expected(), &bad));
    }
}

/// Reads one table of a list: `keys` are all there are, `label` names the table.
pub(super) fn read_table(mut keys: Vec<Key<'_>>, label: &str, table: &Map<String, Value>, report: &mut Report) {
    for (name, value) in flatten(table) {
        let label = format!("{label}.{name}");
        match keys.iter_mut().find(|key| key.name == name) {
            Some(key) => read(key, &label, value, report),
            None => {
                let near = nearest(&name, keys.iter().map(|key| key.name));
                let names: Vec<_> = keys.iter().map(|key| key.name).collect();
                let hint = near.map_or_else(
                    || format!("; there is {}", names.join(", ")),
                    |near| format!("; did you mean {near}?"),
                );
                report.mistake(&origin(value), format!("unknown key {label}{hint}"));
            }
        }
    }
}

/// The values of a table and of the tables in it, by dotted names.
fn flatten(table: &Map<String, Value>) -> Vec<(String, &Value)> {
    let mut all = Vec::new();
    for (name, value) in table {
        match &value.kind {
            ValueKind::Table(inner) if !inner.is_empty() => {
                all.extend(flatten(inner).into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            _ => all.push((name.clone(), value)),
        }
    }
    all
}

/// The tables of a list, each with its origin.
pub(super) fn tables<'a>(values: &'a Layer, list: &str) -> Vec<(String, &'a Map<String, Value>)> {
    let Some(ValueKind::Array(items)) = values.get(list).map(|value| &value.kind) else { return Vec::new() };
    let table = |item: &'a Value| match &item.kind {
        ValueKind::Table(table) => Some((origin(item), table)),
        _ => None,
    };
    items.iter().filter_map(table).collect()
}

/// What every client may make grow.
fn filled(rule: &TopicRule) -> String {
    let (name, kept) = (&rule.matches, write_duration(rule.remembered()));
    format!(
        "every client may publish to ever new topics of {name:?}, and each is kept in Redis for {kept}; write publish = \"none\" \
         there, name the topics one by one, or give Redis a maxmemory"
    )
}

fn topic_rules(values: &Layer, origins: &mut Origins, report: &mut Report) -> Vec<TopicRule> {
    let mut rules = Vec::<TopicRule>::new();
    for (index, (place, table)) in tables(values, "topics").into_iter().enumerate() {
        let mut rule = TopicRule::default();
        if !table.contains_key("match") {
            report.mistake(
                &place,
                format!("topics[{index}] has no match; write match = \"room:*\", or match = \"*\" for every topic"),
            );
        }
        read_table(topic_keys(&mut rule), &format!("topics[{index}]"), table, report);
        if let Some(first) = rules.iter().find(|earlier| swallows(&earlier.matches, &rule.matches)) {
            let (later, first) = (&rule.matches, &first.matches);
            report.warn(&place, &format!("the rule for {later:?} never holds: {first:?} stands above it; move it up"));
        } else if rule.is_filled_by_clients() {
            report.warn(&place, &filled(&rule));
        }
        origins.note(&format!("topics[{index}]"), place);
        rules.push(rule);
    }
    if rules.len() > MOST_RULES {
        report.mistake(
            "topics",
            format!("there are {} rules, at most {MOST_RULES} fit; join some by a prefix", rules.len()),
        );
    }
    rules
}

/// A rule's place is kept in 16 bits, and every new topic asks the rules one by one.
const MOST_RULES: usize = 10_000;

/// Whether an earlier pattern takes everything that a later one matches.
fn swallows(earlier: &str, later: &str) -> bool {
    match earlier.strip_suffix('*') {
        Some(prefix) => later.trim_end_matches('*').starts_with(prefix),
        None => earlier == later,
    }
}
