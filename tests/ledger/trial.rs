//! One fault from before to after: what was published and what came, how long it took until all was well, and
//! what it left behind in memory.

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::failovers::ELECTED;
use crate::faults::{Fault, Form, Struck};
use crate::judge::Account;
use crate::memory::{Held, Watch};
use crate::world::{PATIENCE, World};

/// The longest from the moment at which Redis can be reached again until everybody listens and every replica
/// takes publications.
const HEALED: Duration = Duration::from_secs(3);

/// The longest until the clients of a replica that is gone are all back, however many.
const MOVED: Duration = Duration::from_secs(15);

/// The longest until every replica calls itself open, for which two canaries must have come back: they fly
/// every 2 s.
const OPEN: Duration = Duration::from_secs(6);

/// The longest until a link that hears nothing is known to be deaf.
const NOTICED: Duration = Duration::from_secs(10);

/// The longest that a replica lets a publisher wait, whatever happens: it waits 1 s for Redis.
const ANSWERED: Duration = Duration::from_millis(2_500);

/// What a client may take of a replica that it came to.
const PER_CLIENT: u64 = 16 * 1024;

/// What came of one fault.
#[derive(Debug, Clone)]
pub struct Row {
    pub fault: String,
    pub published: u64,
    pub maybe: u64,
    pub account: Account,
    pub closes: u64,
    pub noticed: Option<Duration>,
    pub healed: Duration,
    pub open: Duration,
    pub slowest_publish: Duration,
    /// KiB before, at most while it lasted, and after; of the replica that held most.
    pub memory: [u64; 3],
    /// What is held beyond that.
    pub swollen: Vec<String>,
    /// What else is not as it should be.
    pub wrongs: Vec<String>,
}

/// Puts a world through a fault; through a second one of its kind, where it holds more than before. What an
/// allocator keeps of a burst it keeps once, and what leaks leaks again. A failover can be had once.
pub async fn trial(world: &mut World, fault: Fault, dice: &mut Rng, form: Form) -> Row {
    let mut first = Box::pin(once(world, fault, dice, form)).await;
    if first.swollen.is_empty() {
        return first;
    }
    if Fault::FAILOVERS.contains(&fault) {
        first.wrongs.append(&mut first.swollen);
        return first;
    }
    println!("{fault}, first: {}", first.swollen.join("; "));
    world.first = world.held().await;
    let mut again = Box::pin(once(world, fault, dice, form)).await;
    again.wrongs.extend(first.wrongs);
    again.wrongs.append(&mut again.swollen);
    again
}

async fn once(world: &mut World, fault: Fault, dice: &mut Rng, form: Form) -> Row {
    let (before, reconnects) = (world.held().await, world.reconnects().await);
    let _ = world.slowest_publish();
    let watch = Watch::over(world.replicas.iter().map(|replica| replica.gateway.pid()).collect());
    let struck = Box::pin(fault.strike(world, dice, form)).await;
    let most = watch.most();
    let (healed, open) = heal(world, &struck, &reconnects).await;

    let market = world.market.clone();
    let silence = market.gate.write().await;
    world.settle().await;
    let slowest_publish = Duration::from_millis(world.slowest_publish());
    let (account, mut wrongs) = world.crowd.judge();
    wrongs.extend(world.crowd.errors());
    let (published, maybe) = counts(world);
    let closes = world.crowd.closes();
    world.ledger.turn();
    world.crowd.turn();
    drop(silence);

    let (after, swollen) = flat(world, struck.moved).await;
    let kib = |bytes: Option<u64>| bytes.unwrap_or(0) / 1024;
    let held = |all: &[Held]| kib(all.iter().map(|held| held.bytes).max());
    let memory = [held(&before), kib(most.iter().max().copied()), held(&after)];
    let noticed = struck.noticed;
    let mut row = Row {
        fault: fault.to_string(),
        published,
        maybe,
        account,
        closes,
        noticed,
        healed,
        open,
        slowest_publish,
        memory,
        swollen,
        wrongs,
    };
    row.find_wrongs(&struck, &before, &most);
    row
}

/// Waits until all is well, and answers how long that took from when the fault was over: everybody listens and
/// every replica takes publications; and every link is proven.
async fn heal(world: &mut World, struck: &Struck, reconnects: &[f64]) -> (Duration, Duration) {
    let broke = struck.broke.clone();
    let reconnects = reconnects.to_vec();
    world
        .until("everybody listens again", async |world| {
            // A link that broke must have been made anew, else nobody has noticed yet.
            let now = if broke.is_empty() { Vec::new() } else { world.reconnects().await };
            broke.iter().all(|place| now[*place] > reconnects[*place])
                && world.crowd.is_live()
                && world.take_publications().await
        })
        .await;
    let healed = struck.lifted.elapsed();
    world.until("every replica is open again", async |world| world.are_open().await).await;
    (healed, struck.lifted.elapsed())
}

fn counts(world: &World) -> (u64, u64) {
    let pages = (0..world.ledger.topics.len()).map(|topic| world.ledger.page(topic).counts());
    pages.fold((0, 0), |(published, maybe), (more, doubtful)| (published + more, maybe + doubtful))
}

/// Waits until every replica holds what it held at first, and answers what it holds, and what is too much.
async fn flat(world: &mut World, moved: bool) -> (Vec<Held>, Vec<String>) {
    let deadline = Instant::now() + PATIENCE;
    let more = if moved { PER_CLIENT * world.crowd.len() as u64 } else { 0 };
    loop {
        let after = world.held().await;
        let pairs = after.iter().zip(&world.first);
        let swollen: Vec<_> = pairs.filter_map(|(after, first)| after.against(first, more)).collect();
        if swollen.is_empty() || Instant::now() > deadline {
            if moved {
                // The clients are elsewhere for good.
                world.first.clone_from(&after);
            }
            return (after, swollen);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl Row {
    /// Holds it against what is promised.
    pub fn find_wrongs(&mut self, struck: &Struck, before: &[Held], held: &[u64]) {
        let mut wrong = |is: bool, what: String| {
            if is {
                self.wrongs.push(what);
            }
        };
        let Account { lost, twice, swapped, strays, .. } = &self.account;
        wrong(!lost.is_empty(), format!("{} lost without a word", lost.len()));
        wrong(!twice.is_empty(), format!("{} came twice", twice.len()));
        wrong(!swapped.is_empty(), format!("{} out of order", swapped.len()));
        let told = self.account.told;
        wrong(told > 0 && !struck.forgot, format!("{told} times something was told of a topic with a history"));
        wrong(!strays.is_empty(), format!("{} to who had left", strays.len()));
        wrong(self.account.delivered == 0 || self.published == 0, "nothing went on".into());
        wrong(self.closes > 0 && !struck.moved, format!("{} sockets closed", self.closes));
        let most = match struck {
            Struck { moved: true, .. } => (MOVED, MOVED),
            Struck { elected: true, .. } => (ELECTED, ELECTED),
            _ => (HEALED, OPEN),
        };
        wrong(self.healed > most.0, format!("healed after {:?}", self.healed));
        wrong(self.open > most.1, format!("open after {:?}", self.open));
        wrong(self.noticed.is_some_and(|noticed| noticed > NOTICED), format!("noticed after {:?}", self.noticed));
        wrong(self.slowest_publish > ANSWERED, format!("a publisher waited {:?}", self.slowest_publish));
        let swollen = before.iter().zip(held).any(|(before, held)| *held > before.most());
        wrong(
            swollen && struck.idle,
            format!("held {} KiB while it lasted, and {} before", self.memory[1], self.memory[0]),
        );
    }
}
