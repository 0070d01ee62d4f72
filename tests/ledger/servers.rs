//! What a world keeps its topics on: one Redis, a master and a replica under Sentinel, or a cluster.

use tokio::task::block_in_place;

use crate::ledger::Topic;
use crate::support::cluster::Cluster;
use crate::support::redis::RedisServer;
use crate::support::sentinel::Watched;

/// Which of them a world has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    One,
    Watched,
    Cluster,
}

/// All servers of a world; killed when dropped.
pub enum Servers {
    One(RedisServer),
    Watched(Watched),
    Cluster(Cluster),
}

impl Servers {
    /// None where [`RedisServer::start`] would not. Only one by itself takes more arguments and an environment.
    pub fn start(kind: Kind, environment: &[(&str, &str)], extra: &[&str]) -> Option<Self> {
        block_in_place(|| match kind {
            Kind::One => RedisServer::start_under(environment, extra).map(Self::One),
            Kind::Watched => Watched::start().map(Self::Watched),
            Kind::Cluster => Cluster::start().map(Self::Cluster),
        })
    }

    /// What the gateway is told.
    pub fn url(&self) -> String {
        match self {
            Self::One(redis) => redis.url(),
            Self::Watched(watched) => watched.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    /// The only one.
    ///
    /// # Panics
    /// Where there are several: the fault belongs into another world.
    pub fn one(&self) -> &RedisServer {
        let Self::One(redis) = self else { panic!("several Redis") };
        redis
    }

    pub fn one_mut(&mut self) -> &mut RedisServer {
        let Self::One(redis) = self else { panic!("several Redis") };
        redis
    }

    pub fn watched(&self) -> &Watched {
        let Self::Watched(watched) = self else { panic!("no Sentinel") };
        watched
    }

    pub fn cluster(&self) -> &Cluster {
        let Self::Cluster(cluster) = self else { panic!("no cluster") };
        cluster
    }

    pub fn cluster_mut(&mut self) -> &mut Cluster {
        let Self::Cluster(cluster) = self else { panic!("no cluster") };
        cluster
    }

    /// The master that has a topic now.
    pub fn master_of(&self, topic: &Topic) -> &RedisServer {
        match self {
            Self::One(redis) => redis,
            Self::Watched(watched) => {
                let named = watched.named().expect("the Sentinels agree");
                watched.servers().iter().find(|server| server.port() == named).expect("one of ours")
            }
            Self::Cluster(cluster) => &cluster.nodes()[cluster.owner(&topic.channel())],
        }
    }
}
