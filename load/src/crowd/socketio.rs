//! What a Socket.IO server says inside WebSocket messages: Engine.IO 4, with Socket.IO 5 on it.

/// What one message means to a client that only listens.
#[derive(Debug, PartialEq, Eq)]
pub enum Word<'a> {
    /// The event `message` with one text, which begins here.
    Publication(&'a [u8]),
    /// The namespace is joined, and with it the room.
    Greeting,
    /// To be answered by this text.
    Answer(&'static [u8]),
    /// The server refuses us.
    Refusal,
    /// Nothing to us.
    Other,
}

/// Reads one message.
#[inline]
pub fn read(message: &[u8]) -> Word<'_> {
    match message {
        [b'4', b'2', ..] => message.strip_prefix(br#"42["message",""#).map_or(Word::Other, Word::Publication),
        // Engine.IO is open: we ask for the main namespace.
        [b'0', ..] => Word::Answer(b"40"),
        // A ping wants its pong.
        [b'2', ..] => Word::Answer(b"3"),
        [b'4', b'0', ..] => Word::Greeting,
        [b'1', ..] | [b'4', b'1' | b'4', ..] => Word::Refusal,
        _ => Word::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_greets_after_open_and_connect_and_its_ping_is_answered() {
        let said: [(&[u8], Word); 6] = [
            (br#"0{"sid":"a","pingInterval":25000}"#, Word::Answer(b"40")),
            (br#"40{"sid":"b"}"#, Word::Greeting),
            (b"2", Word::Answer(b"3")),
            (br#"42["message","hello"]"#, Word::Publication(b"hello\"]")),
            (br#"42["other",1]"#, Word::Other),
            (br#"44{"message":"no"}"#, Word::Refusal),
        ];
        for (message, word) in said {
            assert_eq!(read(message), word);
        }
    }
}
