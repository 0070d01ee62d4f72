//! Secrets: from files of their own, and never shown.

use super::{env, file, mode};
use crate::config::print;

#[test]
fn a_secret_may_stand_in_a_file_of_its_own_without_its_line_break() {
    let tried = file("");
    let url = tried.beside("url", "redis://h\n");
    let password = tried.beside("password", " p \r\n");
    let keys = tried.beside("keys", "ops:one\n\napp:two,three\n");
    let settings = tried
        .env(&[
            ("FANLINE_REDIS__URL_FILE", url.to_str().unwrap()),
            ("FANLINE_REDIS__PASSWORD_FILE", password.to_str().unwrap()),
            ("FANLINE_INTERNAL__API_KEYS_FILE", keys.to_str().unwrap()),
        ])
        .load()
        .unwrap()
        .settings;
    assert_eq!(settings.redis.url.reveal(), "redis://h");
    assert_eq!(settings.redis.password.reveal(), " p ");
    let keys: Vec<_> = settings.internal.api_keys.iter().map(|key| (key.name.as_str(), key.secret.reveal())).collect();
    assert_eq!(keys, [("ops", "one"), ("app", "two,three")]);
}

#[test]
fn a_later_layer_s_secret_wins_over_an_earlier_layer_s_file() {
    let tried = file("[redis]\nurl_file = \"/nonexistent\"").env(&[("REDIS_URL", "redis://platform")]);
    assert_eq!(tried.load().unwrap().settings.redis.url.reveal(), "redis://platform");
}

#[test]
fn mistakes_with_secret_files_are_told() {
    let url = "redis://h";
    let both = file(&format!("[redis]\nurl = \"{url}\"\nurl_file = \"x\""));
    let expected =
        "fanline.toml:3: redis.url and redis.url_file are both set (redis.url at fanline.toml:2); take one away";
    assert_eq!(both.mistakes(), [expected]);

    let missing = file("[redis]\nurl_file = \"/nonexistent\"");
    let expected = "fanline.toml:2: redis.url_file = \"/nonexistent\": the file cannot be read: No such file or directory (os error 2)";
    assert_eq!(missing.mistakes(), [expected]);

    let tried = file("");
    let empty = tried.beside("empty", "\n").display().to_string();
    let tried = tried.env(&[("FANLINE_REDIS__PASSWORD_FILE", &empty)]);
    let expected = "FANLINE_REDIS__PASSWORD_FILE: redis.password_file = \"empty\": the file is empty";
    assert_eq!(tried.mistakes(), [expected]);

    let tried = file("");
    let bad = tried.beside("bad", "http://h").display().to_string();
    let mistakes = tried.env(&[("FANLINE_REDIS__URL_FILE", &bad)]).mistakes();
    assert!(mistakes[0].starts_with("bad: redis.url = \"***\": expected a URL"), "{mistakes:?}");

    let endless = env(&[("FANLINE_REDIS__PASSWORD_FILE", "/dev/zero")]).mistakes();
    let expected = "FANLINE_REDIS__PASSWORD_FILE: redis.password_file = \"/dev/zero\": the file cannot be read: it is larger than 1MiB";
    assert_eq!(endless, [expected]);
}

#[test]
fn a_byte_order_mark_is_part_of_no_secret_and_of_no_key() {
    let tried = file("\u{feff}[limits]\nburst = 7");
    let path = tried.beside("password", "\u{feff}s3cret\r\n");
    let tried = tried.env(&[("REDIS_URL", "redis://h"), ("FANLINE_REDIS__PASSWORD_FILE", path.to_str().unwrap())]);
    let settings = tried.load().unwrap().settings;
    assert_eq!((settings.redis.password.reveal(), settings.limits.burst), ("s3cret", 7));
}

#[test]
fn a_secret_that_every_user_can_read_is_warned_of() {
    let tried = file("");
    let path = tried.beside("password", "p");
    mode(&path, 0o644);
    let tried = tried.env(&[("REDIS_URL", "redis://h"), ("FANLINE_REDIS__PASSWORD_FILE", path.to_str().unwrap())]);
    assert_eq!(tried.warnings(), ["password: every user can read this file with redis.password; chmod o-r it"]);
}

#[test]
fn a_name_or_password_stands_once() {
    let twice = file("[redis]\nurl = \"redis://u:p@h\"\nusername = \"u\"\npassword = \"p\"");
    assert_eq!(
        twice.mistakes(),
        [
            "fanline.toml:3: redis.username: redis.url (fanline.toml:2) holds a username too; take one away",
            "fanline.toml:4: redis.password: redis.url (fanline.toml:2) holds a password too; take one away",
        ]
    );
    let alone = file("[redis]\npassword = \"p\"");
    let expected =
        "fanline.toml:2: redis.password is set but redis.url is not; write redis.url = \"redis://host:6379\"";
    assert_eq!(alone.mistakes(), [expected]);
}

#[test]
fn a_bad_api_key_is_told_without_being_shown() {
    let form = "expected \"name:secret\" with a name of letters, digits, \"-\", \"_\" and \".\"";
    let keys = file("[internal]\napi_keys = [\"hunter2\", \"ops:fine\", \":hunter2\"]").mistakes();
    assert_eq!(
        keys,
        [
            format!("fanline.toml:2: internal.api_keys[0] = \"***\": {form}"),
            format!("fanline.toml:2: internal.api_keys[2] = \"***\": {form}"),
        ]
    );
    let text = file("[internal]\napi_keys = \"hunter2\"").mistakes();
    assert_eq!(
        text,
        [format!(
            "fanline.toml:2: internal.api_keys = \"***\": {}",
            form.replace("expected", "expected a list, each item")
        )]
    );
}

#[test]
fn no_secret_is_ever_printed() {
    let settings = file("[redis]\nurl = \"redis://u:hunter2@h:1/0\"\n[internal]\napi_keys = [\"ops:hunter2\"]")
        .load()
        .unwrap()
        .settings;
    let printed = print(&settings);
    assert!(printed.contains("\n# url = \"redis://u:***@h:1/0\"\n"), "{printed}");
    assert!(printed.contains("\n# api_keys = [\"ops:***\"]\n"), "{printed}");
    assert!(!printed.contains("hunter2") && !format!("{settings:?}").contains("hunter2"));

    let open = file("[redis]\nurl = \"redis://h\"\npassword = \"hunter2\"").load().unwrap().settings;
    let printed = print(&open);
    assert!(printed.contains("\nurl = \"redis://h\"\n") && printed.contains("\n# password = \"***\"\n"), "{printed}");

    let several =
        "[redis]\nurl = [\"redis://u:hunter2@h\", \"rediss+cluster://:hunter2/x@i,j:1\"]\nsentinel_password = \"\"";
    let several = file(several).load().unwrap().settings;
    let printed = print(&several);
    assert!(printed.contains("# url = \"redis://u:***@h,rediss+cluster://:***@i,j:1\""), "{printed}");

    let socket = env(&[("REDIS_URL", "unix:///r.sock?user=u&pass=hunter2")]).load().unwrap().settings;
    assert!(print(&socket).contains("# url = \"unix:///r.sock?user=u&pass=***\""));
}
