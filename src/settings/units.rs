//! The units that settings are written in.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A value, or the gateway's own choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auto<T> {
    /// The gateway chooses at start.
    #[default]
    Auto,
    /// The operator chose.
    Value(T),
}

/// A value, or nothing of the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OffOr<T> {
    /// Switched off.
    #[default]
    Off,
    /// Switched on, with this value.
    Value(T),
}

impl<T> Auto<T> {
    /// What the operator chose, if anything.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Auto => None,
            Self::Value(value) => Some(value),
        }
    }
}

impl<T> OffOr<T> {
    /// The value where it is on.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::Value(value) => Some(value),
        }
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteSize(pub usize);

impl ByteSize {
    /// So many times 1,024 bytes.
    #[must_use]
    pub const fn kib(n: usize) -> Self {
        Self(n * 1024)
    }

    /// So many times 1,024² bytes.
    #[must_use]
    pub const fn mib(n: usize) -> Self {
        Self(n * 1024 * 1024)
    }

    /// Twice as many.
    #[must_use]
    pub const fn twice(self) -> Self {
        Self(self.0.saturating_mul(2))
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret {
    text: String,
    /// Where it was read, and can be read again.
    file: Option<Arc<Path>>,
}

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), file: None }
    }

    /// The same, where it was read in a file.
    #[must_use]
    pub fn standing_in(self, path: impl AsRef<Path>) -> Self {
        Self { file: Some(path.as_ref().into()), ..self }
    }

    /// What a file's content holds: all but its last line break, and a byte order mark, with which some editors begin a
    /// file and which no eye sees; nothing where that is empty.
    #[must_use]
    pub fn in_content(content: &str) -> Option<&str> {
        let content = content.strip_prefix('\u{feff}').unwrap_or(content);
        let content = content.strip_suffix('\n').unwrap_or(content);
        let content = content.strip_suffix('\r').unwrap_or(content);
        Some(content).filter(|content| !content.is_empty())
    }

    /// The file that it stands in, if it does in one of its own.
    #[must_use]
    pub fn file(&self) -> Option<&Arc<Path>> {
        self.file.as_ref()
    }

    /// The text itself; only for whoever must send or compare it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// Whether nothing was set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { "\"\"" } else { "***" })
    }
}

/// A name for people and a secret for the request, written `name:secret`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Who it was given to; may be logged.
    pub name: String,
    /// What the request carries.
    pub secret: Secret,
}

/// Which web pages may open a socket here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origins {
    /// Every page, and clients that are no browser.
    #[default]
    Any,
    /// Pages of these origins (`https://app.example.com`, `https://*.example.com`), and clients that send none.
    List(Vec<String>),
}
