//! What a payload is meant to be, in the header line's word.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// What a payload is meant to be: its producer's to say, for bytes do not tell. A text may read like JSON, and bytes
/// like text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PayloadKind {
    /// Text, whatever it reads like.
    Text,
    /// JSON.
    Json,
    /// Bytes, also where they could be read as text.
    Binary,
}

impl PayloadKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Text, Self::Json, Self::Binary];

    /// Its word in the header line, the API, and the options of `FCALL`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Binary => "binary",
        }
    }

    /// The kind of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.label() == word)
    }
}

/// A kind, where the value is the word of one.
pub(super) fn known<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PayloadKind>, D::Error> {
    let value = <&RawValue>::deserialize(from)?;
    Ok(serde_json::from_str::<Cow<'_, str>>(value.get()).ok().and_then(|word| PayloadKind::parse(&word)))
}
