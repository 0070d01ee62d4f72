//! The query of a request: its parameters, and which of them a route reads.

use percent_encoding::percent_decode_str;

use super::template::BadRequest;
use crate::settings::{Part, ProtocolChoice, Route};

/// The names and values of a query, percent-decoded; `+` is a plus.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Understands a query string.
    ///
    /// # Errors
    /// A name or a value that is not UTF-8.
    pub fn parse(raw: &str) -> Result<Self, BadRequest> {
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or_else(|| BadRequest::NotUtf8(name.to_owned()))?;
            match decode(value) {
                Some(value) => Ok((name, value)),
                None => Err(BadRequest::NotUtf8(name)),
            }
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// The first value of a name.
    #[must_use]
    pub fn first<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// The first name that is none of these.
    #[must_use]
    pub fn stranger(&self, names: &[&str]) -> Option<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).find(|name| !names.contains(name))
    }

    /// Whether it says nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All values of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

fn decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

/// The parameters that a route reads: what its templates ask for, and what names topics, a place in their histories or a
/// protocol. They are the operator's words and ours, never a client's.
#[must_use]
pub fn read_by(route: &Route) -> Vec<&str> {
    let holes = route.topics.iter().flat_map(|template| template.parts()).filter_map(|part| match part {
        Part::Query(name) => Some(name.as_str()),
        Part::Text(_) | Part::Path(_) => None,
    });
    let topics = Some(route.query_topics.as_str()).filter(|name| !name.is_empty());
    let own = match route.protocol {
        ProtocolChoice::Ask => Some("protocol"),
        ProtocolChoice::Sse => Some("last_event_id"),
        ProtocolChoice::Plain | ProtocolChoice::Json => None,
    };
    let mut names = Vec::new();
    for name in topics.into_iter().chain(holes).chain(["since", "last"]).chain(own) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Template;

    #[test]
    fn what_is_not_utf8_is_named_and_not_repeated() {
        let bad = |raw| Query::parse(raw).err();
        assert_eq!(bad("a=1&t%6Fken=caf%E9"), Some(BadRequest::NotUtf8("token".into())));
        assert_eq!(bad("caf%E9=secret"), Some(BadRequest::NotUtf8("caf%E9".into())));
        assert_eq!(bad("caf%C3%A9=%00&&"), None);
    }

    #[test]
    fn a_route_reads_what_its_keys_name() {
        assert_eq!(read_by(&Route::default()), ["topic", "since", "last", "protocol"]);
        let topics = ["room:{query.id}", "{query.id}:{path.x}"].map(|text| Template::parse(text).unwrap()).to_vec();
        let route = Route { topics, query_topics: String::new(), protocol: ProtocolChoice::Json, ..Route::default() };
        assert_eq!(read_by(&route), ["id", "since", "last"]);
        let stream = Route { protocol: ProtocolChoice::Sse, ..Route::default() };
        assert_eq!(read_by(&stream), ["topic", "since", "last", "last_event_id"]);
    }
}
