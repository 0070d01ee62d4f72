//! Lists of values.

use config::{Value, ValueKind};

use super::{Bad, Kind, Show, found};

/// A list; in a variable or flag its items stand between commas, in a file of its own on lines.
pub(in crate::config) struct List<K>(pub(in crate::config) K);

impl<T, K: Kind<T>> Kind<Vec<T>> for List<K> {
    fn expected(&self) -> String {
        format!("a list, each item {}", self.0.expected())
    }

    fn read(&self, raw: &ValueKind) -> Result<Vec<T>, Vec<Bad>> {
        let items = match raw {
            ValueKind::Array(items) => items,
            ValueKind::String(_) if !self.0.secret() => return Err(Bad::fix(Some(format!("[{}]", found(raw))))),
            _ => return Err(Bad::unexpected()),
        };
        let mut values = Vec::with_capacity(items.len());
        let mut wrong = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match self.0.read(&item.kind) {
                Ok(value) => values.push(value),
                Err(bad) => wrong.extend(bad.into_iter().map(|bad| self.place(bad, index, &item.kind))),
            }
        }
        if wrong.is_empty() { Ok(values) } else { Err(wrong) }
    }

    fn write(&self, value: &Vec<T>, show: Show) -> String {
        let items: Vec<_> = value.iter().map(|item| self.0.write(item, show)).collect();
        format!("[{}]", items.join(", "))
    }

    fn typed(&self, text: &str) -> ValueKind {
        items(text.split(','))
    }

    fn typed_file(&self, content: &str) -> ValueKind {
        items(content.lines())
    }

    fn secret(&self) -> bool {
        self.0.secret()
    }
}

impl<K> List<K> {
    /// Says which item is wrong, and what is expected of an item rather than of the list.
    fn place<T>(&self, bad: Bad, index: usize, raw: &ValueKind) -> Bad
    where
        K: Kind<T>,
    {
        let shown = if self.0.secret() { "\"***\"".into() } else { found(raw) };
        let because = bad.because.unwrap_or_else(|| format!("expected {}", self.0.expected()));
        Bad { item: Some(index), found: Some(shown), because: Some(because), fix: bad.fix }
    }
}

fn items<'a>(texts: impl Iterator<Item = &'a str>) -> ValueKind {
    let items = texts.map(str::trim).filter(|text| !text.is_empty());
    ValueKind::Array(items.map(|text| Value::new(None, text)).collect())
}
