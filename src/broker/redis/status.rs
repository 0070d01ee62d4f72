//! How one link is: what its canaries and its command connection have shown.

use std::time::{Duration, Instant};

use crate::broker::Health;

/// An outage of Redis counts as such until the canary has flown twice, for this long at most after Redis
/// answers again: a whole fleet that recovers should not call itself deaf for those two seconds.
const RECOVERY: Duration = Duration::from_secs(10);

/// How many canaries in a row prove a link.
const PROOF: u32 = 2;

/// What the command connection met last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commands {
    /// Nothing was asked yet.
    Unknown,
    /// A master answers.
    Answering,
    /// Nobody answers.
    Silent,
    /// Some masters of a cluster answer, others do not.
    Partly,
    /// A server answers that is a replica of another: what is published there reaches nobody.
    Replica,
}

/// What is known of a link.
#[derive(Debug)]
pub struct Condition {
    commands: Commands,
    /// Canaries that came back in a row on this connection.
    row: u32,
    ever_proven: bool,
    /// Redis was silent since the link was last proven; and since when it answers again.
    away: bool,
    answering_since: Option<Instant>,
}

impl Default for Condition {
    fn default() -> Self {
        Self::new()
    }
}

impl Condition {
    /// Nothing known.
    #[must_use]
    pub fn new() -> Self {
        Self { commands: Commands::Unknown, row: 0, ever_proven: false, away: false, answering_since: None }
    }

    /// The command connection tried something.
    pub fn commands(&mut self, commands: Commands, now: Instant) {
        self.commands = commands;
        match commands {
            Commands::Answering => self.answering_since = self.answering_since.or(Some(now)),
            Commands::Silent | Commands::Partly => (self.away, self.answering_since) = (true, None),
            Commands::Replica | Commands::Unknown => self.answering_since = None,
        }
    }

    /// Redis answered on the link: that the command connection found it silent is past, so publishers may
    /// try again though it has not found out.
    pub fn answered(&mut self) {
        if self.commands == Commands::Silent {
            self.commands = Commands::Unknown;
        }
    }

    /// So many canaries have come back in a row, on each road at least.
    pub fn canary(&mut self, row: u32) {
        self.row = row;
        if self.row >= PROOF {
            self.ever_proven = true;
            self.away = false;
        }
    }

    /// The connection is gone. Whether any canary had come back on it.
    pub fn unproven(&mut self) -> bool {
        std::mem::take(&mut self.row) > 0
    }

    /// What the command connection met last.
    #[must_use]
    pub fn met(&self) -> Commands {
        self.commands
    }

    /// In one word.
    #[must_use]
    pub fn health(&self, now: Instant) -> Health {
        let recovering = || self.answering_since.is_none_or(|since| now.duration_since(since) < RECOVERY);
        match self.commands {
            _ if !self.ever_proven => Health::Starting,
            Commands::Silent | Commands::Partly => Health::Away,
            _ if self.row >= PROOF => Health::Open,
            _ if self.away && recovering() => Health::Away,
            _ => Health::Deaf,
        }
    }
}

/// The health of a broker with several links: only as good as the worst.
#[must_use]
pub fn worst(links: impl Iterator<Item = Health>) -> Health {
    let rank = |health: &Health| match health {
        Health::Open => 0,
        Health::Deaf => 1,
        Health::Away => 2,
        Health::Starting => 3,
    };
    links.max_by_key(rank).unwrap_or(Health::Starting)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(now: Instant) -> Condition {
        let mut condition = Condition::new();
        condition.commands(Commands::Answering, now);
        condition.canary(1);
        assert_eq!(condition.health(now), Health::Starting);
        condition.canary(2);
        assert_eq!(condition.health(now), Health::Open);
        condition
    }

    #[test]
    fn a_link_lost_while_redis_answers_is_deaf_until_two_canaries_in_a_row() {
        let now = Instant::now();
        let mut condition = open(now);
        condition.unproven();
        assert_eq!(condition.health(now), Health::Deaf);
        condition.canary(1);
        condition.canary(1);
        assert_eq!(condition.health(now), Health::Deaf);
        condition.canary(2);
        assert_eq!(condition.health(now), Health::Open);
    }

    #[test]
    fn a_silent_redis_is_away_and_stays_so_until_the_link_is_proven() {
        let now = Instant::now();
        let mut condition = open(now);
        condition.unproven();
        condition.commands(Commands::Silent, now);
        assert_eq!(condition.health(now), Health::Away);
        condition.commands(Commands::Answering, now);
        assert_eq!(condition.health(now), Health::Away);
        condition.commands(Commands::Answering, now + RECOVERY);
        assert_eq!(condition.health(now + RECOVERY), Health::Deaf, "ten seconds are no recovery");
        condition.canary(2);
        assert_eq!(condition.health(now), Health::Open);
        condition.unproven();
        assert_eq!(condition.health(now), Health::Deaf);
    }

    #[test]
    fn a_cluster_of_which_one_master_is_silent_is_away_however_well_the_others_are_heard() {
        let now = Instant::now();
        let mut condition = open(now);
        condition.commands(Commands::Partly, now);
        assert_eq!(condition.health(now), Health::Away);
        condition.commands(Commands::Answering, now);
        assert_eq!(condition.health(now), Health::Open);
    }

    #[test]
    fn a_broker_never_proven_is_starting_whatever_redis_says() {
        let mut condition = Condition::new();
        condition.commands(Commands::Silent, Instant::now());
        assert_eq!(condition.health(Instant::now()), Health::Starting);
    }

    #[test]
    fn a_broker_is_as_well_as_its_worst_link() {
        assert_eq!(worst([Health::Open, Health::Deaf].into_iter()), Health::Deaf);
        assert_eq!(worst([Health::Open, Health::Open].into_iter()), Health::Open);
        assert_eq!(worst([Health::Away, Health::Deaf].into_iter()), Health::Away);
    }
}
