//! Which layer wins, and what a variable's text stands for.

use std::time::Duration;

use super::{env, file};
use crate::config::DEFAULT_FILE;
use crate::settings::{Auto, ByteSize, OffOr, Origins, Route, Settings};

#[test]
fn nothing_at_all_is_the_default_with_its_route() {
    let loaded = file("").load().unwrap();
    assert_eq!(loaded.settings, Settings { routes: Route::defaults(), ..Settings::default() });
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn a_flag_wins_over_a_variable_over_the_platform_over_the_file() {
    let url = |tried: super::Try| tried.load().unwrap().settings.redis.url.reveal().to_owned();
    let written = || file("[redis]\nurl = \"redis://file\"");
    assert_eq!(url(written()), "redis://file");
    let platform = || written().env(&[("REDIS_URL", "redis://platform")]);
    assert_eq!(url(platform()), "redis://platform");
    let variable = || platform().env(&[("FANLINE_REDIS__URL", "redis://variable")]);
    assert_eq!(url(variable()), "redis://variable");
    assert_eq!(url(variable().flag("--redis-url", "redis.url", "redis://flag")), "redis://flag");
}

#[test]
fn port_changes_the_port_and_keeps_the_address() {
    let listen = |tried: super::Try| tried.load().unwrap().settings.public.listen;
    assert_eq!(listen(env(&[("PORT", "9000")])), "0.0.0.0:9000");
    let written = || file("[public]\nlisten = \"[::1]:80\"").env(&[("PORT", "9000")]);
    assert_eq!(listen(written()), "[::1]:9000");
    assert_eq!(listen(written().env(&[("FANLINE_PUBLIC__LISTEN", "127.0.0.1:1")])), "127.0.0.1:1");
}

#[test]
fn empty_variables_are_unset_unless_the_key_may_be_empty() {
    let empty = env(&[("PORT", ""), ("REDIS_URL", ""), ("FANLINE_LIMITS__BURST", ""), ("FANLINE_REDIS__PREFIX", "")]);
    let settings = empty.load().unwrap().settings;
    assert_eq!(settings.limits.burst, 300);
    assert_eq!(settings.public.listen, "0.0.0.0:8080");
    assert_eq!(settings.redis.prefix, "");
}

#[test]
fn a_variable_means_what_its_key_means() {
    let settings = env(&[
        ("FANLINE_REDIS__PREFIX", "007"),
        ("FANLINE_REDIS__PASSWORD", "1e5"),
        ("FANLINE_REDIS__URL", "redis://a"),
        ("FANLINE_LIMITS__BURST", "007"),
        ("FANLINE_PUBLIC__ORIGINS", "https://a.example, https://*.b.example"),
        ("FANLINE_PUBLIC__TRUSTED_PROXIES", "10.0.0.0/8,fd00::/8"),
        ("FANLINE_PUBLIC__MAX_CONNECTIONS", "1000"),
        ("FANLINE_HANDSHAKE__PER_SECOND", "off"),
        ("FANLINE_OUTBOX__STALL", "1m30s"),
        ("FANLINE_OUTBOX__TOTAL", "auto"),
        ("FANLINE_LIMITS__MESSAGE", "2KiB"),
    ])
    .load()
    .unwrap()
    .settings;
    assert_eq!(settings.redis.prefix, "007");
    assert_eq!(settings.redis.password.reveal(), "1e5");
    assert_eq!(settings.limits.burst, 7);
    let origins = ["https://a.example", "https://*.b.example"].map(String::from).to_vec();
    assert_eq!(settings.public.origins, Origins::List(origins));
    assert_eq!(settings.public.trusted_proxies, ["10.0.0.0/8", "fd00::/8"]);
    assert_eq!(settings.public.max_connections, Auto::Value(1000));
    assert_eq!(settings.handshake.per_second, OffOr::Off);
    assert_eq!(settings.outbox.stall, OffOr::Value(Duration::from_secs(90)));
    assert_eq!(settings.outbox.total, Auto::Auto);
    assert_eq!(settings.limits.message, ByteSize::kib(2));
}

#[test]
fn both_ports_may_be_any() {
    let any = file("[public]\nlisten = \"127.0.0.1:0\"\n[internal]\nlisten = \"127.0.0.1:0\"");
    assert!(any.load().is_ok());
}

#[test]
fn a_named_file_must_be_there_and_the_default_need_not() {
    let mut missing = file("");
    missing.sources.file = Some("/nonexistent/fanline.toml".into());
    let expected = ["/nonexistent/fanline.toml: the file cannot be read: No such file or directory (os error 2)"];
    assert_eq!(missing.mistakes(), expected);
    missing.sources.file = None;
    let there = std::path::Path::new(DEFAULT_FILE).exists();
    assert_eq!(missing.load().unwrap().file.is_some(), there);
}

#[test]
fn service_links_of_kubernetes_are_ignored_and_named_once() {
    let links = env(&[
        ("FANLINE_PORT", "tcp://10.0.0.1:8080"),
        ("FANLINE_SERVICE_HOST", "10.0.0.1"),
        ("FANLINE_SERVICE_PORT", "8080"),
        ("FANLINE_SERVICE_PORT_HTTP", "8080"),
        ("FANLINE_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("FANLINE_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("FANLINE_INTERNAL_PORT_8081_TCP_PROTO", "tcp"),
        ("FANLINE_INTERNAL_PORT", "tcp://10.0.0.1:8081"),
    ]);
    let expected = "FANLINE_INTERNAL_PORT, FANLINE_INTERNAL_PORT_8081_TCP_PROTO, FANLINE_PORT, FANLINE_PORT_8080_TCP, \
                    FANLINE_PORT_8080_TCP_ADDR, FANLINE_SERVICE_HOST, FANLINE_SERVICE_PORT, FANLINE_SERVICE_PORT_HTTP: \
                    ignored: Kubernetes sets these for a Service named fanline; enableServiceLinks: false keeps them away";
    assert_eq!(links.warnings(), [expected]);
}
