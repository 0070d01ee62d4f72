//! What becomes of each command: the right first, then the act.

use std::collections::HashSet;

use bytes::Bytes;

use super::{RATE_RETRY, Session};
use crate::broker::history::chapter;
use crate::broker::{Chapter, HistoryError, PublishError};
use crate::clock;
use crate::close::{Close, retry_hint};
use crate::command::{Command, MessageId, Payload, Question, Wanted};
use crate::event::{Event, Refusal, RefusalCode};
use crate::hub::Answer;
use crate::metrics::{Inbound, Source};
use crate::position::Position;
use crate::protocol::reads_as_command;
use crate::publication::{Header, PayloadKind};
use crate::settings::{Grant, OnMessage, ProtocolChoice};
use crate::topic::Topic;

/// What a client publishes.
struct Draft {
    payload: Bytes,
    kind: Option<PayloadKind>,
    event: Option<Box<str>>,
    key: Option<Box<str>>,
}

impl Session {
    /// Carries out one command, or answers why not.
    ///
    /// # Errors
    /// Why the client must go.
    pub async fn obey(&mut self, asked: Result<Command, Refusal>) -> Result<(), Close> {
        let outcome = match asked {
            Err(refusal) => self.refuse(&refusal),
            Ok(Command::Subscribe { topics, id }) => self.subscribe(topics, id).await,
            Ok(Command::Unsubscribe { topics, id }) => self.unsubscribe(topics, id).await,
            Ok(Command::Publish { topic, payload, kind, event, key, id }) => {
                self.publish_to(topic, Draft { payload, kind: Some(kind), event, key }, id).await
            }
            Ok(Command::History { topic, question, id }) => self.history(topic, question, id).await,
            Ok(Command::Message(payload)) => self.message(payload).await?,
            Ok(Command::Warn(message)) => {
                self.warn(&message);
                return Ok(());
            }
            Ok(Command::Ping { id }) => {
                self.member.outbox().say(&Event::Pong { id: id.as_ref() });
                Inbound::Accepted
            }
        };
        self.rooms.metrics.inbound(outcome).inc();
        Ok(())
    }

    async fn subscribe(&mut self, topics: Vec<Wanted>, id: Option<MessageId>) -> Inbound {
        let (mut topics, limit) = match self.bounded(topics, |wanted| &wanted.topic, id.as_ref()) {
            Ok(bounded) => bounded,
            Err(refusal) => return self.refuse(&refusal),
        };
        let settings = self.rooms.live.get();
        let mut refused = Vec::new();
        topics.retain(|Wanted { topic, .. }| {
            let granted = settings.topics.rule(topic.as_str()).subscribe == Grant::Anyone;
            if !granted {
                refused.push(forbidden(topic, "subscribe", id.clone()));
            }
            granted
        });
        drop(settings);
        for refusal in &refused {
            self.refuse(refusal);
        }
        self.member.subscribe(topics, limit, Answer { id, arrivals: None }).await;
        if refused.is_empty() { Inbound::Accepted } else { Inbound::Refused }
    }

    async fn unsubscribe(&mut self, topics: Vec<Topic>, id: Option<MessageId>) -> Inbound {
        match self.bounded(topics, |topic| topic, id.as_ref()) {
            Ok((topics, _)) => {
                self.member.unsubscribe(topics, id).await;
                Inbound::Accepted
            }
            Err(refusal) => self.refuse(&refusal),
        }
    }

    /// Each topic once, and no more of them than a connection may have: what one command costs is bounded.
    fn bounded<T>(
        &self,
        mut topics: Vec<T>,
        topic: impl Fn(&T) -> &Topic,
        id: Option<&MessageId>,
    ) -> Result<(Vec<T>, usize), Refusal> {
        let settings = self.rooms.live.get();
        let limit = settings.limits_on(&settings.routes[self.route]).topics;
        let mut seen = HashSet::new();
        topics.retain(|wanted| seen.insert(topic(wanted).clone()));
        match topics.len() <= limit {
            true => Ok((topics, limit)),
            false => Err(too_many(topics.len(), limit, id.cloned())),
        }
    }

    async fn publish_to(&mut self, topic: Topic, draft: Draft, id: Option<MessageId>) -> Inbound {
        match self.publish(&topic, draft).await {
            Ok(position) => {
                self.member.outbox().say(&Event::Published { id: id.as_ref(), position });
                Inbound::Accepted
            }
            Err(refusal) => self.refuse(&Refusal { id, ..refusal }),
        }
    }

    /// Reads a page of a history, where the topic may be listened to.
    async fn history(&mut self, topic: Topic, question: Question, id: Option<MessageId>) -> Inbound {
        let (may, keeps) = {
            let settings = self.rooms.live.get();
            let rule = settings.topics.rule(topic.as_str());
            (rule.subscribe == Grant::Anyone, rule.keeps_history())
        };
        if !may {
            return self.refuse(&forbidden(&topic, "subscribe", id));
        }
        if !keeps {
            return self.refuse(&no_history(&topic, id));
        }
        match chapter(&*self.rooms.broker, &topic, question).await {
            Ok(Chapter { publications, newest, more }) => {
                let (topic, id, publications) = (&topic, id.as_ref(), &*publications);
                self.member.outbox().say(&Event::History { topic, id, publications, newest, more });
                Inbound::Accepted
            }
            Err(error) => {
                // Clients are strangers: where Redis is and what it said is the operators' to read.
                tracing::debug!(%topic, %error, "a client's history was not read");
                let message =
                    format!("the history of {topic} was not read: {}", cause(matches!(error, HistoryError::Away(_))));
                self.refuse(&Refusal { id, code: RefusalCode::Unavailable, message })
            }
        }
    }

    /// A plain client's message: the route says what it means.
    async fn message(&mut self, payload: Payload) -> Result<Inbound, Close> {
        let on_message = self.rooms.live.get().routes[self.route].on_message.clone();
        match on_message {
            OnMessage::Ignore => Ok(Inbound::Ignored),
            OnMessage::Refuse => {
                self.rooms.metrics.inbound(Inbound::Refused).inc();
                Err(Close::Forbidden(self.no_messages(payload).into()))
            }
            OnMessage::Echo(template) => {
                self.member.outbox().say(&Event::Echo(&echo(&template, payload)));
                Ok(Inbound::Accepted)
            }
            OnMessage::Publish => self.publish_to_route(payload).await,
        }
    }

    /// What a client hears whose message is refused: most often it meant to send a command, and forgot the subprotocol.
    fn no_messages(&self, payload: Payload) -> &'static str {
        let asks = self.rooms.live.get().routes[self.route].protocol == ProtocolChoice::Ask;
        match asks && reads_as_command(payload) {
            true => r#"a command, but no subprotocol was offered: new WebSocket(url, "fanline.json") speaks json"#,
            false => "this route takes no messages (on_message = \"refuse\")",
        }
    }

    async fn publish_to_route(&mut self, payload: Payload) -> Result<Inbound, Close> {
        // A text message may be meant as JSON; bytes are bytes.
        let kind = matches!(payload, Payload::Binary(_)).then_some(PayloadKind::Binary);
        let mut outcome = Inbound::Accepted;
        for topic in self.topics.clone() {
            let draft = Draft { payload: payload.bytes().clone(), kind, event: None, key: None };
            match self.publish(&topic, draft).await {
                Ok(_) => {}
                // An outage closes no socket; the client hears of it where its route has a word for it.
                Err(refusal) if refusal.code == RefusalCode::Unavailable => outcome = self.refuse(&refusal),
                Err(refusal) if refusal.code == RefusalCode::TooLarge => return Err(self.too_big(&topic)),
                Err(refusal) if refusal.code == RefusalCode::TooManyTopics => {
                    return Err(Close::RateLimited(retry_hint(RATE_RETRY)));
                }
                Err(refusal) => return Err(Close::Forbidden(refusal.message)),
            }
        }
        Ok(outcome)
    }

    /// Publishes where the topic's rule and the route grant it; the sender is excluded unless the route
    /// includes it.
    async fn publish(&mut self, topic: &Topic, draft: Draft) -> Result<Option<Position>, Refusal> {
        let (except, keeps) = {
            let settings = self.rooms.live.get();
            let rule = settings.topics.rule(topic.as_str());
            if rule.publish != Grant::Anyone {
                return Err(forbidden(topic, "publish", None));
            }
            if settings.routes[self.route].on_message != OnMessage::Publish {
                return Err(listeners_only(&settings.routes[self.route].path));
            }
            if draft.payload.len() > rule.publication.0 {
                return Err(too_large(topic, draft.payload.len(), rule.publication.0));
            }
            let most = settings.limits_on(&settings.routes[self.route]).topics;
            let includes_sender = settings.routes[self.route].include_sender;
            let except = if includes_sender { Vec::new() } else { vec![self.id().to_string().into()] };
            (except, rule.keeps_history().then_some(most))
        };
        if let Some(most) = keeps {
            self.name(topic, most).await?;
        }
        let Draft { payload, kind, event, key } = draft;
        let header = Header { ts: Some(clock::unix_ms()), event, key, kind, except, ..Header::default() };
        let published = self.rooms.broker.publish(topic, &header, payload).await;
        let receipt = published.map_err(|error| unpublished(topic, &error))?;
        self.rooms.metrics.publications(Source::Client).inc();
        Ok(receipt.position)
    }

    /// Counts a topic with history that it publishes to, where it is a new one: it may leave something in Redis.
    async fn name(&mut self, topic: &Topic, most: usize) -> Result<(), Refusal> {
        let (now, name) = (clock::now_us(), self.rooms.names.hash(topic));
        let recent = self.recent.get_or_insert_default();
        if recent.knows(name, now / 1000) {
            return Ok(());
        }
        if !recent.has_room(most) {
            return Err(too_many_names(topic, most));
        }
        let (names, broker) = (&self.rooms.names, &self.rooms.broker);
        let is_known = match names.knows(name) {
            true => true,
            false => broker.has_history(topic).await.map_err(|error| unpublished(topic, &error))?,
        };
        match is_known {
            true => names.note(name),
            false if names.admit(name, self.client, most, clock::now_us()) => {}
            false => return Err(too_many_new(topic)),
        }
        self.recent.get_or_insert_default().note(name);
        Ok(())
    }

    fn too_big(&self, topic: &Topic) -> Close {
        Close::TooBig(self.rooms.live.get().topics.rule(topic.as_str()).publication.0)
    }

    /// Says what is ignored, the first time: a program that writes it once writes it always.
    fn warn(&mut self, message: &str) {
        if !std::mem::replace(&mut self.warned, true) {
            self.member.outbox().say(&Event::Warning(message));
        }
    }

    fn refuse(&self, refusal: &Refusal) -> Inbound {
        self.member.outbox().say(&Event::Error(refusal));
        Inbound::Refused
    }
}

/// The answer of an echo route: the template with the message in its place; binary comes back as it was.
fn echo(template: &str, payload: Payload) -> Payload {
    match payload {
        Payload::Text(text) => {
            Payload::Text(template.replace("{text}", &String::from_utf8_lossy(&text)).into_bytes().into())
        }
        Payload::Binary(bytes) => Payload::Binary(bytes),
    }
}

fn forbidden(topic: &Topic, act: &str, id: Option<MessageId>) -> Refusal {
    let message = format!("clients may not {act} to {topic}: its topic rule says {act} = \"none\"");
    Refusal { id, code: RefusalCode::Forbidden, message }
}

fn no_history(topic: &Topic, id: Option<MessageId>) -> Refusal {
    let message = format!("{topic} keeps no history: its topic rule says history_size = 0");
    Refusal { id, code: RefusalCode::NoHistory, message }
}

fn too_many(found: usize, limit: usize, id: Option<MessageId>) -> Refusal {
    let message = format!("{found} topics in one command are too many: a connection listens to at most {limit} here");
    Refusal { id, code: RefusalCode::TooManyTopics, message }
}

fn too_many_names(topic: &Topic, limit: usize) -> Refusal {
    let message = format!(
        "not published to {topic}: a client publishes to at most {limit} topics with history in a minute here (limits.topics)"
    );
    Refusal { id: None, code: RefusalCode::TooManyTopics, message }
}

fn too_many_new(topic: &Topic) -> Refusal {
    let message = format!(
        "not published to {topic}: clients publish to too many new topics with history here, more than limits.replica_topics \
         allows for; those that are in use take publications, others do later"
    );
    Refusal { id: None, code: RefusalCode::TooManyTopics, message }
}

fn listeners_only(path: &str) -> Refusal {
    let message =
        format!("clients of route {path} only listen: set on_message = \"publish\" there to let them publish");
    Refusal { id: None, code: RefusalCode::Forbidden, message }
}

fn too_large(topic: &Topic, found: usize, limit: usize) -> Refusal {
    let message = format!("a publication on {topic} has at most {limit} bytes, this one has {found}");
    Refusal { id: None, code: RefusalCode::TooLarge, message }
}

/// Why, in words that show a client nothing of Redis' address and of what it said.
fn cause(is_away: bool) -> &'static str {
    if is_away { "Redis is away" } else { "Redis refused" }
}

fn unpublished(topic: &Topic, error: &PublishError) -> Refusal {
    let message = match error {
        PublishError::Away(_) => {
            let cause = cause(true);
            format!(
                "not published to {topic}: {cause}; where it did not answer in time, it may have taken it all the same"
            )
        }
        PublishError::Refused(_) => format!("not published to {topic}: {}", cause(false)),
        PublishError::Header(too_long) => format!("not published to {topic}: {too_long}"),
    };
    tracing::debug!(%topic, %error, "a client's message was not published");
    Refusal { id: None, code: RefusalCode::Unavailable, message }
}
