//! Whether a foreign client and the gateway really speak compressed, seen from the wire between them.

use serde_json::json;

use crate::foreign::{Foreign, Language};
use crate::gateway::{Gateway, eventually};
use crate::tap::Tap;

const CONFIG: &str = "[deflate]\nenabled = true\n[[routes]]\npath = \"/ws\"\non_message = \"publish\"\n\
                      include_sender = true\n[[topics]]\nmatch = \"*\"\npublish = \"anyone\"\n";

/// Long enough for every library to compress it, and dense enough to take a dynamic code.
fn long_text() -> String {
    (0..80).map(|n| json!({ "id": n * n * 7919, "name": format!("grün {n} 😀") }).to_string()).collect()
}

/// Connects a client that offers what it offers by default, and lets it hear and speak.
pub fn both_ways(language: Language) {
    let gateway = Gateway::with_toml(CONFIG, &[]).ready();
    let tap = Tap::to(gateway.public());
    let mut client = Foreign::open(language, &tap.ws_url("/ws?topic=t"));
    assert_eq!(
        tap.answered("sec-websocket-extensions").as_deref(),
        Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
    );
    assert!(client.extensions().contains("permessage-deflate"), "{language:?} knows that it was agreed on");

    let long = long_text();
    for text in [&long, "short", &long, ""] {
        gateway.publish("t", text);
        assert_eq!(client.text(), text);
    }
    let got = tap.got();
    assert_eq!(got.iter().map(|frame| frame.is_compressed()).collect::<Vec<_>>(), [true, false, true, false]);
    assert!(got[0].payload.len() < long.len() / 2, "{} of {} bytes", got[0].payload.len(), long.len());
    assert_eq!(got[0], got[2], "nothing is remembered from one message to the next");

    for text in [&long, &long, "", "ä"] {
        client.send(text);
        assert_eq!(client.text(), text);
    }
    let sent = tap.sent();
    let begun: Vec<_> = sent.iter().filter(|frame| frame.first & 0x0F != 0).collect();
    assert_eq!(begun.len(), 4);
    assert!(begun[0].is_compressed() && begun[1].is_compressed(), "{language:?} compresses what is long");
    assert!(sent[0].payload.len() < long.len() / 2);

    // Both ways above: a binary one, which is echoed as it was.
    client.send_b64("AP8A/wD/AP8A/wD/AP8A/wD/AP8A/wD/AP8A/wD/AP8A/wD/AP8A/w==");
    assert_eq!(client.next()["b64"], "AP8A/wD/AP8A/wD/AP8A/wD/AP8A/wD/AP8A/wD/AP8A/wD/AP8A/w==");
    client.close();
    eventually("it is gone", || (gateway.metric("fanline_subscriptions") as u64 == 0).then_some(()));
}
