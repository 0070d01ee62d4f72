//! `[[topics]]` and `[[routes]]`.

use std::time::Duration;

use super::file;
use crate::settings::{
    ByteSize, Grant, Heartbeat, Limits, OffOr, OnFull, OnGap, OnMessage, ProtocolChoice, Route, Template,
};

#[test]
fn rules_keep_their_order_and_leave_the_rest_at_the_default() {
    let text = "[[topics]]\nmatch = \"price:*\"\non_full = \"conflate\"\n[[topics]]\nmatch = \"*\"\npublish = \"anyone\"\n\
                subscribe = \"none\"\npublication = \"1KiB\"";
    let rules = file(text).load().unwrap().settings.topics.rules;
    assert_eq!(rules.len(), 2);
    assert_eq!(
        (rules[0].matches.as_str(), rules[0].on_full, rules[0].publish),
        ("price:*", OnFull::Conflate, Grant::None)
    );
    assert_eq!((rules[1].subscribe, rules[1].publish), (Grant::None, Grant::Anyone));
    assert_eq!(rules[1].publication, ByteSize::kib(1));
}

#[test]
fn a_route_adds_to_the_defaults_and_the_same_path_replaces() {
    let text = "[[routes]]\npath = \"/echo\"\non_message = \"echo\"\necho = \"Echo: {text}\"\n\
                [[routes]]\npath = \"/ws\"\non_message = \"publish\"";
    let routes = file(text).load().unwrap().settings.routes;
    let echo = OnMessage::Echo("Echo: {text}".into());
    assert_eq!(
        routes,
        [
            Route { on_message: OnMessage::Publish, ..Route::default() },
            Route::sse(),
            Route { path: "/echo".into(), on_message: echo, ..Route::default() }
        ]
    );
}

#[test]
fn every_key_of_a_route_arrives() {
    let text = "[limits]\nburst = 7\n[[routes]]\npath = \"/r/{id}/{*rest}\"\nprotocol = \"json\"\ntopics = [\"r:{path.id}:{query.x}\"]\n\
                query_topics = \"\"\ndefault_topic = \"\"\non_message = \"ignore\"\non_gap = \"close\"\nmessage = \"1KiB\"\nmax_topics = 3\n\
                heartbeat = { every = \"5s\", text = \"hi\" }\ndeflate = true";
    let route = file(text).load().unwrap().settings.routes.remove(2);
    let expected = Route {
        path: "/r/{id}/{*rest}".into(),
        protocol: ProtocolChoice::Json,
        topics: vec![Template::parse("r:{path.id}:{query.x}").unwrap()],
        query_topics: String::new(),
        default_topic: String::new(),
        on_message: OnMessage::Ignore,
        include_sender: false,
        on_gap: OnGap::Close,
        heartbeat: Some(Heartbeat {
            every: OffOr::Value(Duration::from_secs(5)),
            timeout: Duration::from_secs(20),
            text: "hi".into(),
        }),
        limits: Some(Limits { message: ByteSize::kib(1), burst: 7, messages_per_second: 50, topics: 3 }),
        deflate: Some(true),
    };
    assert_eq!(route, expected);
}

#[test]
fn a_heartbeat_may_be_a_word_or_a_duration() {
    let every = |value: &str| {
        let text = format!("[[routes]]\npath = \"/a\"\nheartbeat = {value}");
        file(&text).load().unwrap().settings.routes[2].heartbeat.clone().map(|heartbeat| heartbeat.every)
    };
    assert_eq!(every("\"off\""), Some(OffOr::Off));
    assert_eq!(every("\"1s\""), Some(OffOr::Value(Duration::from_secs(1))));
}

#[test]
fn a_rule_that_never_holds_is_warned_of() {
    let text = "[[topics]]\nmatch = \"a*\"\n[[topics]]\nmatch = \"ab\"\n[[topics]]\nmatch = \"b\"\n[[topics]]\nmatch = \"abc*\"";
    assert_eq!(
        file(text).warnings(),
        [
            "fanline.toml:3: the rule for \"ab\" never holds: \"a*\" stands above it; move it up",
            "fanline.toml:7: the rule for \"abc*\" never holds: \"a*\" stands above it; move it up",
        ]
    );
}

#[test]
fn topics_with_history_that_every_client_can_make_are_warned_of() {
    let text = "[[topics]]\nmatch = \"chat:1\"\npublish = \"anyone\"\nhistory_size = 9\n\
                [[topics]]\nmatch = \"chat:*\"\npublish = \"anyone\"\nhistory_size = 9\n[[topics]]\nmatch = \"a:*\"\nhistory_size = 9\n\
                [[topics]]\nmatch = \"b:*\"\npublish = \"anyone\"\n\
                [[routes]]\npath = \"/ws\"\non_message = \"publish\"";
    let expected = "fanline.toml:5: every client may publish to ever new topics of \"chat:*\", and each is kept in Redis for 1h5m; \
                    write publish = \"none\" there, name the topics one by one, or give Redis a maxmemory";
    assert_eq!(file(text).warnings(), [expected]);
}

#[test]
fn what_can_never_be_delivered_is_warned_of() {
    let text = "[outbox]\nbytes = \"4KiB\"\ntotal = \"1MiB\"\n[[topics]]\nmatch = \"big\"\npublication = \"4KiB\"";
    let expected = "fanline.toml:2: a publication of 4KiB on \"big\" fits no outbox of 4KiB; raise outbox.bytes or lower the rule's publication";
    assert_eq!(file(text).warnings(), [expected]);
}

#[test]
fn mistakes_in_rules_and_routes_are_told() {
    let character = "is no character of a topic; name it with %20 in its place (allowed: A-Z a-z 0-9 _-=@,.;:/+~%!$#)";
    for (text, message) in [
        ("[[topics]]\nmatch = \"a b\"", format!("2: topics[0].match = \"a b\": ' ' {character}")),
        ("[[topics]]\nmatch = \"a*b\"", "2: topics[0].match = \"a*b\": \"*\" stands at the end only; write \"room:*\"".into()),
        ("[[topics]]\nmatch = \"\"", "2: topics[0].match = \"\": a topic needs at least one character".into()),
        ("[[topics]]\npublish = \"none\"", "1: topics[0] has no match; write match = \"room:*\", or match = \"*\" for every topic".into()),
        ("[[topics]]\nmatch = \"a\"\non_full = \"drop-oldest\"", "3: topics[0].on_full = \"drop-oldest\": expected \"disconnect\", \"drop_oldest\", \"drop_newest\" or \"conflate\"; write \"drop_oldest\"".into()),
        ("[[topics]]\nmatch = \"a\"\nhistory = 1", "3: unknown key topics[0].history; there is match, publication, on_full, subscribe, publish, history_size, history_ttl".into()),
        ("[[routes]]\nprotocol = \"ask\"", "1: routes[0] has no path; write path = \"/rooms/{id}\"".into()),
        ("[[routes]]\npath = \"a\"", "1: routes[0].path = \"a\": a path begins with \"/\"; write \"/a\"".into()),
        ("[[routes]]\npath = \"a/{b\"", "1: routes[0].path = \"a/{b\": a path begins with \"/\"; write \"/rooms/{id}\"".into()),
        ("[[routes]]\npath = \"/:id\"", "1: routes[0].path = \"/:id\": a segment is named in braces; write {id}".into()),
        ("[[routes]]\npath = \"/*all\"", "1: routes[0].path = \"/*all\": what remains is named in braces; write {*all}".into()),
        ("[[routes]]\npath = \"/{\"", "1: routes[0].path = \"/{\": no path with segments in braces; write \"/rooms/{id}\", or \"/{*rest}\" at the end".into()),
        ("[[routes]]\npath = \"/{a}/{a}\"", "1: routes[0].path = \"/{a}/{a}\": {a} stands twice; give each segment its own name".into()),
        ("[[routes]]\npath = \"/a\"\n[[routes]]\npath = \"/a\"", "3: routes[1]: path \"/a\" stands at fanline.toml:1 already; take one away".into()),
        ("[[routes]]\npath = \"/a/{b}\"\n[[routes]]\npath = \"/a/{c}\"", "3: path \"/a/{c}\" and path \"/a/{b}\" fit the same requests; change or take away one".into()),
        ("[[routes]]\npath = \"/a/{b}\"\ntopics = [\"{path.c}\"]", "1: routes[0].topics[0] = \"{path.c}\": path \"/a/{b}\" has no segment {c}; it has {path.b}".into()),
        ("[[routes]]\npath = \"/a\"\ntopics = [\"{path.c}\"]", "1: routes[0].topics[0] = \"{path.c}\": path \"/a\" has no segment {c}; it has none; write path = \"/a/{c}\"".into()),
        ("[[routes]]\npath = \"/a\"\ntopics = [\"u:{user}\"]", "3: routes[0].topics[0] = \"u:{user}\": {user} is filled by nothing; write {path.name} for a segment of the path or {query.name} for a parameter".into()),
        ("[[routes]]\npath = \"/a\"\ntopics = [\"@a\"]", "3: routes[0].topics[0] = \"@a\": topics beginning with '@' are the gateway's own".into()),
        ("[[routes]]\npath = \"/a\"\ndefault_topic = \"a b\"", format!("3: routes[0].default_topic = \"a b\": ' ' {character}")),
        ("[[routes]]\npath = \"/a\"\necho = \"x\"", "1: routes[0].echo is set but nothing echoes; write on_message = \"echo\"".into()),
        ("[[routes]]\npath = \"/a\"\nprotocol = \"sse\"\non_message = \"publish\"", "1: routes[0].on_message is set, but on a route with protocol = \"sse\" clients only listen; take one away".into()),
        ("[[routes]]\npath = \"/a\"\ninclude_sender = \"yes\"", "3: routes[0].include_sender = \"yes\": expected true or false; write true".into()),
        ("[[routes]]\npath = \"/a\"\nheartbeat = { evry = \"1s\" }", "3: unknown key routes[0].heartbeat.evry; did you mean heartbeat.every?".into()),
        ("[[routes]]\npath = \"/a\"\nheartbeat = 5", "3: routes[0].heartbeat.every = 5: expected a duration above zero such as \"500ms\", \"10s\" or \"1m30s\", at most \"720h\", or \"off\"; write \"5s\"".into()),
    ] {
        assert_eq!(file(text).mistakes(), [format!("fanline.toml:{message}")], "{text}");
    }
}

#[test]
fn a_right_to_publish_that_nobody_can_use_is_warned_of() {
    let rule = "[[topics]]\nmatch = \"a\"\n[[topics]]\nmatch = \"chat:*\"\npublish = \"anyone\"\n";
    let route = "[[routes]]\npath = \"/chat\"\non_message = \"publish\"\n";
    assert_eq!(
        file(rule).warnings(),
        [
            "fanline.toml:3: publish = \"anyone\" lets nobody publish: no route takes what clients say; write on_message = \"publish\" into their [[routes]]"
        ]
    );
    assert_eq!(
        file(route).warnings(),
        [
            "routes[\"/chat\"]: on_message = \"publish\" lets nobody publish: no topic rule does; write publish = \"anyone\" into a [[topics]]"
        ]
    );
    assert_eq!(file(&format!("{rule}{route}")).warnings(), [""; 0]);
}
