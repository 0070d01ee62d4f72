//! Compressed messages, inflated once for all sockets that get the same bytes.

use crate::wire::stamp::Stamp;
use flate2::{Decompress, FlushDecompress};
use std::collections::VecDeque;

/// As many different messages as are in flight at once, and some more.
const KEPT: usize = 32;
/// No payload of ours is larger.
const MOST: usize = 64 * 1024;

/// Finds stamps in compressed messages. A server without context takeover sends every socket the same bytes, so that
/// comparing is enough for all but the first; each message is still looked at as a whole.
#[derive(Default)]
pub struct Inflater {
    seen: VecDeque<(Vec<u8>, Option<Stamp>)>,
}

impl Inflater {
    /// The stamp of a message; `None` where it does not inflate or is not ours.
    pub fn stamp(&mut self, compressed: &[u8]) -> Option<Stamp> {
        if let Some((_, stamp)) = self.seen.iter().find(|(bytes, _)| bytes == compressed) {
            return *stamp;
        }
        let stamp = inflate(compressed).and_then(|message| Stamp::find(&message));
        self.seen.truncate(KEPT - 1);
        self.seen.push_front((compressed.to_vec(), stamp));
        stamp
    }
}

/// RFC 7692 §7.2.2: the sender took the empty block's four bytes off the end.
fn inflate(compressed: &[u8]) -> Option<Vec<u8>> {
    let whole = [compressed, &[0, 0, 0xFF, 0xFF]].concat();
    let mut message = Vec::with_capacity(MOST);
    Decompress::new(false).decompress_vec(&whole, &mut message, FlushDecompress::Sync).ok()?;
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};

    fn deflate(message: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4096);
        let mut compress = Compress::new(Compression::fast(), false);
        compress.compress_vec(message, &mut bytes, FlushCompress::Sync).unwrap();
        bytes.truncate(bytes.len() - 4);
        bytes
    }

    #[test]
    fn a_stamp_is_read_through_compression_the_first_time_and_again() {
        let mut inflater = Inflater::default();
        let stamps = [1, 2, 1, 2].map(|number| {
            let mut message = Vec::new();
            Stamp { number, sent_ns: 5 }.fill(500, &mut message);
            inflater.stamp(&deflate(&message)).map(|stamp| stamp.number)
        });
        assert_eq!(stamps, [Some(1), Some(2), Some(1), Some(2)]);
        assert_eq!(inflater.seen.len(), 2);
    }

    #[test]
    fn what_does_not_inflate_is_not_ours() {
        assert_eq!(Inflater::default().stamp(&[0xFF; 20]), None);
    }
}
