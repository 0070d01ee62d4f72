//! What a publication costs before it is fanned out, in Redis and on a replica; and what Redis pays for subscriptions.

use super::subscriptions;
use crate::{
    crowd::{Crowd, feed::Feed},
    scenario::account::micros,
    scenario::pairs::ensure_clean,
    stage::{PREFIX, Stage, process},
    stop,
    wire::bus::Bus,
    wire::resp::Value,
};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::{net::SocketAddr, time::Duration};

/// CPU in µs.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Costs {
    /// A replica's, per publication that one of its clients gets, where many are outstanding.
    pub ingest_us: f64,
    /// The same, where each comes alone.
    pub ingest_alone_us: f64,
    /// How long that was measured; all else is counted, not timed.
    pub ingest_window_s: f64,
    /// Redis', per PUBLISH that comes alone, whoever hears it.
    pub redis_publish_us: f64,
    /// Redis', more for each link that hears one that comes alone.
    pub redis_push_us: f64,
    /// Both, where fifty come in one write.
    pub redis_publish_together_us: f64,
    pub redis_push_together_us: f64,
    /// Redis' memory for one channel of one link, in bytes.
    pub redis_subscription_bytes: f64,
    /// Redis' CPU for its SUBSCRIBE.
    pub redis_subscribe_us: f64,
}

const PAYLOAD: [u8; 256] = [b'x'; 256];
/// Outstanding at once, by the one who publishes for `ingest`.
const OUTSTANDING: usize = 512;
const INGEST_TIME: Duration = Duration::from_secs(3);
/// Links that hear what is published, and how often in all.
const LINKS: usize = 64;
const PUBLICATIONS: usize = 10_000;
/// Published in one write, where they come together: reads and writes of Redis are then shared.
const TOGETHER: usize = 50;

impl Costs {
    /// Measures them on the stage's Redis.
    pub fn measure(stage: &Stage) -> Result<Self> {
        let [redis_publish_us, redis_push_us] = redis_by(stage, 1)?;
        let [redis_publish_together_us, redis_push_together_us] = redis_by(stage, TOGETHER)?;
        let [redis_subscription_bytes, redis_subscribe_us] = subscriptions::measure(stage)?;
        Ok(Self {
            ingest_us: ingest_us(stage, OUTSTANDING)?,
            ingest_alone_us: ingest_us(stage, 1)?,
            ingest_window_s: INGEST_TIME.as_secs_f64(),
            redis_publish_us,
            redis_push_us,
            redis_publish_together_us,
            redis_push_together_us,
            redis_subscription_bytes,
            redis_subscribe_us,
        })
    }
}

fn ingest_us(stage: &Stage, outstanding: usize) -> Result<f64> {
    let gateway = stage.gateway()?.context("no gateway")?;
    let mut crowd = Crowd::new(stage.redis, PREFIX)?;
    let group = crowd.connect(&gateway.server, &["load:ingest".into()], 1)?;
    crowd.run(&group, Feed::InFlight(outstanding), PAYLOAD.len(), INGEST_TIME / 6)?;
    let begun = process::cpu(gateway.pid())?;
    let (tally, _) = crowd.run(&group, Feed::InFlight(outstanding), PAYLOAD.len(), INGEST_TIME)?;
    ensure_clean(&tally)?;
    Ok(micros(process::cpu(gateway.pid())? - begun) / tally.deliveries as f64)
}

/// Redis' CPU per PUBLISH, and per link that hears it, where so many come in one write.
fn redis_by(stage: &Stage, together: usize) -> Result<[f64; 2]> {
    let unheard = redis_us(stage, 0, together)?;
    let heard = redis_us(stage, LINKS, together)?;
    Ok([unheard, (heard - unheard) / LINKS as f64])
}

/// Redis' CPU per PUBLISH that so many links hear. Everybody has what was written together before the next is.
fn redis_us(stage: &Stage, links: usize, together: usize) -> Result<f64> {
    let channel = format!("{PREFIX}load:links").into_bytes();
    let mut links = (0..links).map(|_| subscribed(stage.redis, &channel)).collect::<Result<Vec<_>>>()?;
    let mut producer = Bus::connect(stage.redis)?;
    let begun = process::cpu(stage.redis_pid())?;
    for _ in 0..PUBLICATIONS / together {
        (0..together).for_each(|_| producer.command(&[b"PUBLISH", &channel, &PAYLOAD]));
        producer.flush()?;
        take(&mut producer, together, |value| matches!(value, Value::Integer(heard) if *heard == links.len() as i64))?;
        for link in &mut links {
            take(link, together, |value| matches!(value, Value::Array(_)))?;
        }
    }
    Ok(micros(process::cpu(stage.redis_pid())? - begun) / PUBLICATIONS as f64)
}

fn subscribed(redis: SocketAddr, channel: &[u8]) -> Result<Bus> {
    let mut link = Bus::connect(redis)?;
    link.command(&[b"SUBSCRIBE", channel]);
    link.flush()?;
    take(&mut link, 1, |value| matches!(value, Value::Array(_)))?;
    Ok(link)
}

/// Reads so many values, each of which must be as expected.
pub fn take(bus: &mut Bus, many: usize, expected: impl Fn(&Value<'_>) -> bool) -> Result<()> {
    let mut left = many;
    while left > 0 {
        stop::check()?;
        bus.wait()?;
        bus.fill()?;
        while let Some(value) = bus.next()? {
            ensure!(expected(&value), "Redis says {value:?}");
            left -= 1;
        }
    }
    Ok(())
}
