//! What one thing costs, as measured: from results.json of `make bench` and fleet.json of `fanline-load fleet`.

use anyhow::{Context, Result};
use serde_json::Value;

/// Measured costs. CPU in µs of one core, memory in KiB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Costs {
    /// A lone delivery, one socket, one publication, on a replica as large as was measured: the dearest.
    pub delivery_us: f64,
    /// A delivery where eight publications of a topic wait together.
    pub joined_us: f64,
    /// A publication's way from Redis' push to one socket, on each interested replica, where it comes alone: the dearer.
    pub ingest_us: f64,
    /// The same where 512 are outstanding and reads are shared. For information.
    pub ingest_together_us: f64,
    /// Accept, handshake and subscription, the topic new to the replica: the dearer of the two that are measured.
    pub connect_us: f64,
    /// A replica's memory per idle connection with one subscription, a topic each.
    pub connection_kib: f64,
    /// The kernel's objects per socket.
    pub kernel_kib: f64,
    /// Redis, per PUBLISH that comes alone, the dearer way, whoever hears it.
    pub redis_publish_us: f64,
    /// Redis, more for each link that hears it.
    pub redis_push_us: f64,
    /// Redis' memory for a channel of one link, in bytes.
    pub redis_subscription_bytes: f64,
    /// Redis' CPU for its SUBSCRIBE.
    pub redis_subscribe_us: f64,
}

impl Costs {
    /// Out of both files.
    pub fn of(results: &Value, fleet: &Value) -> Result<Self> {
        let fleet = |pointer: &str| {
            fleet.pointer(pointer).and_then(Value::as_f64).with_context(|| format!("no {pointer} in fleet.json"))
        };
        let at_floor = |words: &[&str]| -> Result<f64> {
            let case = case(results, words)?;
            case.pointer("/pairs/first_us/median")
                .and_then(Value::as_f64)
                .with_context(|| format!("no cost in {words:?}"))
        };
        let measured = |words: &[&str]| -> Result<f64> {
            case(results, words)?["measured"].as_f64().with_context(|| format!("{words:?} was not measured"))
        };
        let delivery_us = at_floor(&["gateway against floor: growth, 18000 sockets", " 1 in flight"])?;
        Ok(Self {
            delivery_us,
            joined_us: at_floor(&["gateway against floor: growth, 18000 sockets", " 8 in flight"])?,
            ingest_us: fleet("/costs/ingest_alone_us")?,
            ingest_together_us: fleet("/costs/ingest_us")?,
            connect_us: measured(&["CPU per connect and subscribe", "a topic each"])?,
            connection_kib: measured(&["PSS per connection", "a topic each"])?,
            kernel_kib: fleet("/kernel_kib_per_connection")?,
            redis_publish_us: fleet("/costs/redis_publish_us")?,
            redis_push_us: fleet("/costs/redis_push_us")?,
            redis_subscription_bytes: fleet("/costs/redis_subscription_bytes")?,
            redis_subscribe_us: fleet("/costs/redis_subscribe_us")?,
        })
    }
}

/// The case whose name begins and ends, or goes on, as said.
fn case<'a>(results: &'a Value, words: &[&str]) -> Result<&'a Value> {
    let mut cases = results["cases"].as_array().into_iter().flatten();
    let named = |case: &&Value| {
        case["name"]
            .as_str()
            .is_some_and(|name| name.starts_with(words[0]) && words.iter().all(|word| name.contains(word)))
    };
    cases.find(named).with_context(|| format!("no case {words:?} in results.json: run make bench"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::measured::Measured;
    use std::path::Path;

    #[test]
    fn the_committed_results_hold_every_cost() {
        let Measured { costs, .. } = Measured::read(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert!(costs.joined_us < costs.delivery_us && costs.connection_kib > 0.0, "{costs:?}");
        assert!(costs.ingest_us >= costs.ingest_together_us && costs.redis_subscription_bytes > 0.0, "{costs:?}");
    }

    #[test]
    fn a_cost_that_was_not_measured_is_named() {
        let error = Costs::of(&serde_json::json!({"cases": []}), &Value::Null).unwrap_err().to_string();
        assert!(
            error.contains("gateway against floor: growth, 18000 sockets") && error.contains("make bench"),
            "{error}"
        );
    }
}
