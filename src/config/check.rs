//! What must hold between keys, and between keys and the machine.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::Limits;
use super::fill::Origins;
use super::mistakes::Report;
use crate::link::address::{Address, Road};
use crate::settings::notation::write_size;
use crate::settings::{Auto, Grant, OnMessage, Redis, Settings};

/// Descriptors that are no client's: listeners, links to Redis, files, `/metrics`.
const SPARE: usize = 64;

/// What an entry of the outbox counts beyond its bytes.
const ENTRY: usize = 64;

pub(super) fn check(settings: &Settings, origins: &Origins, limits: Limits, report: &mut Report) {
    listeners(settings, origins, report);
    descriptors(settings, origins, limits, report);
    api_keys(settings, origins, report);
    redis(settings, origins, report);
    inbound(settings, origins, report);
    outbox(settings, origins, report);
    publishing(settings, origins, report);
}

/// Clients publish where both the topic's rule and their route let them.
fn publishing(settings: &Settings, origins: &Origins, report: &mut Report) {
    let rule = settings.topics.rules.iter().position(|rule| rule.publish == Grant::Anyone);
    let route = settings.routes.iter().find(|route| route.on_message == OnMessage::Publish);
    match (rule, route) {
        (Some(index), None) => report.warn(
            origins.of(&format!("topics[{index}]")),
            "publish = \"anyone\" lets nobody publish: no route takes what clients say; write on_message = \"publish\" into their [[routes]]",
        ),
        (None, Some(route)) => report.warn(
            &format!("routes[{:?}]", route.path),
            "on_message = \"publish\" lets nobody publish: no topic rule does; write publish = \"anyone\" into a [[topics]]",
        ),
        _ => {}
    }
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
    let redis = &settings.redis;
    // One that cannot be read is told where it is read.
    let addresses = Address::parse_all(redis.url.reveal()).unwrap_or_default();
    credentials(redis, &addresses, origins, report);
    databases(redis, &addresses, origins, report);
    let named = !addresses.is_empty();
    let (no_sentinel, no_tls) = (named && !addresses.iter().any(sentinel), named && !addresses.iter().any(|it| it.tls));
    let set = [
        ("redis.password", !redis.password.is_empty() && redis.url.is_empty(), NO_URL),
        ("redis.sentinel_username", !redis.sentinel_username.is_empty() && no_sentinel, NO_SENTINEL),
        ("redis.sentinel_password", !redis.sentinel_password.is_empty() && no_sentinel, NO_SENTINEL),
        ("redis.ca", !redis.ca.is_empty() && no_tls, NO_TLS),
        ("redis.cert", !redis.cert.is_empty() && no_tls, NO_TLS),
        ("redis.sharded", redis.sharded && !addresses.iter().all(cluster), NO_CLUSTER),
    ];
    for (key, _, why) in set.into_iter().filter(|(_, alone, _)| *alone) {
        report.mistake(origins.of(key), format!("{key} is set but {why}"));
    }
    for (key, path, other, missing) in
        [("redis.cert", &redis.cert, "redis.key", &redis.key), ("redis.key", &redis.key, "redis.cert", &redis.cert)]
    {
        if !path.is_empty() && missing.is_empty() {
            report.mistake(origins.of(key), format!("{key} is set but {other} is not; set both or neither"));
        }
    }
}

const NO_URL: &str = "redis.url is not; write redis.url = \"redis://host:6379\"";
const NO_SENTINEL: &str = "redis.url names no Sentinel; write redis.url = \"redis+sentinel://host:26379,host:26379/mymaster\", or take it away";
const NO_TLS: &str = "redis.url speaks no TLS; write \"rediss://host:6379\", or take it away";
const NO_CLUSTER: &str = "redis.url names no cluster; write redis.url = \"redis+cluster://host:7000,host:7001\"";

fn sentinel(address: &Address) -> bool {
    matches!(address.road, Road::Sentinel { .. })
}

fn cluster(address: &Address) -> bool {
    matches!(address.road, Road::Cluster(_))
}

/// A database parts keys, and so histories, but no channels.
fn databases(redis: &Redis, addresses: &[Address], origins: &Origins, report: &mut Report) {
    let Some(Address { db, .. }) = addresses.iter().find(|address| address.db != 0) else { return };
    let prefix = &redis.prefix;
    report.warn(
        origins.of("redis.url"),
        &format!(
            "redis.url names database {db}, which parts histories but no channels: what is published to {prefix:?} in another database arrives here, too, and its positions and gaps are false; take \"/{db}\" away, and part gateways by redis.prefix"
        ),
    );
}

/// A user or password stands in one place.
fn credentials(redis: &Redis, addresses: &[Address], origins: &Origins, report: &mut Report) {
    let all = |has: fn(&Address) -> bool| !addresses.is_empty() && addresses.iter().all(has);
    for (twice, key) in [
        (all(|address| address.password.is_some()) && !redis.password.is_empty(), "redis.password"),
        (all(|address| address.username.is_some()) && !redis.username.is_empty(), "redis.username"),
    ] {
        if twice {
            let other = origins.of("redis.url");
            let word = key.rsplit('.').next().unwrap_or(key);
            report.mistake(origins.of(key), format!("{key}: redis.url ({other}) holds a {word} too; take one away"));
        }
    }
}

fn inbound(settings: &Settings, origins: &Origins, report: &mut Report) {
    let (Auto::Value(total), least) = (settings.inbound.total, settings.largest_message().twice()) else { return };
    if total < least {
        let (total, least) = (write_size(total), write_size(least));
        report.mistake(
            origins.of("inbound.total"),
            format!("inbound.total = \"{total}\" has no room for two messages of the largest size; write at least \"{least}\", or lower limits.message"),
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
