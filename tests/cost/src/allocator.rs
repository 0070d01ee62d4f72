//! What a piece of work asked of the allocator, on whichever thread.

use std::alloc::System;

use serde::Serialize;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What some work asked of the allocator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// How often it asked for memory: allocations, and blocks that grew or shrank.
    pub allocations: usize,
    /// Bytes asked for.
    pub bytes: usize,
    /// Bytes that it still held at its end, less what it gave back of others'.
    pub held: i64,
}

/// Does the work, and says what it asked for.
///
/// # Errors
/// The work's own.
pub fn count(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Asked> {
    let region = Region::new(ALLOCATOR);
    work()?;
    let asked = region.change();
    Ok(Asked {
        allocations: asked.allocations + asked.reallocations,
        bytes: asked.bytes_allocated,
        held: signed(asked.bytes_allocated) - signed(asked.bytes_deallocated),
    })
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
