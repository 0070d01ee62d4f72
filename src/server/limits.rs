//! What this machine allows, and what `auto` means on it.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::SPARE;
use crate::hub;
use crate::settings::{Auto, Settings};

/// Descriptors kept for everything but connections.
const RESERVE: usize = 1000;

/// Where no memory limit can be read, in bytes.
const MEMORY: usize = 1024 * 1024 * 1024;

/// Raises the descriptor limit to the hard limit, and answers it.
#[must_use]
pub fn raise_descriptors() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Where it cannot be raised, what is in force holds.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let in_force = if raised { maximum } else { current };
    in_force.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// The most connections: as set, or what the descriptors leave.
pub(super) fn max_connections(settings: &Settings, descriptors: usize) -> usize {
    // A million where the system knows no limit: more needs a word from the operator.
    let left =
        if descriptors == usize::MAX { 1_000_000 } else { descriptors.saturating_sub(RESERVE).max(descriptors / 2) };
    settings.chosen_connections().unwrap_or(left)
}

/// The most sockets on the public listener: the connections, and those who must be told that there is no
/// room, as far as the descriptors go.
pub(super) fn max_sockets(max_connections: usize, descriptors: usize) -> usize {
    (max_connections + SPARE).min(descriptors.saturating_sub(RESERVE / 2).max(descriptors / 2))
}

/// The most that waits in all outboxes: as set, or a quarter of the memory limit.
pub(super) fn outbox_total(settings: &Settings) -> usize {
    match settings.outbox.total {
        Auto::Value(chosen) => chosen.0,
        Auto::Auto => memory_limit() / 4,
    }
}

/// The most that unfinished messages hold: as set, or a sixteenth of the memory limit. Two of the largest always fit.
pub(super) fn inbound_total(settings: &Settings) -> usize {
    match settings.inbound.total {
        Auto::Value(chosen) => chosen.0,
        Auto::Auto => (memory_limit() / 16).max(settings.largest_message().twice().0),
    }
}

/// The most that half heads of requests hold: a quarter of what unfinished messages may, for who is not in yet is not to
/// cost more than who is. Some of the largest always fit.
pub(super) fn half_heads(settings: &Settings) -> usize {
    (inbound_total(settings) / 4).max(16 * settings.handshake.head.0)
}

/// What a topic takes of memory, about, in bytes.
const TOPIC: usize = 1024;

/// The most topics that this replica holds: as set, or a quarter of the memory limit.
pub(super) fn topics(settings: &Settings) -> usize {
    match settings.replica.topics {
        Auto::Value(chosen) => chosen,
        Auto::Auto => memory_limit() / 4 / TOPIC,
    }
}

/// The number of shards: as set, or one per core that this process may use.
pub(super) fn shards(settings: &Settings) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    match settings.replica.shards {
        Auto::Value(chosen) => chosen,
        Auto::Auto => cores(),
    }
    .clamp(1, hub::MAX_SHARDS)
}

/// The replica's name: as set, or the host's with six random characters, so that a restart has a new one.
pub(super) fn replica_name(chosen: &str) -> String {
    if !chosen.is_empty() {
        return chosen.to_owned();
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(63).collect();
    let host = if host.is_empty() { "replica".to_owned() } else { host };
    let random: String = (0..6).map(|_| fastrand::alphanumeric().to_ascii_lowercase()).collect();
    format!("{host}-{random}")
}

/// The memory limit of the container or the service, or the machine's memory, in bytes.
pub(super) fn memory_limit() -> usize {
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&group).into_iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    limits.chain(machine_memory()).min().unwrap_or(MEMORY)
}

/// Where the limits stand that hold for this process: its group's and those of the groups around it. In a container
/// its own group is the root of what it sees; under systemd it lies some levels down.
fn limit_files(group: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in group.lines() {
        let mut fields = line.splitn(3, ':');
        let (root, name) = match (fields.next(), fields.next()) {
            (Some("0"), Some("")) => ("/sys/fs/cgroup", "memory.max"),
            (_, Some("memory")) => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        let path = Path::new(root).join(fields.next().unwrap_or_default().trim_start_matches('/'));
        files.extend(path.ancestors().take_while(|dir| dir.starts_with(root)).map(|dir| dir.join(name)));
    }
    files
}

fn machine_memory() -> Option<usize> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_every_group_around_the_process_holds() {
        let files = |group| limit_files(group).iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        let unit = "/sys/fs/cgroup/system.slice/fanline.service/memory.max";
        let around = ["/sys/fs/cgroup/system.slice/memory.max", "/sys/fs/cgroup/memory.max"];
        assert_eq!(files("0::/system.slice/fanline.service\n"), [&[unit], &around[..]].concat());
        assert_eq!(files("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
        let old = [
            "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
        ];
        assert_eq!(files("7:cpu:/\n4:memory:/docker/1\n")[..2], old);
        assert!(files("").is_empty());
        assert!(memory_limit() > 0);
    }
}
