//! Settings written out: the effective ones, and the example with every key explained.

use super::keys::{Key, keys};
use super::kinds::Show;
use super::rules::{Draft, route_keys, topic_keys};
use crate::settings::{Heartbeat, Limits, OnMessage, Route, Settings, TopicRule};

/// The whole effective configuration as TOML. Read back, it makes the same settings but for secrets, which
/// are `***` behind a `#`.
#[must_use]
pub fn print(settings: &Settings) -> String {
    let mut text = String::from("# The effective configuration. Secrets are shown as ***, and not set by this text.\n");
    let mut settings = settings.clone();
    let (rules, routes) = (settings.topics.rules.clone(), settings.routes.clone());
    let mut section = "";
    for key in keys(&mut settings) {
        let (name, last) = key.name.split_once('.').unwrap_or(("", key.name));
        if name != section {
            text.push_str(&format!("\n[{name}]\n"));
            section = name;
        }
        text.push_str(&line(&key, last));
    }
    for mut rule in rules {
        text.push_str("\n[[topics]]\n");
        topic_keys(&mut rule).iter().for_each(|key| text.push_str(&line(key, key.name)));
    }
    for route in routes {
        text.push_str("\n[[routes]]\n");
        route_keys(&mut Draft::of(&route)).iter().for_each(|key| text.push_str(&line(key, key.name)));
    }
    text
}

/// One key; what hides something is no more than a comment.
fn line(key: &Key<'_>, name: &str) -> String {
    let (Some(masked), Some(plain)) = (key.field.write(Show::Masked), key.field.write(Show::Plain)) else {
        return String::new();
    };
    let hidden = if masked == plain { "" } else { "# " };
    format!("{hidden}{name} = {masked}\n")
}

/// `fanline.toml` with every key at its default and what it is for: the repository's `examples/fanline.toml`.
#[must_use]
pub fn example() -> String {
    let mut text = String::from(
        "# Every key of Fanline at its default. Take what you change; leave out the rest.\n\
         #\n\
         # The same key as a variable: FANLINE_<SECTION>__<KEY>, such as FANLINE_PUBLIC__LISTEN; lists with commas.\n\
         # REDIS_URL sets redis.url, PORT the port of public.listen. A flag wins over a variable, a variable over this file.\n\
         # Durations: 500ms, 10s, 1m30s, 2h. Sizes: 512B, 64KiB, 1MiB, 2GiB.\n\
         # A secret can stand in a file of its own: redis.url_file, redis.password_file and the like, internal.api_keys_file (a key a line).\n",
    );
    let mut section = "";
    let mut settings = Settings::default();
    for key in keys(&mut settings) {
        let (name, last) = key.name.split_once('.').unwrap_or(("", key.name));
        if name != section {
            text.push_str(&format!("\n[{name}]\n"));
            section = name;
        }
        text.push_str(&explained(&key, last, ""));
    }
    text.push_str(
        "\n# What holds for topics by name, as often as you like; the first match wins. Without one:\n# [[topics]]\n",
    );
    let mut rule = TopicRule::default();
    topic_keys(&mut rule).iter().for_each(|key| text.push_str(&explained(key, key.name, "# ")));
    text.push_str("\n# What a path means, as often as you like; the same path replaces. Without one: /sse, with protocol = \"sse\", and\n[[routes]]\n");
    text.push_str(&example_route());
    text
}

/// The default route; what it leaves out stands behind a `#`, as it is then.
fn example_route() -> String {
    let (mut sparse, mut full) = (Draft::of(&Route::default()), Draft::of(&full_route()));
    let (sparse, full) = (route_keys(&mut sparse), route_keys(&mut full));
    let pairs = sparse.iter().zip(&full);
    let line = |(key, full): (&Key<'_>, &Key<'_>)| match key.field.write(Show::Masked) {
        Some(_) => explained(key, key.name, ""),
        None => explained(full, key.name, "# "),
    };
    pairs.map(line).collect()
}

/// A route that leaves nothing out.
fn full_route() -> Route {
    Route {
        on_message: OnMessage::Echo("Echo: {text}".into()),
        limits: Some(Limits::default()),
        heartbeat: Some(Heartbeat::default()),
        deflate: Some(false),
        ..Route::default()
    }
}

/// A key below the line that explains it.
fn explained(key: &Key<'_>, name: &str, before: &str) -> String {
    let value = key.field.write(Show::Masked).unwrap_or_default();
    format!("# {}\n{before}{name} = {value}\n", key.doc)
}
