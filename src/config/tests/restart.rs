//! What a reload cannot change is named.

use super::file;
use crate::config::{needs_restart, reference};

fn changed(old: &str, new: &str) -> Vec<String> {
    needs_restart(&file(old).load().unwrap().settings, &file(new).load().unwrap().settings)
}

#[test]
fn what_sighup_changes_needs_no_restart() {
    let live = "[limits]\nburst = 1\nmessage = \"1KiB\"\n[public]\norigins = [\"https://a.example\"]\n[internal]\n\
                api_keys = [\"a:b\"]\n[log]\nlevel = \"debug\"\n[[topics]]\nmatch = \"a\"\n\
                [[routes]]\npath = \"/ws\"\non_message = \"publish\"\ninclude_sender = true\nburst = 2\n\
                deflate = true\n[deflate]\nenabled = true";
    assert_eq!(changed("", live), [""; 0]);
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
    assert_eq!(changed(old, new), expected);
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
