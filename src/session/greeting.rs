//! A client that knocked: it gets a seat, and the door opens once its topics are live.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Rooms, Session, Slot, limits::Bucket};
use crate::command::Wanted;
use crate::event::Event;
use crate::hub::{Answer, Arrivals, Member};
use crate::outbox::Outbox;
use crate::settings::OffOr;

/// What a client wants when it knocks.
pub struct Wish {
    /// The place of its route in the settings.
    pub route: usize,
    /// What it listens to from the start.
    pub topics: Vec<Wanted>,
    /// What of its request is ignored, for a client whose language has a word for that.
    pub warning: Option<String>,
}

/// This replica has no room for another topic.
#[derive(Debug, Clone, Copy)]
pub struct Full;

/// A client whose topics are asked for; what they carry waits in its outbox until the socket is there.
pub struct Greeting {
    session: Session,
    arrivals: Arc<Arrivals>,
}

impl Greeting {
    /// Seats the client of this address and asks for its topics.
    pub async fn begin(rooms: &Arc<Rooms>, slot: Slot, outbox: Arc<Outbox>, client: IpAddr, wish: Wish) -> Self {
        let member = rooms.hub.seat(outbox);
        welcome(rooms, &slot, &member, wish.route);
        if let Some(warning) = &wish.warning {
            member.outbox().say(&Event::Warning(warning));
        }
        let arrivals = Arrivals::new(wish.topics.len());
        let limit = wish.topics.len().max(1);
        let answer = Answer { arrivals: Some(arrivals.clone()), ..Answer::default() };
        member.subscribe(wish.topics.clone(), limit, answer).await;
        let topics = wish.topics.into_iter().map(|wanted| wanted.topic).collect();
        let session = Session {
            rooms: rooms.clone(),
            member,
            slot,
            route: wish.route,
            topics,
            bucket: Bucket::default(),
            client,
            warned: false,
            recent: None,
        };
        Self { session, arrivals }
    }

    /// Resolves once the topics are live, at most `patience` later; at once while the road is known to be
    /// closed: then they are pending.
    ///
    /// # Errors
    /// There is no room for one of the topics, and the client's language has no word for that.
    pub async fn open(self, patience: Duration) -> Result<Session, Full> {
        let live = async {
            self.arrivals.seated().await;
            if self.session.rooms.broker.is_up() {
                self.arrivals.complete().await;
            }
        };
        // Not live in time means pending, which the client is told where its protocol has a word.
        let _ = tokio::time::timeout(patience, live).await;
        let is_told = self.session.member.outbox().protocol().says_live();
        if self.arrivals.is_refused() && !is_told { Err(Full) } else { Ok(self.session) }
    }
}

fn welcome(rooms: &Rooms, slot: &Slot, member: &Member, route: usize) {
    let settings = rooms.live.get();
    let heartbeat = settings.routes[route].heartbeat.as_ref().unwrap_or(&settings.heartbeat);
    let heartbeat_ms = match heartbeat.every {
        OffOr::Off => 0,
        OffOr::Value(every) => u64::try_from(every.as_millis()).unwrap_or(u64::MAX),
    };
    let connection = rooms.replica.connection(slot.number);
    member.outbox().say(&Event::Welcome { connection: &connection, heartbeat_ms });
}

impl Slot {
    /// The number of the connection that has this room.
    #[must_use]
    pub fn number(&self) -> crate::identity::ConnectionNumber {
        self.number
    }
}
