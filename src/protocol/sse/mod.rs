//! Server-Sent Events (WHATWG HTML, 9.2): what a page's `EventSource` reads. It only listens.
//!
//! An event's name is the publication's own, so that `onmessage` hears all that have none. The gateway's words are
//! the JSON of the json protocol under the names `gap`, `refused` (`error` is the browser's own) and `goodbye`.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};

use super::{Form, GapWord, Hears, Protocol, json};
use crate::close::{Close, Retry, retry_hint};
use crate::command::{Command, Payload};
use crate::event::{Event, Refusal};
use crate::publication::Publication;

/// After how long a page comes back where the gateway had no time to say, at least and in ms. Browsers have about
/// as much of their own, but all the same: whom a replica took along as it died came back at once.
const RETRY: u32 = 2000;

/// What a page would take for a word of its browser or of the gateway: no publication has it for a name.
const OURS: [&str; 5] = ["open", "error", "gap", "refused", "goodbye"];

/// What stands before bytes that are no text. It is a URL, so that `fetch` and `img` understand it.
const BINARY: &[u8] = b"data:application/octet-stream;base64,";

/// What a line begins with that says where the client stands.
const ID: &[u8] = b"id: ";

/// What ends each chunk.
const CHUNK_END: &[u8] = b"\r\n";

/// What ends a chunked stream, so that its client knows the end from a break.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The language of an `EventSource`, by what delimits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sse {
    /// Whole chunks (RFC 9112, 7.1), for HTTP/1.1. Clients that read by chunks, as many libraries do, hear each event
    /// when it comes; without, they wait until a buffer is full.
    Chunked,
    /// Nothing but the stream's end, for HTTP/1.0.
    Bare,
}

impl Sse {
    /// A sign of life: a comment, which no parser shows to anybody. No blank line stands behind it, for which strict
    /// parsers would show an empty event.
    #[must_use]
    pub fn comment(self) -> &'static [u8] {
        match self {
            Self::Chunked => b"2\r\n:\n\r\n",
            Self::Bare => b":\n",
        }
    }

    /// Appends what `write` appends as one piece of the stream: nothing where that is nothing.
    fn piece(self, wire: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
        let start = wire.len();
        write(wire);
        let size = wire.len() - start;
        // An empty chunk would be the last.
        if self == Self::Chunked && size > 0 {
            let head = format!("{size:x}\r\n");
            wire.put_slice(CHUNK_END);
            wire.put_slice(head.as_bytes());
            wire[start..].rotate_right(head.len());
        }
    }

    /// Appends `rest` behind where the client stands. It is written for each delivery, so its size is told first and nothing
    /// is moved.
    fn behind_id(self, id: &str, rest: &[u8], wire: &mut BytesMut) {
        if self == Self::Chunked {
            // Bytes take all that is written to them.
            let _ = write!(wire, "{:x}\r\n", ID.len() + id.len() + 1 + rest.len());
        }
        id_line(id, wire);
        wire.put_slice(rest);
        if self == Self::Chunked {
            wire.put_slice(CHUNK_END);
        }
    }

    /// What [`Sse::piece`] made a piece of.
    fn inside(self, piece: &[u8]) -> &[u8] {
        match self {
            Self::Chunked => behind_line(piece.strip_suffix(CHUNK_END).unwrap_or(piece)),
            Self::Bare => piece,
        }
    }
}

impl Protocol for Sse {
    fn form(&self) -> Form {
        match self {
            Self::Chunked => Form::Sse,
            Self::Bare => Form::SseBare,
        }
    }

    fn publication(&self, publication: &Publication, wire: &mut BytesMut) {
        self.piece(wire, |wire| {
            // The first line: a client of several topics with history gets one of its own in its place.
            if let Some(position) = publication.position() {
                id_line(&position.to_string(), wire);
            }
            if let Some(name) = publication.event() {
                name_line(name, wire);
            }
            match publication.text() {
                Some(text) => data_lines(text, wire),
                None => binary_line(&publication.payload, wire),
            }
            wire.put_u8(b'\n');
        });
    }

    fn event(&self, event: &Event<'_>, wire: &mut BytesMut) {
        self.piece(wire, |wire| say(event, wire));
    }

    fn signed(&self, frame: &[u8], id: &str, wire: &mut BytesMut) {
        self.behind_id(id, behind_line(self.inside(frame)), wire);
    }

    fn stands(&self, id: &str, wire: &mut BytesMut) {
        self.behind_id(id, b"\n", wire);
    }

    /// The stream ends behind it. A client that hung up itself is not there to hear it.
    fn farewell(&self, close: &Close, wire: &mut BytesMut) {
        if matches!(close, Close::Client(_)) {
            return;
        }
        self.event(&Event::Goodbye(close), wire);
        if *self == Self::Chunked {
            wire.put_slice(LAST_CHUNK);
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

/// Appends an event, or nothing where a page has no use for it.
fn say(event: &Event<'_>, wire: &mut BytesMut) {
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

/// What stands behind the first line.
fn behind_line(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|&byte| byte == b'\n').map_or(&[], |end| &bytes[end + 1..])
}

/// Where the client stands once it has seen the event: what a browser says when it comes back.
fn id_line(id: &str, wire: &mut BytesMut) {
    wire.put_slice(ID);
    wire.put_slice(id.as_bytes());
    wire.put_u8(b'\n');
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
