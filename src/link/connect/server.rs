//! What a server says about itself when it is greeted.

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};

/// The oldest Redis whose pub/sub and ACLs we rely on. Every Valkey (≥ 7.2) is newer.
pub(super) const OLDEST: (u32, u32) = (6, 2);

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its version, as it writes it.
    pub version: String,
    /// Whether it may be written to.
    pub role: Role,
}

/// A server's part in replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What is published here reaches every replica of it.
    Master,
    /// What is published here stays here, and what is published at the master arrives late or never.
    Replica,
}

impl Role {
    /// Asks for a server's, behind all that was sent on this connection before.
    ///
    /// # Errors
    /// It does not answer, or refuses to.
    pub async fn ask(connection: &mut MultiplexedConnection) -> RedisResult<Self> {
        let hello = redis::cmd("HELLO").arg(3).query_async::<Value>(connection).await?;
        Ok(Server::of(&hello).role)
    }
}

impl Server {
    /// Reads the answer to HELLO.
    #[must_use]
    pub fn of(hello: &Value) -> Self {
        let field = |name: &str| {
            let fields = hello.as_map_iter()?;
            let (_, value) = fields.into_iter().find(|(key, _)| text(key).as_deref() == Some(name))?;
            text(value)
        };
        let role = match field("role").as_deref() {
            Some("replica" | "slave") => Role::Replica,
            _ => Role::Master,
        };
        Self { version: field("version").unwrap_or_default(), role }
    }

    /// The version's first two numbers; none where it has another form.
    #[must_use]
    pub fn numbers(&self) -> Option<(u32, u32)> {
        let mut parts = self.version.split('.').map_while(|part| part.parse().ok());
        Some((parts.next()?, parts.next()?))
    }

    /// Whether it is this version or a newer one; one that nobody can read is given the benefit of the doubt.
    #[must_use]
    pub fn is_at_least(&self, numbers: (u32, u32)) -> bool {
        self.numbers().is_none_or(|own| own >= numbers)
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(version: &str, role: &str) -> Server {
        let pair = |key: &str, value: &str| {
            (Value::BulkString(key.as_bytes().into()), Value::BulkString(value.as_bytes().into()))
        };
        Server::of(&Value::Map(vec![pair("server", "redis"), pair("version", version), pair("role", role)]))
    }

    #[test]
    fn a_server_older_than_6_2_is_refused_and_a_valkey_is_not() {
        assert!(!hello("6.0.16", "master").is_at_least(OLDEST));
        assert!(!hello("5.9", "master").is_at_least(OLDEST));
        for version in ["6.2.0", "7.2.4", "8.0.1", "10.0", "255.255.255", "unstable"] {
            assert!(hello(version, "master").is_at_least(OLDEST), "{version}");
        }
    }

    #[test]
    fn a_replica_is_told_from_a_master() {
        assert_eq!(hello("7.0.15", "replica").role, Role::Replica);
        assert_eq!(hello("7.0.15", "master").role, Role::Master);
    }
}
