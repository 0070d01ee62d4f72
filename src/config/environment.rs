//! Variables and flags.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use config::{Value, ValueKind};

use super::Override;
use super::catalog::{Catalog, LISTS};
use super::kinds::quote;
use super::layer::Layer;
use super::mistakes::Report;
use super::nearest::nearest;
use crate::settings::Public;

/// `REDIS_URL` and `PORT`, as platforms set them.
pub(super) fn platform(env: &BTreeMap<String, String>, file: &Layer, report: &mut Report) -> Layer {
    let mut layer = Layer::default();
    if let Some(url) = env.get("REDIS_URL").filter(|url| !url.is_empty()) {
        layer.set("redis.url", Value::new(Some(&"REDIS_URL".into()), url.as_str()));
    }
    let Some(port) = env.get("PORT").filter(|port| !port.is_empty()) else { return layer };
    match port.trim().parse::<u16>() {
        Ok(port) => {
            if let Some(listen) = with_port(file, port) {
                layer.set("public.listen", Value::new(Some(&"PORT".into()), listen));
            }
        }
        Err(_) => report.mistake(
            "PORT",
            format!("public.listen's port = {}: expected a number from 0 to 65535; write 8080", quote(port)),
        ),
    }
    layer
}

/// The file's address, or the default one, with another port; nothing where the file's is none.
fn with_port(file: &Layer, port: u16) -> Option<String> {
    let listen = match file.get("public.listen").map(|value| &value.kind) {
        None => Public::default().listen,
        Some(ValueKind::String(text)) => text.clone(),
        Some(_) => return None,
    };
    let mut address: SocketAddr = listen.parse().ok()?;
    address.set_port(port);
    Some(address.to_string())
}

/// `FANLINE_<SECTION>__<KEY>`.
pub(super) fn variables(env: &BTreeMap<String, String>, catalog: &Catalog, report: &mut Report) -> Layer {
    let known: BTreeMap<String, &str> = catalog.variables().collect();
    let mut layer = Layer::default();
    let mut links = Vec::new();
    for (name, text) in env.iter().filter(|(name, _)| name.starts_with("FANLINE_")) {
        match known.get(name) {
            Some(key) => {
                if let Some(kind) = catalog.typed(key, text) {
                    layer.set(key, Value::new(Some(name), kind));
                }
            }
            None if is_service_link(name, text) => links.push(name.as_str()),
            None => report.mistake(name, unknown(name, &known)),
        }
    }
    if !links.is_empty() {
        report.warn(
            &links.join(", "),
            "ignored: Kubernetes sets these for a Service named fanline; enableServiceLinks: false keeps them away",
        );
    }
    layer
}

/// Whether Kubernetes set a variable for a Service whose name begins with `fanline`.
fn is_service_link(name: &str, text: &str) -> bool {
    const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];
    let Some(rest) = name.strip_prefix("FANLINE_").filter(|rest| !rest.contains("__")) else { return false };
    let rest = format!("_{rest}");
    if rest.ends_with("_SERVICE_HOST") || rest.contains("_SERVICE_PORT") {
        return true;
    }
    if rest.ends_with("_PORT") && PROTOCOLS.iter().any(|protocol| text.starts_with(&format!("{protocol}://"))) {
        return true;
    }
    // _PORT_8080_TCP, and with _PROTO, _PORT or _ADDR behind it
    let Some((_, tail)) = rest.rsplit_once("_PORT_").or_else(|| rest.split_once("_PORT_")) else { return false };
    let mut words = tail.split('_');
    let number = words.next().is_some_and(|word| word.parse::<u16>().is_ok());
    let protocol = words.next().is_some_and(|word| PROTOCOLS.contains(&word.to_lowercase().as_str()));
    number && protocol && matches!((words.next(), words.next()), (None | Some("PROTO" | "PORT" | "ADDR"), None))
}

fn unknown(name: &str, known: &BTreeMap<String, &str>) -> String {
    for list in LISTS {
        if name.to_lowercase().starts_with(&format!("fanline_{list}")) {
            return format!("unknown variable; [[{list}]] stand in the file only");
        }
    }
    let near = match name {
        "FANLINE_PORT" => Some("PORT"),
        name => nearest(name, known.keys().map(String::as_str)),
    };
    match near {
        Some(near) => format!("unknown variable; did you mean {near}?"),
        None => "unknown variable; a key is set by FANLINE_<SECTION>__<KEY>, such as FANLINE_PUBLIC__LISTEN".into(),
    }
}

/// What the command line sets.
pub(super) fn flags(flags: &[Override], catalog: &Catalog, report: &mut Report) -> Layer {
    let mut layer = Layer::default();
    for Override { flag, key, value } in flags {
        let list = key.split(['.', '[']).next().filter(|section| LISTS.contains(section));
        match (catalog.knows(key), list) {
            (true, _) => {
                // Unlike a variable, a flag is never set by accident: an empty one is read as it is.
                let kind = catalog.typed(key, value).unwrap_or_else(|| value.as_str().into());
                layer.set(key, Value::new(Some(flag), kind));
            }
            (false, Some(list)) => {
                report.mistake(flag, format!("unknown key {key}; [[{list}]] stand in the file only"));
            }
            (false, None) => report.mistake(flag, catalog.unknown_key(key)),
        }
    }
    layer
}
