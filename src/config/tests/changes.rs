//! What a reload changes is told, and what it cannot change is named.

use super::file;
use crate::config::{Change, changes, reference};

fn changed(old: &str, new: &str) -> Vec<Change> {
    changes(&file(old).load().unwrap().settings, &file(new).load().unwrap().settings)
}

fn told(old: &str, new: &str) -> Vec<String> {
    changed(old, new).iter().map(ToString::to_string).collect()
}

#[test]
fn what_sighup_changes_needs_no_restart() {
    let live = "[limits]\nburst = 1\nmessage = \"1KiB\"\n[public]\norigins = [\"https://a.example\"]\n[internal]\n\
                api_keys = [\"a:b\"]\n[log]\nlevel = \"debug\"\n[[topics]]\nmatch = \"a\"\n\
                [[routes]]\npath = \"/ws\"\non_message = \"publish\"\ninclude_sender = true\nburst = 2\n\
                deflate = true\n[deflate]\nenabled = true";
    let changes = changed("", live);
    assert!(changes.len() > 10 && changes.iter().all(|change| change.live), "{changes:?}");
}

#[test]
fn both_values_are_told_and_secrets_are_not() {
    let old = "[limits]\ntopics = 5\n[internal]\napi_keys = [\"shop:old-secret\"]";
    let new =
        "[limits]\ntopics = 2\n[internal]\napi_keys = [\"shop:new-secret\"]\n[[routes]]\npath = \"/ws\"\nburst = 9";
    let expected = [
        "internal.api_keys: [\"shop:***\"] -> [\"shop:***\"]",
        "limits.topics: 5 -> 2",
        "routes[\"/ws\"].message: unset -> \"64KiB\"",
        "routes[\"/ws\"].messages_per_second: unset -> 50",
        "routes[\"/ws\"].burst: unset -> 9",
        "routes[\"/ws\"].max_topics: unset -> 2",
    ];
    assert_eq!(told(old, new), expected);
    assert_eq!(told(new, new), [""; 0]);
    let many = told("", &format!("[public]\norigins = [{}]", "\"https://a.example\", ".repeat(100)));
    assert!(many[0].len() < 200 && many[0].ends_with('…'), "{many:?}");
}

#[test]
fn rules_that_come_go_change_or_move_are_told() {
    let rule = |matches, more| format!("[[topics]]\nmatch = \"{matches}\"\n{more}\n");
    let old = [rule("private:*", "subscribe = \"none\""), rule("a", ""), rule("b", "")].concat();
    let new = [rule("b", ""), rule("a", "publish = \"anyone\""), rule("c", "")].concat();
    let expected = [
        "topics[\"private:*\"] is gone",
        "topics[\"a\"].publish: \"none\" -> \"anyone\"",
        "topics[\"c\"] is new",
        "topics stand in another order",
    ];
    assert_eq!(told(&old, &new), expected);
}

/// The next dial reads it again.
#[test]
fn what_a_file_of_a_secret_holds_for_redis_needs_no_restart_and_another_file_does() {
    let tried = file("");
    let (url, password) = (tried.beside("url", "redis://:a@h"), tried.beside("password", "a"));
    let env = [("FANLINE_REDIS__URL_FILE", url.to_str().unwrap())];
    let own = [("REDIS_URL", "redis://h"), ("FANLINE_REDIS__PASSWORD_FILE", password.to_str().unwrap())];
    let load = |env: &[(&str, &str)]| file("").env(env).load().unwrap().settings;
    let before = (load(&env), load(&own));
    std::fs::write(&url, "redis://:b@h").unwrap();
    std::fs::write(&password, "b").unwrap();
    assert_eq!(changes(&before.0, &load(&env)), []);
    assert_eq!(changes(&before.1, &load(&own)), []);
    assert_eq!(load(&own).redis.password.file().unwrap().as_ref(), password);
    std::fs::write(&url, "redis://:b@elsewhere").unwrap();
    let elsewhere = changes(&before.0, &load(&env));
    assert!(elsewhere.len() == 1 && !elsewhere[0].live && elsewhere[0].key == "redis.url", "{elsewhere:?}");
    let plain = load(&[("REDIS_URL", "redis://h"), ("FANLINE_REDIS__PASSWORD", "b")]);
    assert_eq!(changes(&before.1, &plain).len(), 1);
}

#[test]
fn what_needs_a_restart_is_named_secrets_too() {
    let old = "[redis]\nurl = \"redis://:a@h\"\n[[routes]]\npath = \"/gone\"";
    let new = "[redis]\nurl = \"redis://:b@h\"\n[public]\nlisten = \"0.0.0.0:1\"\n\
               [[routes]]\npath = \"/new\"\n[[routes]]\npath = \"/ws\"\ntopics = [\"a\"]\non_gap = \"close\"\nheartbeat = \"off\"\nburst = 1";
    let expected = [
        "public.listen",
        "redis.url",
        "routes[\"/ws\"].topics",
        "routes[\"/ws\"].on_gap",
        "routes[\"/ws\"].heartbeat.every",
        "routes[\"/ws\"].heartbeat.timeout",
        "routes[\"/ws\"].heartbeat.text",
        "routes[\"/gone\"]",
        "routes[\"/new\"]",
    ];
    let waits = changed(old, new).into_iter().filter(|change| !change.live);
    assert_eq!(waits.map(|change| change.key).collect::<Vec<_>>(), expected);
    assert!(told(old, new).iter().all(|change| !change.contains(":a@") && !change.contains(":b@")));
}

#[test]
fn the_live_keys_are_these() {
    let live: Vec<_> = reference().into_iter().filter(|entry| entry.live).map(|entry| entry.key).collect();
    let expected = [
        "public.max_age",
        "public.origins",
        "internal.api_keys",
        "internal.api_keys_file",
        "limits.message",
        "limits.messages_per_second",
        "limits.burst",
        "limits.topics",
        "deflate.enabled",
        "log.level",
        "topics.match",
        "topics.publication",
        "topics.on_full",
        "topics.subscribe",
        "topics.publish",
        "topics.history_size",
        "topics.history_ttl",
        "routes.on_message",
        "routes.echo",
        "routes.include_sender",
        "routes.message",
        "routes.messages_per_second",
        "routes.burst",
        "routes.max_topics",
        "routes.deflate",
    ];
    assert_eq!(live, expected);
}
