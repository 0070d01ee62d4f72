//! What Redis keeps of topics with a history, and whether this gateway keeps any.

use std::collections::HashSet;
use std::process::Command;
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};

use crate::gateway::binary;
use crate::ledger::{Topic, number};
use crate::support::redis::RedisServer;

/// The rule for the topics that keep one.
const RULE: &str = "[[topics]]\nmatch = \"h:*\"\nhistory_size = 10000\nhistory_ttl = \"10m\"\n";

/// Whether the gateway under test knows topics with a history: it is asked whether it understands their rule.
pub fn is_kept() -> bool {
    static KEPT: LazyLock<bool> = LazyLock::new(|| {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("history.toml");
        std::fs::write(&config, RULE).unwrap();
        let checked = Command::new(binary()).arg("--config").arg(&config).arg("check-config").output().unwrap();
        checked.status.success()
    });
    *KEPT
}

/// Whether producers may publish with a history by a function, which the gateway puts into Redis.
pub fn is_called(redis: &RedisServer) -> bool {
    static CALLED: OnceLock<bool> = OnceLock::new();
    let find = || {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            let found = redis.cli(&["FUNCTION", "LIST", "LIBRARYNAME", "fanline*"]).contains("fanline_publish");
            if found || Instant::now() > deadline {
                return found;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    is_kept() && *CALLED.get_or_init(find)
}

/// What the configuration says of it.
pub fn rules() -> &'static str {
    if is_kept() { RULE } else { "" }
}

/// The numbers that Redis holds of a topic. A payload is found wherever it stands in its entry.
pub fn held(redis: &RedisServer, topic: &Topic) -> HashSet<u64> {
    redis.cli(&["XRANGE", &topic.stream(), "-", "+"]).lines().filter_map(number).collect()
}
