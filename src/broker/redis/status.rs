//! How one link is: what its canaries and its command connection have shown.

use std::time::{Duration, Instant};

use crate::broker::Health;
use crate::broker::redis::canary::{EVERY, OVERDUE};

/// An outage of Redis counts as such until the canary has flown twice, for this long at most after Redis
/// answers again: a whole fleet that recovers should not call itself deaf for those two seconds.
const RECOVERY: Duration = Duration::from_secs(10);

/// How many canaries in a row prove a link.
const PROOF: u32 = 2;

/// A proven link that ended is back, and has heard a canary, within this time: no reason to send clients elsewhere.
const BACK: Duration = EVERY;

/// From then on the next canary is due, which must not be overdue either.
const CONFIRMED: Duration = BACK.saturating_add(OVERDUE);

/// What the command connection met last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commands {
    /// Nothing was asked yet.
    Unknown,
    /// A master answers.
    Answering,
    /// Nobody answers on a connection that was there.
    Silent,
    /// Nobody can be dialled. Says nothing of the connections that are there.
    Undialled,
    /// Some masters of a cluster answer, others do not.
    Partly,
    /// Some masters of a cluster answer, others let nobody new in. Says nothing of the connections that are there.
    PartlyUndialled,
    /// A server answers that is a replica of another: what is published there reaches nobody.
    Replica,
}

impl Commands {
    /// Whether a canary is not sent because nobody new gets in: then the link itself must be asked how it is.
    #[must_use]
    pub fn is_undialled(self) -> bool {
        matches!(self, Self::Undialled | Self::PartlyUndialled)
    }
}

/// How a connection of a link came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was closed, or left for another.
    Closed,
    /// Nothing came on it any more.
    Deaf,
}

/// What is known of a link.
#[derive(Debug)]
pub struct Condition {
    commands: Commands,
    /// What is wrong with them, in a sentence.
    trouble: Option<String>,
    /// Why there is no link, in a sentence.
    cut: Option<String>,
    /// Canaries that came back in a row on this connection.
    row: u32,
    ever_proven: bool,
    /// Redis was silent since the link was last proven; and since when it answers again.
    away: bool,
    answering_since: Option<Instant>,
    /// When a proven link was closed that has not been proven again since.
    closed: Option<Instant>,
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
        Self {
            commands: Commands::Unknown,
            trouble: None,
            cut: None,
            row: 0,
            ever_proven: false,
            away: false,
            answering_since: None,
            closed: None,
        }
    }

    /// The command connection tried something, and this is what was wrong.
    pub fn commands(&mut self, commands: Commands, trouble: Option<String>, now: Instant) {
        (self.commands, self.trouble) = (commands, trouble);
        match commands {
            Commands::Answering => self.answering_since = self.answering_since.or(Some(now)),
            // A link that is proven is no worse for what nobody can dial.
            undialled if undialled.is_undialled() && self.is_proven() => self.answering_since = None,
            Commands::Silent | Commands::Undialled | Commands::Partly | Commands::PartlyUndialled => {
                (self.away, self.answering_since) = (true, None);
            }
            Commands::Replica | Commands::Unknown => self.answering_since = None,
        }
    }

    /// Redis answered on the link: that the command connection found nobody is past, so publishers may
    /// try again though it has not found out.
    pub fn answered(&mut self) {
        self.cut = None;
        if matches!(self.commands, Commands::Silent | Commands::Undialled) {
            (self.commands, self.trouble) = (Commands::Unknown, None);
        }
    }

    /// So many canaries have come back in a row, on each road at least.
    pub fn canary(&mut self, row: u32) {
        self.row = row;
        if self.is_proven() {
            self.ever_proven = true;
            (self.away, self.closed) = (false, None);
        }
    }

    /// The connection is gone, or worth nothing. Whether any canary had come back on it.
    pub fn unproven(&mut self, end: End, now: Instant) -> bool {
        match end {
            End::Deaf => self.closed = None,
            // One that comes and goes without being proven was closed when it first was.
            End::Closed if self.is_proven() => self.closed = Some(now),
            End::Closed => {}
        }
        std::mem::take(&mut self.row) > 0
    }

    /// There is no link, for this reason.
    pub fn cut(&mut self, why: String) {
        self.cut = Some(why);
    }

    /// Whether a canary has come back on this connection.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.row > 0
    }

    /// What the command connection met last.
    #[must_use]
    pub fn met(&self) -> Commands {
        self.commands
    }

    /// What is wrong, in a sentence: why there is no link, or else what the command connection met.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.cut.as_deref().or_else(|| self.unanswered())
    }

    /// Why commands are not answered, in a sentence.
    #[must_use]
    pub fn unanswered(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// In one word.
    #[must_use]
    pub fn health(&self, now: Instant) -> Health {
        let recovering = || self.answering_since.is_none_or(|since| now.duration_since(since) < RECOVERY);
        match self.commands {
            _ if !self.ever_proven => Health::Starting,
            Commands::Silent | Commands::Partly => Health::Away,
            _ if self.is_proven() => Health::Open,
            Commands::Undialled | Commands::PartlyUndialled => Health::Away,
            _ if self.away && recovering() => Health::Away,
            _ if !self.away && self.is_coming_back(now) => Health::Open,
            _ => Health::Deaf,
        }
    }

    fn is_proven(&self) -> bool {
        self.row >= PROOF
    }

    /// Whether a link that was closed is being made again, in no more time than that takes.
    fn is_coming_back(&self, now: Instant) -> bool {
        let within = if self.row > 0 { CONFIRMED } else { BACK };
        self.closed.is_some_and(|closed| now.duration_since(closed) < within)
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
        condition.commands(Commands::Answering, None, now);
        condition.canary(1);
        assert_eq!(condition.health(now), Health::Starting);
        condition.canary(2);
        assert_eq!(condition.health(now), Health::Open);
        condition
    }

    #[test]
    fn a_link_that_went_deaf_while_redis_answers_is_so_until_two_canaries_in_a_row() {
        let now = Instant::now();
        let mut condition = open(now);
        condition.unproven(End::Deaf, now);
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
        condition.unproven(End::Deaf, now);
        condition.commands(Commands::Silent, None, now);
        assert_eq!(condition.health(now), Health::Away);
        condition.commands(Commands::Answering, None, now);
        assert_eq!(condition.health(now), Health::Away);
        condition.commands(Commands::Answering, None, now + RECOVERY);
        assert_eq!(condition.health(now + RECOVERY), Health::Deaf, "ten seconds are no recovery");
        condition.canary(2);
        assert_eq!(condition.health(now), Health::Open);
        condition.unproven(End::Deaf, now);
        assert_eq!(condition.health(now), Health::Deaf);
    }

    #[test]
    fn a_cluster_of_which_one_master_is_silent_is_away_however_well_the_others_are_heard() {
        let now = Instant::now();
        let mut condition = open(now);
        condition.commands(Commands::Partly, None, now);
        assert_eq!(condition.health(now), Health::Away);
        condition.commands(Commands::Answering, None, now);
        assert_eq!(condition.health(now), Health::Open);
    }

    #[test]
    fn a_link_that_was_closed_keeps_its_replica_open_for_as_long_as_it_takes_to_make_and_prove_it() {
        let now = Instant::now();
        let mut condition = open(now);
        condition.unproven(End::Closed, now);
        let just = Duration::from_millis(1);
        assert_eq!(condition.health(now + BACK - just), Health::Open);
        assert_eq!(condition.health(now + BACK), Health::Deaf, "it is not back");
        condition.canary(1);
        assert_eq!(condition.health(now + CONFIRMED - just), Health::Open);
        assert_eq!(condition.health(now + CONFIRMED), Health::Deaf, "the second canary is overdue");
        condition.canary(2);
        assert_eq!(condition.health(now + CONFIRMED), Health::Open);
    }

    #[test]
    fn a_link_that_comes_and_goes_is_no_better_for_it_and_one_that_goes_deaf_is_so_at_once() {
        let now = Instant::now();
        let mut condition = open(now);
        for second in 0..10 {
            condition.unproven(End::Closed, now + Duration::from_secs(second));
            condition.canary(1);
        }
        assert_eq!(condition.health(now + CONFIRMED), Health::Deaf);
        let mut condition = open(now);
        condition.unproven(End::Closed, now);
        condition.unproven(End::Deaf, now);
        assert_eq!(condition.health(now), Health::Deaf);
    }

    #[test]
    fn a_redis_that_lets_nobody_new_in_is_away_only_for_a_link_that_is_not_proven() {
        let now = Instant::now();
        let undialled = |commands| {
            let mut condition = open(now);
            condition.commands(commands, Some("WRONGPASS".into()), now);
            assert_eq!((condition.health(now), condition.trouble()), (Health::Open, Some("WRONGPASS")));
            condition.unproven(End::Closed, now);
            assert_eq!(condition.health(now), Health::Away);
            condition
        };
        undialled(Commands::PartlyUndialled);
        let mut condition = undialled(Commands::Undialled);
        condition.cut("refused".into());
        assert_eq!(condition.trouble(), Some("refused"));
        condition.answered();
        assert_eq!((condition.met(), condition.trouble()), (Commands::Unknown, None));
    }

    #[test]
    fn a_broker_never_proven_is_starting_whatever_redis_says() {
        let mut condition = Condition::new();
        condition.commands(Commands::Silent, None, Instant::now());
        assert_eq!(condition.health(Instant::now()), Health::Starting);
    }

    #[test]
    fn a_broker_is_as_well_as_its_worst_link() {
        assert_eq!(worst([Health::Open, Health::Deaf].into_iter()), Health::Deaf);
        assert_eq!(worst([Health::Open, Health::Open].into_iter()), Health::Open);
        assert_eq!(worst([Health::Away, Health::Deaf].into_iter()), Health::Away);
    }
}
