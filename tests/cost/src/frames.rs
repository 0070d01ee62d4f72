//! A client's message out of its frame.

use std::hint::black_box;
use std::ops::ControlFlow;

use anyhow::ensure;
use bytes::BytesMut;
use fanline::frame::{self, Decoder, Extension, Message, Opcode};

use crate::allocator::{Asked, count};

/// One masked text frame of 32 bytes, as a read of a socket brings it.
pub fn decode(times: usize) -> anyhow::Result<Asked> {
    let mut frame = BytesMut::new();
    frame::encode_masked(Opcode::Text, &[b'x'; 32], true, [1, 2, 3, 4], &mut frame);
    let mut decoder = Decoder::new(64 * 1024, Extension::None);
    let mut read = frame.to_vec();
    let mut understood = 0;
    let asked = count(|| {
        for _ in 0..times {
            // Decoding unmasks in place.
            read.copy_from_slice(&frame);
            decoder.feed(black_box(&mut read), &mut |message| {
                understood += usize::from(matches!(black_box(message), Message::Text(_)));
                ControlFlow::Continue(())
            })?;
        }
        Ok(())
    })?;
    ensure!(understood == times, "{understood} of {times} messages were understood");
    Ok(asked)
}
