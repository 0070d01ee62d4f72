//! A page in a real browser: Chromium without a window, driven over its debugging protocol.

#[path = "support/compressed.rs"]
mod compressed;
#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/tap.rs"]
mod tap;

use foreign::Language;

#[test]
fn a_page_in_chromium_hears_and_speaks_compressed() {
    compressed::both_ways(Language::Chromium);
}
