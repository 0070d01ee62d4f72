//! What a trial complains about: each once.

use std::time::{Duration, Instant};

use crate::faults::Struck;
use crate::judge::Account;
use crate::memory::Held;
use crate::trial::Row;

fn row() -> Row {
    let account = Account { delivered: 1, ..Account::default() };
    let (noticed, healed) = (Some(Duration::from_secs(5)), Duration::from_secs(1));
    Row {
        fault: "a fault".into(),
        published: 1,
        maybe: 0,
        account,
        closes: 0,
        noticed,
        healed,
        open: healed,
        slowest_publish: healed,
        memory: [1_000; 3],
        swollen: Vec::new(),
        wrongs: Vec::new(),
    }
}

fn struck() -> Struck {
    let lifted = Instant::now();
    Struck { lifted, ..Struck::over() }
}

fn held(bytes: u64, outbox: f64) -> Held {
    let metrics = [("fanline_outbox_bytes".to_owned(), outbox)].into_iter().collect();
    Held { bytes, ..Held::new(std::process::id(), &metrics) }
}

#[track_caller]
fn complains(words: &str, change: impl FnOnce(&mut Row)) {
    let mut row = row();
    change(&mut row);
    row.find_wrongs(&struck(), &[held(1_000_000, 0.0)], &[1_000_000]);
    assert!(row.wrongs.iter().any(|wrong| wrong.contains(words)), "{words}: {:?}", row.wrongs);
}

#[test]
fn a_trial_without_fault_complains_about_nothing() {
    let mut row = row();
    row.find_wrongs(&struck(), &[held(1_000_000, 0.0)], &[1_000_000]);
    assert!(row.wrongs.is_empty(), "{:?}", row.wrongs);
}

#[test]
fn whatever_is_not_as_it_should_be_is_said() {
    complains("lost without a word", |row| row.account.lost = vec![1]);
    complains("came twice", |row| row.account.twice = vec![1]);
    complains("out of order", |row| row.account.swapped = vec![1]);
    complains("who had left", |row| row.account.strays = vec![1]);
    complains("told of a topic with a history", |row| row.account.told = 1);
    complains("nothing went on", |row| row.account.delivered = 0);
    complains("nothing went on", |row| row.published = 0);
    complains("sockets closed", |row| row.closes = 1);
    complains("healed after", |row| row.healed = Duration::from_millis(3_001));
    complains("open after", |row| row.open = Duration::from_secs(7));
    complains("noticed after", |row| row.noticed = Some(Duration::from_secs(11)));
    complains("a publisher waited", |row| row.slowest_publish = Duration::from_secs(3));
}

#[test]
fn who_holds_more_than_before_is_seen_while_it_lasts_and_after() {
    let before = held(50_000_000, 0.0);
    let mut row = row();
    row.find_wrongs(&struck(), std::slice::from_ref(&before), &[56_000_000]);
    assert_eq!(row.wrongs.len(), 1, "{:?}", row.wrongs);
    assert_eq!(held(54_999_999, 0.0).against(&before, 0), None, "a tenth is flat");
    assert!(held(55_000_001, 0.0).against(&before, 0).is_some());
    assert!(held(50_000_000, 1.0).against(&before, 0).is_some_and(|what| what.contains("outbox_bytes")));
}
