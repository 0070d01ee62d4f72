//! What one request of a connection is answered, gathered into one write.

use std::sync::Arc;

use bytes::BytesMut;

use super::order::Answer;
use crate::close::{Close, retry_hint};
use crate::event::{Event, Refusal, RefusalCode};
use crate::outbox::Outbox;
use crate::position::Position;
use crate::topic::Topic;

/// How long a client for whose topic there is no room should stay away at least, in ms.
const ROOM_RETRY: u32 = 2000;

/// Answers for one client; sent together when dropped.
pub(super) struct Replies<'a> {
    pub outbox: &'a Arc<Outbox>,
    wire: BytesMut,
}

impl<'a> Replies<'a> {
    pub fn to(outbox: &'a Arc<Outbox>) -> Self {
        Self { outbox, wire: BytesMut::new() }
    }

    /// The client stands behind this position: told where its language says it with every message.
    pub fn note(&mut self, topic: &Topic, position: Position) {
        if let Some(journal) = self.outbox.wire().journal().filter(|journal| journal.note(topic, position)) {
            self.outbox.protocol().stands(&journal.id(), &mut self.wire);
        }
    }

    pub fn say(&mut self, event: &Event<'_>) {
        self.outbox.protocol().event(event, &mut self.wire);
    }

    /// What was asked for cannot be done; a door that waits for it waits no longer.
    pub fn object(&mut self, code: RefusalCode, message: String, answer: &Answer) {
        self.say(&Event::Error(&Refusal { id: answer.id.clone(), code, message }));
        if let Some(arrivals) = &answer.arrivals {
            arrivals.arrived();
        }
    }

    /// There is no room for a topic. A language without a word for it hangs up.
    pub fn refuse(&mut self, topic: &Topic, why: &str, answer: &Answer) {
        let message = format!("not subscribed to {topic}: {why}");
        self.say(&Event::Error(&Refusal { id: answer.id.clone(), code: RefusalCode::TooManyTopics, message }));
        if !self.outbox.protocol().says_live() {
            self.outbox.close_after_writing(Close::Overloaded(retry_hint(ROOM_RETRY)));
        }
        if let Some(arrivals) = &answer.arrivals {
            arrivals.refuse();
        }
    }
}

impl Drop for Replies<'_> {
    fn drop(&mut self) {
        if !self.wire.is_empty() {
            self.outbox.send(&std::mem::take(&mut self.wire).freeze());
        }
    }
}
