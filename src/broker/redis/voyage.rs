//! One life of a link: says what is wanted on its connections, and judges whether they are worth keeping.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::{RedisError, RedisResult};
use tokio::time::sleep_until;

use crate::broker::redis::canary::{EVERY, OVERDUE};
use crate::broker::redis::desired::{Generation, Work};
use crate::broker::redis::former::Former;
use crate::broker::redis::pulse;
use crate::broker::redis::state::LinkState;
use crate::broker::redis::status::Commands;
use crate::broker::redis::succession::{Heir, Left, Over, Succession};
use crate::broker::redis::supervisor::{Lost, Supervisor};
use crate::broker::redis::wires::{Verb, Wires, is_elsewhere};
use crate::link::address::Place;
use crate::link::connect::{Role, Wire};
use crate::link::failure::ConnectError;
use crate::topic::Topic;

/// Topics in one command. 100,000 channels take Redis 145 ms in thousands, 238 ms in hundreds, 5 s singly.
const BATCH: usize = 1_000;

/// Commands under way at a time: enough to keep Redis busy while we read, few enough that a topic wanted
/// now does not stand behind the whole resubscription.
const UNDER_WAY: usize = 4;

/// The supervisor runs at least this often, so that `/livez` can tell that it does.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// Refused topics are tried again after this long at first, and this long at last.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));

/// A command under way.
enum Errand {
    Canary(String),
    Subscribe(Vec<Topic>),
    /// Topics that were refused once. A refusal names no topic, so many are tried in halves.
    Probe(Vec<Topic>),
    Unsubscribe(Vec<Topic>),
}

type Dialling = BoxFuture<'static, (Place, Result<Wire, ConnectError>)>;

/// The connections and what is under way on them.
pub(super) struct Voyage<'s> {
    supervisor: &'s Supervisor,
    state: &'s LinkState,
    wires: Wires,
    generation: Generation,
    under_way: FuturesUnordered<BoxFuture<'static, (Errand, RedisResult<()>)>>,
    /// Masters of the cluster that have no connection yet.
    dialling: FuturesUnordered<Dialling>,
    dial_at: Instant,
    /// The connection that takes this one's place, once Sentinel names another master.
    succession: Succession,
    former: &'s mut Former,
    /// Questions to the link itself, while nobody can be dialled who would send a canary.
    asked: FuturesUnordered<BoxFuture<'static, Option<Vec<Role>>>>,
    ask_at: Instant,
    /// The cluster's map as of the last look.
    version: u64,
    began: Instant,
    settled: bool,
    retry_wait: Duration,
    retry_at: Option<Instant>,
}

impl<'s> Voyage<'s> {
    pub(super) fn new(supervisor: &'s Supervisor, heir: Heir, former: &'s mut Former) -> Self {
        let Heir { wires, generation, .. } = heir;
        let (state, began) = (&*supervisor.state, Instant::now());
        let map = supervisor.endpoint.cluster().map(|cluster| cluster.map());
        if let Some(map) = &map {
            state.canaries.lock().cover(map, true);
        }
        state.desired.lock().connected(generation);
        let voyage = Self {
            supervisor,
            state,
            wires,
            generation,
            under_way: FuturesUnordered::new(),
            dialling: FuturesUnordered::new(),
            dial_at: began,
            succession: Succession::default(),
            former,
            asked: FuturesUnordered::new(),
            ask_at: began,
            version: map.map_or(0, |map| map.version()),
            began,
            settled: false,
            retry_wait: RETRY.0,
            retry_at: None,
        };
        // First and alone: however many topics follow, the link is proven early.
        voyage.send_canaries(began);
        voyage
    }

    pub(super) async fn until_over(mut self) -> Over {
        loop {
            let now = Instant::now();
            self.state.tick();
            if let Some(lost) = self.verdict(now) {
                // After a pause of this whole process the canary may be back, unread: the driver reads first.
                if futures_util::poll!(std::pin::pin!(self.wires.ended())).is_ready() {
                    return Lost::Closed.into();
                }
                if self.verdict(now).is_some() {
                    return lost.into();
                }
            }
            self.follow_the_map(now);
            self.succession.follow(self.supervisor, &self.wires, now);
            self.ask_itself(now);
            self.work(now);
            self.settle(now);
            let alarm = self.alarm(now);
            // Biased, the drivers last: when a flood of messages uses up the task's turn inside one,
            // the others still had theirs. Work is not looked at while enough is under way, so a hub that
            // never rests cannot keep the drivers from running either.
            tokio::select! {
                biased;
                Some((errand, answer)) = self.under_way.next() => {
                    if let Some(lost) = self.landed(errand, answer) {
                        return lost.into();
                    }
                }
                Some((place, dialled)) = self.dialling.next() => self.dialled(&place, dialled),
                Some(roles) = self.asked.next() => {
                    if let Some(lost) = self.itself(roles) {
                        return lost.into();
                    }
                }
                () = self.state.wake.notified(), if self.under_way.len() < UNDER_WAY => {}
                () = sleep_until(alarm.into()) => {}
                Some(greeted) = self.succession.greeted() => {
                    if let Some(heir) = self.succession.settle(self.supervisor, greeted) {
                        return Over::Succeeded(heir, Left { wires: self.wires, generation: self.generation });
                    }
                }
                never = self.former.hear() => match never {},
                () = self.wires.ended() => return Lost::Closed.into(),
            }
        }
    }

    fn verdict(&self, now: Instant) -> Option<Lost> {
        if self.state.condition.lock().met() == Commands::Replica {
            return Some(Lost::Replica);
        }
        let cluster = self.supervisor.endpoint.cluster().filter(|_| self.wires.is_sharded());
        if cluster.is_some_and(|cluster| !self.wires.all_lead_to(&cluster.map())) {
            return Some(Lost::Demoted);
        }
        let overdue = self.state.canaries.lock().deadline().is_some_and(|deadline| deadline <= now);
        overdue.then_some(Lost::Deaf)
    }

    /// Where nobody can be dialled, no canary flies: then the link itself is asked for a sign of life, as often.
    fn ask_itself(&mut self, now: Instant) {
        let undialled = self.state.condition.lock().met().is_undialled();
        if undialled && self.asked.is_empty() && self.ask_at <= now {
            self.ask_at = now + EVERY;
            self.asked.push(self.wires.ask(OVERDUE));
        }
    }

    fn itself(&self, roles: Option<Vec<Role>>) -> Option<Lost> {
        match roles {
            None => Some(Lost::Deaf),
            // The map of a cluster decides who is master of what.
            Some(roles) if self.supervisor.endpoint.cluster().is_none() && roles.contains(&Role::Replica) => {
                Some(Lost::Replica)
            }
            Some(_) => None,
        }
    }

    /// Where the cluster has changed: every master has a canary, and with SSUBSCRIBE a connection.
    fn follow_the_map(&mut self, now: Instant) {
        let Some(cluster) = self.supervisor.endpoint.cluster() else { return };
        let map = cluster.map();
        if map.version() != self.version {
            self.version = map.version();
            self.state.canaries.lock().cover(&map, false);
            self.state.desired.lock().pardon();
            self.send_canaries(now);
        }
        if !self.wires.is_sharded() || self.dial_at > now || !self.dialling.is_empty() {
            return;
        }
        self.dial_at = now + TICK;
        for place in map.masters().filter(|place| !self.wires.leads_to(place)) {
            let (dial, place) = (self.supervisor.dial(place.clone(), self.generation), place.clone());
            self.dialling.push(async move { (place, dial.await) }.boxed());
        }
    }

    fn dialled(&mut self, place: &Place, dialled: Result<Wire, ConnectError>) {
        match dialled {
            Ok(wire) if wire.server.role == Role::Master => {
                self.wires.add(wire);
                self.state.desired.lock().pardon();
                self.send_canaries(Instant::now());
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(link = %self.state.link, %place, %error, "no connection to a master"),
        }
    }

    /// Sends what there is to say.
    fn work(&mut self, now: Instant) {
        let mut desired = self.state.desired.lock();
        desired.expire(now);
        let due = self.retry_at.take_if(|at| *at <= now).is_some();
        let again = if due { desired.retry(BATCH) } else { Vec::new() };
        let mut batches = Vec::new();
        while desired.has_work() && self.under_way.len() + batches.len() < UNDER_WAY {
            batches.push(desired.take(BATCH));
        }
        drop(desired);
        if due {
            self.send_canaries(now);
        } else if self.wires.is_sharded() && self.retry_at.is_none() && self.has_grounded() {
            self.retry_at = Some(now + RETRY.0);
        }
        self.send(Verb::Subscribe, again, Errand::Probe);
        for Work { subscribe, unsubscribe } in batches {
            self.send(Verb::Subscribe, subscribe, Errand::Subscribe);
            self.send(Verb::Unsubscribe, unsubscribe, Errand::Unsubscribe);
        }
    }

    /// Subscribes the canaries that do not fly and that a connection carries.
    fn send_canaries(&self, now: Instant) {
        let mut canaries = self.state.canaries.lock();
        for channel in canaries.grounded().into_iter().filter(|channel| self.wires.carries(channel)) {
            canaries.subscribing(&channel, now);
            for (share, channels) in self.wires.divide(vec![channel], Clone::clone) {
                for channel in channels {
                    let answer = self.wires.say(Verb::Subscribe, share, vec![channel.clone()]);
                    self.under_way.push(answer.map(|answer| (Errand::Canary(channel), answer)).boxed());
                }
            }
        }
    }

    /// Whether a canary's subscription was taken away, because its slot has moved.
    fn has_grounded(&self) -> bool {
        self.state.canaries.lock().grounded().iter().any(|channel| self.wires.carries(channel))
    }

    fn send(&self, verb: Verb, topics: Vec<Topic>, errand: fn(Vec<Topic>) -> Errand) {
        for (share, topics) in self.wires.divide(topics, |topic| self.state.keys.channel(topic)) {
            if topics.is_empty() {
                continue;
            }
            let channels = topics.iter().map(|topic| self.state.keys.channel(topic)).collect();
            let answer = self.wires.say(verb, share, channels);
            self.under_way.push(answer.map(move |answer| (errand(topics), answer)).boxed());
        }
    }

    /// What an answer means. The confirmations themselves came through the pushes, in order with the messages.
    fn landed(&mut self, errand: Errand, answer: RedisResult<()>) -> Option<Lost> {
        match (errand, answer) {
            (_, Err(error)) if error.is_io_error() => return Some(Lost::Unanswered(error)),
            (errand, answer) if self.wires.is_sharded() => self.landed_sharded(errand, answer),
            (Errand::Probe(_), Ok(())) => {
                self.state.desired.lock().pardon();
                self.retry_wait = RETRY.0;
            }
            (_, Ok(())) => {}
            (Errand::Canary(channel), Err(error)) => {
                self.state.canaries.lock().lose(&channel);
                self.refused(&error, RETRY.1);
            }
            (Errand::Probe(mut topics), Err(_)) if topics.len() > 1 => {
                let half = topics.split_off(topics.len() / 2);
                self.send(Verb::Subscribe, topics, Errand::Probe);
                self.send(Verb::Subscribe, half, Errand::Probe);
            }
            // Soon: it may be one stranger among a thousand that keeps the others waiting.
            (Errand::Subscribe(topics), Err(error)) => {
                self.state.desired.lock().refuse(self.generation, topics);
                self.refused(&error, RETRY.0);
            }
            // Ever more rarely: this very topic was refused again.
            (Errand::Probe(topics), Err(error)) => {
                self.state.desired.lock().refuse(self.generation, topics);
                if self.retry_at.is_none() {
                    self.retry_wait = (self.retry_wait * 2).min(RETRY.1);
                }
                self.refused(&error, self.retry_wait);
            }
            (Errand::Unsubscribe(topics), Err(error)) => self.kept(&topics, &error),
        }
        None
    }

    /// With SSUBSCRIBE an answer is a hint only: a `sunsubscribe` that nobody asked for takes the place of one.
    /// What a push has not confirmed by now is tried again.
    fn landed_sharded(&mut self, errand: Errand, answer: RedisResult<()>) {
        let soon = Instant::now() + RETRY.0;
        match (errand, answer) {
            (Errand::Canary(channel), Err(error)) => {
                self.state.canaries.lock().lose(&channel);
                self.refused_sharded(&error);
            }
            (Errand::Subscribe(topics) | Errand::Probe(topics), answer) => {
                answer.err().into_iter().for_each(|error| self.refused_sharded(&error));
                let mut desired = self.state.desired.lock();
                desired.refuse(self.generation, topics);
                if desired.refuses() {
                    self.retry_at.get_or_insert(soon);
                }
            }
            (Errand::Unsubscribe(topics), Err(error)) if !is_elsewhere(&error) => self.kept(&topics, &error),
            // A topic that has moved is left all the same; one that is not left is left again.
            (Errand::Unsubscribe(topics), _) => {
                let live = self.state.desired.lock().kept(self.generation, &topics);
                live.iter().for_each(|topic| self.state.deliver.live(topic));
            }
            (Errand::Canary(_), Ok(())) => {}
        }
    }

    fn refused_sharded(&mut self, error: &RedisError) {
        match is_elsewhere(error) {
            true => _ = self.retry_at.get_or_insert(Instant::now() + RETRY.0),
            false => self.refused(error, RETRY.1),
        }
    }

    fn kept(&self, topics: &[Topic], error: &RedisError) {
        let live = self.state.desired.lock().kept(self.generation, topics);
        live.iter().for_each(|topic| self.state.deliver.live(topic));
        self.complain(error, "Redis refuses UNSUBSCRIBE");
    }

    /// Redis refused a SUBSCRIBE: its topics stay pending and are tried again after `wait`.
    fn refused(&mut self, error: &RedisError, wait: Duration) {
        let at = Instant::now() + wait;
        if self.retry_at.is_none() {
            self.complain(error, "Redis refuses SUBSCRIBE; its topics stay pending");
        }
        self.retry_at = Some(self.retry_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn complain(&self, error: &RedisError, what: &str) {
        let Supervisor { endpoint, sharded, .. } = self.supervisor;
        pulse::complain(self.state, endpoint, *sharded, error, what);
    }

    fn settle(&mut self, now: Instant) {
        let flying = self.state.canaries.lock().fly_where_they_can();
        if self.settled || !flying || self.state.desired.lock().missing() > 0 {
            return;
        }
        self.settled = true;
        let took = now.duration_since(self.began);
        self.state.metrics.redis_resubscribe_seconds.observe(took.as_secs_f64());
        // What was said to be down is said to be up again, so that the last word is true.
        let answers = self.state.said_down.swap(false, Ordering::Relaxed);
        match self.state.repeats.due("live").or(answers.then_some(0)) {
            Some(unsaid) => tracing::info!(link = %self.state.link, ?took, unsaid, "link live"),
            None => tracing::debug!(link = %self.state.link, ?took, "link live"),
        }
    }

    /// When to look again though nothing happened.
    fn alarm(&self, now: Instant) -> Instant {
        let expiry = self.state.desired.lock().next_expiry();
        let deadline = self.state.canaries.lock().deadline();
        [expiry, deadline, self.retry_at].into_iter().flatten().fold(now + TICK, Instant::min)
    }
}
