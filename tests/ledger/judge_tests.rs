//! The judge sees what it is there to see: every kind of wrong history is put to it once.

use crate::judge::{Account, Diary, Note, What, judge};
use crate::ledger::{Keeps, Outcome, Page, Position, Publication, number, payload};

/// Publications at 10, 20, 30 …, each answered one millisecond later, with positions of those times.
fn page(outcomes: &[Outcome]) -> Page {
    let publication = |(n, outcome): (u64, &Outcome)| {
        let sent = 10 * (n + 1);
        let (outcome, position) = (*outcome, Some(Position(sent, 0)));
        Publication { outcome, sent, answered: sent + 1, position, life: 0, replicas: Some(2), apart: false }
    };
    Page { first: 0, lives: (0, 0), publications: (0..).zip(outcomes).map(publication).collect() }
}

fn firm(count: usize) -> Page {
    page(&vec![Outcome::Acknowledged; count])
}

fn message(number: u64) -> Note {
    let at = 10 * (number + 1) + 2;
    Note { at, what: What::Message { number, position: Some(Position(at - 2, 0)) } }
}

fn gap(since: u64, until: u64) -> Note {
    Note { at: until, what: What::Gap { since, until } }
}

fn listening(at: u64, recovered: Option<bool>) -> Note {
    Note { at, what: What::Listening { recovered, position: None } }
}

fn closed(at: u64) -> Note {
    Note { at, what: What::Closed }
}

fn verdict(keeps: Keeps, page: &Page, notes: Vec<Note>) -> Account {
    judge(keeps, page, &Diary { listening: true, cursor: Some(Position(1, 0)), told: false, notes })
}

fn both(page: &Page, notes: &[Note]) -> [Account; 2] {
    [Keeps::Nothing, Keeps::History].map(|keeps| verdict(keeps, page, notes.to_vec()))
}

#[test]
fn all_in_order_is_clean() {
    for account in both(&firm(3), &[message(0), message(1), message(2)]) {
        assert_eq!((account.is_clean(), account.delivered, account.announced), (true, 3, 0));
    }
}

#[test]
fn one_lost_without_a_word_is_seen_in_the_middle_and_at_the_end() {
    for account in both(&firm(4), &[message(0), message(2)]) {
        assert_eq!(account.lost, [1, 3]);
    }
    for account in both(&firm(2), &[]) {
        assert_eq!(account.lost, [0, 1]);
    }
}

#[test]
fn a_doubled_message_is_seen_also_where_its_original_was_on_an_earlier_page() {
    for account in both(&firm(2), &[message(0), message(1), message(0)]) {
        assert_eq!((account.twice.as_slice(), account.lost.len()), (&[0][..], 0));
    }
    let later = Page { first: 5, lives: (0, 0), publications: firm(1).publications };
    for account in both(&later, &[message(4)]) {
        assert_eq!(account.twice, [4]);
    }
}

#[test]
fn swapped_messages_are_an_error_of_order_and_not_a_loss() {
    let account = verdict(Keeps::Nothing, &firm(3), vec![message(1), message(0), message(2)]);
    assert_eq!((account.swapped.as_slice(), account.lost.len()), (&[0][..], 0));
    let account = verdict(Keeps::History, &firm(3), vec![message(1), message(0), message(2)]);
    assert_eq!(account.swapped, [0]);
}

#[test]
fn what_two_masters_took_may_come_in_any_order_and_is_owed_all_the_same() {
    let mut page = firm(4);
    page.publications[1].apart = true;
    let account = verdict(Keeps::Nothing, &page, vec![message(0), message(2), message(1), message(3)]);
    assert_eq!((account.is_clean(), account.delivered), (true, 4));
    assert_eq!(verdict(Keeps::Nothing, &page, vec![message(0), message(2), message(3)]).lost, [1]);
    let told = vec![message(0), message(2), gap(15, 35), message(3)];
    let account = verdict(Keeps::Nothing, &page, told.clone());
    assert_eq!((account.lost.len(), account.announced), (0, 1), "it may be told afterwards");
    assert_eq!(verdict(Keeps::Nothing, &firm(4), told).lost, [1], "but only of what was apart");
}

#[test]
fn a_gap_announces_its_own_time_and_no_other() {
    let page = firm(5);
    let notes = vec![message(0), gap(25, 35), message(3), message(4)];
    let account = verdict(Keeps::Nothing, &page, notes);
    assert_eq!((account.announced, account.lost.as_slice()), (1, &[1][..]), "20 is before the gap, 30 within");
    let late = vec![message(0), message(3), gap(15, 35), message(4)];
    let account = verdict(Keeps::Nothing, &page, late);
    assert_eq!(account.lost, [1, 2], "told only after the next message");
}

#[test]
fn with_a_history_a_gap_announces_what_lies_between_two_messages() {
    let notes = vec![message(0), gap(0, 0), message(3), message(5)];
    let account = verdict(Keeps::History, &firm(6), notes);
    assert_eq!((account.announced, account.lost.as_slice()), (2, &[4][..]));
    let unrecovered = vec![message(0), closed(25), listening(45, Some(false)), message(4)];
    let account = verdict(Keeps::History, &firm(5), unrecovered);
    assert_eq!((account.announced, account.is_clean()), (3, true));
}

#[test]
fn whoever_comes_back_is_owed_all_that_the_history_holds_and_nothing_without_one() {
    let notes = vec![message(0), closed(15), listening(35, Some(true)), message(3)];
    let account = verdict(Keeps::History, &firm(4), notes.clone());
    assert_eq!(account.lost, [1, 2], "recovered, it said");
    let account = verdict(Keeps::Nothing, &firm(4), notes);
    assert_eq!((account.announced, account.is_clean()), (2, true));
    let replayed = vec![message(0), closed(15), listening(35, Some(true)), message(1), message(2), message(3)];
    let account = verdict(Keeps::History, &firm(4), replayed);
    assert_eq!((account.recovered, account.is_clean()), (2, true));
}

#[test]
fn flowing_again_without_a_gap_excuses_nothing() {
    let notes = vec![message(0), listening(25, None), message(2)];
    for account in both(&firm(3), &notes) {
        assert_eq!(account.lost, [1]);
    }
}

#[test]
fn what_was_sent_while_joining_or_after_leaving_may_be_missing_and_nothing_else() {
    let diary = |notes| Diary { listening: false, cursor: None, told: false, notes };
    // Half a second before it, a message may have been on its way.
    let left = Note { at: 535, what: What::Left };
    let account = judge(Keeps::Nothing, &firm(5), &diary(vec![listening(15, None), message(1), left.clone()]));
    assert_eq!(
        (account.lost.as_slice(), account.announced),
        (&[2][..], 0),
        "what was missed by one's own wish is no loss"
    );
    let position = Some(Position(10, 0));
    let joined = Note { at: 15, what: What::Listening { recovered: None, position } };
    let account = judge(Keeps::History, &firm(4), &diary(vec![joined, message(2), message(3)]));
    assert_eq!(account.lost, [1], "the position it was told is where it began");
    let stray = Note { at: 50, what: What::Stray { number: 4 } };
    assert_eq!(judge(Keeps::Nothing, &firm(5), &diary(vec![left, stray])).strays, [4]);
}

#[test]
fn what_was_never_acknowledged_may_come_or_not_at_any_place_and_once() {
    let outcomes = [Outcome::Acknowledged, Outcome::Maybe, Outcome::Acknowledged, Outcome::Maybe];
    assert!(both(&page(&outcomes), &[message(0), message(2)]).iter().all(Account::is_clean));
    let account = verdict(Keeps::Nothing, &page(&outcomes), vec![message(0), message(2), message(1), message(1)]);
    assert_eq!((account.swapped.len(), account.lost.len(), account.twice.as_slice()), (0, 0, &[1][..]));
}

#[test]
fn a_rewound_history_may_begin_again_below_once_it_was_told() {
    let mut page = firm(3);
    page.publications[2].position = Some(Position(5, 0));
    page.publications[2].life = 1;
    let rewound = |told: Vec<Note>| {
        let back = Note { at: 40, what: What::Message { number: 2, position: Some(Position(5, 0)) } };
        [vec![message(0), message(1)], told, vec![back]].concat()
    };
    assert!(verdict(Keeps::History, &page, rewound(vec![gap(0, 0)])).is_clean());
    assert_eq!(verdict(Keeps::History, &page, rewound(vec![])).swapped, [2]);
    let mut diary = Diary { listening: true, cursor: None, told: false, notes: vec![message(1), gap(0, 0)] };
    diary.turn(true, Some(Position(20, 0)));
    diary.notes = rewound(vec![]).split_off(2);
    let mut later = Page { first: 2, lives: (1, 1), publications: page.publications.split_off(2) };
    assert!(judge(Keeps::History, &later, &diary).is_clean(), "told at the end of the page before");
    page.publications.append(&mut later.publications);
    let missing = verdict(Keeps::History, &page, vec![message(0), message(1)]);
    assert_eq!(missing.lost, [2], "below is behind, in the history's next life");
}

#[test]
fn a_payload_names_its_number_behind_a_header_too() {
    assert_eq!(number(&payload(42, 3)), Some(42));
    assert_eq!(number("\u{1e}FL1{\"pos\":\"1-2\"}\n#7 "), Some(7));
    assert_eq!(number("nothing"), None);
}

#[test]
fn what_a_failover_lost_must_have_come_or_be_told_afterwards() {
    let page = page(&[Outcome::Acknowledged, Outcome::Lost, Outcome::Acknowledged]);
    let judge = |notes: &[Note]| verdict(Keeps::History, &page, notes.to_vec());
    assert_eq!(judge(&[message(0), message(2)]).lost, [1]);
    assert_eq!(judge(&[gap(0, 5), message(0), message(2)]).lost, [1], "told before");
    let told = judge(&[message(0), gap(10, 25), message(2)]);
    assert_eq!((told.is_clean(), told.announced), (true, 1), "{told:?}");
    assert_eq!(judge(&[message(0), gap(23, 25), message(2)]).lost, [1], "told from too late a time on");
    let joins = |at| Diary { notes: vec![listening(at, None), message(2)], ..Diary::default() };
    assert_eq!(crate::judge::judge(Keeps::History, &page, &joins(5)).lost, [1], "of who came before");
    assert!(crate::judge::judge(Keeps::History, &page, &joins(22)).is_clean(), "and not of who came later");
    let came = judge(&[message(0), message(1), message(2)]);
    assert_eq!((came.is_clean(), came.announced, came.delivered), (true, 0, 3), "{came:?}");
}
