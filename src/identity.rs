//! Who is who: replicas and their connections.

use std::fmt;
use std::sync::Arc;

/// The name of a replica, unique among those that share a Redis. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replica(Arc<str>);

impl Replica {
    /// Takes an operator's or a generated name, already checked to be topic text without a dot at its end.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number in a connection's id where the connection is this replica's own, e.g. 7 for `host-a1b2.7`.
    #[must_use]
    pub fn own(&self, connection: &str) -> Option<ConnectionNumber> {
        let number = connection.strip_prefix(&*self.0)?.strip_prefix('.')?;
        number.parse().ok().map(ConnectionNumber)
    }

    /// The id under which the whole fleet knows connection `number` of this replica.
    #[must_use]
    pub fn connection(&self, number: ConnectionNumber) -> ConnectionId {
        ConnectionId { replica: self.clone(), number }
    }
}

/// A connection on this replica; never given twice while the process lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionNumber(pub u64);

/// A connection in the fleet, written `<replica>.<number>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionId {
    replica: Replica,
    number: ConnectionNumber,
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.replica.0, self.number.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_knows_its_own_connections_and_no_others() {
        let ours = Replica::new("host-a1");
        let id = ours.connection(ConnectionNumber(7)).to_string();
        assert_eq!(id, "host-a1.7");
        assert_eq!(ours.own(&id), Some(ConnectionNumber(7)));
        assert_eq!(Replica::new("host-a").own(&id), None);
        assert_eq!(ours.own("host-a1.x"), None);
    }
}
