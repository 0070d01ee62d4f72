//! Server-Sent Events (WHATWG HTML, 9.2): what a page's `EventSource` reads. It only listens.
//!
//! An event's name is the publication's own, so that `onmessage` hears all that have none. The gateway's words are
//! the JSON of the json protocol under the names `gap`, `refused` (`error` is the browser's own) and `goodbye`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};

use super::{Form, GapWord, Hears, Protocol, json};
use crate::close::{Close, Retry, retry_hint};
use crate::command::{Command, Payload};
use crate::event::{Event, Refusal};
use crate::publication::Publication;

/// A sign of life: a comment, which no parser shows to anybody.
pub const COMMENT: &[u8] = b":\n\n";

/// After how long a page comes back where the gateway had no time to say, at least and in ms. Browsers have about
/// as much of their own, but all the same: whom a replica took along as it died came back at once.
const RETRY: u32 = 2000;

/// What a page would take for a word of its browser or of the gateway: no publication has it for a name.
const OURS: [&str; 5] = ["open", "error", "gap", "refused", "goodbye"];

/// What stands before bytes that are no text. It is a URL, so that `fetch` and `img` understand it.
const BINARY: &[u8] = b"data:application/octet-stream;base64,";

/// The language of an `EventSource`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sse;

impl Protocol for Sse {
    fn form(&self) -> Form {
        Form::Sse
    }

    fn publication(&self, publication: &Publication, wire: &mut BytesMut) {
        // The first line: whoever listens to several topics with history gets one of its own in its place.
        if let Some(position) = publication.position() {
            wire.put_slice(format!("id: {position}\n").as_bytes());
        }
        if let Some(name) = publication.event() {
            name_line(name, wire);
        }
        match std::str::from_utf8(&publication.payload) {
            Ok(text) => data_lines(text, wire),
            Err(_) => binary_line(&publication.payload, wire),
        }
        wire.put_u8(b'\n');
    }

    fn event(&self, event: &Event<'_>, wire: &mut BytesMut) {
        match event {
            Event::Welcome { .. } => {
                retry_line(retry_hint(RETRY), wire);
                wire.put_u8(b'\n');
            }
            Event::Gap(_) => word("gap", event, wire),
            Event::Error(_) => word("refused", event, wire),
            Event::Goodbye(close) => {
                match close.retry() {
                    Retry::After(ms) => retry_line(ms, wire),
                    Retry::Now => retry_line(0, wire),
                    // There is no word for it: a page that does not close its EventSource comes back.
                    Retry::Never => {}
                }
                word("goodbye", event, wire);
            }
            _ => {}
        }
    }

    /// The stream ends behind it. Who hung up itself is not there to hear it.
    fn farewell(&self, close: &Close, wire: &mut BytesMut) {
        if !matches!(close, Close::Client(_)) {
            self.event(&Event::Goodbye(close), wire);
        }
    }

    fn says_live(&self) -> bool {
        false
    }

    fn on_gap(&self) -> GapWord {
        GapWord::Told
    }

    fn hears(&self) -> Hears {
        Hears::Nothing
    }

    fn commands(&self, _: Payload, _: &mut Vec<Result<Command, Refusal>>) -> Result<(), Close> {
        Err(Close::BadRequest("an event stream takes no messages".into()))
    }
}

/// An event's name. A line end would end it, so none is left in it.
fn name_line(name: &str, wire: &mut BytesMut) {
    let name = name.replace(['\r', '\n'], "");
    if !name.is_empty() && !OURS.contains(&name.as_str()) {
        wire.put_slice(b"event: ");
        wire.put_slice(name.as_bytes());
        wire.put_u8(b'\n');
    }
}

fn retry_line(ms: u32, wire: &mut BytesMut) {
    wire.put_slice(format!("retry: {ms}\n").as_bytes());
}

/// A text by its lines, which may end in any of the three ways; the page sees each as a line feed.
fn data_lines(text: &str, wire: &mut BytesMut) {
    let mut rest = text.as_bytes();
    loop {
        let end = rest.iter().position(|&byte| byte == b'\n' || byte == b'\r').unwrap_or(rest.len());
        wire.put_slice(b"data: ");
        wire.put_slice(&rest[..end]);
        wire.put_u8(b'\n');
        rest = match &rest[end..] {
            [] => return,
            [b'\r', b'\n', behind @ ..] | [_, behind @ ..] => behind,
        };
    }
}

fn binary_line(bytes: &[u8], wire: &mut BytesMut) {
    wire.put_slice(b"data: ");
    wire.put_slice(BINARY);
    wire.put_slice(STANDARD.encode(bytes).as_bytes());
    wire.put_u8(b'\n');
}

/// A word of the gateway's; JSON has no line ends.
fn word(name: &str, event: &Event<'_>, wire: &mut BytesMut) {
    wire.put_slice(b"event: ");
    wire.put_slice(name.as_bytes());
    wire.put_slice(b"\ndata: ");
    json::write_object(event, wire);
    wire.put_slice(b"\n\n");
}

#[cfg(test)]
mod tests;
