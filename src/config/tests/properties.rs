//! Nothing is too strange to be answered.

use proptest::prelude::*;

use super::file;
use crate::config::catalog::variable;
use crate::config::{print, reference};

/// A key that exists, with the value as strange as can be.
fn known_key() -> impl Strategy<Value = String> {
    let keys: Vec<_> = reference().into_iter().map(|entry| entry.key).filter(|key| !key.ends_with("_file")).collect();
    prop::sample::select(keys)
}

/// TOML values of every type, many near what keys expect.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:?}").replace("NaN", "nan")),
        "[0-9]{0,6}(ms|s|m|h|B|KiB|MB|kb)?".prop_map(|text| format!("'{text}'")),
        "[^'\u{0}-\u{1f}\u{7f}]{0,30}".prop_map(|text| format!("'{text}'")),
        "[/{}*:a-z.@]{0,12}".prop_map(|text| format!("['{text}']")),
        "(redis|unix|rediss|https)://[a-z:@/.\\[\\]0-9{}*]{0,16}".prop_map(|text| format!("'{text}'")),
        Just("true".to_owned()),
        Just("{ a = [{ b = 1 }] }".to_owned()),
    ]
}

proptest! {
    #[test]
    fn any_text_is_loaded_or_told(text in "([a-z\\[\\]\"'={}.#0-9]|\n|.){0,200}") {
        let _ = file(&text).load();
    }

    #[test]
    fn any_value_of_any_key_is_loaded_or_told_and_what_loads_prints_and_loads_again(
        pairs in prop::collection::vec((known_key(), value()), 1..6),
        flagged in value(),
    ) {
        let mut text = String::new();
        for (key, value) in &pairs {
            let (section, name) = key.split_once('.').unwrap();
            match section {
                "topics" | "routes" => text.push_str(&format!("[[{section}]]\npath = '/a'\nmatch = 'a'\n{name} = {value}\n")),
                _ => text.push_str(&format!("[{section}]\n{name} = {value}\n")),
            }
        }
        let tried = file(&text).env(&[(&variable(&pairs[0].0), flagged.trim_matches('\''))]);
        let tried = tried.flag("--set", &pairs[0].0, &flagged);
        if let Ok(loaded) = tried.load() {
            let printed = print(&loaded.settings);
            prop_assert!(file(&printed).load().is_ok(), "{}", printed);
        }
        for (key, value) in pairs.iter().filter(|(key, _)| !key.starts_with("topics") && !key.starts_with("routes")) {
            let (section, name) = key.split_once('.').unwrap();
            if let Ok(loaded) = file(&format!("[{section}]\n{name} = {value}")).load() {
                let hidden = ["internal.api_keys", "redis.url", "redis.password", "redis.sentinel_password"].contains(&key.as_str());
                let again = file(&print(&loaded.settings)).load().unwrap().settings;
                prop_assert!(hidden || again == loaded.settings);
            }
        }
    }

    #[test]
    fn any_environment_is_loaded_or_told(
        pairs in prop::collection::vec(("(FANLINE_[A-Z_0-9a-z]{0,30}|PORT|REDIS_URL)", ".{0,40}"), 0..8),
    ) {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let _ = file("").env(&pairs).load();
    }
}
