//! Topics out of a request: the route's templates of `{path.x}` and `{query.x}`, and the query's own.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::query::Query;
use crate::command::Resume;
use crate::quote::Quoted;
use crate::settings::{Grant, Part, ProtocolChoice, Route, Template, TopicRules};
use crate::topic::{BadTopic, Topic, allowed, encoded};

/// What of a topic's name means something else in a query, or to those who write queries.
const IN_QUERY: &AsciiSet = &CONTROLS.add(b'%').add(b'#').add(b'+');

/// Why a request names no topics that it may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// A template asks for a value that the request has not.
    #[error("this route needs {0}")]
    Missing(String),
    /// A value, or what a template makes of it, is no topic.
    #[error("{} is no topic: {why}", Quoted(.found))]
    Topic {
        /// What names it: a parameter, or a template.
        by: String,
        /// As it came, decoded.
        found: String,
        /// What is wrong with it.
        why: BadTopic,
    },
    /// As [`BadRequest::Topic`], and the name that would do has a character that a URL needs encoded.
    #[error("{} is no topic: {why}; in a URL each % of a name is %25: {url}", Quoted(.found))]
    Encoded {
        /// What names it: a parameter, or a template.
        by: String,
        /// As it came, decoded.
        found: String,
        /// What is wrong with it.
        why: BadTopic,
        /// What to write in the URL.
        url: String,
    },
    /// A parameter of this name is not UTF-8 once decoded.
    #[error("the parameter {} is not UTF-8 once percent-decoded", Quoted(.0))]
    NotUtf8(String),
    /// More topics than one connection may listen to.
    #[error("{found} topics are too many: a connection listens to at most {limit} here")]
    TooMany {
        /// How many it asked for.
        found: usize,
        /// How many it may.
        limit: usize,
    },
    /// A value that says nothing of where to go on.
    #[error(
        "?{name}= is {}, which says nothing: write ?since= with a time in ms since 1970 or a position such as \"1700000000000-0\", or ?last= with how many publications",
        Quoted(.found)
    )]
    Resume {
        /// The parameter.
        name: &'static str,
        /// As it came, decoded.
        found: String,
    },
    /// A protocol that there is not.
    #[error("?protocol= is {}: write json or plain, or leave it out", Quoted(.0))]
    Protocol(String),
    /// The topic's rule keeps clients out.
    #[error("clients may not subscribe to {topic}: its topic rule says subscribe = \"none\"")]
    Forbidden {
        /// What it asked for.
        topic: Topic,
        /// What the rule matches.
        rule: String,
    },
}

impl BadRequest {
    /// The same for the log, which repeats nothing that a client says: what is wrong and with which parameter, where that
    /// is one of those that the route reads. So a line of it is also what tells one cause from another.
    pub(super) fn logged(&self, read: &[&str]) -> Cow<'static, str> {
        match self {
            Self::Missing(what) => format!("this route needs {what}").into(),
            Self::Topic { by, why, .. } | Self::Encoded { by, why, .. } => {
                format!("{by} names no topic: {}", flaw(why)).into()
            }
            Self::NotUtf8(name) if read.contains(&name.as_str()) => {
                format!("?{name}= is not UTF-8 once percent-decoded").into()
            }
            Self::NotUtf8(_) => "a parameter that is not read here is not UTF-8 once percent-decoded".into(),
            Self::TooMany { limit, .. } => format!("more than {limit} topics (limits.topics)").into(),
            Self::Resume { name, .. } => format!("?{name}= says nothing").into(),
            Self::Protocol(_) => "?protocol= is neither json nor plain".into(),
            Self::Forbidden { rule, .. } => format!("the topic rule of {rule:?} says subscribe = \"none\"").into(),
        }
    }
}

fn flaw(why: &BadTopic) -> &'static str {
    match why {
        BadTopic::Empty => "it is empty",
        BadTopic::TooLong(_) => "it is too long",
        BadTopic::Character(_) => "a character of it is none of a topic's",
        BadTopic::Reserved => "it begins with '@'",
    }
}

/// The topics that a request on `route` listens to from the start.
///
/// # Errors
/// Which of them it cannot have, and why.
pub fn topics(
    route: &Route,
    plain: bool,
    path: &[(String, String)],
    query: &Query,
    rules: &TopicRules,
    limit: usize,
) -> Result<Vec<Topic>, BadRequest> {
    let mut topics = Vec::new();
    for template in &route.topics {
        topics.push(parse(&fill(template, path, query)?, || template.to_string())?);
    }
    if !route.query_topics.is_empty() {
        for name in query.all(&route.query_topics) {
            let topic = parse(name, || format!("?{}=", route.query_topics))?;
            let rule = rules.rule(topic.as_str());
            if rule.subscribe != Grant::Anyone {
                return Err(BadRequest::Forbidden { topic, rule: rule.matches.clone() });
            }
            topics.push(topic);
        }
    }
    if topics.is_empty() && plain && !route.default_topic.is_empty() {
        topics.push(parse(&route.default_topic, || "default_topic".to_owned())?);
    }
    let mut seen = std::collections::HashSet::new();
    topics.retain(|topic| seen.insert(topic.clone()));
    match topics.len() > limit {
        true => Err(BadRequest::TooMany { found: topics.len(), limit }),
        false => Ok(topics),
    }
}

/// Where a request asks to go on: `?since=` a time in ms or a position, or `?last=` so many publications.
///
/// # Errors
/// A value that is neither.
pub fn resume(query: &Query) -> Result<Option<Resume>, BadRequest> {
    let bad = |name: &'static str, found: &str| BadRequest::Resume { name, found: found.to_owned() };
    match (query.first("since"), query.first("last")) {
        (Some(_), Some(last)) => Err(bad("last", last)),
        (Some(since), None) => Resume::parse(since).map(Some).ok_or_else(|| bad("since", since)),
        (None, Some(last)) => last.parse().map(|last| Some(Resume::Last(last))).map_err(|_| bad("last", last)),
        (None, None) => Ok(None),
    }
}

/// Whether a request on `route` speaks plain, given what it offers and asks for.
///
/// # Errors
/// It asks for what is not spoken.
pub fn speaks_plain(route: &Route, subprotocol: Option<&str>, query: &Query) -> Result<bool, BadRequest> {
    match route.protocol {
        ProtocolChoice::Plain => Ok(true),
        ProtocolChoice::Json | ProtocolChoice::Sse => Ok(false),
        ProtocolChoice::Ask => {
            let json = match query.first("protocol") {
                None | Some("plain") => false,
                Some("json") => true,
                Some(found) => return Err(BadRequest::Protocol(found.to_owned())),
            };
            Ok(subprotocol.map_or(!json, |subprotocol| subprotocol != "fanline.json"))
        }
    }
}

fn parse(name: &str, by: impl FnOnce() -> String) -> Result<Topic, BadRequest> {
    Topic::parse_client(name).map_err(|why| match why {
        BadTopic::Character(_) => BadRequest::Encoded { by: by(), url: in_url(name), found: name.to_owned(), why },
        _ => BadRequest::Topic { by: by(), found: name.to_owned(), why },
    })
}

/// A name that cannot be a topic's, as a URL has to write the one that can: a topic's name has no encoding of its own, so
/// what stands for a character in it is encoded once more.
fn in_url(name: &str) -> String {
    let named: String = name.chars().map(|c| if allowed(c) { c.to_string() } else { encoded(c) }).collect();
    utf8_percent_encode(&named, IN_QUERY).to_string()
}

fn fill(template: &Template, path: &[(String, String)], query: &Query) -> Result<String, BadRequest> {
    let mut filled = String::new();
    for part in template.parts() {
        filled.push_str(match part {
            Part::Text(text) => text,
            Part::Path(name) => segment(name, path)?,
            Part::Query(name) => parameter(name, query)?,
        });
    }
    Ok(filled)
}

fn segment<'a>(name: &str, path: &'a [(String, String)]) -> Result<&'a str, BadRequest> {
    let found = path.iter().find(|(found, value)| found == name && !value.is_empty());
    found.map(|(_, value)| value.as_str()).ok_or_else(|| BadRequest::Missing(format!("a value for {{path.{name}}}")))
}

fn parameter<'a>(name: &'a str, query: &'a Query) -> Result<&'a str, BadRequest> {
    let found = query.first(name).filter(|value| !value.is_empty());
    found.ok_or_else(|| BadRequest::Missing(format!("?{name}=…")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::TopicRule;

    fn ask(route: &Route, path: &[(&str, &str)], query: &str) -> Result<Vec<String>, BadRequest> {
        let path: Vec<_> = path.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let secret = TopicRule { matches: "secret:*".into(), subscribe: Grant::None, ..TopicRule::default() };
        let rules = TopicRules::new(vec![secret]);
        let found = topics(route, true, &path, &Query::parse(query)?, &rules, 3)?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn no_topic_means_all_and_topic_may_be_repeated() {
        let route = Route::default();
        assert_eq!(ask(&route, &[], "").unwrap(), ["all"]);
        assert_eq!(ask(&route, &[], "topic=a&topic=b&topic=a").unwrap(), ["a", "b"]);
    }

    #[test]
    fn values_are_percent_decoded_and_a_plus_is_a_plus() {
        assert_eq!(ask(&Route::default(), &[], "topic=a%3Ab+c").unwrap(), ["a:b+c"]);
        assert!(matches!(ask(&Route::default(), &[], "topic=%ff"), Err(BadRequest::NotUtf8(_))));
        let bad = ask(&Route::default(), &[], "topic=caf%C3%A9%23").unwrap_err().to_string();
        assert!(bad.ends_with("in a URL each % of a name is %25: caf%25C3%25A9%23"), "{bad}");
        assert_eq!(ask(&Route::default(), &[], "topic=caf%25C3%25A9%23").unwrap(), ["caf%C3%A9#"]);
    }

    #[test]
    fn templates_take_path_and_query_and_never_make_a_name_of_ours() {
        let templates = ["all", "{path.kind}:{query.id}"].map(|text| Template::parse(text).unwrap());
        let route = Route { topics: templates.to_vec(), ..Route::default() };
        assert_eq!(ask(&route, &[("kind", "client")], "id=7").unwrap(), ["all", "client:7"]);
        assert_eq!(ask(&route, &[("kind", "client")], ""), Err(BadRequest::Missing("?id=…".into())));
        assert!(matches!(ask(&route, &[("kind", "@user")], "id=7"), Err(BadRequest::Topic { .. })));
    }

    #[test]
    fn a_query_says_where_to_go_on() {
        let read = |text| resume(&Query::parse(text).unwrap());
        assert_eq!(read("topic=a"), Ok(None));
        assert_eq!(read("since=1700000000000"), Ok(Some(Resume::Since(1_700_000_000_000))));
        assert_eq!(read("since=1700000000000.75"), Ok(Some(Resume::Since(1_700_000_000_000))), "a fraction is cut off");
        assert_eq!(read("since=5-1"), Ok(Some(Resume::After("5-1".parse().unwrap()))));
        assert_eq!(read("last=10"), Ok(Some(Resume::Last(10))));
        for bad in [
            "since=yesterday",
            "since=-1.5",
            "since=inf",
            "since=NaN",
            "since=1e16",
            "since=",
            "last=-1",
            "last=1&since=2",
        ] {
            assert!(matches!(read(bad), Err(BadRequest::Resume { .. })), "{bad}");
        }
    }

    #[test]
    fn a_rule_and_a_limit_keep_clients_out() {
        assert!(matches!(ask(&Route::default(), &[], "topic=secret:1"), Err(BadRequest::Forbidden { .. })));
        let four = ask(&Route::default(), &[], "topic=a&topic=b&topic=c&topic=d");
        assert_eq!(four, Err(BadRequest::TooMany { found: 4, limit: 3 }));
    }
}
