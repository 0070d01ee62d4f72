//! The other commands of the binary, their exit codes, and the sentences they say.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Gateway, binary, eventually};
use crate::support::redis::RedisServer;

/// The binary in a directory, without this environment's settings.
pub fn command(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.current_dir(home).args(args).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    command(home.path(), args).output().unwrap()
}

/// Runs it with this text as its `fanline.toml`.
fn run_with(toml: &str, args: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("fanline.toml"), toml).unwrap();
    command(home.path(), args).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn every_mistake_is_said_at_once_with_what_to_write_and_the_exit_code_is_64() {
    let bad = r#"
[public]
listen = "0.0.0.0:9000"
max_conections = 5
[internal]
listen = "127.0.0.1:9000"
[drain]
delay = "5 parsecs"
[outbox]
bytes = "lots"
[[topics]]
match = "a*b"
on_full = "panic"
"#;
    for args in [&["check-config"][..], &["serve"], &["print-config"]] {
        let output = run_with(bad, args);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(64), "{args:?}: {text}");
        for part in [
            "max_conections",
            "did you mean",
            "max_connections",
            "share port 9000",
            "drain.delay",
            "5 parsecs",
            "outbox.bytes",
            "lots",
            "a*b",
            "on_full",
            "drop_oldest",
            "fanline.toml:4",
        ] {
            assert!(text.contains(part), "{args:?}: {part} is missing in {text}");
        }
    }
    let variable = command(tempfile::tempdir().unwrap().path(), &["check-config"])
        .env("FANLINE_LIMITS__BURTS", "5")
        .output()
        .unwrap();
    assert_eq!(variable.status.code(), Some(64));
    assert!(said(&variable).contains("FANLINE_LIMITS__BURST"), "{}", said(&variable));
    let flag = run(&["check-config", "--set", "limits.burts=5"]);
    assert_eq!(flag.status.code(), Some(64));
    assert!(said(&flag).contains("limits.burst"), "{}", said(&flag));
    let many = run(&["check-config", "--set", "public.max_connections=99000000"]);
    assert_eq!(many.status.code(), Some(64));
    assert!(said(&many).contains("descriptor limit"), "{}", said(&many));
    let missing = run(&["check-config", "--config", "nowhere.toml"]);
    assert_eq!(missing.status.code(), Some(64), "{}", said(&missing));
    assert!(said(&missing).contains("nowhere.toml"));
}

#[test]
fn a_flag_wins_over_a_variable_a_variable_over_the_file() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("fanline.toml"), "[limits]\nburst = 1\ntopics = 1\nmessage = \"1KiB\"\n").unwrap();
    let output = command(home.path(), &["print-config", "--set", "limits.burst=3"])
        .env("FANLINE_LIMITS__BURST", "2")
        .env("FANLINE_LIMITS__TOPICS", "2")
        .env("PORT", "7007")
        .env("REDIS_URL", "redis://:hunter22@127.0.0.1:7")
        .output()
        .unwrap();
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    for line in ["burst = 3", "topics = 2", "message = \"1KiB\"", "listen = \"0.0.0.0:7007\""] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
    }
    assert!(!text.contains("hunter22") && text.contains("***"), "{text}");
}

#[test]
fn secrets_come_from_files_and_print_config_hides_them() {
    let Some(redis) = RedisServer::start_with(&["--requirepass", "from-a-file"]) else { return };
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (password, keys) = (file("password", "from-a-file\n"), file("keys", "shop:key-one\ntill:key-two\n"));
    let url = file("url", &format!("{}\n", redis.url()));
    let config =
        format!("[redis]\nurl_file = {url:?}\npassword_file = {password:?}\n[internal]\napi_keys_file = {keys:?}\n");
    let gateway = Gateway::with_toml(&config, &[]).ready();
    for (key, status) in [("key-one", 200), ("key-two", 200), ("shop", 401)] {
        let request =
            format!("POST /api/publish?topic=a HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\nContent-Length: 1\r\n\r\nx");
        assert_eq!(crate::client::exchange(gateway.internal(), request.as_bytes()).status, status, "{key}");
    }
    let printed = run_with(&config, &["print-config"]);
    let text = said(&printed);
    assert!(printed.status.success(), "{text}");
    assert!(["from-a-file", "key-one", "key-two"].iter().all(|secret| !text.contains(secret)), "{text}");
    let both = run_with(
        &format!("[redis]\nurl = \"redis://127.0.0.1\"\npassword = \"x\"\npassword_file = {password:?}\n"),
        &["check-config"],
    );
    assert_eq!(both.status.code(), Some(64));
    let missing = run_with("[redis]\nurl_file = \"/nowhere/url\"\n", &["check-config"]);
    assert_eq!(missing.status.code(), Some(64));
    assert!(said(&missing).contains("redis.url_file"), "{}", said(&missing));
}

#[test]
fn check_config_connect_names_the_command_that_mends_each_finding_and_it_does() {
    let Some(redis) = RedisServer::start() else { return };
    redis.cli(&["ACL", "SETUSER", "gateway", "on", ">secret", "resetchannels", "-@all"]);
    let url = redis.url().replace("redis://", "redis://gateway:secret@");
    let refused = run(&["check-config", "--connect", "--redis-url", &url]);
    let text = said(&refused);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(!text.contains("secret"), "{text}");
    let mends: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("mend: ")).collect();
    assert!(!mends.is_empty() && text.contains("SUBSCRIBE") && text.contains("PUBLISH"), "{text}");
    for mend in mends.iter().filter(|mend| mend.starts_with("ACL")) {
        assert_eq!(redis.cli(&mend.split(' ').collect::<Vec<_>>()), "OK", "{mend}");
    }
    let mended = run(&["check-config", "--connect", "--redis-url", &url]);
    assert!(mended.status.success(), "{}", said(&mended));
    let gateway = Gateway::start(&["--redis-url", &url]).ready();
    let mut client = Client::json(&gateway, &["a"]);
    assert_eq!(gateway.publish("a", "granted"), 1, "what check-config asks for is all the gateway needs");
    assert_eq!(client.told()["text"], "granted");
    let admin = run(&["check-config", "--connect", "--redis-url", &redis.url()]);
    assert!(admin.status.success(), "{}", said(&admin));
    assert!(
        said(&admin).contains("client-output-buffer-limit") && said(&admin).contains("version"),
        "{}",
        said(&admin)
    );
}

#[test]
fn a_taken_port_ends_it_with_69_and_names_the_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, key) in [("--public-listen", "public.listen"), ("--internal-listen", "internal.listen")] {
        let other = if flag == "--public-listen" { "--internal-listen" } else { "--public-listen" };
        let output = run(&["serve", flag, &address, other, "127.0.0.1:0"]);
        assert_eq!(output.status.code(), Some(69), "{}", said(&output));
        assert!(said(&output).contains(key) && said(&output).contains(&address), "{}", said(&output));
        assert!(said(&output).contains(&format!("; {flag} says so: set another one there")), "{}", said(&output));
    }
    let port = taken.local_addr().unwrap().port().to_string();
    let home = tempfile::tempdir().unwrap();
    let config = "[public]\nlisten = \"127.0.0.1:1\"\n[internal]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(home.path().join("fanline.toml"), config).unwrap();
    let output = command(home.path(), &["serve"]).env("PORT", &port).output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{}", said(&output));
    let expected = format!("public.listen: cannot listen on {address}: Address already in use");
    for part in [&expected, "ss -ltnp", "; PORT says so: set another one there"] {
        assert!(said(&output).contains(part), "{part}: {}", said(&output));
    }
}

#[test]
fn whoever_has_read_enough_is_no_mistake() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let (internal, url) = (gateway.internal().to_string(), gateway.ws_url("/ws?topic=a"));
    let home = tempfile::tempdir().unwrap();
    let unread = |args: &[&str]| {
        let (reader, stdout) = std::io::pipe().unwrap();
        drop(reader);
        command(home.path(), args).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut listening = unread(&["listen", &url]);
    for args in [
        &["print-config"][..],
        &["check-config"],
        &["which", "a"],
        &["healthcheck", "--internal-listen", &internal],
        &["publish", "b", "text", "--internal-listen", &internal],
    ] {
        let output = unread(args).wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {} {}", output.status, said(&output));
    }
    eventually("it listens", || (gateway.publish("a", "unread") == 1).then_some(()));
    let status = eventually("it ends by itself", || listening.try_wait().unwrap());
    assert!(status.success(), "{status}");
    // Not even its mistakes are read.
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let bad = command(home.path(), &["check-config", "--set", "limits.burst=x"]).stderr(closed).status().unwrap();
    assert_eq!(bad.code(), Some(64));
}

#[test]
fn a_flag_that_a_command_does_not_use_is_a_mistake_of_the_command_line() {
    for args in [
        &["publish", "a", "b", "--redis-url", "redis://127.0.0.1:7"][..],
        &["healthcheck", "--public-listen", "127.0.0.1:7"],
        &["listen", "ws://127.0.0.1:7/ws", "--config", "fanline.toml"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(&format!("does not use {}", args[args.len() - 2])), "{}", said(&output));
    }
}

#[test]
fn a_gateway_that_is_not_there_is_told_as_that() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = dead.local_addr().unwrap();
    drop(dead);
    let output = run(&["listen", &format!("ws://{address}/ws")]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("no gateway listens there") && !said(&output).contains("write ws://"),
        "{}",
        said(&output)
    );
    let output = run(&["listen", &format!("http://{address}/ws")]);
    assert!(said(&output).contains("write ws://host:port"), "{}", said(&output));
}

#[test]
fn which_says_the_channel_and_the_rule_of_a_topic() {
    let rules = "[redis]\nurl = \"redis://127.0.0.1:7\"\nprefix = \"app:\"\n[[topics]]\nmatch = \"room:*\"\n";
    let text = said(&run_with(rules, &["which", "room:42"]));
    assert!(text.contains("app:room:42") && text.contains("room:*"), "{text}");
    assert!(!text.contains("note:"), "{text}");
    let channel = said(&run_with(rules, &["which", "app:room:42"]));
    assert!(
        channel.contains("channel app:app:room:42") && channel.contains("write: fanline which room:42"),
        "{channel}"
    );
    let bad = run_with(rules, &["which", "no topic"]);
    assert!(!bad.status.success() && said(&bad).contains("no topic"), "{}", said(&bad));
}

/// The commands as the start lines print them, and the two that operators' tools run.
#[test]
fn listen_publish_and_healthcheck_work_against_a_running_gateway() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let home = tempfile::tempdir().unwrap();
    let internal = gateway.internal().to_string();
    let healthy = command(home.path(), &["healthcheck", "--internal-listen", &internal]).output().unwrap();
    assert!(healthy.status.success(), "{}", said(&healthy));
    let url = gateway.ws_url("/ws?topic=hello");
    let mut listening = command(home.path(), &["listen", &url, "--count", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(listening.stderr.as_mut().unwrap()).read_line(&mut first).unwrap();
    for text in ["Hello, world", "zweite Zeile"] {
        let published =
            command(home.path(), &["publish", "hello", text, "--internal-listen", &internal]).output().unwrap();
        let answer: Value =
            serde_json::from_slice(&published.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&published)));
        assert_eq!(answer, json!({"topics": {"hello": {"replicas": 1}}}));
    }
    let output = listening.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Hello, world\nzweite Zeile\n");
    let (status, _) = gateway.stop();
    assert!(status.success());
    let sick = command(home.path(), &["healthcheck", "--internal-listen", &internal]).output().unwrap();
    assert_eq!(sick.status.code(), Some(1), "{}", said(&sick));
    assert!(said(&sick).contains(&internal), "{}", said(&sick));
}

#[test]
fn what_the_command_line_publishes_is_guessed_as_a_publish_of_redis_cli_is() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let home = tempfile::tempdir().unwrap();
    let internal = gateway.internal().to_string();
    let mut client = Client::json(&gateway, &["a%b#1"]);
    for (text, member) in [(r#"{"a": 1}"#, r#""data":{"a": 1}"#), ("hi", r#""text":"hi""#), ("", r#""text":"""#)] {
        let args = ["publish", "a%b#1", text, "--internal-listen", &internal];
        let published = command(home.path(), &args).output().unwrap();
        assert!(published.status.success(), "{}", said(&published));
        let message = client.text();
        assert!(message.contains(member), "{message}");
    }
}

#[test]
fn the_start_lines_can_be_pasted() {
    let gateway = Gateway::start::<&str>(&[]).ready();
    let log = gateway.log();
    let line = |word: &str| log.lines().find_map(|line| line.split_once(word)).unwrap().1.trim().to_owned();
    let (listen, publish) = (line("hear a topic:"), line("publish to it:"));
    let paste = |line: String| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).env_clear().env("PATH", "/usr/bin:/bin").stdout(Stdio::piped()).stderr(Stdio::null());
        shell
    };
    let mut listening = paste(format!("exec {listen} --count 1")).spawn().unwrap();
    eventually("it listens", || (gateway.metric("fanline_topics") as u64 == 1).then_some(()));
    let published = paste(publish.clone()).output().unwrap();
    assert!(published.status.success(), "{publish}: {}", said(&published));
    let mut heard = String::new();
    BufReader::new(listening.stdout.take().unwrap()).read_line(&mut heard).unwrap();
    assert_eq!(heard, "Hello, world\n");
    assert!(listening.wait().unwrap().success());
}

#[test]
fn the_line_to_publish_leads_to_the_redis_that_is_configured() {
    let Some(redis) = RedisServer::start() else { return };
    let gateway = Gateway::start(&["--redis-url", &redis.url()]).ready();
    let log = gateway.log();
    let line = log.lines().find_map(|line| line.split_once("publish to it:")).unwrap().1.trim().to_owned();
    let mut client = Client::open(&gateway.ws_url("/ws?topic=hello"));
    let published = Command::new("sh").args(["-c", &line]).output().unwrap();
    assert!(published.status.success(), "{line}: {}", said(&published));
    assert_eq!(client.text(), "Hello, world");
}
