//! Redis's wire language (RESP2), as much as SUBSCRIBE and PUBLISH need. Bytes in, values out; no sockets.

/// One value, borrowing from the reader's bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Simple(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    Bulk(&'a [u8]),
    Nil,
    Array(Vec<Value<'a>>),
}

/// Bytes that are no RESP2.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadResp {
    #[error("unknown type byte {0:#04x}")]
    Type(u8),
    #[error("not a number where RESP wants one")]
    Number,
    #[error("arrays nested deeper than anything we asked for")]
    Depth,
}

/// We subscribe and publish: replies are flat arrays.
const DEPTH: u8 = 4;

/// The first value of `bytes` and its length; `None` while it is incomplete.
pub fn value(bytes: &[u8]) -> Result<Option<(Value<'_>, usize)>, BadResp> {
    let mut at = 0;
    Ok(parse(bytes, &mut at, DEPTH)?.map(|value| (value, at)))
}

fn parse<'a>(bytes: &'a [u8], at: &mut usize, depth: u8) -> Result<Option<Value<'a>>, BadResp> {
    let Some(&kind) = bytes.get(*at) else { return Ok(None) };
    let Some(line) = line(bytes, *at + 1) else { return Ok(None) };
    *at += 1 + line.len() + 2;
    Ok(Some(match kind {
        b'+' => Value::Simple(line),
        b'-' => Value::Error(line),
        b':' => Value::Integer(number(line)?),
        b'$' => match usize::try_from(number(line)?) {
            Err(_) => Value::Nil,
            Ok(len) => match bytes.get(*at..*at + len + 2) {
                None => return Ok(None),
                Some(bulk) => {
                    *at += len + 2;
                    Value::Bulk(&bulk[..len])
                }
            },
        },
        b'*' => match number(line)? {
            -1 => Value::Nil,
            len => return items(bytes, at, len, depth.checked_sub(1).ok_or(BadResp::Depth)?),
        },
        other => return Err(BadResp::Type(other)),
    }))
}

fn items<'a>(bytes: &'a [u8], at: &mut usize, len: i64, depth: u8) -> Result<Option<Value<'a>>, BadResp> {
    let mut items = Vec::with_capacity(3);
    for _ in 0..len {
        match parse(bytes, at, depth)? {
            Some(item) => items.push(item),
            None => return Ok(None),
        }
    }
    Ok(Some(Value::Array(items)))
}

fn line(bytes: &[u8], from: usize) -> Option<&[u8]> {
    let rest = bytes.get(from..)?;
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    Some(&rest[..end])
}

fn number(line: &[u8]) -> Result<i64, BadResp> {
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(BadResp::Number)
}

/// Appends a command.
pub fn command(words: &[&[u8]], into: &mut Vec<u8>) {
    into.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        into.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        into.extend_from_slice(word);
        into.extend_from_slice(b"\r\n");
    }
}

/// Bytes as they came from the socket, handed out as whole values.
#[derive(Default)]
pub struct Reader {
    bytes: Vec<u8>,
    done: usize,
}

impl Reader {
    /// Takes what one read brought.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.done > 0 {
            self.bytes.drain(..self.done);
            self.done = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole value; `None` until more is fed.
    pub fn next(&mut self) -> Result<Option<Value<'_>>, BadResp> {
        match value(&self.bytes[self.done..])? {
            None => Ok(None),
            Some((value, len)) => {
                self.done += len;
                Ok(Some(value))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUSH: &[u8] = b"*3\r\n$7\r\nmessage\r\n$9\r\nfanline:a\r\n$4\r\nh\r\ni\r\n";

    #[test]
    fn a_push_is_read_whole_and_never_half() {
        for cut in 0..PUSH.len() {
            assert_eq!(value(&PUSH[..cut]), Ok(None), "cut at {cut}");
        }
        let words = [&b"message"[..], b"fanline:a", b"h\r\ni"].map(Value::Bulk);
        assert_eq!(value(PUSH), Ok(Some((Value::Array(words.into()), PUSH.len()))));
    }

    #[test]
    fn a_reader_hands_out_every_value_however_the_stream_is_cut() {
        let stream = [PUSH, b":12\r\n", b"+OK\r\n", b"-ERR no\r\n", b"$-1\r\n", PUSH].concat();
        for size in 1..stream.len() {
            let (mut reader, mut seen) = (Reader::default(), Vec::new());
            for part in stream.chunks(size) {
                reader.feed(part);
                while let Some(value) = reader.next().unwrap() {
                    seen.push(format!("{value:?}"));
                }
            }
            assert_eq!(seen.len(), 6, "parts of {size}");
            assert_eq!(seen[1], "Integer(12)");
        }
    }

    #[test]
    fn what_is_no_resp_is_an_error() {
        assert_eq!(value(b"!3\r\n"), Err(BadResp::Type(b'!')));
        assert_eq!(value(b":x\r\n"), Err(BadResp::Number));
        assert_eq!(value("*1\r\n".repeat(9).as_bytes()), Err(BadResp::Depth));
    }

    #[test]
    fn a_command_is_an_array_of_its_words() {
        let mut bytes = Vec::new();
        command(&[b"PUBLISH", b"a", b"hello"], &mut bytes);
        assert_eq!(bytes, b"*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$5\r\nhello\r\n");
    }
}
