//! Who gets compressed frames, and how often they are made.

use miniz_oxide::inflate::decompress_to_vec;

use super::super::encode;
use super::*;
use crate::frame::Extension;
use crate::outbox::Run;
use crate::outbox::fake::{publication, terms_with};
use crate::protocol::Form;
use crate::settings::{OnFull, RuleIndex};

const LONG: &str =
    r#"{"type":"chat","room":"kitchen","from":{"id":7,"name":"Ada"},"text":"tea? tea? tea?","sent":1700000000000}"#;

impl House {
    fn deflating(&self, number: u64, protocol: Box<dyn Protocol>) -> Client {
        let terms = terms_with(Extension::Deflate, protocol, 1 << 30, usize::MAX, &self.total);
        let pipe = Outbox::new(terms, ConnectionNumber(number), Pipe::with_room(usize::MAX));
        Client { outbox: pipe.clone(), pipe }
    }
}

/// The payload of a frame, and whether it was compressed.
fn read(frame: &Frame) -> (String, bool) {
    let bytes = match frame.compressed {
        true => decompress_to_vec(&[&*frame.payload, &[0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF]].concat()).unwrap(),
        false => frame.payload.clone(),
    };
    (String::from_utf8(bytes).unwrap(), frame.compressed)
}

#[test]
fn who_agreed_on_it_gets_long_publications_compressed_and_everybody_the_same_in_one_write() {
    let mut house = House::new(true);
    let plain = Box::new(Plain::new(OnGap::Ignore));
    let (squeezed, json) = (house.deflating(1, plain), house.deflating(2, Box::new(Json)));
    let (bare, bare_json) = (house.plain(3), house.json(4));
    [&squeezed, &json, &bare, &bare_json].into_iter().for_each(|client| house.subscribe(client, &["t"]));
    let before = json.pipe.wire().writes();
    ["short", LONG, "", LONG].into_iter().for_each(|text| house.publish("t", text));
    house.settle();
    let read = |client: &Client| client.pipe.wire().frames().iter().map(read).collect::<Vec<_>>();
    let expected = [("short", false), (LONG, true), ("", false), (LONG, true)];
    assert_eq!(read(&squeezed), expected.map(|(text, compressed)| (text.to_owned(), compressed)));
    assert_eq!(read(&bare), expected.map(|(text, _)| (text.to_owned(), false)));
    let texts = |client| read(client).into_iter().map(|(text, _)| text).collect::<Vec<_>>();
    assert_eq!(texts(&json), texts(&bare_json));
    // The `subscribed` is for one alone, and goes as it is.
    assert_eq!(
        read(&json).iter().map(|(_, compressed)| *compressed).collect::<Vec<_>>(),
        [false, false, true, false, true]
    );
    assert_eq!((squeezed.pipe.wire().writes(), json.pipe.wire().writes()), (1, before + 1));
}

#[test]
fn what_went_out_compressed_is_counted_as_it_went() {
    let mut house = House::new(true);
    let client = house.deflating(1, Box::new(Plain::new(OnGap::Ignore)));
    house.subscribe(&client, &["t"]);
    house.publish("t", LONG);
    house.settle();
    let sent: usize = client.pipe.wire().frames().iter().map(|frame| frame.payload.len() + 2).sum();
    assert!(sent < LONG.len());
    assert_eq!(house.metrics.delivered_bytes.get(), sent as u64);
}

#[test]
fn a_publication_is_compressed_once_for_all_shards_and_only_where_somebody_needs_it() {
    let publications = [publication("t", None, LONG)];
    let run = || encode::run(&publications, &Json, (RuleIndex(0), OnFull::Disconnect));
    let (one, two) = (run(), run());
    let made = |run| publications[0].deflated.frame(Form::Json, run);
    let [first, second] = [&one, &two].map(|run| encode::deflated(run, Form::Json, 1).0);
    assert!(first.joined.len() < one.joined.len());
    assert_eq!(first.joined.as_ptr(), second.joined.as_ptr(), "the second shard took what the first had made");
    assert_eq!(made(|| None).unwrap().as_ptr(), first.joined.as_ptr());
    // Of the other form nothing was made.
    assert_eq!(publications[0].deflated.frame(Form::Plain, || None), None);
}

#[test]
fn a_shard_without_such_a_client_compresses_nothing() {
    let mut house = House::new(true);
    let (client, stays) = (house.plain(1), publication("t", None, LONG));
    house.subscribe(&client, &["t"]);
    assert!(house.shard.inbox.offer(&stays));
    house.settle();
    assert_eq!(client.told().len(), 1);
    assert!(stays.deflated.frame(Form::Plain, || Some(Bytes::from_static(b"now"))).is_some_and(|made| made == "now"));
}

/// The run of `publications`, as it is and compressed.
fn runs(publications: &[Arc<Publication>], protocol: &dyn Protocol, least: usize) -> [Run; 2] {
    let run = encode::run(publications, protocol, (RuleIndex(0), OnFull::Disconnect));
    let (deflated, _) = encode::deflated(&run, protocol.form(), least);
    [run, deflated]
}

#[test]
fn the_publication_is_judged_by_its_payload_whatever_frame_it_has() {
    const LARGEST: usize = 512 * 1024;
    let plain = Plain::new(OnGap::Ignore);
    let protocols: [&dyn Protocol; 2] = [&plain, &Json];
    for (size, expected) in [(199, false), (200, true), (LARGEST, true), (LARGEST + 1, false)] {
        for protocol in protocols {
            let [run, deflated] = runs(&[publication("t", None, "a".repeat(size))], protocol, 200);
            assert_eq!(deflated.joined.len() < run.joined.len(), expected, "{size} bytes, {:?}", protocol.form());
        }
    }
}

/// To compress takes long, so other topics' turns follow; where nothing was compressed they need not wait.
#[test]
fn a_turn_ends_where_something_was_compressed_in_it_and_only_there() {
    let mut house = House::new(true);
    let clients: Vec<_> = (0..64).map(|n| house.deflating(n, Box::new(Plain::new(OnGap::Ignore)))).collect();
    let names: Vec<_> = (0..64).map(|n| format!("t{n}")).collect();
    clients.iter().zip(&names).for_each(|(client, name)| house.subscribe(client, &[name]));
    names.iter().for_each(|name| house.publish(name, "short"));
    house.turn(64);
    assert_eq!(house.shard.census().2, 0);
    assert!(clients.iter().all(|client| client.told() == ["short"]));
    names.iter().for_each(|name| house.publish(name, LONG));
    house.turn(64);
    assert_eq!(house.shard.census().2, 63);
}

#[test]
fn what_another_shard_has_compressed_ends_no_turn() {
    let mut house = House::new(true);
    let client = house.deflating(1, Box::new(Plain::new(OnGap::Ignore)));
    house.subscribe(&client, &["t", "u"]);
    for name in ["t", "u"] {
        let made = publication(name, None, LONG);
        let _ = runs(std::slice::from_ref(&made), &Plain::new(OnGap::Ignore), 1);
        assert!(house.shard.inbox.offer(&made));
    }
    house.turn(64);
    assert_eq!(house.shard.census().2, 0);
    assert!(client.pipe.wire().frames().iter().all(|frame| frame.compressed));
}

#[test]
fn what_is_too_small_is_neither_tried_nor_copied() {
    let small = [publication("t", None, LONG), publication("t", None, LONG)];
    let [run, deflated] = runs(&small, &Json, LONG.len() + 1);
    assert_eq!(deflated.joined.as_ptr(), run.joined.as_ptr());
    let untried = |publication: &Arc<Publication>| {
        publication.deflated.frame(Form::Json, || Some(Bytes::from_static(b"now"))).is_some_and(|made| made == "now")
    };
    assert!(small.iter().all(untried));
}

#[test]
fn a_run_that_did_not_get_smaller_is_not_copied() {
    let dense = [publication("t", None, "tea"), publication("t", None, "cup")];
    let [run, deflated] = runs(&dense, &Plain::new(OnGap::Ignore), 1);
    assert_eq!(deflated.joined.as_ptr(), run.joined.as_ptr());
    let ends = |run: &Run| run.frames.iter().map(|frame| frame.end).collect::<Vec<_>>();
    assert_eq!(ends(&deflated), ends(&run));
}
