//! The configuration file: TOML with the line of every value.
//!
//! The text is parsed here and not by the `config` crate, which forgets where a value stood.

use std::path::Path;

use config::{Map, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::catalog::{Catalog, LISTS};
use super::layer::{Layer, origin};
use super::mistakes::Report;

/// Reads a file's text into a layer of known keys; everything else is reported.
pub(super) fn read(path: &Path, text: &str, catalog: &Catalog, report: &mut Report) -> Layer {
    let lines = Lines::new(path, text);
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            // Only the message: the error's own display repeats the line, and with it perhaps a password.
            let place = lines.place_of(error.span().map_or(0, |span| span.start));
            report.mistake(&lines.origin(place.0), format!("no TOML: {}, in column {}", error.message(), place.1));
            return Layer::default();
        }
    };
    let mut layer = Layer::default();
    for (name, value) in table {
        let value = lines.value(&value);
        section(&mut layer, name.get_ref(), value, catalog, report);
    }
    layer
}

/// Takes over one name of the top level.
fn section(layer: &mut Layer, name: &str, value: Value, catalog: &Catalog, report: &mut Report) {
    let place = origin(&value);
    if LISTS.contains(&name) {
        return list(layer, name, value, report);
    }
    let known = catalog.sections().contains(name);
    match value.kind {
        ValueKind::Table(keys) if known => {
            for (key, value) in keys {
                let key = format!("{name}.{key}");
                match catalog.knows(&key) {
                    true => layer.set(&key, value),
                    false => report.mistake(&origin(&value), catalog.unknown_key(&key)),
                }
            }
        }
        ValueKind::Table(_) => report.mistake(&place, catalog.unknown_section(name, false)),
        ValueKind::Array(items) if !known && tables(&items) => {
            report.mistake(&place, catalog.unknown_section(name, true));
        }
        _ if known => report.mistake(&place, format!("{name} is a section; write [{name}] and its keys below")),
        _ => report.mistake(&place, catalog.unknown_key(name)),
    }
}

/// Whether these are what `[[…]]` makes.
fn tables(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(|item| matches!(item.kind, ValueKind::Table(_)))
}

fn list(layer: &mut Layer, name: &str, value: Value, report: &mut Report) {
    match &value.kind {
        ValueKind::Array(items) if items.is_empty() || tables(items) => layer.set(name, value),
        _ => report.mistake(&origin(&value), format!("{name} is a list of tables; write [[{name}]] before each")),
    }
}

/// Where things stand in a file.
struct Lines<'a> {
    path: &'a Path,
    text: &'a str,
    /// The offset of each line's first byte.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(path: &'a Path, text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path, text, starts }
    }

    /// Line and column, both counted from 1.
    fn place_of(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count());
        (line, column + 1)
    }

    fn origin(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    fn value(&self, value: &Spanned<DeValue<'_>>) -> Value {
        let origin = self.origin(self.place_of(value.span().start).0);
        let kind = match value.get_ref() {
            DeValue::String(text) => text.as_ref().into(),
            DeValue::Integer(number) => integer(number.as_str(), number.radix()),
            DeValue::Float(number) => number.as_str().parse().unwrap_or(f64::NAN).into(),
            DeValue::Boolean(value) => (*value).into(),
            DeValue::Datetime(datetime) => datetime.to_string().into(),
            DeValue::Array(items) => ValueKind::Array(items.iter().map(|item| self.value(item)).collect()),
            DeValue::Table(table) => ValueKind::Table(self.table(table)),
        };
        Value::new(Some(&origin), kind)
    }

    fn table(&self, table: &DeTable<'_>) -> Map<String, Value> {
        table.iter().map(|(key, value)| (key.get_ref().to_string(), self.value(value))).collect()
    }
}

/// A number too large for any setting keeps a kind that no setting takes.
fn integer(digits: &str, radix: u32) -> ValueKind {
    match (i64::from_str_radix(digits, radix), i128::from_str_radix(digits, radix)) {
        (Ok(number), _) => number.into(),
        (_, Ok(number)) => number.into(),
        _ => f64::INFINITY.into(),
    }
}
