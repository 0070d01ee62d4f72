//! Publications of one topic that go together, encoded.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::backlog::Entry;
use crate::publication::Publication;
use crate::settings::{OnFull, RuleIndex};

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
            _ => Some(Entry::publication(self.keep(start..frame.end), self, &frame.publication)),
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
