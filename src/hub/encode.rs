//! A run of publications in one encoded form: encoded once, joined once, shared by all who get it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::frame;
use crate::outbox::{Run, RunFrame};
use crate::protocol::{Form, Protocol};
use crate::publication::Publication;
use crate::settings::{OnFull, RuleIndex};

/// What a frame adds to its payload, at a guess.
const FRAMING: usize = 96;

/// Encodes `publications` of one topic as `protocol`'s clients get them.
pub(super) fn run(publications: &[Arc<Publication>], protocol: &dyn Protocol, rule: (RuleIndex, OnFull)) -> Run {
    let size = publications.iter().map(|publication| publication.payload.len() + FRAMING).sum();
    let mut wire = BytesMut::with_capacity(size);
    let frames = publications
        .iter()
        .map(|publication| {
            protocol.publication(publication, &mut wire);
            RunFrame { end: wire.len(), publication: publication.clone() }
        })
        .collect();
    Run { joined: wire.freeze(), frames, rule }
}

/// The same run for clients that take compressed frames: each publication as the first shard that needed it has
/// compressed it, or as it is where that saves nothing. `least` is the smallest that is tried, in bytes.
pub(super) fn deflated(run: &Run, form: Form, least: usize) -> Run {
    let mut start = 0;
    let mut pieces: Vec<Bytes> = Vec::with_capacity(run.frames.len());
    for frame in &run.frames {
        let whole = run.joined.slice(start..frame.end);
        start = frame.end;
        let twin = frame.publication.deflated.frame(form, || frame::deflated(&whole, least));
        pieces.push(twin.unwrap_or(whole));
    }
    let mut end = 0;
    let ends = pieces.iter().zip(&run.frames).map(|(piece, frame)| {
        end += piece.len();
        RunFrame { end, publication: frame.publication.clone() }
    });
    let frames = ends.collect();
    let joined = match pieces.as_slice() {
        // Alone it is shared with the other shards, too.
        [alone] => alone.clone(),
        several => several.concat().into(),
    };
    Run { joined, frames, rule: run.rule }
}
