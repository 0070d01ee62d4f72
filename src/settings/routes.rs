//! Routes: what a path means.

use super::{Heartbeat, Limits, Template};

/// `[[routes]]`: a path, what is spoken there and what a connection there listens to.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The path, with `{name}` for a segment.
    pub path: String,
    /// What is spoken.
    pub protocol: ProtocolChoice,
    /// Topics that every connection listens to.
    pub topics: Vec<Template>,
    /// The query parameter that names further topics; empty: none does.
    pub query_topics: String,
    /// What a plain client listens to when nothing else names a topic; empty: nothing.
    pub default_topic: String,
    /// What a plain client's message means.
    pub on_message: OnMessage,
    /// Whether a client hears what it published itself, in either protocol.
    pub include_sender: bool,
    /// What a plain client is told when something may have been missed.
    pub on_gap: OnGap,
    /// Its own heartbeat, where it differs.
    pub heartbeat: Option<Heartbeat>,
    /// Its own limits, where they differ.
    pub limits: Option<Limits>,
    /// Whether messages are compressed here, where that differs.
    pub deflate: Option<bool>,
}

/// What is spoken on a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProtocolChoice {
    /// `json` where the client offers subprotocol `fanline.json` or asks `?protocol=json`, else `plain`.
    #[default]
    Ask,
    /// Payloads verbatim.
    Plain,
    /// One JSON object a frame.
    Json,
    /// An event stream, for `EventSource`; no WebSocket.
    Sse,
}

/// What a plain client's message means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OnMessage {
    /// The client is closed with 4003.
    #[default]
    Refuse,
    /// It is dropped and counted.
    Ignore,
    /// It is published to the route's topics; json clients may publish too.
    Publish,
    /// It is answered by the template, with `{text}` for the message.
    Echo(String),
}

/// What a plain client is told when something may have been missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnGap {
    /// Nothing.
    #[default]
    Ignore,
    /// One text message `{"type":"gap",…}`.
    Notify,
    /// It is closed with 4202.
    Close,
}

impl Route {
    /// What there is without a configuration.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        vec![Self::default(), Self::sse()]
    }

    /// `/sse`, as it is without a configuration.
    #[must_use]
    pub fn sse() -> Self {
        Self { path: "/sse".into(), protocol: ProtocolChoice::Sse, default_topic: String::new(), ..Self::default() }
    }
}

impl Default for Route {
    /// `/ws`, as it is without a configuration.
    fn default() -> Self {
        Self {
            path: "/ws".into(),
            protocol: ProtocolChoice::Ask,
            topics: Vec::new(),
            query_topics: "topic".into(),
            default_topic: "all".into(),
            on_message: OnMessage::Refuse,
            include_sender: false,
            on_gap: OnGap::Ignore,
            heartbeat: None,
            limits: None,
            deflate: None,
        }
    }
}
