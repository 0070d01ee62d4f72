//! Why we hang up: code, text, whether to come back, and the label it is counted under.

/// Why the gateway ends a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Close {
    /// The client said goodbye first; its code is answered.
    Client(u16),
    /// RFC 6455 was broken: 1002.
    Protocol(&'static str),
    /// A text message was not UTF-8: 1007.
    NotUtf8,
    /// A message above the limit, in bytes: 1009.
    TooBig(usize),
    /// The replica drains: 1012, come back after this many ms.
    Drain(u32),
    /// The client may not do what it tried: 4003.
    Forbidden(String),
    /// The client's message makes no sense here: 4004.
    BadRequest(String),
    /// The client reads too slowly and its topic's rule says `disconnect`, or it took nothing for `outbox.stall`: 4100.
    Slow(u32),
    /// The client sends more than its limit: 4101.
    RateLimited(u32),
    /// All outboxes together are too full and this one was the fullest: 4102.
    Overloaded(u32),
    /// A message of the client took longer than `inbound.timeout` to be all here, or all those that are not hold too much
    /// together and this one was the oldest: 4104.
    Unfinished(u32),
    /// The operator sends some of this replica's clients to the others: 4200, come back after this many ms.
    Shed(u32),
    /// No sign of life within the heartbeat's timeout: 4201.
    NoPong,
    /// Something was missed and the route says `on_gap = "close"`: 4202.
    Gap,
    /// It was open for `public.max_age`: 4203, come back after this many ms.
    MaxAge(u32),
    /// The socket is gone, there is nobody to tell.
    Lost,
}

/// What a client should do after it was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Do not come back without a change.
    Never,
    /// Come back after this many milliseconds.
    After(u32),
    /// Come back at once.
    Now,
}

impl Close {
    /// The close code on the wire.
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            Self::Client(code) => *code,
            Self::Protocol(_) => 1002,
            Self::NotUtf8 => 1007,
            Self::TooBig(_) => 1009,
            Self::Drain(_) => 1012,
            Self::Forbidden(_) => 4003,
            Self::BadRequest(_) => 4004,
            Self::Slow(_) => 4100,
            Self::RateLimited(_) => 4101,
            Self::Overloaded(_) => 4102,
            Self::Unfinished(_) => 4104,
            Self::Shed(_) => 4200,
            Self::NoPong => 4201,
            Self::Gap => 4202,
            Self::MaxAge(_) => 4203,
            Self::Lost => 1006,
        }
    }

    /// The reason's text on the wire, at most 123 bytes (RFC 6455 §5.5).
    #[must_use]
    pub fn reason(&self) -> String {
        let mut text = match self {
            Self::Client(_) | Self::Lost => String::new(),
            Self::Protocol(what) => (*what).to_owned(),
            Self::NotUtf8 => "a text message must be UTF-8".to_owned(),
            Self::TooBig(limit) => format!("a message has at most {limit} bytes here"),
            Self::Forbidden(what) | Self::BadRequest(what) => what.clone(),
            Self::Drain(ms)
            | Self::Slow(ms)
            | Self::RateLimited(ms)
            | Self::Overloaded(ms)
            | Self::Unfinished(ms)
            | Self::Shed(ms)
            | Self::MaxAge(ms) => format!("{{\"retry_ms\":{ms}}}"),
            Self::NoPong => "no pong".to_owned(),
            Self::Gap => "something was missed".to_owned(),
        };
        text.truncate(text.floor_char_boundary(123));
        text
    }

    /// What the client should do next.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Drain(ms)
            | Self::Slow(ms)
            | Self::RateLimited(ms)
            | Self::Overloaded(ms)
            | Self::Unfinished(ms)
            | Self::Shed(ms)
            | Self::MaxAge(ms) => Retry::After(*ms),
            Self::NoPong | Self::Gap | Self::Lost => Retry::Now,
            _ => Retry::Never,
        }
    }

    /// The label of `fanline_connections_closed_total{reason}`.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::Protocol(_) => "protocol",
            Self::NotUtf8 => "not_utf8",
            Self::TooBig(_) => "too_big",
            Self::Drain(_) => "drain",
            Self::Forbidden(_) => "forbidden",
            Self::BadRequest(_) => "bad_request",
            Self::Slow(_) => "slow",
            Self::RateLimited(_) => "rate_limited",
            Self::Overloaded(_) => "overloaded",
            Self::Unfinished(_) => "unfinished",
            Self::Shed(_) => "shed",
            Self::NoPong => "no_pong",
            Self::Gap => "gap",
            Self::MaxAge(_) => "max_age",
            Self::Lost => "lost",
        }
    }
}

/// A retry hint between `least` and twice that, in ms, so that clients closed together come back apart.
#[must_use]
pub fn retry_hint(least: u32) -> u32 {
    least + fastrand::u32(0..=least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_reasons_are_a_contract() {
        assert_eq!((Close::Drain(1500).code(), Close::Drain(1500).reason()), (1012, r#"{"retry_ms":1500}"#.into()));
        assert_eq!((Close::Slow(9).code(), Close::Slow(9).reason()), (4100, r#"{"retry_ms":9}"#.into()));
        assert_eq!(Close::RateLimited(1).code(), 4101);
        assert_eq!(Close::Overloaded(1).code(), 4102);
        assert_eq!((Close::Unfinished(7).code(), Close::Unfinished(7).reason()), (4104, r#"{"retry_ms":7}"#.into()));
        assert_eq!(Close::NoPong.code(), 4201);
        assert_eq!((Close::Shed(7).code(), Close::Shed(7).reason()), (4200, r#"{"retry_ms":7}"#.into()));
        assert_eq!(Close::Gap.code(), 4202);
        assert_eq!((Close::MaxAge(7).code(), Close::MaxAge(7).reason()), (4203, r#"{"retry_ms":7}"#.into()));
    }

    #[test]
    fn a_reason_always_fits_a_control_frame() {
        assert_eq!(Close::Forbidden("ä".repeat(200)).reason().len(), 122);
    }
}
