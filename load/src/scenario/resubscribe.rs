//! Redis restarts under a replica that listens to many topics: how soon all are live again, and whether they are.

use crate::{
    crowd::{Crowd, feed::Feed, server::Speech},
    report::progress,
    report::results::{Bar, Case},
    scenario::bench::Bench,
    scenario::pairs::ensure_clean,
    stage::{Measured, PREFIX},
    stop,
    wire::bus::Bus,
    wire::resp::Value,
};
use anyhow::{Result, ensure};
use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

const TOPICS: usize = 100_000;
/// What `limits.topics` allows a connection.
const TOPICS_EACH: usize = 200;
const BAR: Bar = Bar { most: 2.0 };
/// Between two looks at the metrics: the figure's grain. Scraping more often would be part of the load.
const LOOK: Duration = Duration::from_millis(10);
/// A gateway that is not there by then will not be.
const PATIENCE: Duration = Duration::from_secs(40);

pub fn measure(bench: &Bench) -> Result<Vec<Case>> {
    let mut redis = bench.stage.another_redis()?;
    let Some(gateway) = bench.stage.gateway_on(redis.address, &[])? else { return Ok(Vec::new()) };
    let topics = bench.count(TOPICS);
    let names: Vec<String> = (0..topics).map(|topic| format!("load:{topic:06}")).collect();
    let each: Vec<Vec<String>> = names.chunks(TOPICS_EACH).map(<[String]>::to_vec).collect();
    progress::step(format!("subscribing {topics} topics by {} connections", each.len()));
    let mut crowd = Crowd::new(redis.address, PREFIX)?;
    let group = crowd.connect_to_many(&gateway.server.speaking(Speech::Json), &each)?;
    let live = |gateway: &Measured| anyhow::Ok(gateway.scrape()?.sum("fanline_live_topics") as usize);
    until(&mut crowd, "all topics are live", || Ok(live(&gateway)? == topics))?;

    progress::step("redis is away");
    crowd.leave_redis();
    redis.stop();
    until(&mut crowd, "no topic is live", || Ok(live(&gateway)? == 0))?;
    let resubscribed = |gateway: &Measured| anyhow::Ok(gateway.scrape()?.sum("fanline_redis_resubscribe_seconds_sum"));
    let before = resubscribed(&gateway)?;
    redis.start_again()?;
    await_answer(redis.address)?;
    let answers = Instant::now();
    progress::step("redis answers again");
    until(&mut crowd, "all topics are live again", || Ok(live(&gateway)? == topics))?;
    let took = answers.elapsed().as_secs_f64();
    let own = resubscribed(&gateway)? - before;
    let gaps = |gateway: &Measured| anyhow::Ok(gateway.scrape()?.sum("fanline_gaps_total") as usize);
    until(&mut crowd, "each subscription has its gap", || Ok(gaps(&gateway)? == topics))?;
    let told = answers.elapsed().as_secs_f64();

    progress::step("publishing on all of them");
    crowd.meet_redis(redis.address)?;
    let (tally, _) = crowd.run(&group, Feed::InFlight(8), bench.plan.payload_bytes, bench.plan.window)?;
    ensure_clean(&tally)?;
    let name = format!("{topics} topics live again after redis answers");
    let note = format!(
        "{own:.3} s by fanline_redis_resubscribe_seconds; a gap for each after {told:.3} s; then {} publications, none lost",
        tally.publications
    );
    Ok(vec![Case::of_single(name, "s", Some(BAR), Some(took), None).noted(note)])
}

/// Looks again and again, hearing the sockets meanwhile.
fn until(crowd: &mut Crowd, what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !is_so()? {
        ensure!(Instant::now() < end, "waited {} s in vain until {what}", PATIENCE.as_secs());
        crowd.idle(LOOK)?;
    }
    Ok(())
}

/// Returns when Redis has answered a PING.
fn await_answer(redis: SocketAddr) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    let mut bus = Bus::connect(redis)?;
    bus.command(&[b"PING"]);
    bus.flush()?;
    loop {
        stop::check()?;
        ensure!(Instant::now() < end, "redis does not answer");
        bus.fill()?;
        if let Some(Value::Simple(b"PONG")) = bus.next()? {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
}
