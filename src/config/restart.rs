//! What a running gateway cannot take over.

use super::keys::{Key, keys};
use super::kinds::Show;
use super::rules::{Draft, route_keys};
use crate::settings::{Route, Settings};

/// The keys that differ and that SIGHUP does not change, e.g. `public.listen` or `routes["/ws"].topics`.
#[must_use]
pub fn needs_restart(old: &Settings, new: &Settings) -> Vec<String> {
    let (mut before, mut after) = (old.clone(), new.clone());
    let mut changed = fixed_that_differ(&keys(&mut before), &keys(&mut after));
    for route in &old.routes {
        match new.routes.iter().find(|other| other.path == route.path) {
            Some(other) => changed.extend(route_changes(route, other)),
            None => changed.push(format!("routes[{:?}]", route.path)),
        }
    }
    let added = new.routes.iter().filter(|route| old.routes.iter().all(|other| other.path != route.path));
    changed.extend(added.map(|route| format!("routes[{:?}]", route.path)));
    changed
}

fn route_changes(old: &Route, new: &Route) -> impl Iterator<Item = String> {
    let (mut before, mut after) = (Draft::of(old), Draft::of(new));
    let names = fixed_that_differ(&route_keys(&mut before), &route_keys(&mut after));
    let path = old.path.clone();
    names.into_iter().map(move |name| format!("routes[{path:?}].{name}"))
}

fn fixed_that_differ(old: &[Key<'_>], new: &[Key<'_>]) -> Vec<String> {
    let pairs = old.iter().zip(new).filter(|(old, _)| !old.live);
    let differ = pairs.filter(|(old, new)| old.field.write(Show::Plain) != new.field.write(Show::Plain));
    differ.map(|(old, _)| old.name.to_owned()).collect()
}
