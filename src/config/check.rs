//! What must hold between keys, and between keys and the machine.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::Limits;
use super::fill::Origins;
use super::mistakes::Report;
use super::units::write_size;
use crate::settings::{Auto, Settings};

/// Descriptors that are no client's: listeners, links to Redis, files, `/metrics`.
const SPARE: usize = 64;

/// What an entry of the outbox counts beyond its bytes.
const ENTRY: usize = 64;

pub(super) fn check(settings: &Settings, origins: &Origins, limits: Limits, report: &mut Report) {
    listeners(settings, origins, report);
    descriptors(settings, origins, limits, report);
    api_keys(settings, origins, report);
    redis(settings, origins, report);
    outbox(settings, origins, report);
}

/// The origin of whichever key was set, the later one first.
fn either_of<'a>(origins: &'a Origins, one: &str, other: &str) -> &'a str {
    if origins.is_set(one) { origins.of(one) } else { origins.of(other) }
}

fn listeners(settings: &Settings, origins: &Origins, report: &mut Report) {
    let (public, internal) = (&settings.public.listen, &settings.internal.listen);
    let (Ok(a), Ok(b)) = (public.parse::<SocketAddr>(), internal.parse::<SocketAddr>()) else { return };
    let meet = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    if a.port() != 0 && a.port() == b.port() && meet {
        let mut free = b;
        free.set_port(if b.port() == u16::MAX { b.port() - 1 } else { b.port() + 1 });
        report.mistake(
            either_of(origins, "internal.listen", "public.listen"),
            format!("public.listen = {public:?} and internal.listen = {internal:?} share port {}; write internal.listen = \"{free}\"", a.port()),
        );
    }
}

fn descriptors(settings: &Settings, origins: &Origins, limits: Limits, report: &mut Report) {
    let (Auto::Value(wanted), Some(limit)) = (settings.public.max_connections, limits.descriptors) else { return };
    let most = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(SPARE);
    if wanted > most {
        report.mistake(
            origins.of("public.max_connections"),
            format!("public.max_connections = {wanted}: the descriptor limit is {limit}, which carries {most}; write \"auto\", or raise the limit (ulimit -n, LimitNOFILE)"),
        );
    }
}

fn api_keys(settings: &Settings, origins: &Origins, report: &mut Report) {
    let mut names = BTreeSet::new();
    for key in &settings.internal.api_keys {
        if !names.insert(&key.name) {
            let message = format!("internal.api_keys: two keys are named {:?}; give each its own name", key.name);
            report.mistake(origins.of("internal.api_keys"), message);
        }
    }
}

fn redis(settings: &Settings, origins: &Origins, report: &mut Report) {
    let url = settings.redis.url.reveal();
    let credentials = url.strip_prefix("redis://").and_then(|rest| rest.rsplit_once('@')).map(|(user, _)| user);
    let password = credentials.is_some_and(|user| user.split_once(':').is_some_and(|(_, word)| !word.is_empty()))
        || (url.starts_with("unix://") && url.contains("pass="));
    let name = credentials.is_some_and(|user| user.split(':').next().is_some_and(|name| !name.is_empty()))
        || (url.starts_with("unix://") && url.contains("user="));
    for (twice, key) in [
        (password && !settings.redis.password.is_empty(), "redis.password"),
        (name && !settings.redis.username.is_empty(), "redis.username"),
    ] {
        if twice {
            let other = origins.of("redis.url");
            let word = key.rsplit('.').next().unwrap_or(key);
            report.mistake(origins.of(key), format!("{key}: redis.url ({other}) holds a {word} too; take one away"));
        }
    }
    if url.is_empty() && !settings.redis.password.is_empty() {
        report.mistake(
            origins.of("redis.password"),
            "redis.password is set but redis.url is not; write redis.url = \"redis://host:6379\"",
        );
    }
}

fn outbox(settings: &Settings, origins: &Origins, report: &mut Report) {
    let bytes = settings.outbox.bytes;
    for rule in &settings.topics.rules {
        if rule.publication.0 + ENTRY > bytes.0 {
            let (most, room) = (write_size(rule.publication), write_size(bytes));
            report.warn(
                origins.of("outbox.bytes"),
                &format!("a publication of {most} on {:?} fits no outbox of {room}; raise outbox.bytes or lower the rule's publication", rule.matches),
            );
        }
    }
    if let Auto::Value(total) = settings.outbox.total
        && total < bytes
    {
        let (total, bytes) = (write_size(total), write_size(bytes));
        report.warn(
            origins.of("outbox.total"),
            &format!(
                "outbox.total = \"{total}\" is less than outbox.bytes = \"{bytes}\", so no client ever has its share"
            ),
        );
    }
}
