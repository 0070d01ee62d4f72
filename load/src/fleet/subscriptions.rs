//! What a subscription costs Redis: memory while it lives, and CPU each time a link starts again.

use super::costs::take;
use crate::{
    scenario::account::micros,
    stage::{PREFIX, Stage, process},
    wire::bus::Bus,
    wire::resp::Value,
};
use anyhow::{Context, Result, bail};
use std::{iter, time::Duration};

/// Channels of one link, and how many come in one command.
const CHANNELS: usize = 100_000;
const BATCH: usize = 1_000;

/// Redis' memory in bytes and its CPU in µs, per channel that one link subscribes to: nobody else listens to it, so the
/// channel itself is in it. The dearer case, for a further link finds the channel there.
pub fn measure(stage: &Stage) -> Result<[f64; 2]> {
    let (mut link, mut asker) = (Bus::connect(stage.redis)?, Bus::connect(stage.redis)?);
    let (memory, begun) = (used_memory(&mut asker)?, process::cpu(stage.redis_pid())?);
    (0..CHANNELS / BATCH).try_for_each(|batch| subscribe(&mut link, batch * BATCH))?;
    let cpu: Duration = process::cpu(stage.redis_pid())? - begun;
    let grown = used_memory(&mut asker)?.saturating_sub(memory);
    Ok([grown as f64, micros(cpu)].map(|all| all / CHANNELS as f64))
}

/// One command, as a gateway writes it after a restart, and everything that Redis answers.
fn subscribe(link: &mut Bus, first: usize) -> Result<()> {
    let channels: Vec<String> = (first..first + BATCH).map(|nth| format!("{PREFIX}cost:{nth}")).collect();
    let words: Vec<&[u8]> =
        iter::once("SUBSCRIBE").chain(channels.iter().map(String::as_str)).map(str::as_bytes).collect();
    link.command(&words);
    link.flush()?;
    take(link, BATCH, |value| matches!(value, Value::Array(_)))
}

fn used_memory(asker: &mut Bus) -> Result<u64> {
    asker.command(&[b"INFO", b"memory"]);
    asker.flush()?;
    loop {
        asker.wait()?;
        asker.fill()?;
        match asker.next()? {
            Some(Value::Bulk(info)) => return used(&String::from_utf8_lossy(info)),
            Some(other) => bail!("Redis says {other:?}"),
            None => crate::stop::check()?,
        }
    }
}

fn used(info: &str) -> Result<u64> {
    let bytes = info.lines().find_map(|line| line.strip_prefix("used_memory:")).context("no used_memory in INFO")?;
    bytes.trim().parse().context("used_memory is no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_memory_is_not_taken_for_one_of_its_kind() {
        let info = "# Memory\r\nused_memory_rss:9\r\nused_memory:1024\r\nused_memory_human:1K\r\n";
        assert_eq!(used(info).unwrap(), 1024);
        assert!(used("used_memory_rss:9\r\n").is_err() && used("used_memory:many\r\n").is_err());
    }
}
