//! Redis Cluster: which master owns which slot, kept up by asking, and by what commands are told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::{RedisError, RedisResult, Value};
use tokio::sync::Mutex;
use tokio::time::timeout_at;

use crate::link::address::Place;
use crate::link::connect::{ANSWER, Dialer, Wire, driven};
use crate::link::failure::ConnectError;
use crate::link::placement::{SLOTS, slot};

/// How many nodes are asked at once.
const ASKED: usize = 5;

/// Who asks again sooner gets the last answer.
const FRESH: Duration = Duration::from_millis(100);

/// How many names are tried for one of a master's slots: a master with one slot in 16,384 is found with 19 in 20.
const TRIES: u32 = 50_000;

/// Nobody owns the slot.
const NOBODY: u16 = u16::MAX;

/// One cluster, as its nodes tell of it.
pub struct Cluster {
    seeds: Vec<Place>,
    dialer: Dialer,
    map: ArcSwap<SlotMap>,
    /// Held by who asks; the others wait for the answer.
    asked: Mutex<Option<Instant>>,
}

/// Who owns which slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotMap {
    /// Changes whenever anything does.
    version: u64,
    /// The cluster's own count of changes, as the node that told this knew it.
    epoch: u64,
    masters: Vec<Place>,
    /// By slot: which of the masters.
    owners: Vec<u16>,
}

/// What one node says.
struct Word {
    map: SlotMap,
    /// Whether it counts itself to the cluster; one that is cut off does not, after a while.
    sound: bool,
}

impl SlotMap {
    /// Counts the changes.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The master of a slot.
    #[must_use]
    pub fn owner(&self, slot: u16) -> Option<&Place> {
        self.masters.get(usize::from(*self.owners.get(usize::from(slot))?))
    }

    /// The masters that own a slot, in order.
    pub fn masters(&self) -> impl Iterator<Item = &Place> {
        self.masters.iter()
    }

    /// How many slots nobody owns.
    #[must_use]
    pub fn orphans(&self) -> usize {
        usize::from(SLOTS) - self.owners.iter().filter(|&&owner| owner != NOBODY).count()
    }

    /// A name that begins with `base` and whose slot is that master's.
    #[must_use]
    pub fn name_on(&self, master: &Place, base: &str) -> Option<String> {
        (0..TRIES).map(|n| format!("{base}.{n}")).find(|name| self.owner(slot(name)) == Some(master))
    }

    /// Puts it together from ranges of slots.
    fn of(epoch: u64, ranges: Vec<(u16, u16, Place)>) -> Self {
        let mut map = Self { version: 0, epoch, masters: Vec::new(), owners: vec![NOBODY; usize::from(SLOTS)] };
        for (first, last, place) in ranges {
            let owner = map.number(&place);
            let range = usize::from(first)..=usize::from(last.min(SLOTS - 1));
            map.owners.get_mut(range).into_iter().flatten().for_each(|slot| *slot = owner);
        }
        map.ordered()
    }

    /// The same with one slot elsewhere. A thousand commands may be told so at once: no slot costs an allocation.
    fn with(&self, slot: u16, place: &Place) -> Self {
        let mut map = self.clone();
        map.owners.resize(usize::from(SLOTS), NOBODY);
        let owner = map.number(place);
        map.owners.get_mut(usize::from(slot)).into_iter().for_each(|slot| *slot = owner);
        map.ordered()
    }

    /// A master's number; a new one's is the next.
    fn number(&mut self, place: &Place) -> u16 {
        let at = self.masters.iter().position(|master| master == place).unwrap_or_else(|| {
            self.masters.push(place.clone());
            self.masters.len() - 1
        });
        u16::try_from(at).unwrap_or(NOBODY)
    }

    /// Without masters that own nothing, and the others in order: two maps that say the same are the same.
    fn ordered(mut self) -> Self {
        let mut owns = vec![false; self.masters.len()];
        for &owner in &self.owners {
            owns.get_mut(usize::from(owner)).into_iter().for_each(|owns| *owns = true);
        }
        let mut order: Vec<usize> = (0..self.masters.len()).filter(|&at| owns[at]).collect();
        order.sort_by(|&a, &b| self.masters[a].cmp(&self.masters[b]));
        let mut renumbered = vec![NOBODY; self.masters.len()];
        (0..).zip(&order).for_each(|(new, &old)| renumbered[old] = new);
        for owner in &mut self.owners {
            *owner = renumbered.get(usize::from(*owner)).copied().unwrap_or(NOBODY);
        }
        self.masters = order.into_iter().map(|at| self.masters[at].clone()).collect();
        self
    }

    fn says_the_same(&self, other: &Self) -> bool {
        (&self.masters, &self.owners) == (&other.masters, &other.owners)
    }
}

impl Cluster {
    /// Asks nobody yet.
    #[must_use]
    pub fn new(seeds: Vec<Place>, dialer: Dialer) -> Self {
        Self { seeds, dialer, map: ArcSwap::default(), asked: Mutex::new(None) }
    }

    /// What is known; without masters before the first answer.
    #[must_use]
    pub fn map(&self) -> Arc<SlotMap> {
        self.map.load_full()
    }

    /// The master of a slot; asks where nothing is known.
    ///
    /// # Errors
    /// Nobody answers, or nobody owns it.
    pub async fn owner(&self, slot: u16) -> Result<Place, ConnectError> {
        if let Some(place) = self.map().owner(slot) {
            return Ok(place.clone());
        }
        let map = self.refresh().await?;
        let nobody = || ConnectError::Unknown(format!("no master of the cluster owns slot {slot}"));
        map.owner(slot).cloned().ok_or_else(nobody)
    }

    /// Asks some nodes, until one is believed or a second after the first answer; several who ask at a time share one
    /// answer.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn refresh(&self) -> Result<Arc<SlotMap>, ConnectError> {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < FRESH) && !self.map().masters.is_empty() {
            return Ok(self.map());
        }
        let answer = self.ask().await;
        *asked = Some(Instant::now());
        answer.map(|()| self.map())
    }

    async fn ask(&self) -> Result<(), ConnectError> {
        let mut asked: FuturesUnordered<_> = self.candidates().into_iter().map(|place| self.word(place)).collect();
        let (mut best, mut failed) = (None::<Word>, Vec::new());
        // Each of them ends by itself: after a lookup, a dial and a question.
        let mut until = Instant::now() + self.dialer.longest().saturating_add(ANSWER);
        while let Ok(Some(answer)) = timeout_at(until.into(), asked.next()).await {
            match answer {
                Ok(word) if self.accept(&word) => return Ok(()),
                Ok(word) => {
                    until = until.min(Instant::now() + ANSWER);
                    let rank = |word: &Word| (word.sound, word.map.epoch);
                    if best.as_ref().is_none_or(|best| rank(best) < rank(&word)) {
                        best = Some(word);
                    }
                }
                Err(why) => failed.push(why.to_string()),
            }
        }
        match best {
            // A cluster made anew counts from the start again.
            Some(word) if word.sound => self.store(&word.map),
            Some(_) => {}
            None if failed.is_empty() => failed.push("no answer in time".into()),
            None => {}
        }
        // In one order, whoever answered first: what is said of the same fault is the same.
        failed.sort_unstable();
        match failed.is_empty() || !self.map().masters.is_empty() {
            true => Ok(()),
            false => Err(ConnectError::Unknown(format!("no node tells of the cluster: {}", failed.join("; ")))),
        }
    }

    /// Some of those who may know: the masters, and where the URL leads.
    fn candidates(&self) -> Vec<Place> {
        let mut all: Vec<Place> = self.map().masters().cloned().collect();
        fastrand::shuffle(&mut all);
        all.truncate(ASKED - 1);
        let mut seeds: Vec<Place> = self.seeds.iter().filter(|seed| !all.contains(seed)).cloned().collect();
        fastrand::shuffle(&mut seeds);
        all.extend(seeds);
        all.truncate(ASKED);
        all
    }

    async fn word(&self, place: Place) -> Result<Word, ConnectError> {
        let wire = self.dialer.connect(&place, "fanline:cluster", ANSWER, |_| ()).await?;
        let Wire { mut connection, mut driver, .. } = wire;
        let mut both = redis::pipe();
        both.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("SLOTS");
        let answers = driven(&mut driver, connection.send_packed_commands(&both, 0, 2)).await;
        let unread = |why: RedisError| ConnectError::Greeting { address: place.to_string(), why: explained(&why) };
        read(&place, answers.map_err(&unread)?).map_err(unread)
    }

    /// Takes what a node answers to `CLUSTER INFO` and `CLUSTER SLOTS`, unless it is behind.
    pub fn learn(&self, from: &Place, answers: Vec<Value>) {
        if let Ok(word) = read(from, answers) {
            self.accept(&word);
        }
    }

    /// A command for the slot was answered by MOVED.
    pub fn moved(&self, slot: u16, place: &Place) {
        if self.map().owner(slot) != Some(place) {
            self.store(&self.map().with(slot, place));
        }
    }

    fn accept(&self, word: &Word) -> bool {
        let known = self.map();
        let newer = word.map.epoch > known.epoch || known.masters.is_empty();
        let fits = newer || (word.sound && word.map.epoch == known.epoch);
        if fits {
            self.store(&word.map);
        }
        fits
    }

    fn store(&self, map: &SlotMap) {
        self.map.rcu(|known| {
            let version = if known.says_the_same(map) { known.version } else { known.version + 1 };
            SlotMap { version, ..map.clone() }
        });
    }
}

/// Where a MOVED or an ASK leads: `7001` on the same host where it names none.
#[must_use]
pub fn redirected(error: &RedisError, from: &Place) -> Option<(u16, Place)> {
    let (address, slot) = error.redirect_node()?;
    let (host, port) = address.rsplit_once(':')?;
    Some((slot, named(host, port.parse().ok()?, from)))
}

fn named(host: &str, port: u16, from: &Place) -> Place {
    let host = match (host, from) {
        ("" | "?", Place::Tcp { host, .. }) => host,
        (host, _) => host,
    };
    Place::Tcp { host: host.into(), port }
}

fn explained(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (_, Some(detail)) if detail.contains("cluster support disabled") => {
            "it is no node of a cluster; write redis://".into()
        }
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

type Node = (Option<String>, u16);

fn read(from: &Place, answers: Vec<Value>) -> RedisResult<Word> {
    let mut answers = answers.into_iter();
    let mut next = || answers.next().unwrap_or(Value::Nil).extract_error();
    let info: String = redis::from_redis_value(next()?)?;
    let slots: Vec<Vec<Value>> = redis::from_redis_value(next()?)?;
    let field = |name: &str| info.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'));
    let ranges = slots.into_iter().filter_map(|range| range_of(from, range)).collect();
    let epoch = field("cluster_current_epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
    Ok(Word { map: SlotMap::of(epoch, ranges), sound: field("cluster_state") == Some("ok") })
}

/// `[first, last, [host, port, id, …], replicas…]`
fn range_of(from: &Place, range: Vec<Value>) -> Option<(u16, u16, Place)> {
    let mut range = range.into_iter();
    let first = redis::from_redis_value(range.next()?).ok()?;
    let last = redis::from_redis_value(range.next()?).ok()?;
    let Value::Array(mut master) = range.next()? else { return None };
    master.truncate(2);
    let (host, port): Node = redis::from_redis_value(Value::Array(master)).ok()?;
    Some((first, last, named(&host.unwrap_or_default(), port, from)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::connect::Means;
    use crate::link::login::Login;

    fn at(port: u16) -> Place {
        Place::Tcp { host: "h".into(), port }
    }

    fn answers(state: &str, epoch: u64, ranges: &[(i64, i64, &str, i64)]) -> Vec<Value> {
        let text = |text: &str| Value::BulkString(text.as_bytes().into());
        let info = format!("cluster_state:{state}\r\ncluster_current_epoch:{epoch}\r\n");
        let ranges = ranges.iter().map(|&(first, last, host, port)| {
            let node = vec![text(host), Value::Int(port), text("id"), Value::Array(Vec::new())];
            Value::Array(vec![Value::Int(first), Value::Int(last), Value::Array(node)])
        });
        vec![text(&info), Value::Array(ranges.collect())]
    }

    fn cluster() -> Cluster {
        Cluster::new(vec![at(1)], Dialer::new(Login::default(), None, Means::default()))
    }

    #[test]
    fn a_map_names_the_owner_of_every_slot_and_who_owns_none() {
        let cluster = cluster();
        cluster.learn(&at(1), answers("ok", 1, &[(0, 99, "h", 1), (100, 16_000, "", 2)]));
        let map = cluster.map();
        assert_eq!((map.owner(0), map.owner(99), map.owner(100)), (Some(&at(1)), Some(&at(1)), Some(&at(2))));
        assert_eq!((map.owner(16_001), map.orphans()), (None, 383));
        assert!(map.masters().eq([&at(1), &at(2)]));
    }

    #[tokio::test]
    async fn dead_nodes_are_told_of_in_one_order_whoever_fails_first() {
        let seeds = (1..=3).map(|port| Place::Tcp { host: "127.0.0.1".into(), port }).collect();
        let cluster = Cluster::new(seeds, Dialer::new(Login::default(), None, Means::default()));
        let first = cluster.refresh().await.unwrap_err().to_string();
        for _ in 0..20 {
            assert_eq!(cluster.refresh().await.unwrap_err().to_string(), first);
        }
    }

    #[test]
    fn who_is_behind_or_cut_off_is_not_believed() {
        let cluster = cluster();
        let whole = |port| [(0, 16_383, "h", port)];
        cluster.learn(&at(1), answers("ok", 5, &whole(1)));
        let version = cluster.map().version();
        for (state, epoch, believed) in [("ok", 4, false), ("fail", 5, false), ("ok", 5, true), ("fail", 6, true)] {
            let port = if believed { 2 + u16::try_from(epoch).unwrap() } else { 99 };
            cluster.learn(&at(1), answers(state, epoch, &whole(i64::from(port))));
            assert_eq!(cluster.map().owner(0) == Some(&at(port)), believed, "{state} {epoch}");
        }
        assert_eq!(cluster.map().version(), version + 2);
        cluster.learn(&at(1), answers("ok", 6, &whole(8)));
        assert_eq!(cluster.map().version(), version + 2, "nothing changed");
    }

    #[test]
    fn a_slot_that_moved_is_elsewhere_and_the_others_stay() {
        let cluster = cluster();
        cluster.learn(&at(1), answers("ok", 1, &[(0, 16_383, "h", 1)]));
        cluster.moved(7, &at(2));
        let map = cluster.map();
        assert_eq!((map.owner(6), map.owner(7), map.owner(8)), (Some(&at(1)), Some(&at(2)), Some(&at(1))));
        let few = SlotMap::of(1, vec![(0, 2, at(1))]);
        let all = (0..3).fold(few, |map, slot| map.with(slot, &at(0)));
        assert!(all.masters().eq([&at(0)]), "who owns nothing is no master any more");
        let error = redis::make_extension_error("MOVED".into(), Some("7 :7001".into()));
        assert_eq!(redirected(&error, &at(1)), None, "not one of the parser's");
        assert_eq!(named("", 7001, &at(1)), at(7001));
    }
}
