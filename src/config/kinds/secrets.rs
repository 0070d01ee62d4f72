//! What must not be shown.

use config::ValueKind;

use super::{Bad, Kind, Show, quote};
use crate::link::address::{self, Address};
use crate::settings::{ApiKey, Secret};

/// Where Redis is. Shown without its password.
pub(in crate::config) struct RedisUrl;

impl Kind<Secret> for RedisUrl {
    fn expected(&self) -> String {
        format!("{}, or \"\" for none", address::FORMS)
    }

    fn read(&self, raw: &ValueKind) -> Result<Secret, Vec<Bad>> {
        let text = match raw {
            ValueKind::String(text) => text.trim().to_owned(),
            ValueKind::Array(items) => {
                let urls = items.iter().map(|item| match &item.kind {
                    ValueKind::String(url) => Ok(url.trim()),
                    _ => Err(Bad::unexpected()),
                });
                urls.collect::<Result<Vec<_>, _>>()?.join(",")
            }
            _ => return Err(Bad::unexpected()),
        };
        if text.is_empty() {
            return Ok(Secret::default());
        }
        match Address::parse_all(&text) {
            Ok(_) => Ok(Secret::new(text)),
            Err(bad) => Err(Bad::because(bad.why)),
        }
    }

    fn write(&self, value: &Secret, show: Show) -> String {
        match show {
            // Credentials that change in a file are read again at each dial, so they make no difference.
            Show::Plain => {
                let masked = masked(value.reveal());
                match value.file().filter(|_| masked != value.reveal()) {
                    Some(path) => quote(&format!("{masked} in {}", path.display())),
                    None => quote(value.reveal()),
                }
            }
            Show::Masked => quote(&masked(value.reveal())),
        }
    }

    fn secret(&self) -> bool {
        true
    }

    fn stands_in(&self, value: &mut Secret, path: &str) {
        *value = std::mem::take(value).standing_in(path);
    }
}

/// The URLs with `***` for what must not be shown.
fn masked(text: &str) -> String {
    address::split(text).into_iter().map(masked_one).collect::<Vec<_>>().join(",")
}

fn masked_one(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    let hosts = rest.rfind('@').map_or(0, |at| at + 1);
    let (authority, path) = rest[hosts..].find('/').map_or((rest, ""), |slash| rest.split_at(hosts + slash));
    let authority = match authority.rsplit_once('@') {
        Some((user, address)) => match user.split_once(':') {
            Some((name, _)) => format!("{name}:***@{address}"),
            None => format!("{user}@{address}"),
        },
        None => authority.into(),
    };
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let query = query.map(|query| {
        let pairs = query.split('&').map(|pair| if pair.starts_with("pass=") { "pass=***" } else { pair });
        format!("?{}", pairs.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{authority}{path}{}", query.unwrap_or_default())
}

/// A password.
pub(in crate::config) struct Password;

impl Kind<Secret> for Password {
    fn expected(&self) -> String {
        "a text in quotes".into()
    }

    fn read(&self, raw: &ValueKind) -> Result<Secret, Vec<Bad>> {
        match raw {
            ValueKind::String(text) => Ok(Secret::new(text.as_str())),
            _ => Err(Bad::unexpected()),
        }
    }

    fn write(&self, value: &Secret, show: Show) -> String {
        match show {
            Show::Masked if !value.is_empty() => quote("***"),
            _ => quote(&value.file().map_or_else(|| value.reveal().into(), |path| path.display().to_string())),
        }
    }

    fn secret(&self) -> bool {
        true
    }

    fn stands_in(&self, value: &mut Secret, path: &str) {
        *value = std::mem::take(value).standing_in(path);
    }
}

/// An API key, `name:secret`.
pub(in crate::config) struct ApiKeyOf;

impl Kind<ApiKey> for ApiKeyOf {
    fn expected(&self) -> String {
        "\"name:secret\" with a name of letters, digits, \"-\", \"_\" and \".\"".into()
    }

    fn read(&self, raw: &ValueKind) -> Result<ApiKey, Vec<Bad>> {
        let ValueKind::String(text) = raw else { return Err(Bad::unexpected()) };
        let named =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        match text.split_once(':') {
            Some((name, secret)) if named(name) && !secret.is_empty() => {
                Ok(ApiKey { name: name.into(), secret: Secret::new(secret) })
            }
            _ => Err(Bad::unexpected()),
        }
    }

    fn write(&self, value: &ApiKey, show: Show) -> String {
        match show {
            Show::Masked => quote(&format!("{}:***", value.name)),
            Show::Plain => quote(&format!("{}:{}", value.name, value.secret.reveal())),
        }
    }

    fn secret(&self) -> bool {
        true
    }
}
