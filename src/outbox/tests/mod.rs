//! The outbox's promises, over a socket that takes as much as a test allows.

mod books;
mod closing;
mod model;
mod rules;
mod steps;
mod writing;

use std::sync::Arc;

use super::fake::{Pipe, publication, run, terms};
use super::{Outbox, Total};
use crate::identity::ConnectionNumber;
use crate::protocol::{Json, Plain, Protocol};
use crate::publication::Publication;
use crate::settings::{OnFull, OnGap};

/// What an entry counts beside its bytes.
const ENTRY: usize = super::backlog::ENTRY;

/// One client, seen from both ends.
struct Client {
    outbox: Arc<Outbox>,
    pipe: Arc<Outbox<Pipe>>,
    total: Arc<Total>,
}

impl Client {
    /// A plain client whose route keeps silent about gaps.
    fn plain(room: usize, bytes: usize, messages: usize) -> Self {
        Self::of(1, Box::new(Plain::new(OnGap::Ignore)), room, bytes, messages, &Total::new(usize::MAX))
    }

    fn json(room: usize, bytes: usize, messages: usize) -> Self {
        Self::of(1, Box::new(Json), room, bytes, messages, &Total::new(usize::MAX))
    }

    fn of(
        number: u64,
        protocol: Box<dyn Protocol>,
        room: usize,
        bytes: usize,
        messages: usize,
        total: &Arc<Total>,
    ) -> Self {
        let terms = terms(protocol, bytes, messages, total);
        let pipe = Outbox::new(terms, ConnectionNumber(number), Pipe::with_room(room));
        Self { outbox: pipe.clone(), pipe, total: total.clone() }
    }

    fn offer(&self, rule: (u16, OnFull), publications: &[Arc<Publication>]) -> usize {
        self.outbox.offer(&run(self.outbox.protocol(), rule, publications))
    }

    /// Offers one publication.
    fn offer_one(&self, rule: (u16, OnFull), topic: &str, key: Option<&str>, payload: &str) -> usize {
        self.offer(rule, &[publication(topic, key, payload.to_owned())])
    }

    /// Gives the socket room and lets the connection's task write on; answers what came out in all.
    fn drained(&self) -> Vec<String> {
        self.pipe.wire().give_room(usize::MAX);
        let _ = self.outbox.flush();
        self.pipe.wire().frames().iter().map(shown).collect()
    }

    fn messages(&self) -> usize {
        self.outbox.state.lock().backlog.as_ref().map_or(0, |backlog| backlog.entries.len())
    }
}

/// A frame in short: a payload as it is, `gap:topic`, `pong`, `goodbye`, `close:code`.
fn shown(frame: &super::fake::Frame) -> String {
    let json = frame.json();
    match (frame.close_code(), json["type"].as_str()) {
        (Some(code), _) => format!("close:{code}"),
        (None, Some("message")) => json["text"].as_str().map_or_else(|| json["data"].to_string(), Into::into),
        (None, Some("gap")) => format!("gap:{}", json["topics"][0].as_str().unwrap()),
        (None, Some(other)) => other.to_owned(),
        (None, None) => String::from_utf8(frame.payload.clone()).unwrap(),
    }
}
