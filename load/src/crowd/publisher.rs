//! The publisher: whatever road leads to a server, one turn of the crowd's loop costs one write on it.

use crate::wire::{bus::Bus, emitter::Emitter, post::Post};
use anyhow::{Context, Result};
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

const REDIS: u64 = u64::MAX;
const POST: u64 = u64::MAX - 1;

/// How publications get to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Road {
    /// PUBLISH on the channel named prefix and topic.
    Redis,
    /// PUBLISH as Socket.IO's Redis emitter does it: the topic is a room.
    Emitter,
    /// POST to this address, the topic in the query.
    Http(SocketAddr),
}

/// A topic on its road.
#[derive(Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Channel(Vec<u8>),
    Room(Emitter),
    Target(String),
}

impl Address {
    /// Where a topic's publications go.
    pub fn of(road: Road, prefix: &str, topic: &str) -> Self {
        match road {
            Road::Redis => Self::Channel(format!("{prefix}{topic}").into_bytes()),
            Road::Emitter => Self::Room(Emitter::to(topic)),
            Road::Http(_) => Self::Target(format!("/publish?topic={topic}")),
        }
    }
}

/// Connections to where publications go in.
#[derive(Default)]
pub struct Publisher {
    /// None while Redis is away by our own doing.
    redis: Option<Bus>,
    post: Option<Post>,
    message: Vec<u8>,
}

impl Publisher {
    /// Publishes by this Redis from now on.
    pub fn meet_redis(&mut self, redis: SocketAddr, epoll: &Epoll) -> Result<()> {
        let redis = Bus::connect(redis)?;
        epoll.add(redis.stream(), EpollEvent::new(EpollFlags::EPOLLIN, REDIS))?;
        self.redis = Some(redis);
        Ok(())
    }

    /// Hangs up on Redis.
    pub fn leave_redis(&mut self) {
        self.redis = None;
    }

    /// Builds what a road needs beyond Redis. One server by HTTP a crowd.
    pub fn build(&mut self, road: Road, epoll: &Epoll) -> Result<()> {
        if let (Road::Http(address), None) = (road, &self.post) {
            let post = Post::connect(address)?;
            epoll.add(post.stream(), EpollEvent::new(EpollFlags::EPOLLIN, POST))?;
            self.post = Some(post);
        }
        Ok(())
    }

    /// Whether an event of the poller is ours to [`Publisher::hear`].
    pub fn owns(event: u64) -> bool {
        event >= POST
    }

    /// Appends a publication to what the next flush sends.
    pub fn publish(&mut self, address: &Address, payload: &[u8]) -> Result<()> {
        if let Address::Target(target) = address {
            self.post.as_mut().context("no road by http")?.request(target, payload);
            return Ok(());
        }
        let redis = self.redis.as_mut().context("nothing can be published while redis is away")?;
        match address {
            Address::Channel(channel) => redis.command(&[b"PUBLISH", channel, payload]),
            Address::Room(emitter) => {
                emitter.encode(payload, &mut self.message);
                redis.command(&[b"PUBLISH", &emitter.channel, &self.message]);
            }
            Address::Target(_) => {}
        }
        Ok(())
    }

    /// Sends what has gathered.
    pub fn flush(&mut self) -> Result<()> {
        self.redis.as_mut().map_or(Ok(()), Bus::flush)?;
        self.post.as_mut().map_or(Ok(()), Post::flush)
    }

    /// Reads answers, which are nothing but read unless they are errors.
    pub fn hear(&mut self, event: u64) -> Result<()> {
        match (event, &mut self.redis, &mut self.post) {
            (POST, _, Some(post)) => post.fill()?,
            (REDIS, Some(redis), _) => {
                redis.fill()?;
                while redis.next()?.is_some() {}
            }
            _ => {}
        }
        Ok(())
    }
}
