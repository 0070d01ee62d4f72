//! What a new configuration changes, and what of it a running gateway takes over.

use std::fmt;

use super::keys::{Key, keys};
use super::kinds::Show;
use super::rules::{Draft, route_keys, topic_keys};
use crate::settings::{Route, Settings, TopicRule};

/// The longest value that is shown whole.
const LONGEST: usize = 100;

/// One difference between two configurations; shown with both values, and secrets as `***`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// E.g. `public.listen`, `topics["room:*"].publish` or `routes["/ws"]`.
    pub key: String,
    /// Whether SIGHUP changes it; otherwise it waits for a restart.
    pub live: bool,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// A key has another value; none where it is left out.
    Value(Option<String>, Option<String>),
    /// A rule or route is new.
    New,
    /// A rule or route is gone.
    Gone,
    /// The rules stand in another order, and the first that matches holds.
    Order,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.as_deref().map_or_else(|| "unset".to_owned(), shortened);
        match &self.what {
            What::Value(old, new) => write!(f, "{}: {} -> {}", self.key, shown(old), shown(new)),
            What::New => write!(f, "{} is new", self.key),
            What::Gone => write!(f, "{} is gone", self.key),
            What::Order => write!(f, "{} stand in another order", self.key),
        }
    }
}

fn shortened(value: &str) -> String {
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

/// Every difference, in the order of the file.
#[must_use]
pub fn changes(old: &Settings, new: &Settings) -> Vec<Change> {
    let (mut before, mut after) = (old.clone(), new.clone());
    let mut all = differing("", &keys(&mut before), &keys(&mut after));
    all.extend(of_rules(&old.topics.rules, &new.topics.rules));
    all.extend(of_routes(&old.routes, &new.routes));
    all
}

fn differing(table: &str, old: &[Key<'_>], new: &[Key<'_>]) -> Vec<Change> {
    let pairs = old.iter().zip(new);
    let differ = pairs.filter(|(old, new)| old.field.write(Show::Plain) != new.field.write(Show::Plain));
    let change = |(old, new): (&Key<'_>, &Key<'_>)| Change {
        key: format!("{table}{}", old.name),
        live: old.live,
        what: What::Value(old.field.write(Show::Masked), new.field.write(Show::Masked)),
    };
    differ.map(change).collect()
}

fn of_rules(old: &[TopicRule], new: &[TopicRule]) -> Vec<Change> {
    let key = |rule: &TopicRule| format!("topics[{:?}]", rule.matches);
    let alike = |rule: &TopicRule, others: &[TopicRule]| others.iter().position(|it| it.matches == rule.matches);
    let change = |key, what| Change { key, live: true, what };
    let (mut all, mut places) = (Vec::new(), Vec::new());
    for rule in old {
        let Some(place) = alike(rule, new) else {
            all.push(change(key(rule), What::Gone));
            continue;
        };
        places.push(place);
        let (mut before, mut after) = (rule.clone(), new[place].clone());
        all.extend(differing(&format!("{}.", key(rule)), &topic_keys(&mut before), &topic_keys(&mut after)));
    }
    all.extend(new.iter().filter(|rule| alike(rule, old).is_none()).map(|rule| change(key(rule), What::New)));
    if !places.is_sorted() {
        all.push(change("topics".into(), What::Order));
    }
    all
}

/// Routes come and go by a restart only.
fn of_routes(old: &[Route], new: &[Route]) -> Vec<Change> {
    let change = |route: &Route, what| Change { key: format!("routes[{:?}]", route.path), live: false, what };
    let alike = |route: &Route, others: &[Route]| others.iter().find(|other| other.path == route.path).cloned();
    let mut all = Vec::new();
    for route in old {
        let Some(other) = alike(route, new) else {
            all.push(change(route, What::Gone));
            continue;
        };
        let (mut before, mut after) = (Draft::of(route), Draft::of(&other));
        let table = format!("routes[{:?}].", route.path);
        all.extend(differing(&table, &route_keys(&mut before), &route_keys(&mut after)));
    }
    all.extend(new.iter().filter(|route| alike(route, old).is_none()).map(|route| change(route, What::New)));
    all
}
