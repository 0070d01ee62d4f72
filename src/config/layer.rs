//! One layer of configuration, with the origin of every value; the `config` crate lays them on each other.

use config::{Config, ConfigError, Map, Source, Value, ValueKind};

/// Values of one origin. Holds only keys that exist: the crate takes a top-level name for a path expression,
/// so a stranger's `a[9999999999]` must not come this far.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer(Map<String, Value>);

impl Layer {
    /// Sets `section.key`, or a name without a section.
    pub(super) fn set(&mut self, key: &str, value: Value) {
        let Some((section, key)) = key.split_once('.') else {
            self.0.insert(key.into(), value);
            return;
        };
        let table = self.0.entry(section.into()).or_insert_with(|| Map::<String, Value>::new().into());
        if let ValueKind::Table(table) = &mut table.kind {
            table.insert(key.into(), value);
        }
    }

    /// The value of `section.key`, or of a name without a section.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        let value = match key.split_once('.') {
            None => self.0.get(key)?,
            Some((section, key)) => match &self.0.get(section)?.kind {
                ValueKind::Table(table) => table.get(key)?,
                _ => return None,
            },
        };
        (value.kind != ValueKind::Nil).then_some(value)
    }

    /// Where one of a secret and its file is set, hides what a lower layer says in the other.
    pub(super) fn hide_twin(&mut self, secret: &str, file: &str) {
        match (self.get(secret).is_some(), self.get(file).is_some()) {
            (true, false) => self.set(file, Value::new(None, ValueKind::Nil)),
            (false, true) => self.set(secret, Value::new(None, ValueKind::Nil)),
            _ => {}
        }
    }

    /// Lays later layers over earlier ones.
    pub(super) fn merge(layers: Vec<Self>) -> Result<Self, ConfigError> {
        let builder = layers.into_iter().fold(Config::builder(), |builder, layer| builder.add_source(layer));
        Ok(Self(builder.build()?.collect()?))
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// Where a value stands, as far as it is known.
pub(super) fn origin(value: &Value) -> String {
    value.origin().unwrap_or("the configuration").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_layer_wins_and_keeps_its_origin() {
        let layer = |origin: &str, key: &str| {
            let mut layer = Layer::default();
            layer.set(key, Value::new(Some(&origin.into()), origin));
            layer
        };
        let merged = Layer::merge(vec![layer("file", "a.x"), layer("variable", "a.x"), layer("file", "a.y")]).unwrap();
        assert_eq!(origin(merged.get("a.x").unwrap()), "variable");
        assert_eq!(origin(merged.get("a.y").unwrap()), "file");
        assert!(merged.get("a.z").is_none());
    }

    #[test]
    fn a_secret_in_a_later_layer_hides_the_file_in_an_earlier_one() {
        let mut below = Layer::default();
        below.set("redis.url_file", Value::new(None, "/run/url"));
        let mut above = Layer::default();
        above.set("redis.url", Value::new(None, "redis://a"));
        above.hide_twin("redis.url", "redis.url_file");
        let merged = Layer::merge(vec![below, above]).unwrap();
        assert!(merged.get("redis.url").is_some());
        assert!(merged.get("redis.url_file").is_none());
    }
}
