//! What a publication costs before it is fanned out: in Redis, and on a replica.

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

/// CPU µs.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Costs {
    /// A replica's, per publication that one of its clients gets.
    pub ingest_us: f64,
    /// Redis', per PUBLISH, whoever hears it.
    pub redis_publish_us: f64,
    /// Redis', more for each link that hears it.
    pub redis_push_us: f64,
}

const PAYLOAD: [u8; 256] = [b'x'; 256];
/// Outstanding at once, by the one who publishes for `ingest`.
const OUTSTANDING: usize = 512;
const INGEST_TIME: Duration = Duration::from_secs(3);
/// Links that hear what is published, and how often in all.
const LINKS: usize = 64;
const PUBLICATIONS: usize = 10_000;
/// Published in one write.
const BATCH: usize = 50;

impl Costs {
    /// Measures them on the stage's Redis.
    pub fn measure(stage: &Stage) -> Result<Self> {
        let alone = redis_us(stage, 0)?;
        let heard = redis_us(stage, LINKS)?;
        let redis_push_us = (heard - alone) / LINKS as f64;
        Ok(Self { ingest_us: ingest_us(stage)?, redis_publish_us: alone, redis_push_us })
    }
}

fn ingest_us(stage: &Stage) -> Result<f64> {
    let gateway = stage.gateway()?.context("no gateway")?;
    let mut crowd = Crowd::new(stage.redis, PREFIX)?;
    let group = crowd.connect(&gateway.server, &["load:ingest".into()], 1)?;
    crowd.run(&group, Feed::InFlight(OUTSTANDING), PAYLOAD.len(), INGEST_TIME / 6)?;
    let begun = process::cpu(gateway.pid())?;
    let (tally, _) = crowd.run(&group, Feed::InFlight(OUTSTANDING), PAYLOAD.len(), INGEST_TIME)?;
    ensure_clean(&tally)?;
    Ok(micros(process::cpu(gateway.pid())? - begun) / tally.deliveries as f64)
}

/// Redis' CPU per PUBLISH that so many links hear.
fn redis_us(stage: &Stage, links: usize) -> Result<f64> {
    let channel = format!("{PREFIX}load:links").into_bytes();
    let mut links = (0..links).map(|_| subscribed(stage.redis, &channel)).collect::<Result<Vec<_>>>()?;
    let mut producer = Bus::connect(stage.redis)?;
    let begun = process::cpu(stage.redis_pid())?;
    for _ in 0..PUBLICATIONS / BATCH {
        (0..BATCH).for_each(|_| producer.command(&[b"PUBLISH", &channel, &PAYLOAD]));
        producer.flush()?;
        take(&mut producer, BATCH, |value| matches!(value, Value::Integer(heard) if *heard == links.len() as i64))?;
        for link in &mut links {
            take(link, BATCH, |value| matches!(value, Value::Array(_)))?;
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
fn take(bus: &mut Bus, many: usize, expected: impl Fn(&Value<'_>) -> bool) -> Result<()> {
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
