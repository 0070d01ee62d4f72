//! A JSON object to publish in place of a filler, with room for the stamp.

use crate::wire::stamp::Stamp;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A JSON object; each publication carries its stamp as a first member.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fixture {
    rest: String,
}

impl Fixture {
    /// Takes the text of an object.
    pub fn of(json: &str) -> Result<Self> {
        let rest = json.trim().strip_prefix('{').context("a fixture is a JSON object")?;
        Ok(Self { rest: rest.to_owned() })
    }

    /// Replaces `into` by the object with a stamp in it.
    pub fn fill(&self, stamp: Stamp, into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(b"{\"stamp\":\"");
        stamp.append(into);
        into.extend_from_slice(b"\",");
        into.extend_from_slice(self.rest.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamped_fixture_is_still_json_and_shows_its_stamp() {
        let stamp = Stamp { number: 9, sent_ns: 1 };
        let mut payload = Vec::new();
        Fixture::of("{\"a\": [1, 2]}\n").unwrap().fill(stamp, &mut payload);
        let read: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!((read["a"][1].as_u64(), Stamp::find(&payload)), (Some(2), Some(stamp)));
    }
}
