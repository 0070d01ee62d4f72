//! Every mistake names the key, its place, what was found, what is expected and what to write.

use super::{env, file};

/// Checks one mistake in line 2 of a file, and where `variable` is given the same by a variable.
fn in_file(section: &str, line: &str) -> String {
    let mistakes = file(&format!("[{section}]\n{line}")).mistakes();
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    mistakes[0].clone()
}

#[test]
fn a_wrong_value_is_told_with_what_to_write_instead() {
    const SPAN: &str = "such as \"500ms\", \"10s\" or \"1m30s\", at most \"720h\"";
    let size = "expected a size such as \"64KiB\" or \"1MiB\", from \"1B\" to \"64MiB\"";
    let proxy = "expected an address or a CIDR block such as \"10.0.0.0/8\" or \"fd00::/8\"";
    let listen = "expected an address and a port such as \"0.0.0.0:8080\" or \"[::]:8080\"";
    let origins = "expected \"any\", or a list such as [\"https://app.example.com\", \"https://*.example.com\"]";
    let origin = "expected an origin such as \"https://app.example.com\" or \"https://*.example.com\", without a path, \"file://\" or \"null\"";
    for (section, line, message) in [
        ("redis", "linger = \"10\"", format!("redis.linger = \"10\": expected a duration {SPAN}; write \"10s\"")),
        ("redis", "linger = 10", format!("redis.linger = 10: expected a duration {SPAN}; write \"10s\"")),
        ("redis", "linger = \"soon\"", format!("redis.linger = \"soon\": expected a duration {SPAN}")),
        ("handshake", "timeout = \"0s\"", format!("handshake.timeout = \"0s\": expected a duration above zero {SPAN}")),
        ("heartbeat", "every = false", format!("heartbeat.every = false: expected a duration above zero {SPAN}, or \"off\"; write \"off\"")),
        ("limits", "message = \"64kb\"", format!("limits.message = \"64kb\": {size}; write \"64KiB\"")),
        ("limits", "message = \"1MB\"", format!("limits.message = \"1MB\": {size}; write \"1MiB\"")),
        ("limits", "message = 65536", format!("limits.message = 65536: {size}; write \"64KiB\"")),
        ("limits", "message = \"1GiB\"", format!("limits.message = \"1GiB\": {size}")),
        ("limits", "burst = \"300\"", "limits.burst = \"300\": expected a whole number from 1 to 1000000; write 300".into()),
        ("limits", "burst = 1.9", "limits.burst = 1.9: expected a whole number from 1 to 1000000".into()),
        ("limits", "burst = 0", "limits.burst = 0: expected a whole number from 1 to 1000000".into()),
        ("limits", "burst = 99999999999999999999", "limits.burst = 99999999999999999999: expected a whole number from 1 to 1000000".into()),
        ("limits", "burst = [1]", "limits.burst = a list: expected a whole number from 1 to 1000000".into()),
        ("redis", "links = 0", "redis.links = 0: expected a whole number from 1 to 16".into()),
        ("redis", "links = 17", "redis.links = 17: expected a whole number from 1 to 16".into()),
        ("redis", "prefix = 7", "redis.prefix = 7: expected at most 100 visible ASCII characters without \"{\" and \"}\"; write \"7\"".into()),
        ("redis", "prefix = \"{a}\"", "redis.prefix = \"{a}\": expected at most 100 visible ASCII characters without \"{\" and \"}\"".into()),
        ("readiness", "redis = \"require\"", "readiness.redis = \"require\": expected \"own\" or \"required\"; write \"required\"".into()),
        ("log", "format = \"xml\"", "log.format = \"xml\": expected \"text\" or \"json\"".into()),
        ("log", "level = \"inof\"", "log.level = \"inof\": \"inof\" is no level; did you mean \"info\"?".into()),
        ("public", "listen = \":80\"", format!("public.listen = \":80\": {listen}; write \"0.0.0.0:80\"")),
        ("public", "listen = 80", format!("public.listen = 80: {listen}; write \"0.0.0.0:80\"")),
        ("public", "listen = \"localhost:80\"", format!("public.listen = \"localhost:80\": {listen}; write \"127.0.0.1:80\"")),
        ("public", "listen = \"nowhere\"", format!("public.listen = \"nowhere\": {listen}")),
        ("public", "max_connections = -1", "public.max_connections = -1: expected a whole number from 1 to 100000000, or \"auto\"".into()),
        ("public", "max_connections = \"Auto\"", "public.max_connections = \"Auto\": expected a whole number from 1 to 100000000, or \"auto\"; write \"auto\"".into()),
        ("public", "origins = \"*\"", format!("public.origins = \"*\": {origins}; write \"any\"")),
        ("public", "origins = \"https://a.example\"", format!("public.origins = \"https://a.example\": {origins}; write [\"https://a.example\"]")),
        ("public", "origins = [\"https://A.example:443/x\"]", format!("public.origins[0] = \"https://A.example:443/x\": {origin}; write \"https://a.example\"")),
        ("public", "origins = [\"Null\"]", format!("public.origins[0] = \"Null\": {origin}; write \"null\"")),
        ("public", "origins = [\"file:///index.html\"]", format!("public.origins[0] = \"file:///index.html\": {origin}")),
        ("public", "origins = [\"a.example\"]", format!("public.origins[0] = \"a.example\": {origin}")),
        ("public", "trusted_proxies = [\"10.0.0.1\", \"10.0.0.0/33\"]", format!("public.trusted_proxies[1] = \"10.0.0.0/33\": {proxy}")),
        ("public", "trusted_proxies = \"10.0.0.1\"", "public.trusted_proxies = \"10.0.0.1\": expected a list, each item an address or a CIDR block such as \"10.0.0.0/8\" or \"fd00::/8\"; write [\"10.0.0.1\"]".into()),
        ("replica", "name = \"a b\"", "replica.name = \"a b\": expected at most 100 characters of a topic, not beginning with \"@\" nor ending with \".\"".into()),
    ] {
        assert_eq!(in_file(section, line), format!("fanline.toml:2: {message}"));
    }
}

#[test]
fn an_unknown_key_is_told_with_what_was_probably_meant() {
    for (section, line, message) in [
        ("limits", "mesage = 1", "unknown key limits.mesage; did you mean limits.message?"),
        ("public", "linger = 1", "unknown key public.linger; did you mean redis.linger?"),
        ("drain", "colour = 1", "unknown key drain.colour; [drain] has delay, window"),
        (
            "redis",
            "colour = true",
            "unknown key redis.colour; [redis] has url, url_file, username, password, password_file, sentinel_username, sentinel_password, sentinel_password_file, ca, cert, key, lookup_timeout, connect_timeout, prefix, links, sharded, linger",
        ),
        ("Limits", "burst = 1", "unknown section [Limits]; did you mean [limits]?"),
        ("topic", "match = \"a\"", "unknown section [topic]; did you mean [[topics]]?"),
        ("[topic]", "match = \"a\"", "unknown section [[topic]]; did you mean [[topics]]?"),
        ("[route]", "path = \"/a\"", "unknown section [[route]]; did you mean [[routes]]?"),
    ] {
        let line_number = if message.starts_with("unknown section") { 1 } else { 2 };
        assert_eq!(in_file(section, line), format!("fanline.toml:{line_number}: {message}"));
    }
    let all = "[public], [readiness], [redis], [replica], [[routes]] or [[topics]]";
    let sections = format!(
        "unknown section [x-files]; there is [deflate], [drain], [handshake], [heartbeat], [inbound], [internal], [limits], [log], [outbox], {all}"
    );
    assert_eq!(in_file("x-files", "a = 1"), format!("fanline.toml:1: {sections}"));
}

#[test]
fn what_stands_outside_its_section_is_told() {
    for (text, message) in [
        ("listen = 1", "fanline.toml:1: unknown key listen; did you mean public.listen?"),
        ("public = 5", "fanline.toml:1: public is a section; write [public] and its keys below"),
        ("[topics]\nmatch = \"a\"", "fanline.toml:1: topics is a list of tables; write [[topics]] before each"),
        ("\"a[9999999999]\" = 1", "fanline.toml:1: unknown key a[9999999999]; print-config shows all keys"),
    ] {
        assert_eq!(file(text).mistakes(), [message], "{text}");
    }
}

#[test]
fn what_is_no_toml_is_one_mistake_with_line_and_column_and_without_the_line_itself() {
    let broken = file("[redis]\npassword = \"hunter2\nprefix = 1\n").mistakes();
    assert_eq!(broken, ["fanline.toml:2: no TOML: invalid basic string, expected `\"`, in column 20"]);
}

#[test]
fn an_unknown_variable_is_told_with_what_was_probably_meant() {
    for (name, message) in [
        ("FANLINE_PUBLIC_LISTEN", "unknown variable; did you mean FANLINE_PUBLIC__LISTEN?"),
        ("FANLINE_REDIS_URL", "unknown variable; did you mean FANLINE_REDIS__URL?"),
        ("FANLINE_LIMITS__BRUST", "unknown variable; did you mean FANLINE_LIMITS__BURST?"),
        ("FANLINE_public__listen", "unknown variable; did you mean FANLINE_PUBLIC__LISTEN?"),
        ("FANLINE_PORT", "unknown variable; did you mean PORT?"),
        ("FANLINE_ROUTES__0__PATH", "unknown variable; [[routes]] stand in the file only"),
        ("FANLINE_X", "unknown variable; a key is set by FANLINE_<SECTION>__<KEY>, such as FANLINE_PUBLIC__LISTEN"),
    ] {
        assert_eq!(env(&[(name, "9000")]).mistakes(), [format!("{name}: {message}")]);
    }
}

#[test]
fn variables_and_flags_are_named_as_the_place() {
    let burst = "limits.burst = \"many\": expected a whole number from 1 to 1000000";
    assert_eq!(env(&[("FANLINE_LIMITS__BURST", "many")]).mistakes(), [format!("FANLINE_LIMITS__BURST: {burst}")]);
    let flag = file("").flag("--set limits.burst", "limits.burst", "many");
    assert_eq!(flag.mistakes(), [format!("--set limits.burst: {burst}")]);
    let unknown = file("").flag("--set limit.burst", "limit.burst", "1");
    assert_eq!(unknown.mistakes(), ["--set limit.burst: unknown key limit.burst; did you mean limits.burst?"]);
    let port = "public.listen's port = \"http\": expected a number from 0 to 65535; write 8080";
    assert_eq!(env(&[("PORT", "http")]).mistakes(), [format!("PORT: {port}")]);
}

#[test]
fn redis_urls_are_checked_without_being_shown() {
    let form = format!("expected {}", crate::link::address::FORMS);
    let form = form.as_str();
    for (url, reason) in [
        ("http://:pw@h", form),
        ("127.0.0.1:6379", "\"redis://\" is missing before the host; write \"redis://127.0.0.1:6379\""),
        ("localhost:6379", "\"redis://\" is missing before the host; write \"redis://localhost:6379\""),
        ("hunter2", "\"redis://\" is missing before the host; write \"redis://host:6379\""),
        (
            "redis://u:pw@h:6379?db=3",
            "\"?db…\" is not understood; the database stands behind a slash; write \"redis://host:6379/3\"",
        ),
        ("redis://h/?pw", "what stands behind \"?\" is not understood; take it away"),
        ("redis://", "the host is missing; write \"redis://host:6379\""),
        ("redis://:pw@:1", "the host is missing; write \"redis://host:6379\""),
        (
            "redis://a,b",
            "several hosts are one cluster (\"redis+cluster://a,b\"), the Sentinels of one master (\"redis+sentinel://a,b/name\") or several Redis (\"redis://a,redis://b\")",
        ),
        (
            "redis+sentinel://:pw@a",
            "the master's name is missing; write \"redis+sentinel://host:26379,host:26379/mymaster\"",
        ),
        ("redis://a,redis://:pw@b:x", "the port is no number from 1 to 65535; write it as in \"redis://host:6379\""),
        (
            "redis://u:p#w@x y",
            "the host is none; write \"redis://host:6379\", and percent-encode what is special in a password",
        ),
        ("redis://h:port", "the port is no number from 1 to 65535; write it as in \"redis://host:6379\""),
        ("redis://h/zero", "the database is no number; write \"redis://host:6379/0\""),
        ("unix://run", "a socket's path is missing; write \"unix:///run/redis.sock\""),
    ] {
        assert_eq!(env(&[("REDIS_URL", url)]).mistakes(), [format!("REDIS_URL: redis.url = \"***\": {reason}")]);
    }
    for url in [
        "redis://h",
        "redis://:pw@h:6379/0",
        "redis://u:p@[::1]:6379/1",
        "unix:///run/r.sock?db=1",
        "rediss+sentinel://u:p@a,b:1/m/0",
        "redis+cluster://a,b,redis://c",
    ] {
        assert!(env(&[("REDIS_URL", url)]).load().is_ok(), "{url}");
    }
}

#[test]
fn keys_of_redis_that_do_not_fit_its_url_are_told() {
    for (line, key, part) in [
        ("url = \"redis://h\"\nsharded = true", "redis.sharded", "names no cluster"),
        ("url = \"redis+cluster://h,redis://i\"\nsharded = true", "redis.sharded", "names no cluster"),
        ("url = \"redis://h\"\nca = \"/ca.pem\"", "redis.ca", "speaks no TLS"),
        ("url = \"rediss://h\"\ncert = \"/c.pem\"", "redis.cert", "redis.key is not"),
        ("url = \"rediss://h\"\nkey = \"/k.pem\"", "redis.key", "redis.cert is not"),
        ("url = \"redis://h\"\nsentinel_password = \"x\"", "redis.sentinel_password", "names no Sentinel"),
        ("url = \"redis+cluster://h\"\nsentinel_username = \"x\"", "redis.sentinel_username", "names no Sentinel"),
        ("url = \"redis+sentinel://:a@h/m\"\npassword = \"b\"", "redis.password", "take one away"),
    ] {
        let told = file(&format!("[redis]\n{line}")).mistakes();
        assert!(told.len() == 1 && told[0].contains(key) && told[0].contains(part), "{line}: {told:?}");
    }
    for line in [
        "url = \"redis+cluster://h,i\"\nsharded = true",
        "url = \"rediss+sentinel://h,i/m\"\nca = \"/ca.pem\"\nsentinel_password = \"x\"",
        "url = \"redis://:a@h,redis://i\"\npassword = \"b\"",
        "url = [\"redis://h\", \"unix:///r.sock\"]",
    ] {
        assert!(file(&format!("[redis]\n{line}")).load().is_ok(), "{line}");
    }
}

#[test]
fn a_database_that_parts_no_channels_is_warned_of() {
    let told = file("[redis]\nurl = \"redis+sentinel://:pw@h/m/2\"\nprefix = \"shop:\"").warnings();
    assert_eq!(
        told,
        [
            "fanline.toml:2: redis.url names database 2, which parts histories but no channels: what is published to \"shop:\" in another database arrives here, too, and its positions and gaps are false; take \"/2\" away, and part gateways by redis.prefix"
        ]
    );
    assert_eq!(file("[redis]\nurl = \"redis://h/0\"").warnings(), [""; 0]);
}

#[test]
fn what_must_hold_between_keys_is_told() {
    let same = file("[public]\nlisten = \"0.0.0.0:80\"\n[internal]\nlisten = \"127.0.0.1:80\"");
    let expected = "fanline.toml:4: public.listen = \"0.0.0.0:80\" and internal.listen = \"127.0.0.1:80\" share port 80; \
                    write internal.listen = \"127.0.0.1:81\"";
    assert_eq!(same.mistakes(), [expected]);
    assert_eq!(
        env(&[("PORT", "8081")]).mistakes(),
        [
            "PORT: public.listen = \"0.0.0.0:8081\" and internal.listen = \"127.0.0.1:8081\" share port 8081; write internal.listen = \"127.0.0.1:8082\""
        ]
    );
    let apart = file("[public]\nlisten = \"127.0.0.2:80\"\n[internal]\nlisten = \"127.0.0.1:80\"");
    assert!(apart.load().is_ok());

    let many = file("[public]\nmax_connections = 100000").descriptors(20_000);
    let expected = "fanline.toml:2: public.max_connections = 100000: the descriptor limit is 20000, which carries 19936; \
                    write \"auto\", or raise the limit (ulimit -n, LimitNOFILE)";
    assert_eq!(many.mistakes(), [expected]);

    let named = file("[internal]\napi_keys = [\"a:one\", \"a:two\"]");
    assert_eq!(
        named.mistakes(),
        ["fanline.toml:2: internal.api_keys: two keys are named \"a\"; give each its own name"]
    );
}

#[test]
fn every_mistake_is_told_at_once_in_the_order_of_the_file() {
    let all = file("[limits]\nburst = 0\nmessage = \"x\"\ntopic = 1\n[nothing]\n[[routes]]\npath = \"ws\"\n")
        .env(&[("FANLINE_X", "1"), ("PORT", "x")])
        .flag("--log-level", "log.level", "loud");
    let places: Vec<_> = all.mistakes().iter().filter_map(|text| Some(text.split_once(": ")?.0.to_owned())).collect();
    let lines = [2, 3, 4, 5, 6].map(|line| format!("fanline.toml:{line}"));
    assert_eq!(places[..5], lines);
    assert_eq!(places[5..], ["--log-level", "FANLINE_X", "PORT"]);
    let text = all.load().unwrap_err().to_string();
    assert!(text.starts_with("the configuration has 8 mistakes:\n  - "), "{text}");
}
