//! What Socket.IO's Redis emitter writes (`@socket.io/redis-emitter` 5): `io.to(room).emit("message", text)` as a
//! MessagePack array of its name, the packet and the options, published on the room's channel.

/// One room's publications: everything but the text is the same each time.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Emitter {
    pub channel: Vec<u8>,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Emitter {
    /// To one room of the main namespace, with the adapter's default key.
    pub fn to(room: &str) -> Self {
        let channel = format!("socket.io#/#{room}#").into_bytes();
        let mut head = vec![0x93];
        text(b"emitter", &mut head);
        head.push(0x83);
        text(b"type", &mut head);
        head.push(2);
        text(b"data", &mut head);
        head.push(0x92);
        text(b"message", &mut head);
        let mut tail = Vec::new();
        text(b"nsp", &mut tail);
        text(b"/", &mut tail);
        tail.push(0x83);
        text(b"rooms", &mut tail);
        tail.push(0x91);
        text(room.as_bytes(), &mut tail);
        text(b"flags", &mut tail);
        tail.push(0x80);
        text(b"except", &mut tail);
        tail.push(0x90);
        Self { channel, head, tail }
    }

    /// Replaces `into` by the message that carries a text.
    pub fn encode(&self, payload: &[u8], into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(&self.head);
        text(payload, into);
        into.extend_from_slice(&self.tail);
    }
}

/// Appends a MessagePack string.
fn text(bytes: &[u8], into: &mut Vec<u8>) {
    match bytes.len() {
        len @ 0..=31 => into.push(0xA0 | len as u8),
        len @ 32..=255 => into.extend_from_slice(&[0xD9, len as u8]),
        len @ 256..=65_535 => {
            into.push(0xDA);
            into.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            into.push(0xDB);
            into.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
    into.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `notepack.encode(["emitter", {type: 2, data: ["message", "hi"], nsp: "/"}, {rooms: ["a"], flags: {}, except: []}])`
    const BY_THE_EMITTER: &[u8] = b"\x93\xA7emitter\x83\xA4type\x02\xA4data\x92\xA7message\xA2hi\xA3nsp\xA1/\
                                    \x83\xA5rooms\x91\xA1a\xA5flags\x80\xA6except\x90";

    #[test]
    fn a_message_is_byte_for_byte_what_the_emitter_writes() {
        let (emitter, mut message) = (Emitter::to("a"), Vec::new());
        emitter.encode(b"hi", &mut message);
        assert_eq!(message, BY_THE_EMITTER);
        assert_eq!(emitter.channel, b"socket.io#/#a#");
    }

    #[test]
    fn longer_texts_have_longer_lengths() {
        let heads = [31, 32, 255, 256, 65_535, 65_536].map(|len| {
            let mut bytes = Vec::new();
            text(&vec![b'x'; len], &mut bytes);
            bytes[..bytes.len() - len].to_vec()
        });
        let wanted: [&[u8]; 6] =
            [&[0xBF], &[0xD9, 32], &[0xD9, 255], &[0xDA, 1, 0], &[0xDA, 255, 255], &[0xDB, 0, 1, 0, 0]];
        assert_eq!(heads.each_ref().map(Vec::as_slice), wanted);
    }
}
