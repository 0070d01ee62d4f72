//! Publications of one topic that go together, encoded.

use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;

use super::backlog::Entry;
use crate::publication::Publication;
use crate::settings::{OnFull, RuleIndex};
use crate::topic::Topic;

/// A run of publications of one topic in one encoded form, shared by all its subscribers.
pub struct Run {
    /// All frames, one behind the other.
    pub joined: Bytes,
    /// Where each ends, and the publication it carries.
    pub frames: Vec<RunFrame>,
    /// The topic's rule, by place, and what it says about full outboxes.
    pub rule: (RuleIndex, OnFull),
}

/// One frame of a run.
pub struct RunFrame {
    /// Where it ends in the joined bytes; it begins where the one before ends.
    pub end: usize,
    /// What it carries.
    pub publication: Arc<Publication>,
    /// Made by the first client with whom it waits, and shared with the others.
    origin: OnceLock<Arc<Origin>>,
}

/// What a frame that waits must still know of its publication. It holds neither payload nor header nor compressed
/// twins: they may be many times what the client is charged for, and the frame's own bytes say it all.
pub(super) struct Origin {
    pub topic: Topic,
    /// What `conflate` goes by.
    pub key: Option<Box<str>>,
    pub received: Instant,
}

impl RunFrame {
    /// The frame that ends at `end` and carries this.
    #[must_use]
    pub fn new(end: usize, publication: Arc<Publication>) -> Self {
        Self { end, publication, origin: OnceLock::new() }
    }

    fn origin(&self) -> Arc<Origin> {
        self.origin.get_or_init(|| Arc::new(Origin::of(&self.publication))).clone()
    }
}

impl Origin {
    fn of(publication: &Publication) -> Self {
        let key = publication.key().map(Into::into);
        Self { topic: publication.topic.clone(), key, received: publication.received }
    }
}

impl Run {
    /// The entry for the frame at `place`, when the first `written` bytes of the run are out; none where the
    /// frame is out as a whole.
    pub(super) fn entry(&self, place: usize, written: usize) -> Option<Entry> {
        let frame = &self.frames[place];
        let start = place.checked_sub(1).map_or(0, |before| self.frames[before].end);
        match written {
            _ if written >= frame.end => None,
            _ if written > start => Some(Entry::begun(self.joined.slice(written..frame.end))),
            _ => Some(Entry::publication(self.keep(start..frame.end), self.rule, frame.origin())),
        }
    }

    /// A frame's bytes for somebody to keep. They share the run's, of which a slice keeps all alive, where frames leave in
    /// their order. `conflate` may keep one of each run for long, and so gets its own.
    fn keep(&self, frame: Range<usize>) -> Bytes {
        match self.rule.1 {
            OnFull::Conflate if self.frames.len() > 1 => Bytes::copy_from_slice(&self.joined[frame]),
            _ => self.joined.slice(frame),
        }
    }
}
