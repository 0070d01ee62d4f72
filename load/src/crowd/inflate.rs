//! Compressed messages, inflated once for all sockets that get the same bytes.

use crate::wire::stamp::Stamp;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags as flags};
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

/// What the sender took off the end (RFC 7692 §7.2.2), and an empty last block: a message that breaks off in the middle
/// of a block takes it for data, and never ends.
const TAIL: [u8; 9] = [0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF];

fn inflate(compressed: &[u8]) -> Option<Vec<u8>> {
    let whole = [compressed, &TAIL].concat();
    let mut message = vec![0; MOST];
    let flags = flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, read, len) = decompress(&mut DecompressorOxide::new(), &whole, &mut message, 0, flags);
    message.truncate(len);
    (status == TINFLStatus::Done && read == whole.len()).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use miniz_oxide::deflate::core::{
        CompressorOxide, TDEFLFlush, compress_to_output, create_comp_flags_from_zip_params,
    };

    fn deflate(message: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Window bits of 0 or less are those of deflate without zlib's header.
        let flags = create_comp_flags_from_zip_params(1, 0, 0);
        compress_to_output(&mut CompressorOxide::new(flags), message, TDEFLFlush::Sync, |some| {
            bytes.extend_from_slice(some);
            true
        });
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
    fn a_message_that_was_cut_off_is_not_ours() {
        let mut message = Vec::new();
        Stamp { number: 1, sent_ns: 5 }.fill(500, &mut message);
        message.extend((0..500_u32).map(|nth| (nth * nth / 7) as u8));
        let whole = deflate(&message);
        assert!((1..whole.len()).all(|cut| Inflater::default().stamp(&whole[..cut]).is_none()));
    }

    #[test]
    fn what_does_not_inflate_is_not_ours() {
        assert_eq!(Inflater::default().stamp(&[0xFF; 20]), None);
    }
}
