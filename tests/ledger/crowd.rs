//! Many clients in one process, and what is asked of all of them together.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::{Client, Doors, Order};
use crate::judge::{Account, Diary, What, judge};
use crate::ledger::{Ledger, Page};

/// All clients; they end when it is dropped.
pub struct Crowd {
    ledger: Arc<Ledger>,
    members: Vec<Member>,
    tasks: JoinSet<()>,
}

/// One of them.
struct Member {
    client: Arc<Client>,
    orders: mpsc::UnboundedSender<Order>,
    /// What it was told to listen to, whether it has come to that or not.
    wanted: BTreeSet<usize>,
}

impl Crowd {
    /// Clients that each listen to some of the topics, each topic having its share of them.
    pub fn start(ledger: &Arc<Ledger>, doors: &Doors, clients: usize, topics_each: usize) -> Self {
        let mut crowd = Self { ledger: ledger.clone(), members: Vec::new(), tasks: JoinSet::new() };
        let count = ledger.topics.len();
        for index in 0..clients {
            // Topics that lie together differ in kind, so that each client has some of each.
            let wanted: Vec<_> = (0..topics_each.min(count)).map(|n| (index / 2 + n) % count).collect();
            crowd.join(index, doors, &wanted);
        }
        crowd
    }

    /// One more client.
    fn join(&mut self, index: usize, doors: &Doors, wanted: &[usize]) {
        let client = Client::new(index, self.ledger.clone());
        client.want(wanted);
        let (orders, taken) = mpsc::unbounded_channel();
        self.tasks.spawn(client.clone().live(doors.clone(), taken));
        self.members.push(Member { client, orders, wanted: wanted.iter().copied().collect() });
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Tells one of them what to do.
    pub fn order(&mut self, member: usize, order: Order) {
        let Member { orders, wanted, .. } = &mut self.members[member];
        match &order {
            Order::Join(topics) => wanted.extend(topics),
            Order::Leave(topics) => wanted.retain(|topic| !topics.contains(topic)),
        }
        let _ = orders.send(order);
    }

    /// What one of them was told to listen to.
    pub fn wanted(&self, member: usize) -> BTreeSet<usize> {
        self.members[member].wanted.clone()
    }

    fn clients(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.members.iter().map(|member| &member.client)
    }

    /// Whether every client listens to all that it wants.
    pub fn is_live(&self) -> bool {
        self.waiting() == 0
    }

    /// How many do not, or have not come to it yet.
    pub fn waiting(&self) -> usize {
        let waits = |member: &&Member| !member.client.state.lock().is_live(&member.wanted);
        self.members.iter().filter(waits).count()
    }

    /// Whether everybody who wants a topic has heard this number of it, or a later one.
    pub fn has_heard(&self, topic: usize, number: u64) -> bool {
        self.clients().all(|client| {
            let state = client.state.lock();
            let place = state.places.get(&topic).filter(|place| place.wanted);
            place.is_none_or(|place| place.highest >= Some(number))
        })
    }

    /// How many sockets closed under their clients since the page began.
    pub fn closes(&self) -> u64 {
        self.clients().map(|client| client.state.lock().closes).sum()
    }

    /// What clients were refused, which none of them expects.
    pub fn errors(&self) -> Vec<String> {
        let all = self.clients().flat_map(|client| client.state.lock().errors.clone());
        all.take(10).collect()
    }

    /// The verdict on everybody's diaries, with a few words on each wrong.
    pub fn judge(&self) -> (Account, Vec<String>) {
        let (mut all, mut wrongs) = (Account::default(), Vec::new());
        for client in self.clients() {
            let state = client.state.lock();
            for (topic, place) in &state.places {
                let page = self.ledger.page(*topic);
                let account = judge(self.ledger.topics[*topic].keeps, &page, &place.diary);
                if !account.is_clean() && wrongs.len() < 5 {
                    wrongs.push(tell(&self.ledger.topics[*topic].name, &page, &account, &place.diary));
                }
                all.add(account);
            }
        }
        (all, wrongs)
    }

    pub fn turn(&self) {
        self.clients().for_each(|client| client.turn());
    }
}

/// One wrong, with what the client noted around it.
fn tell(topic: &str, page: &Page, account: &Account, diary: &Diary) -> String {
    let Account { lost, twice, swapped, strays, .. } = account;
    let first = [lost, twice, swapped, strays].into_iter().find_map(|some| some.first()).copied();
    let published = first.and_then(|number| page.get(number));
    let words = diary.notes.iter().filter(|note| !matches!(note.what, What::Message { .. }));
    let words: Vec<_> = words.take(12).map(|note| format!("  {} {:?}", note.at, note.what)).collect();
    format!(
        "{topic}: lost {lost:?}, twice {twice:?}, swapped {swapped:?}, strays {strays:?}; the first is {published:?}\n{}",
        words.join("\n")
    )
}
