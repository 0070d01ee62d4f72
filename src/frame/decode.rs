//! Bytes of a client → messages.

use std::mem;
use std::ops::ControlFlow;

use super::gather::Gathering;
use super::head::{Head, Kind, MAX_HEAD};
use super::{Extension, FrameError, Message, Opcode, deflate, mask};

/// Turns the bytes that a client sends into messages, however the network cut them.
///
/// Between messages it owns no heap. A message that lies wholly in what was read is delivered from there;
/// of any other at most the limit is kept, plus one header or control frame. A compressed message is kept as it
/// came and inflated when all of it is here, by an inflater that all connections of a thread share.
#[derive(Debug)]
pub struct Decoder {
    max_message: usize,
    extension: Extension,
    partial: Option<Box<Partial>>,
    ended: bool,
}

/// What is kept while a message is not all here.
#[derive(Debug, Default)]
struct Partial {
    /// The data message whose frames come in, perhaps with control frames between them.
    message: Option<Gathering>,
    cut: Cut,
}

/// Where in the stream of frames the bytes ended.
#[derive(Debug, Default)]
enum Cut {
    /// Between two frames.
    #[default]
    Between,
    /// In a header, of which this many bytes are here.
    Header([u8; MAX_HEAD], usize),
    /// In a control frame's payload, of which these bytes are here.
    Control(Head, Vec<u8>),
    /// In a data frame's payload, of which this many bytes are in the message already.
    Data(Head, usize),
}

/// Whether to go on; if not, nothing more is understood.
type Step = Result<ControlFlow<()>, FrameError>;

/// As long as nothing is wrong.
const GO_ON: Step = Ok(ControlFlow::Continue(()));

impl Decoder {
    /// Refuses messages above `max_message` bytes, in one frame or in many, inflated where they were compressed.
    #[must_use]
    pub fn new(max_message: usize, extension: Extension) -> Self {
        Self { max_message, extension, partial: None, ended: false }
    }

    /// Changes the limit for frames whose header is yet to come, and for messages that are yet to be inflated.
    pub fn set_limit(&mut self, max_message: usize) {
        self.max_message = max_message;
    }

    /// Takes the bytes that were read, unmasks them in place and calls `on` with each message that they
    /// complete, and with each frame whose message goes on. After an error, a close frame or a `Break` nothing more is understood, in this call or later.
    ///
    /// # Errors
    /// What a client may not send, as soon as its header shows it; the messages before it were delivered.
    pub fn feed(
        &mut self,
        mut input: &mut [u8],
        on: &mut impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<(), FrameError> {
        while !self.ended && !input.is_empty() {
            let step = self.frame(&mut input, on);
            if step != GO_ON {
                self.ended = true;
                self.partial = None;
                return step.map(drop);
            }
        }
        Ok(())
    }

    /// Takes the next frame off `input`, or what there is of it.
    fn frame(&mut self, input: &mut &mut [u8], on: &mut impl FnMut(Message<'_>) -> ControlFlow<()>) -> Step {
        match self.take_cut() {
            Cut::Between => match Head::parse(input, self.extension, |kind, len| self.judge(kind, len))? {
                Some((head, used)) => {
                    take(input, used);
                    self.payload(head, input, on)
                }
                None => self.header([0; MAX_HEAD], 0, input, on),
            },
            Cut::Header(bytes, len) => self.header(bytes, len, input, on),
            Cut::Control(head, bytes) => self.control(head, bytes, input, on),
            Cut::Data(head, seen) => self.data(head, seen, input, on),
        }
    }

    /// Goes on with a header of which the first `len` of `bytes` are here.
    fn header(
        &mut self,
        mut bytes: [u8; MAX_HEAD],
        len: usize,
        input: &mut &mut [u8],
        on: &mut impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Step {
        let more = input.len().min(MAX_HEAD - len);
        bytes[len..len + more].copy_from_slice(&input[..more]);
        match Head::parse(&bytes[..len + more], self.extension, |kind, len| self.judge(kind, len))? {
            Some((head, used)) => {
                take(input, used - len);
                self.payload(head, input, on)
            }
            None => {
                take(input, more);
                self.partial.get_or_insert_default().cut = Cut::Header(bytes, len + more);
                GO_ON
            }
        }
    }

    /// Begins a frame's payload; a message that is all here is delivered where it lies.
    fn payload(
        &mut self,
        head: Head,
        input: &mut &mut [u8],
        on: &mut impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Step {
        let alone = head.kind.fin && head.kind.opcode != Opcode::Continuation;
        if alone && input.len() >= head.len {
            let payload = take(input, head.len);
            mask::apply(payload, head.mask, 0);
            return self.whole(head.kind, payload, on);
        }
        match head.kind.opcode.is_control() {
            true => self.control(head, Vec::with_capacity(head.len), input, on),
            false => self.data(head, 0, input, on),
        }
    }

    /// Goes on with a control frame of which `bytes` are here.
    fn control(
        &mut self,
        head: Head,
        mut bytes: Vec<u8>,
        input: &mut &mut [u8],
        on: &mut impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Step {
        let more = take(input, head.len - bytes.len());
        mask::apply(more, head.mask, bytes.len());
        bytes.extend_from_slice(more);
        if bytes.len() == head.len {
            return deliver(head.kind.opcode, &bytes, on);
        }
        self.partial.get_or_insert_default().cut = Cut::Control(head, bytes);
        GO_ON
    }

    /// Goes on with a data frame of which `seen` bytes are in the message.
    fn data(
        &mut self,
        head: Head,
        seen: usize,
        input: &mut &mut [u8],
        on: &mut impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Step {
        let more = take(input, head.len - seen);
        mask::apply(more, head.mask, seen);
        let seen = seen + more.len();
        let partial = self.partial.get_or_insert_default();
        let message = partial.message.get_or_insert_with(|| Gathering::new(head.kind));
        message.append(more, most(message.kind(), self.max_message));
        if seen < head.len {
            partial.cut = Cut::Data(head, seen);
            return GO_ON;
        }
        message.judge()?;
        if !head.kind.fin {
            return Ok(on(Message::Fragment(head.len)));
        }
        match self.partial.take().and_then(|partial| partial.message) {
            Some(message) => self.whole(message.kind(), message.bytes(), on),
            None => GO_ON,
        }
    }

    /// Hands over a message all of which is here.
    fn whole(&self, kind: Kind, bytes: &[u8], on: &mut impl FnMut(Message<'_>) -> ControlFlow<()>) -> Step {
        match kind.compressed {
            false => deliver(kind.opcode, bytes, on),
            true => deflate::inflate(bytes, self.max_message, |bytes| deliver(kind.opcode, bytes, on))?,
        }
    }

    /// Judges a header in its place: among the frames before it, and against the limit.
    fn judge(&self, kind: Kind, len: usize) -> Result<(), FrameError> {
        let begun = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        match (kind.opcode, begun) {
            (Opcode::Continuation, None) => Err(FrameError::Protocol("a continuation of no message")),
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                Err(FrameError::Protocol("a new message inside a fragmented one"))
            }
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => Ok(()),
            (_, begun) => match begun.map_or(0, Gathering::len).checked_add(len) {
                Some(total) if total <= most(begun.map_or(kind, Gathering::kind), self.max_message) => Ok(()),
                _ => Err(FrameError::TooBig(self.max_message)),
            },
        }
    }

    /// Where the last bytes ended; what no message needs any longer is given back.
    fn take_cut(&mut self) -> Cut {
        let cut = self.partial.as_mut().map(|partial| mem::take(&mut partial.cut));
        self.partial.take_if(|partial| partial.message.is_none());
        cut.unwrap_or_default()
    }

    /// The memory that it holds for what is not all here yet, in bytes.
    #[must_use]
    pub fn held(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            let control = if let Cut::Control(_, bytes) = &partial.cut { bytes.capacity() } else { 0 };
            size_of::<Partial>() + control + partial.message.as_ref().map_or(0, Gathering::held)
        })
    }
}

/// The most bytes that a message has on its way here.
fn most(kind: Kind, max_message: usize) -> usize {
    match kind.compressed {
        true => deflate::compressed_limit(max_message),
        false => max_message,
    }
}

/// Takes up to `most` bytes off the front.
fn take<'a>(input: &mut &'a mut [u8], most: usize) -> &'a mut [u8] {
    let most = most.min(input.len());
    let (front, rest) = mem::take(input).split_at_mut(most);
    *input = rest;
    front
}

/// Hands over one message of these unmasked bytes. A close is the last.
fn deliver(opcode: Opcode, bytes: &[u8], on: &mut impl FnMut(Message<'_>) -> ControlFlow<()>) -> Step {
    let message = match opcode {
        Opcode::Text => Message::Text(text(bytes)?),
        Opcode::Ping => Message::Ping(bytes),
        Opcode::Pong => Message::Pong(bytes),
        Opcode::Close => {
            let _ = on(Message::Close(goodbye(bytes)?));
            return Ok(ControlFlow::Break(()));
        }
        // No message is a continuation: a gathered one bears the opcode it began with.
        Opcode::Binary | Opcode::Continuation => Message::Binary(bytes),
    };
    Ok(on(message))
}

/// The code and reason in a close frame (RFC 6455 §5.5.1).
fn goodbye(bytes: &[u8]) -> Result<Option<(u16, &str)>, FrameError> {
    match bytes.split_first_chunk() {
        None if bytes.is_empty() => Ok(None),
        None => Err(FrameError::Protocol("a close code of one byte")),
        Some((code, reason)) => match u16::from_be_bytes(*code) {
            code if sendable(code) => Ok(Some((code, text(reason)?))),
            _ => Err(FrameError::Protocol("a close code that nobody may send")),
        },
    }
}

/// Whether a peer may send this close code (RFC 6455 §7.4, and 1012 to 1014 of IANA's registry).
fn sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Text, or why not.
fn text(bytes: &[u8]) -> Result<&str, FrameError> {
    std::str::from_utf8(bytes).map_err(|_| FrameError::NotUtf8)
}
