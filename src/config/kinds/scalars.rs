//! Numbers, durations, sizes, words and texts.

use std::time::Duration;

use config::ValueKind;

use super::{Bad, Kind, Show, quote};
use crate::config::nearest::{either, nearest};
use crate::settings::notation::{LONGEST, duration, guess_duration, guess_size, size, write_duration, write_size};
use crate::settings::{Auto, ByteSize, OffOr};

/// A whole number in a range, ends included.
pub(in crate::config) struct Whole(pub(in crate::config) u32, pub(in crate::config) u32);

impl<N: TryFrom<i64> + Copy + ToString> Kind<N> for Whole {
    fn expected(&self) -> String {
        format!("a whole number from {} to {}", self.0, self.1)
    }

    fn read(&self, raw: &ValueKind) -> Result<N, Vec<Bad>> {
        let within = |n: i64| (i64::from(self.0)..=i64::from(self.1)).contains(&n);
        match raw {
            ValueKind::I64(n) if within(*n) => N::try_from(*n).map_err(|_| Bad::unexpected()),
            ValueKind::String(text) => {
                let meant = text.trim().parse().ok().filter(|n| within(*n));
                Err(Bad::fix(meant.map(|n| n.to_string())))
            }
            _ => Err(Bad::unexpected()),
        }
    }

    fn write(&self, value: &N, _: Show) -> String {
        value.to_string()
    }

    fn typed(&self, text: &str) -> ValueKind {
        text.trim().parse::<i64>().map_or_else(|_| text.into(), Into::into)
    }
}

/// Yes or no.
pub(in crate::config) struct Flag;

impl Kind<bool> for Flag {
    fn expected(&self) -> String {
        "true or false".into()
    }

    fn read(&self, raw: &ValueKind) -> Result<bool, Vec<Bad>> {
        match raw {
            ValueKind::Boolean(value) => Ok(*value),
            ValueKind::String(text) => {
                let meant = match text.trim().to_lowercase().as_str() {
                    "true" | "yes" | "on" | "1" => Some("true"),
                    "false" | "no" | "off" | "0" => Some("false"),
                    _ => None,
                };
                Err(Bad::fix(meant.map(Into::into)))
            }
            ValueKind::I64(n @ (0 | 1)) => Err(Bad::fix(Some((*n == 1).to_string()))),
            _ => Err(Bad::unexpected()),
        }
    }

    fn write(&self, value: &bool, _: Show) -> String {
        value.to_string()
    }

    fn typed(&self, text: &str) -> ValueKind {
        text.parse::<bool>().map_or_else(|_| text.into(), Into::into)
    }
}

/// A duration.
pub(in crate::config) enum Span {
    /// None at all is of use.
    FromZero,
    /// None at all is of no use.
    AboveZero,
    /// Less does harm.
    AtLeast(Duration),
}

impl Kind<Duration> for Span {
    fn expected(&self) -> String {
        match self {
            Self::FromZero => "a duration such as \"500ms\", \"10s\" or \"1m30s\", at most \"720h\"".into(),
            Self::AboveZero => "a duration above zero such as \"500ms\", \"10s\" or \"1m30s\", at most \"720h\"".into(),
            Self::AtLeast(least) => {
                format!("a duration such as \"1m30s\" or \"1h\", from {} to \"720h\"", quote(&write_duration(*least)))
            }
        }
    }

    fn read(&self, raw: &ValueKind) -> Result<Duration, Vec<Bad>> {
        let least = match self {
            Self::FromZero => Duration::ZERO,
            Self::AboveZero => Duration::from_millis(1),
            Self::AtLeast(least) => *least,
        };
        let fits = |span: &Duration| (least..=LONGEST).contains(span);
        let text = match raw {
            ValueKind::String(text) => text.clone(),
            ValueKind::I64(_) | ValueKind::Float(_) => raw.to_string(),
            _ => return Err(Bad::unexpected()),
        };
        match (raw, duration(&text)) {
            (ValueKind::String(_), Some(span)) if fits(&span) => Ok(span),
            (_, Some(_)) => Err(Bad::unexpected()),
            (_, None) => {
                let meant = guess_duration(&text).filter(fits);
                Err(Bad::fix(meant.map(|span| quote(&write_duration(span)))))
            }
        }
    }

    fn write(&self, value: &Duration, _: Show) -> String {
        quote(&write_duration(*value))
    }
}

/// A number of bytes in a range, ends included.
pub(in crate::config) struct Size(pub(in crate::config) ByteSize, pub(in crate::config) ByteSize);

impl Kind<ByteSize> for Size {
    fn expected(&self) -> String {
        let (least, most) = (write_size(self.0), write_size(self.1));
        format!("a size such as \"64KiB\" or \"1MiB\", from \"{least}\" to \"{most}\"")
    }

    fn read(&self, raw: &ValueKind) -> Result<ByteSize, Vec<Bad>> {
        let fits = |size: &ByteSize| (self.0..=self.1).contains(size);
        let text = match raw {
            ValueKind::String(text) => text.clone(),
            ValueKind::I64(_) | ValueKind::Float(_) => raw.to_string(),
            _ => return Err(Bad::unexpected()),
        };
        match size(&text) {
            Some(size) if fits(&size) => Ok(size),
            Some(_) => Err(Bad::unexpected()),
            None => Err(Bad::fix(guess_size(&text).filter(fits).map(|size| quote(&write_size(size))))),
        }
    }

    fn write(&self, value: &ByteSize, _: Show) -> String {
        quote(&write_size(*value))
    }
}

/// What the inner kind takes, or a word in its place.
fn read_or<T, K: Kind<T>>(word: &str, inner: &K, raw: &ValueKind) -> Result<Option<T>, Vec<Bad>> {
    match raw {
        ValueKind::String(text) if text == word => Ok(None),
        ValueKind::String(text) if text.eq_ignore_ascii_case(word) => Err(Bad::fix(Some(quote(word)))),
        raw => inner.read(raw).map(Some),
    }
}

/// A value, or `"off"`.
pub(in crate::config) struct OrOff<K>(pub(in crate::config) K);

impl<T, K: Kind<T>> Kind<OffOr<T>> for OrOff<K> {
    fn expected(&self) -> String {
        format!("{}, or \"off\"", self.0.expected())
    }

    fn read(&self, raw: &ValueKind) -> Result<OffOr<T>, Vec<Bad>> {
        if matches!(raw, ValueKind::Boolean(false)) {
            return Err(Bad::fix(Some(quote("off"))));
        }
        Ok(read_or("off", &self.0, raw)?.map_or(OffOr::Off, OffOr::Value))
    }

    fn write(&self, value: &OffOr<T>, show: Show) -> String {
        match value {
            OffOr::Off => quote("off"),
            OffOr::Value(value) => self.0.write(value, show),
        }
    }

    fn typed(&self, text: &str) -> ValueKind {
        self.0.typed(text)
    }
}

/// A value, or `"auto"`.
pub(in crate::config) struct OrAuto<K>(pub(in crate::config) K);

impl<T, K: Kind<T>> Kind<Auto<T>> for OrAuto<K> {
    fn expected(&self) -> String {
        format!("{}, or \"auto\"", self.0.expected())
    }

    fn read(&self, raw: &ValueKind) -> Result<Auto<T>, Vec<Bad>> {
        Ok(read_or("auto", &self.0, raw)?.map_or(Auto::Auto, Auto::Value))
    }

    fn write(&self, value: &Auto<T>, show: Show) -> String {
        match value {
            Auto::Auto => quote("auto"),
            Auto::Value(value) => self.0.write(value, show),
        }
    }

    fn typed(&self, text: &str) -> ValueKind {
        self.0.typed(text)
    }
}

/// A value that may be left out.
pub(in crate::config) struct Maybe<K>(pub(in crate::config) K);

impl<T, K: Kind<T>> Kind<Option<T>> for Maybe<K> {
    fn expected(&self) -> String {
        self.0.expected()
    }

    fn read(&self, raw: &ValueKind) -> Result<Option<T>, Vec<Bad>> {
        self.0.read(raw).map(Some)
    }

    fn write(&self, value: &Option<T>, show: Show) -> String {
        value.as_ref().map(|value| self.0.write(value, show)).unwrap_or_default()
    }

    fn absent(&self, value: &Option<T>) -> bool {
        value.is_none()
    }
}

/// One of a few words.
pub(in crate::config) struct Words<T: 'static>(pub(in crate::config) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Kind<T> for Words<T> {
    fn expected(&self) -> String {
        let words: Vec<_> = self.0.iter().map(|(word, _)| quote(word)).collect();
        either(&words)
    }

    fn read(&self, raw: &ValueKind) -> Result<T, Vec<Bad>> {
        let ValueKind::String(text) = raw else { return Err(Bad::unexpected()) };
        match self.0.iter().find(|(word, _)| word == text) {
            Some((_, value)) => Ok(*value),
            None => Err(Bad::fix(nearest(text, self.0.iter().map(|(word, _)| *word)).map(quote))),
        }
    }

    fn write(&self, value: &T, _: Show) -> String {
        self.0.iter().find(|(_, known)| known == value).map(|(word, _)| quote(word)).unwrap_or_default()
    }
}

/// A text that a check lets pass.
pub(in crate::config) struct Text {
    /// Completes "expected …".
    pub(in crate::config) expected: &'static str,
    /// Whether it is one; else why not, or `None` where "expected …" says it all.
    pub(in crate::config) check: fn(&str) -> Result<(), Option<String>>,
}

/// Any text at all.
pub(in crate::config) fn any_text(expected: &'static str) -> Text {
    Text { expected, check: |_| Ok(()) }
}

impl Kind<String> for Text {
    fn expected(&self) -> String {
        self.expected.into()
    }

    fn read(&self, raw: &ValueKind) -> Result<String, Vec<Bad>> {
        match raw {
            ValueKind::String(text) => match (self.check)(text) {
                Ok(()) => Ok(text.clone()),
                Err(Some(reason)) => Err(Bad::because(reason)),
                Err(None) => Err(Bad::unexpected()),
            },
            ValueKind::I64(_) | ValueKind::Float(_) | ValueKind::Boolean(_) => {
                Err(Bad::fix(Some(quote(&raw.to_string()))))
            }
            _ => Err(Bad::unexpected()),
        }
    }

    fn write(&self, value: &String, _: Show) -> String {
        quote(value)
    }
}
