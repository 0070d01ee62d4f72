//! What a client may write, and what it is told otherwise.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::Json;
use crate::close::Close;
use crate::command::{Command, From, MessageId, Payload, Resume, Wanted};
use crate::event::{Refusal, RefusalCode};
use crate::position::Position;
use crate::protocol::Protocol;
use crate::publication::PayloadKind;
use crate::topic::Topic;

type Asked = Vec<Result<Command, Refusal>>;

fn read(text: &str) -> Asked {
    let mut commands = Vec::new();
    Json.commands(Payload::Text(Bytes::copy_from_slice(text.as_bytes())), &mut commands).unwrap();
    commands
}

fn topics(names: &[&str]) -> Vec<Topic> {
    names.iter().map(|name| Topic::parse(name).unwrap()).collect()
}

fn id(json: &str) -> Option<MessageId> {
    Some(MessageId(json.into()))
}

fn subscribe(names: &[&str], resume: Option<Resume>, id: Option<MessageId>) -> Command {
    Command::Subscribe { topics: topics(names).into_iter().map(|topic| Wanted { topic, resume }).collect(), id }
}

const FIRST: Option<Resume> = Some(Resume::After(Position { ms: 1, number: 0 }));

fn refusal(text: &str) -> Refusal {
    match read(text).as_slice() {
        [Err(refusal)] => refusal.clone(),
        other => panic!("{text} is understood as {other:?}"),
    }
}

#[test]
fn a_byte_order_mark_before_a_message_is_no_part_of_it() {
    let subscribed = read("\u{feff}{\"type\":\"subscribe\",\"topic\":\"a\"}");
    assert_eq!(subscribed, [Ok(subscribe(&["a"], None, None))]);
}

#[test]
fn a_small_payload_does_not_keep_a_large_message_alive() {
    for (blanks, is_shared) in [(0, true), (64 * 1024, false)] {
        let text = format!(r#"{{"type":"publish","topic":"a","data":"{}"{}}}"#, "x".repeat(100), " ".repeat(blanks));
        let message = Bytes::from(text);
        let mut commands = Vec::new();
        Json.commands(Payload::Text(message.clone()), &mut commands).unwrap();
        assert_eq!((commands.len(), !message.is_unique()), (1, is_shared));
    }
}

#[test]
fn topics_are_named_alone_in_a_list_or_each_with_where_to_resume() {
    let wants = [None, FIRST, Some(Resume::Since(5)), None];
    let each = topics(&["a", "b", "c", "d"]).into_iter().zip(wants).map(|(topic, resume)| Wanted { topic, resume });
    let each = Command::Subscribe { topics: each.collect(), id: id("2") };
    let understood: [(&str, &[Command]); 9] = [
        (r#"{"type":"subscribe","topic":"a"}"#, &[subscribe(&["a"], None, None)]),
        (r#"{"topics":["a","b"],"id":1,"type":"subscribe"}"#, &[subscribe(&["a", "b"], None, id("1"))]),
        (r#"{"type":"subscribe","topic":"a","since":"1-0","id":"x"}"#, &[subscribe(&["a"], FIRST, id("\"x\""))]),
        (
            r#"{"type":"subscribe","topic":"a","since":1700000000000}"#,
            &[subscribe(&["a"], Some(Resume::Since(1_700_000_000_000)), None)],
        ),
        (r#"{"type":"subscribe","topics":["a"],"last":10}"#, &[subscribe(&["a"], Some(Resume::Last(10)), None)]),
        (r#"{"type":"subscribe","topic":"a","since":null,"last":null}"#, &[subscribe(&["a"], None, None)]),
        (r#"{"type":"subscribe","id":2,"topics":{"a":null,"b":"1-0","c":5,"d":null}}"#, &[each]),
        (r#"{"type":"unsubscribe","topic":"a"}"#, &[Command::Unsubscribe { topics: topics(&["a"]), id: None }]),
        (
            r#"{"type":"unsubscribe","topics":["a","b"],"id":-1.5}"#,
            &[Command::Unsubscribe { topics: topics(&["a", "b"]), id: id("-1.5") }],
        ),
    ];
    for (text, commands) in understood {
        assert_eq!(read(text), commands.iter().cloned().map(Ok).collect::<Asked>(), "{text}");
    }
}

#[test]
fn a_publication_s_data_is_its_json_text_byte_for_byte() {
    let payloads: [(&str, &[u8]); 7] = [
        (r#""data":{"b": 1.50,  "a":[null]}"#, br#"{"b": 1.50,  "a":[null]}"#),
        (r#""data": null "#, b"null"),
        (r#""data":"x\u0041""#, br#""x\u0041""#),
        (r#""data":12345678901234567890123"#, b"12345678901234567890123"),
        (r#""text":"h\u00e4""#, "hä".as_bytes()),
        (r#""text":"""#, b""),
        (r#""b64":"/wA=""#, b"\xff\x00"),
    ];
    for (member, bytes) in payloads {
        let kind = match &member[1..5] {
            "data" => PayloadKind::Json,
            "text" => PayloadKind::Text,
            _ => PayloadKind::Binary,
        };
        let text = format!(r#"{{"type":"publish","topic":"a",{member},"event":"e","key":"k","id":1}}"#);
        let publish = Command::Publish {
            topic: topics(&["a"]).remove(0),
            payload: Bytes::copy_from_slice(bytes),
            kind,
            event: Some("e".into()),
            key: Some("k".into()),
            id: id("1"),
        };
        assert_eq!(read(&text), [Ok(publish)], "{text}");
    }
}

#[test]
fn a_page_of_a_history_lies_behind_or_before_a_position_or_at_the_end() {
    let asked = |members: &str| match read(&format!(r#"{{"type":"history","topic":"a"{members}}}"#)).remove(0) {
        Ok(Command::History { question, .. }) => (question.from, question.limit),
        other => panic!("{other:?}"),
    };
    assert_eq!(asked(""), (From::Newest, 300));
    assert_eq!(asked(r#","since":"1-0","limit":7"#), (From::After(Position::at(1)), 7));
    assert_eq!(asked(r#","since":5"#), (From::After(Position::at(5).before()), 300));
    assert_eq!(asked(r#","before":"1-0""#), (From::Before(Position::at(1)), 300));
}

#[test]
fn a_ping_keeps_its_id_and_members_of_a_newer_client_are_ignored_with_a_word() {
    let asked = read(r#"{"type":"ping","id":"\u00e4","x":[{}]}"#);
    assert!(matches!(asked[0], Ok(Command::Warn(_))));
    assert_eq!(asked[1..], [Ok(Command::Ping { id: id(r#""\u00e4""#) })]);
    assert_eq!(read(r#" {"type":"ping"} "#), [Ok(Command::Ping { id: None })]);
}

#[test]
fn what_means_nothing_is_named_with_what_there_is() {
    let warnings: [(&str, &str); 6] = [
        (
            r#"{"type":"subscribe","topic":"a","lats":5}"#,
            "\"lats\" means nothing in a command of type \"subscribe\" and is ignored; it has topic, topics, since, last, id",
        ),
        (
            r#"{"type":"publish","topic":"a","data":1,"topics":["b"]}"#,
            "\"topics\" means nothing in a command of type \"publish\"",
        ),
        (
            r#"{"type":"history","topic":"a","last":5}"#,
            "\"last\" means nothing in a command of type \"history\" and is ignored; it has topic, since, before, limit, id",
        ),
        (r#"{"type":"unsubscribe","topic":"a","since":5}"#, "\"since\" means nothing"),
        (
            r#"{"type":"ping","data":null}"#,
            "\"data\" means nothing in a command of type \"ping\" and is ignored; it has id",
        ),
        (r#"{"n\n":1,"m":2,"type":"ping"}"#, "\"n\\n\" means nothing"),
    ];
    for (text, warning) in warnings {
        let asked = read(text);
        let [Ok(Command::Warn(found)), Ok(_)] = &asked[..] else { panic!("{text} is understood as {asked:?}") };
        assert!(found.starts_with(warning), "{text}: {found}");
    }
    assert!(matches!(&read(r#"{"type":"ping","last":null}"#)[..], [Ok(Command::Ping { .. })]), "null is absent");
    assert!(read(r#"{"type":"x","lats":5}"#)[0].is_err(), "what is refused is refused");
}

#[test]
fn one_bad_line_does_not_spoil_the_others() {
    let asked =
        read("{\"type\":\"ping\",\"id\":1}\r\n\nnonsense\n{\"type\":\"x\",\"id\":2}\n{\"type\":\"ping\",\"id\":3}\n");
    let [first, nonsense, unknown, last] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!((first, last), (&Ok(Command::Ping { id: id("1") }), &Ok(Command::Ping { id: id("3") })));
    let nonsense = nonsense.as_ref().unwrap_err();
    assert_eq!((nonsense.id.as_ref(), nonsense.code), (None, RefusalCode::BadMessage));
    assert!(nonsense.message.starts_with("line 3: found nonsense where an object should begin; write"), "{nonsense:?}");
    let unknown = unknown.as_ref().unwrap_err();
    assert_eq!((unknown.id.clone(), unknown.code), (id("2"), RefusalCode::UnknownType));
}

#[test]
fn one_object_may_span_lines() {
    assert_eq!(read("{\n  \"type\": \"ping\",\n  \"id\": 1\n}\n"), [Ok(Command::Ping { id: id("1") })]);
}

#[test]
fn a_message_of_nonsense_is_given_up_and_its_first_commands_stay() {
    let text = "{\"type\":\"ping\"}\n".to_owned() + &"x\n".repeat(10_000);
    let mut commands = Vec::new();
    let close = Json.commands(Payload::Text(text.into()), &mut commands).unwrap_err();
    assert_eq!(close, Close::BadRequest("32 lines of one message make no sense".into()));
    assert_eq!((commands.len(), commands[0].is_ok()), (33, true));
}

/// Bad message.
const M: RefusalCode = RefusalCode::BadMessage;
/// Bad topic.
const T: RefusalCode = RefusalCode::BadTopic;
/// Unknown type.
const U: RefusalCode = RefusalCode::UnknownType;

#[test]
fn a_refusal_says_what_was_found_where_and_what_to_write() {
    let told: [(&str, RefusalCode, &str); 46] = [
        ("", M, "an empty message; write one object a line, such as {\"type\":\"subscribe\",\"topic\":\"room:42\"}"),
        ("[\"ping\"]", M, "found [\"ping\"] where an object should begin; write one object a line"),
        ("{\"type\":\"ping\"", M, "no JSON object: EOF while parsing an object at line 1 column 14; write"),
        ("{\"type\":\"ping\"} {}", M, "no JSON object: trailing characters at line 1 column 17; write"),
        (r#"{"type":"ping","type":"ping"}"#, M, "no JSON object: duplicate field `type` at"),
        ("{}", M, "the object has no \"type\"; write one of subscribe, unsubscribe, publish, history, ping"),
        (r#"{"type":7}"#, M, "\"type\" is 7; write a string"),
        (r#"{"type":"Ping"}"#, U, "\"type\" is \"Ping\"; write one of subscribe, unsubscribe, publish, history, ping"),
        (r#"{"type":"presence"}"#, U, "this version does not have \"type\":\"presence\"; it has subscribe,"),
        (r#"{"type":"history"}"#, M, "no topic is named; write"),
        (r#"{"type":"history","topic":"a","limit":301}"#, M, "\"limit\" is 301; write 1 to 300"),
        (r#"{"type":"history","topic":"a","before":5}"#, M, "\"before\" is 5; write a position (a string)"),
        (r#"{"type":"history","topic":"a","before":"5-0","since":"1-0"}"#, M, "both \"since\" and \"before\"; write"),
        (r#"{"type":"presence"}"#, U, "this version does not have"),
        (r#"{"type":"auth"}"#, U, "this version does not have"),
        (r#"{"type":"send"}"#, U, "this version does not have"),
        (r#"{"type":"ping","id":true}"#, M, "\"id\" is true; write a string or a number of at most 64 bytes"),
        (r#"{"type":"ping","id":{}}"#, M, "\"id\" is {}; write a string or a number"),
        (r#"{"type":"subscribe"}"#, M, "no topic is named; write \"topic\":\"room:42\" or \"topics\":[\"room:42\"]"),
        (r#"{"type":"subscribe","topics":[]}"#, M, "no topic is named; write"),
        (r#"{"type":"subscribe","topics":{}}"#, M, "no topic is named; write"),
        (r#"{"type":"subscribe","topics":"a"}"#, M, "\"topics\" is \"a\"; write a list of strings"),
        (r#"{"type":"subscribe","topic":["a"]}"#, M, "\"topic\" is [\"a\"]; write a string"),
        (r#"{"type":"subscribe","topics":["a",1]}"#, M, "\"topics\"[1] is 1; write a string"),
        (r#"{"type":"subscribe","topic":"a","topics":["b"]}"#, M, "both \"topic\" and \"topics\"; write one"),
        (r#"{"type":"subscribe","topics":["a","b c"]}"#, T, "\"topics\"[1] is \"b c\", which is no topic: ' ' is no"),
        (r#"{"type":"subscribe","topic":""}"#, T, "\"topic\" is \"\", which is no topic: a topic needs at least one"),
        (
            r#"{"type":"subscribe","topic":"@user:1"}"#,
            T,
            "\"topic\" is \"@user:1\", which is no topic: topics beginning",
        ),
        (
            r#"{"type":"subscribe","topics":{"@x":null}}"#,
            T,
            "a name in \"topics\" is \"@x\", which is no topic: topics",
        ),
        (r#"{"type":"subscribe","topics":{"a":true}}"#, M, "\"topics\".\"a\" is true; write a position such as"),
        (r#"{"type":"subscribe","topics":{"a":1},"since":2}"#, M, "\"topics\" is an object; leave out \"topic\","),
        (r#"{"type":"subscribe","topic":"a","since":-1}"#, M, "\"since\" is -1; write a position such as \"1700"),
        (r#"{"type":"subscribe","topic":"a","last":"9"}"#, M, "\"last\" is \"9\"; write how many publications"),
        (r#"{"type":"subscribe","topic":"a","last":9,"since":1}"#, M, "both \"since\" and \"last\"; write one of them"),
        (r#"{"type":"unsubscribe","topics":{"a":null}}"#, M, "\"topics\" is {\"a\":null}; write a list of strings"),
        (r#"{"type":"publish","data":1}"#, M, "no topic is named; write \"topic\":\"room:42\""),
        (r#"{"type":"publish","topic":"@x","data":1}"#, T, "\"topic\" is \"@x\", which is no topic: topics beginning"),
        (r#"{"type":"publish","topic":"a"}"#, M, "nothing to publish; write \"data\", \"text\" or \"b64\""),
        (
            r#"{"type":"publish","topic":"a","data":null,"text":""}"#,
            M,
            "more than one of \"data\", \"text\" and \"b64\";",
        ),
        (r#"{"type":"publish","topic":"a","text":1}"#, M, "\"text\" is 1; write a string"),
        (
            r#"{"type":"publish","topic":"a","text":"\ud800!"}"#,
            M,
            "\"text\" holds half of a surrogate pair, which is no character (",
        ),
        (
            r#"{"type":"subscribe","topics":["\udc00"]}"#,
            M,
            "\"topics\"[0] holds half of a surrogate pair, which is no character (",
        ),
        (r#"{"type":"publish","topic":"a","b64":"/wA"}"#, M, "\"b64\" is no standard base64 with padding: "),
        (r#"{"type":"publish","topic":"a","data":1,"event":2}"#, M, "\"event\" is 2; write a string"),
        (r#"{"type":"publish","topic":"a","data":1,"key":[]}"#, M, "\"key\" is []; write a string"),
        (
            r#"{"type":"abcdefghijklmnopqrstuvwxyzäbcdefghijklmnopqrstuvwxyz"}"#,
            U,
            "\"type\" is \"abcdefghijklmnopqrstuvwxyzäbcdefghijklm…; write",
        ),
    ];
    for (text, code, message) in told {
        let refusal = refusal(text);
        assert_eq!(refusal.code, code, "{text}: {refusal:?}");
        assert!(refusal.message.starts_with(message), "{text}: {refusal:?}");
    }
}

#[test]
fn a_refusal_carries_the_id_where_one_is_readable() {
    assert_eq!(refusal(r#"{"type":"subscribe","topic":"@x","id":"q"}"#).id, id("\"q\""));
    assert_eq!(refusal(r#"{"id":5,"type":"x"}"#).id, id("5"));
    assert_eq!(refusal(r#"{"id":[5],"type":"x"}"#).id, None);
}

#[test]
fn an_id_has_at_most_64_bytes_and_a_name_for_the_header_at_most_200() {
    let ping = |n| format!(r#"{{"type":"ping","id":"{}"}}"#, "i".repeat(n));
    assert!(read(&ping(62))[0].is_ok());
    assert!(read(&ping(63))[0].is_err());
    let publish = |member, n| format!(r#"{{"type":"publish","topic":"a","data":1,"{member}":"{}"}}"#, "n".repeat(n));
    for member in ["event", "key"] {
        assert!(read(&publish(member, 200))[0].is_ok());
        assert!(refusal(&publish(member, 201)).message.ends_with("has 201 bytes; write at most 200"));
    }
}

#[test]
fn a_binary_message_is_refused() {
    let mut commands = Vec::new();
    Json.commands(Payload::Binary(Bytes::from_static(b"{\"type\":\"ping\"}")), &mut commands).unwrap();
    let [Err(refusal)] = commands.as_slice() else { panic!("{commands:?}") };
    assert_eq!(refusal.code, M);
    assert!(refusal.message.starts_with("a binary message; write JSON in a text message"));
}

#[test]
fn json_that_nests_deeply_takes_no_stack_and_is_refused() {
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    let publish = |data: &str| format!(r#"{{"type":"publish","topic":"a","data":{data}}}"#);
    let refused = refusal(&publish(&deep));
    assert_eq!(refused.code, M);
    assert!(refused.message.starts_with("\"data\" nests more than 60 arrays and objects"), "{refused:?}");
    let most = "[".repeat(60) + &"]".repeat(60);
    assert!(matches!(&read(&publish(&most))[..], [Ok(Command::Publish { payload, .. })] if payload == most.as_bytes()));
    for member in ["type", "id", "topic", "topics", "since", "text", "unknown"] {
        for value in [deep.as_str(), &deep[..200_000], &"{\"a\":".repeat(200_000)] {
            assert!(read(&format!(r#"{{"{member}":{value}}}"#))[0].is_err());
        }
    }
    assert!(read(&format!("{deep}\n{deep}")).iter().all(Result::is_err));
}

/// Text that is nearly a command.
fn nearly() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "type", "id", "topic", "topics", "since", "last", "data", "text", "b64", "event", "key", "token",
    ]);
    let value = prop_oneof![
        4 => prop::sample::select(vec!["\"subscribe\"", "\"publish\"", "\"unsubscribe\"", "\"ping\"", "\"a\"", "1"])
            .prop_map(String::from),
        1 => prop::sample::select(vec!["null", "[\"a\"]", "{\"a\":1}", "[[", "\"\\ud800\"", "1e999"]).prop_map(String::from),
        1 => any::<String>().prop_map(|text| format!("{text:?}")),
    ];
    let object = prop::collection::vec((name, value), 0..6).prop_map(|members| {
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    });
    prop::collection::vec(prop_oneof![8 => object, 1 => any::<String>()], 0..4).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn whatever_a_client_writes_is_answered_and_nothing_panics(text in nearly()) {
        let asked = read(&text);
        prop_assert!(!asked.is_empty());
        for refusal in asked.iter().filter_map(|asked| asked.as_ref().err()) {
            prop_assert!(refusal.message.len() < 1000, "{refusal:?}");
        }
    }

    #[test]
    fn what_is_published_as_data_is_delivered_byte_for_byte(data: Vec<String>) {
        let data = serde_json::to_string(&data).unwrap();
        let asked = read(&format!(r#"{{"type":"publish","topic":"a","data":{data}}}"#));
        let [Ok(Command::Publish { payload, .. })] = &asked[..] else { panic!("{asked:?}") };
        prop_assert_eq!(payload, data.as_bytes());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let mut commands = Vec::new();
        let _ = Json.commands(Payload::Text(bytes.into()), &mut commands);
    }
}
