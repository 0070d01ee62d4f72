//! What one request of a connection is answered, gathered into one write.

use std::sync::Arc;

use bytes::BytesMut;

use crate::event::Event;
use crate::outbox::Outbox;
use crate::position::Position;
use crate::topic::Topic;

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
}

impl Drop for Replies<'_> {
    fn drop(&mut self) {
        if !self.wire.is_empty() {
            self.outbox.send(&std::mem::take(&mut self.wire).freeze());
        }
    }
}
