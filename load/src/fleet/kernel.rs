//! What the kernel holds for sockets, as /proc says it.

use anyhow::{Context, Result};
use std::fs;

/// The kernel's memory at one moment, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    /// Its objects: sockets, inodes, descriptors, epoll's entries. The whole machine's.
    pub slab: u64,
    /// Bytes under way in TCP sockets' buffers. The whole machine's.
    pub buffers: u64,
}

/// `mem` of sockstat is in pages.
const PAGE: u64 = 4096;

impl Kernel {
    /// How it is now.
    pub fn now() -> Result<Self> {
        let read = |path| fs::read_to_string(path).context(path);
        Self::of(&read("/proc/meminfo")?, &read("/proc/net/sockstat")?)
    }

    fn of(meminfo: &str, sockstat: &str) -> Result<Self> {
        let slab = meminfo.lines().find_map(|line| line.strip_prefix("Slab:")).context("no Slab in /proc/meminfo")?;
        let slab: u64 = slab.trim().trim_end_matches(" kB").parse().context("Slab is no number")?;
        let tcp = sockstat.lines().find(|line| line.starts_with("TCP:")).context("no TCP in sockstat")?;
        let pages = tcp.rsplit(' ').next().and_then(|pages| pages.parse::<u64>().ok()).context("mem of TCP")?;
        Ok(Self { slab: slab * 1024, buffers: pages * PAGE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slab_and_buffers_are_read_in_bytes() {
        let meminfo = "MemTotal:       24586000 kB\nSlab:             100 kB\nSReclaimable:      60 kB\n";
        let sockstat = "sockets: used 95\nTCP: inuse 3 orphan 0 tw 0 alloc 4 mem 7\nUDP: inuse 1 mem 0\n";
        assert_eq!(Kernel::of(meminfo, sockstat).unwrap(), Kernel { slab: 100 * 1024, buffers: 7 * 4096 });
        assert!(Kernel::of("", sockstat).is_err());
    }
}
