//! What a replica holds, by the kernel's account and by its own.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use tokio::task::JoinHandle;

/// After a fault a replica holds at most so much more than before, in percent …
const FLAT_PERCENT: u64 = 10;

/// … and a small one this much, in bytes: what allocators keep of a burst does not shrink with the process. What
/// grows from fault to fault exceeds it nevertheless, since a fleet is held against what it held at first.
const FLAT_ROOM: u64 = 4 * 1024 * 1024;

/// The gauges that must come back to where they were.
const GAUGES: [&str; 5] = [
    "fanline_inbox_publications",
    "fanline_outbox_bytes",
    "fanline_subscriptions",
    "fanline_topics",
    "fanline_connections{protocol=\"json\"}",
];

/// What is above these is not flat.
#[derive(Debug, Clone)]
pub struct Held {
    pub bytes: u64,
    pub gauges: Vec<f64>,
}

impl Held {
    pub fn new(pid: u32, metrics: &BTreeMap<String, f64>) -> Self {
        let gauges = GAUGES.iter().map(|name| metrics.get(*name).copied().unwrap_or(0.0)).collect();
        Self { bytes: anonymous(pid), gauges }
    }

    /// What is not as it was; `more` bytes are granted to who has more clients than before, whose gauges rise.
    pub fn against(&self, before: &Self, more: u64) -> Option<String> {
        let most = before.most() + more;
        if self.bytes > most {
            return Some(format!("it holds {} KiB, and {} before", self.bytes / 1024, before.bytes / 1024));
        }
        let mut gauges = GAUGES.iter().zip(self.gauges.iter().zip(&before.gauges));
        let (name, (now, then)) = gauges.find(|(_, (now, then))| more == 0 && now > then)?;
        Some(format!("{name} is {now}, and was {then}"))
    }

    /// The most that is flat.
    pub fn most(&self) -> u64 {
        self.bytes + (self.bytes * FLAT_PERCENT / 100).max(FLAT_ROOM)
    }
}

/// A process's share of its anonymous memory, in bytes: its heap and stacks. Pages of the binary come and go
/// with the other replicas that run it.
pub fn anonymous(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let mut lines = rollup.lines().filter_map(|line| line.strip_prefix("Pss_Anon:"));
    let kilobytes = lines.next().and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Looks at processes while a fault lasts, and answers the most that each of them held.
pub struct Watch(JoinHandle<()>, std::sync::Arc<parking_lot::Mutex<Vec<u64>>>);

impl Watch {
    pub fn over(pids: Vec<u32>) -> Self {
        let most = std::sync::Arc::new(parking_lot::Mutex::new(vec![0; pids.len()]));
        let seen = most.clone();
        let task = tokio::spawn(async move {
            loop {
                for (place, pid) in pids.iter().enumerate() {
                    let bytes = anonymous(*pid);
                    let mut seen = seen.lock();
                    seen[place] = seen[place].max(bytes);
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        });
        Self(task, most)
    }

    pub fn most(self) -> Vec<u64> {
        self.0.abort();
        self.1.lock().clone()
    }
}
