//! A run of publications in one encoded form: encoded once, joined once, shared by all who get it.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::frame;
use crate::outbox::{Journal, Run, RunFrame};
use crate::protocol::{Form, Protocol};
use crate::publication::Publication;
use crate::settings::{OnFull, RuleIndex};

/// What a frame adds to its payload, at a guess.
const FRAMING: usize = 96;

/// A publication with more payload goes out as it is, in bytes: a shard that compresses writes to nobody meanwhile,
/// and at this size that takes 2 to 3 ms. It takes longer where the payload swells in its frame, as text does in
/// JSON by what must be escaped.
const LARGEST: usize = 512 * 1024;

/// Encodes `publications` of one topic as `protocol`'s clients get them.
pub(super) fn run(publications: &[Arc<Publication>], protocol: &dyn Protocol, rule: (RuleIndex, OnFull)) -> Run {
    let size = publications.iter().map(|publication| publication.payload.len() + FRAMING).sum();
    let mut wire = BytesMut::with_capacity(size);
    let frames = publications
        .iter()
        .map(|publication| {
            protocol.publication(publication, &mut wire);
            RunFrame::new(wire.len(), publication.clone())
        })
        .collect();
    Run { joined: wire.freeze(), frames, rule }
}

/// The same run for a client that is told with every message how far it has come on several topics, instead of the
/// publication's own position.
pub(super) fn signed(run: &Run, protocol: &dyn Protocol, journal: &Journal) -> Run {
    let (mut wire, mut start) = (BytesMut::with_capacity(run.joined.len() + FRAMING * run.frames.len()), 0);
    let frames = run.frames.iter().map(|frame| {
        let whole = &run.joined[std::mem::replace(&mut start, frame.end)..frame.end];
        let publication = &frame.publication;
        let is_signed = publication.position().is_some_and(|position| journal.note(&publication.topic, position));
        match is_signed {
            true => protocol.signed(whole, &journal.id(), &mut wire),
            false => wire.put_slice(whole),
        }
        RunFrame::new(wire.len(), publication.clone())
    });
    let frames = frames.collect();
    Run { joined: wire.freeze(), frames, rule: run.rule }
}

/// The same run for clients that take compressed frames: each publication as the first shard that needed it has
/// compressed it, or as it is where that saves nothing. `least` is the smallest that is tried, in bytes.
/// Also whether anything was compressed for it now.
pub(super) fn deflated(run: &Run, form: Form, least: usize) -> (Run, bool) {
    let (mut start, mut compressed) = (0, false);
    let pieces = run.frames.iter().map(|frame| {
        let whole = run.joined.slice(std::mem::replace(&mut start, frame.end)..frame.end);
        let (twin, made) = twin(&frame.publication, &whole, form, least);
        compressed |= made;
        (whole, twin)
    });
    let pieces: Vec<_> = pieces.collect();
    let joined = match pieces.as_slice() {
        none if none.iter().all(|(_, twin)| twin.is_none()) => run.joined.clone(),
        // Alone it is shared with the other shards, too.
        [(_, Some(alone))] => alone.clone(),
        several => several.iter().map(piece).collect::<Vec<_>>().concat().into(),
    };
    let mut end = 0;
    let ends = pieces.iter().zip(&run.frames).map(|(both, frame)| {
        end += piece(both).len();
        RunFrame::new(end, frame.publication.clone())
    });
    (Run { joined, frames: ends.collect(), rule: run.rule }, compressed)
}

/// What goes out of a frame and its twin.
fn piece((whole, twin): &(Bytes, Option<Bytes>)) -> &[u8] {
    twin.as_ref().unwrap_or(whole)
}

/// The compressed twin of a publication's frame, if it is of a size to have one: the payload's, which is the same in
/// every form. Also whether it was not there yet; to wait for a shard that makes it takes as long as to make it.
fn twin(publication: &Publication, whole: &[u8], form: Form, least: usize) -> (Option<Bytes>, bool) {
    // Asked first: what is out of bounds has no room made for twins.
    if !(least..=LARGEST).contains(&publication.payload.len()) {
        return (None, false);
    }
    let missing = !publication.deflated.has(form);
    (publication.deflated.frame(form, || frame::deflated(whole)), missing)
}
