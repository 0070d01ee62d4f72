//! A run of publications in one encoded form: encoded once, joined once, shared by all who get it.

use std::sync::Arc;

use bytes::BytesMut;

use crate::outbox::{Run, RunFrame};
use crate::protocol::Protocol;
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
