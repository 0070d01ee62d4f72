//! When whom the heartbeat visits: neighbours together, neighbourhoods apart.

use crate::identity::ConnectionNumber;

/// Connections that came one after the other, and so lie side by side in memory, ours and the kernel's: visited
/// together, they bring it near once and not once each (load/CHOICES.md has the figures).
const NEIGHBOURS: u64 = 64;

/// Which neighbours it is one of.
pub fn neighbourhood(number: ConnectionNumber) -> u64 {
    number.0 / NEIGHBOURS
}

/// A neighbourhood's turns within the pace. Silence is borne until the last of them within `every`, so that those
/// whom an answer to a broadcast has brought into step are pinged over a quarter of the pace, and not at once for ever.
const TURNS: u64 = 4;

/// The place of a neighbourhood's turn within the pace, in ms: each a golden section of it after the one before, so
/// that they are spread evenly however many there are (Knuth's multiplicative hashing, TAOCP 3, 6.4). A crowd that
/// came at once is not pinged at once for ever.
pub fn phase(neighbourhood: u64, every: u64) -> u64 {
    let section = neighbourhood.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    u64::try_from((u128::from(section) * u128::from(every)) >> 64).unwrap_or(0)
}

/// The first turn of a connection that came at `now`: anywhere in the pace, in ms.
pub fn next_turn(phase: u64, now: u64, every: u64) -> u64 {
    now + 1 + (phase + every - now % every) % every
}

/// The last turn up to `limit`, in ms.
pub fn last_turn(phase: u64, limit: u64, every: u64) -> u64 {
    let step = (every / TURNS).max(1);
    limit.saturating_sub((limit + step - phase % step) % step)
}
