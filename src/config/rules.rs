//! `[[topics]]` and `[[routes]]`: the keys of one rule and of one route.

use std::time::Duration;

use super::keys::{Key, LARGEST, heartbeat_every, key, message_size, rate, topic_count};
use super::kinds::{Flag, List, Maybe, Size, Span, Text, Whole, Words, any_text};
use crate::settings::{
    ByteSize, Grant, Heartbeat, Limits, OffOr, OnFull, OnGap, OnMessage, ProtocolChoice, Route, Template, TopicRule,
};
use crate::topic::Topic;

/// The keys of one `[[topics]]` rule.
pub(super) fn topic_keys(rule: &mut TopicRule) -> Vec<Key<'_>> {
    const GRANTS: Words<Grant> = Words(&[("anyone", Grant::Anyone), ("none", Grant::None)]);
    let TopicRule { matches, publication, on_full, subscribe, publish, history_size, history_ttl } = rule;
    vec![
        key(
            "match",
            Text { expected: "a topic's name, or a prefix that ends in \"*\"", check: pattern },
            matches,
            "A topic's name, or a prefix that ends in \"*\"; the first rule that matches holds.",
        ),
        key("publication", Size(ByteSize(1), LARGEST), publication, "The largest publication."),
        key(
            "on_full",
            Words(&[
                ("disconnect", OnFull::Disconnect),
                ("drop_oldest", OnFull::DropOldest),
                ("drop_newest", OnFull::DropNewest),
                ("conflate", OnFull::Conflate),
            ]),
            on_full,
            "When a client's outbox is full: disconnect, drop_oldest, drop_newest, or conflate (the newest per key).",
        ),
        key("subscribe", GRANTS, subscribe, "Who may listen by name: anyone or none."),
        key("publish", GRANTS, publish, "Which clients may publish: anyone or none."),
        key(
            "history_size",
            Whole(0, 1_000_000),
            history_size,
            "How many of its newest publications a topic keeps, so that clients can resume; 0: none.",
        ),
        key("history_ttl", Span::AboveZero, history_ttl, "How long they are kept after the last of them."),
    ]
    .into_iter()
    .map(Key::live)
    .collect()
}

fn pattern(text: &str) -> Result<(), Option<String>> {
    let name = text.strip_suffix('*').unwrap_or(text);
    match Topic::parse(name) {
        _ if text == "*" => Ok(()),
        Ok(_) => Ok(()),
        Err(_) if name.contains('*') => Err(Some("\"*\" stands at the end only; write \"room:*\"".into())),
        Err(bad) => Err(Some(bad.to_string())),
    }
}

/// A route as its keys have it: `echo` beside `on_message`, limits and heartbeat one by one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draft {
    pub(super) path: String,
    pub(super) protocol: ProtocolChoice,
    pub(super) topics: Vec<String>,
    query_topics: String,
    default_topic: String,
    pub(super) on_message: Answer,
    pub(super) echo: Option<String>,
    pub(super) include_sender: bool,
    on_gap: OnGap,
    message: Option<ByteSize>,
    messages_per_second: Option<u32>,
    burst: Option<u32>,
    max_topics: Option<usize>,
    every: Option<OffOr<Duration>>,
    timeout: Option<Duration>,
    text: Option<String>,
    deflate: Option<bool>,
}

/// [`OnMessage`] without the echo's template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Refuse,
    Ignore,
    Publish,
    Echo,
}

impl Default for Draft {
    fn default() -> Self {
        Self::of(&Route::default())
    }
}

impl Draft {
    /// A route taken apart again.
    pub(super) fn of(route: &Route) -> Self {
        let Route {
            path,
            protocol,
            topics,
            query_topics,
            default_topic,
            on_message,
            include_sender,
            on_gap,
            heartbeat,
            limits,
            deflate,
        } = route.clone();
        let (on_message, echo) = match on_message {
            OnMessage::Refuse => (Answer::Refuse, None),
            OnMessage::Ignore => (Answer::Ignore, None),
            OnMessage::Publish => (Answer::Publish, None),
            OnMessage::Echo(template) => (Answer::Echo, Some(template)),
        };
        Self {
            path,
            protocol,
            topics: topics.iter().map(ToString::to_string).collect(),
            query_topics,
            default_topic,
            on_message,
            echo,
            include_sender,
            on_gap,
            message: limits.as_ref().map(|limits| limits.message),
            messages_per_second: limits.as_ref().map(|limits| limits.messages_per_second),
            burst: limits.as_ref().map(|limits| limits.burst),
            max_topics: limits.as_ref().map(|limits| limits.topics),
            every: heartbeat.as_ref().map(|heartbeat| heartbeat.every),
            timeout: heartbeat.as_ref().map(|heartbeat| heartbeat.timeout),
            text: heartbeat.map(|heartbeat| heartbeat.text),
            deflate,
        }
    }

    /// The route; what it leaves out of a limit or heartbeat is as everywhere.
    pub(super) fn route(self, limits: &Limits, heartbeat: &Heartbeat) -> Route {
        let own_limits = self.limits(limits);
        let own_heartbeat = self.heartbeat(heartbeat);
        Route {
            on_message: match self.on_message {
                Answer::Refuse => OnMessage::Refuse,
                Answer::Ignore => OnMessage::Ignore,
                Answer::Publish => OnMessage::Publish,
                Answer::Echo => OnMessage::Echo(self.echo.unwrap_or_else(|| "{text}".into())),
            },
            path: self.path,
            protocol: self.protocol,
            // One that is no template is reported, and then no route is used.
            topics: self.topics.iter().flat_map(|text| Template::parse(text)).collect(),
            query_topics: self.query_topics,
            default_topic: self.default_topic,
            include_sender: self.include_sender,
            on_gap: self.on_gap,
            heartbeat: own_heartbeat,
            limits: own_limits,
            deflate: self.deflate,
        }
    }

    fn limits(&self, everywhere: &Limits) -> Option<Limits> {
        let Self { message, messages_per_second, burst, max_topics, .. } = self;
        if message.is_none() && messages_per_second.is_none() && burst.is_none() && max_topics.is_none() {
            return None;
        }
        Some(Limits {
            message: message.unwrap_or(everywhere.message),
            messages_per_second: messages_per_second.unwrap_or(everywhere.messages_per_second),
            burst: burst.unwrap_or(everywhere.burst),
            topics: max_topics.unwrap_or(everywhere.topics),
        })
    }

    fn heartbeat(&self, everywhere: &Heartbeat) -> Option<Heartbeat> {
        let Self { every, timeout, text, .. } = self;
        if every.is_none() && timeout.is_none() && text.is_none() {
            return None;
        }
        Some(Heartbeat {
            every: every.unwrap_or(everywhere.every),
            timeout: timeout.unwrap_or(everywhere.timeout),
            text: text.clone().unwrap_or_else(|| everywhere.text.clone()),
        })
    }
}

/// The keys of one `[[routes]]` route.
pub(super) fn route_keys(draft: &mut Draft) -> Vec<Key<'_>> {
    let Draft {
        path,
        protocol,
        topics,
        query_topics,
        default_topic,
        on_message,
        echo,
        include_sender,
        on_gap,
        message,
        messages_per_second,
        burst,
        max_topics,
        every,
        timeout,
        text,
        deflate,
    } = draft;
    vec![
        key("path", any_text("a path such as \"/rooms/{id}\""), path, "The path, with {name} for a segment."),
        key(
            "protocol",
            Words(&[
                ("ask", ProtocolChoice::Ask),
                ("plain", ProtocolChoice::Plain),
                ("json", ProtocolChoice::Json),
                ("sse", ProtocolChoice::Sse),
            ]),
            protocol,
            "What is spoken: plain, json, ask (json where the client offers it, else plain), or sse: event streams.",
        ),
        key(
            "topics",
            List(Text { expected: "a topic such as \"room:{path.id}\"", check: template }),
            topics,
            "What every client here listens to: topics with {path.name} and {query.name}.",
        ),
        key(
            "query_topics",
            any_text("a query parameter's name, or \"\" for none"),
            query_topics,
            "The query parameter that names further topics; empty: none does.",
        ),
        key(
            "default_topic",
            Text { expected: "a topic, or \"\" for none", check: topic_or_none },
            default_topic,
            "What a plain client listens to when nothing else names a topic; empty: nothing.",
        ),
        key(
            "on_message",
            Words(&[
                ("refuse", Answer::Refuse),
                ("ignore", Answer::Ignore),
                ("publish", Answer::Publish),
                ("echo", Answer::Echo),
            ]),
            on_message,
            "What a plain client's message does: refuse (close 4003), ignore, publish to the topics, or echo; publish lets json clients publish too.",
        )
        .live(),
        key("echo", Maybe(any_text("a text such as \"Echo: {text}\"")), echo, "The echo, with {text} for the message.")
            .live(),
        key("include_sender", Flag, include_sender, "Whether a client hears what it published itself.").live(),
        key(
            "on_gap",
            Words(&[("ignore", OnGap::Ignore), ("notify", OnGap::Notify), ("close", OnGap::Close)]),
            on_gap,
            "When a plain client may have missed something: ignore, notify (a text message), or close (4202).",
        ),
        key("message", Maybe(message_size()), message, "As limits.message, for this route.").live(),
        key(
            "messages_per_second",
            Maybe(rate()),
            messages_per_second,
            "As limits.messages_per_second, for this route.",
        )
        .live(),
        key("burst", Maybe(rate()), burst, "As limits.burst, for this route.").live(),
        key("max_topics", Maybe(topic_count()), max_topics, "As limits.topics, for this route.").live(),
        key(
            "heartbeat.every",
            Maybe(heartbeat_every()),
            every,
            "As heartbeat.every, for this route; heartbeat = \"30s\" or \"off\" says the same.",
        ),
        key("heartbeat.timeout", Maybe(Span::AboveZero), timeout, "As heartbeat.timeout, for this route."),
        key("heartbeat.text", Maybe(any_text("a text in quotes")), text, "As heartbeat.text, for this route."),
        key("deflate", Maybe(Flag), deflate, "As deflate.enabled, for this route.").live(),
    ]
}

fn template(text: &str) -> Result<(), Option<String>> {
    Template::parse(text).map(drop).map_err(|bad| Some(bad.to_string()))
}

fn topic_or_none(text: &str) -> Result<(), Option<String>> {
    match text {
        "" => Ok(()),
        name => Topic::parse_client(name).map(drop).map_err(|bad| Some(bad.to_string())),
    }
}
