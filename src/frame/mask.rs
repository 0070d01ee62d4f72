//! The client's mask: an XOR with four bytes over and over (RFC 6455 §5.3).

/// Masks or unmasks `bytes`, which begin `offset` bytes into their frame's payload.
pub(super) fn apply(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut turned = mask;
    turned.rotate_left(offset % 4);
    let [a, b, c, d] = turned;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(turned.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_byte_meets_the_mask_byte_of_its_place(bytes: Vec<u8>, mask: [u8; 4], offset in 0..9_usize) {
            let mut masked = bytes.clone();
            apply(&mut masked, mask, offset);
            let expected: Vec<u8> = bytes.iter().enumerate().map(|(i, b)| b ^ mask[(i + offset) % 4]).collect();
            prop_assert_eq!(masked, expected);
        }
    }
}
