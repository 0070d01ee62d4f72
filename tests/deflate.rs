//! permessage-deflate with clients that others wrote; `chromium.rs` has the browser.

#[path = "support/compressed.rs"]
mod compressed;
#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/tap.rs"]
mod tap;

use std::time::Duration;

use foreign::{Foreign, LANGUAGES, Language};
use gateway::Gateway;

#[test]
fn npm_ws_hears_and_speaks_compressed() {
    compressed::both_ways(Language::Node);
}

#[test]
fn python_websockets_hears_and_speaks_compressed() {
    compressed::both_ways(Language::Python);
}

#[test]
fn where_compression_is_off_both_speak_as_before() {
    let gateway = Gateway::start(&[] as &[&str]).ready();
    let text = "tea? ".repeat(1000);
    for language in LANGUAGES {
        let wire = tap::Tap::to(gateway.public());
        let client = Foreign::open(language, &wire.ws_url("/ws?topic=t"));
        gateway.publish("t", &text);
        assert_eq!(client.text(), text);
        assert_eq!((wire.answered("sec-websocket-extensions"), client.extensions()), (None, ""));
        assert_eq!(wire.got()[0].payload, text.as_bytes());
        assert!(client.messages_for_a_while(Duration::from_millis(50)).is_empty());
    }
}
