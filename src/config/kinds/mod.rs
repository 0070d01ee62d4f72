//! How values are written: each kind reads one, writes it, and says what it expects.

mod lists;
mod network;
mod scalars;
mod secrets;

pub(super) use lists::List;
pub(super) use network::{Listen, OriginsOf, Proxy, log_level, prefix, replica_name};
pub(super) use scalars::{Flag, Maybe, OrAuto, OrOff, Size, Span, Text, Whole, Words, any_text};
pub(super) use secrets::{ApiKeyOf, Password, RedisUrl};

use config::ValueKind;

/// How a value of type `T` is written.
pub(super) trait Kind<T> {
    /// Completes "expected …".
    fn expected(&self) -> String;

    /// The value, or everything that is wrong with it.
    fn read(&self, raw: &ValueKind) -> Result<T, Vec<Bad>>;

    /// The value as TOML, as `read` takes it.
    fn write(&self, value: &T, show: Show) -> String;

    /// What a text from a variable or a flag stands for in a file: `5` a number, `a,b` a list.
    fn typed(&self, text: &str) -> ValueKind {
        text.into()
    }

    /// As `typed`, for the content of a `*_file`.
    fn typed_file(&self, content: &str) -> ValueKind {
        self.typed(content)
    }

    /// Whether the value must not be shown in a message.
    fn secret(&self) -> bool {
        false
    }

    /// The value was read in this file, and may change there.
    fn stands_in(&self, _value: &mut T, _path: &str) {}

    /// Whether the value is not written at all.
    fn absent(&self, _value: &T) -> bool {
        false
    }
}

/// Whether secrets are written as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// For eyes and logs: `***`.
    Masked,
    /// For comparing two configurations in memory.
    Plain,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Bad {
    /// The item of a list, counted from 0.
    pub(super) item: Option<usize>,
    /// The item as it may be shown.
    pub(super) found: Option<String>,
    /// Stands in place of "expected …", where there is more to say.
    pub(super) because: Option<String>,
    /// What to write instead.
    pub(super) fix: Option<String>,
}

impl Bad {
    pub(super) fn unexpected() -> Vec<Self> {
        vec![Self::default()]
    }

    pub(super) fn fix(fix: Option<String>) -> Vec<Self> {
        vec![Self { fix, ..Self::default() }]
    }

    pub(super) fn because(reason: impl Into<String>) -> Vec<Self> {
        vec![Self { because: Some(reason.into()), ..Self::default() }]
    }
}

/// A value in its place, ready to be read into or written out.
pub(super) trait Field {
    fn expected(&self) -> String;
    fn read(&mut self, raw: &ValueKind) -> Result<(), Vec<Bad>>;
    /// Nothing where the value is not written at all.
    fn write(&self, show: Show) -> Option<String>;
    fn typed(&self, text: &str) -> ValueKind;
    fn typed_file(&self, content: &str) -> ValueKind;
    fn secret(&self) -> bool;
    fn stands_in(&mut self, path: &str);
}

/// A value and its kind.
pub(super) struct Bound<'a, T, K> {
    pub(super) value: &'a mut T,
    pub(super) kind: K,
}

impl<T, K: Kind<T>> Field for Bound<'_, T, K> {
    fn expected(&self) -> String {
        self.kind.expected()
    }

    fn read(&mut self, raw: &ValueKind) -> Result<(), Vec<Bad>> {
        *self.value = self.kind.read(raw)?;
        Ok(())
    }

    fn write(&self, show: Show) -> Option<String> {
        (!self.kind.absent(self.value)).then(|| self.kind.write(self.value, show))
    }

    fn typed(&self, text: &str) -> ValueKind {
        self.kind.typed(text)
    }

    fn typed_file(&self, content: &str) -> ValueKind {
        self.kind.typed_file(content)
    }

    fn secret(&self) -> bool {
        self.kind.secret()
    }

    fn stands_in(&mut self, path: &str) {
        self.kind.stands_in(self.value, path);
    }
}

/// A text as TOML.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\U{:08X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A value for a message; long ones are cut.
pub(super) fn found(raw: &ValueKind) -> String {
    match raw {
        ValueKind::String(text) if text.chars().count() > 80 => {
            let start: String = text.chars().take(80).collect();
            format!("{}…", quote(&start))
        }
        ValueKind::String(text) => quote(text),
        ValueKind::Array(_) => "a list".into(),
        ValueKind::Table(_) => "a table".into(),
        ValueKind::Float(number) => format!("{number:?}"),
        other => other.to_string(),
    }
}
