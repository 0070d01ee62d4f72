//! One Redis of `redis.url`: finds the master that a slot's commands belong to, and connects to it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::PushInfo;

use crate::link::address::{Address, BadUrl, Place, Road};
use crate::link::cluster::Cluster;
use crate::link::connect::{ANSWER, Dialer, Means, Wire};
use crate::link::failure::{ConnectError, Watch};
use crate::link::login::Login;
use crate::link::sentinel::Sentinels;
use crate::link::tls::{BadTls, Tls};
use crate::settings;

/// One Redis. Cheap to clone; the clones share what they know of it.
#[derive(Clone)]
pub struct Endpoint {
    address: Arc<Address>,
    dialer: Dialer,
    finder: Finder,
}

#[derive(Clone)]
enum Finder {
    Direct(Place),
    Sentinel(Arc<Sentinels>),
    Cluster(Arc<Cluster>),
}

/// Why settings lead to no Redis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    /// A URL is wrong.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// A file for TLS is.
    #[error(transparent)]
    Tls(#[from] BadTls),
}

impl Endpoint {
    /// Every Redis of `redis.url`, in its order.
    ///
    /// # Errors
    /// What is wrong with the settings; never a password.
    pub fn all(config: &settings::Redis) -> Result<Vec<Self>, BadEndpoint> {
        Self::watched(config, &Watch::default())
    }

    /// The same, where somebody counts how dialling goes.
    ///
    /// # Errors
    /// As [`Endpoint::all`].
    pub fn watched(config: &settings::Redis, watch: &Watch) -> Result<Vec<Self>, BadEndpoint> {
        let addresses = Address::parse_all(config.url.reveal())?;
        // Loaded once, and only where somebody needs it: a machine without any CA may do without TLS.
        let tls = if addresses.iter().any(|address| address.tls) { Some(Tls::load(config)?) } else { None };
        let means = Means::of(config, watch);
        let all = addresses.into_iter().enumerate();
        Ok(all.map(|(number, address)| Self::new(config, number, address, tls.as_ref(), &means)).collect())
    }

    fn new(config: &settings::Redis, number: usize, address: Address, tls: Option<&Tls>, means: &Means) -> Self {
        let tls = tls.filter(|_| address.tls).cloned();
        let dialer = Dialer::new(Login::at_redis(config, &address, number), tls.clone(), means.clone());
        let finder = match &address.road {
            Road::Direct(place) => Finder::Direct(place.clone()),
            Road::Sentinel { sentinels, service } => {
                let dialer = Dialer::new(Login::at_sentinel(config), tls, means.clone());
                Finder::Sentinel(Arc::new(Sentinels::new(sentinels.clone(), service.clone(), dialer)))
            }
            Road::Cluster(seeds) => Finder::Cluster(Arc::new(Cluster::new(seeds.clone(), dialer.clone()))),
        };
        Self { address: Arc::new(address), dialer, finder }
    }

    /// The address, for people; without user and password.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The user we are there.
    #[must_use]
    pub fn user(&self) -> String {
        self.dialer.user()
    }

    /// Its database.
    #[must_use]
    pub fn db(&self) -> i64 {
        self.address.db
    }

    /// Its cluster, if it is one.
    #[must_use]
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        match &self.finder {
            Finder::Cluster(cluster) => Some(cluster),
            _ => None,
        }
    }

    /// Its Sentinels, if it has any.
    #[must_use]
    pub fn sentinels(&self) -> Option<&Arc<Sentinels>> {
        match &self.finder {
            Finder::Sentinel(sentinels) => Some(sentinels),
            _ => None,
        }
    }

    /// The longest that it takes to learn where a master is and to connect to it.
    #[must_use]
    pub fn longest_dial(&self) -> Duration {
        self.dialer.longest().saturating_mul(2).saturating_add(ANSWER)
    }

    /// Where the master of a slot is, as those say who know.
    ///
    /// # Errors
    /// Nobody knows.
    pub async fn master(&self, slot: u16) -> Result<Place, ConnectError> {
        match &self.finder {
            Finder::Direct(place) => Ok(place.clone()),
            Finder::Sentinel(sentinels) => sentinels.master().await,
            Finder::Cluster(cluster) => cluster.owner(slot).await,
        }
    }

    /// The same without asking anybody; none where somebody must be asked.
    #[must_use]
    pub fn known_master(&self, slot: u16) -> Option<Place> {
        match &self.finder {
            Finder::Direct(place) => Some(place.clone()),
            Finder::Sentinel(_) => None,
            Finder::Cluster(cluster) => cluster.map().owner(slot).cloned(),
        }
    }

    /// Every master there is now; several only in a cluster.
    ///
    /// # Errors
    /// Nobody knows.
    pub async fn masters(&self) -> Result<Vec<Place>, ConnectError> {
        match &self.finder {
            Finder::Cluster(cluster) => Ok(cluster.refresh().await?.masters().cloned().collect()),
            _ => Ok(vec![self.master(0).await?]),
        }
    }

    /// Connects to one of its servers; see [`Dialer::connect`].
    ///
    /// # Errors
    /// What stands between us and a usable server.
    pub async fn connect<F>(&self, place: &Place, name: &str, answer: Duration, pushed: F) -> Result<Wire, ConnectError>
    where
        F: Fn(PushInfo) + Send + Sync + 'static,
    {
        let dialled = self.dialer.connect(place, name, answer, pushed).await;
        dialled.map_err(|error| if self.names(place) { error } else { error.announced() })
    }

    /// Whether the operator named that server, or somebody else than a cluster did.
    fn names(&self, place: &Place) -> bool {
        match &self.address.road {
            Road::Cluster(seeds) => seeds.contains(place),
            _ => true,
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.address()).finish()
    }
}

/// How `redis-cli` reaches the Redis of a channel with these settings: bare where that is its default. Never
/// with a password, for which it asks. With Sentinel there is no saying: whoever asks them knows.
#[must_use]
pub fn cli(config: &settings::Redis) -> String {
    let Some(endpoint) = Endpoint::all(config).ok().and_then(|all| all.into_iter().next()) else {
        return "redis-cli".into();
    };
    let place = match &endpoint.address.road {
        Road::Direct(place) => Some(place),
        Road::Cluster(seeds) => seeds.first(),
        Road::Sentinel { .. } => None,
    };
    let mut command = match place {
        Some(Place::Unix(path)) => format!("redis-cli -s {}", path.display()),
        Some(Place::Tcp { host, port }) => {
            let host =
                if ["localhost", "127.0.0.1"].contains(&host.as_str()) { String::new() } else { format!(" -h {host}") };
            let port = if *port == 6379 { String::new() } else { format!(" -p {port}") };
            format!("redis-cli{host}{port}")
        }
        None => "redis-cli -h MASTER".into(),
    };
    if endpoint.address.tls {
        command.push_str(" --tls");
    }
    if endpoint.cluster().is_some() {
        command.push_str(" -c");
    }
    if endpoint.dialer.has_password() {
        command.push_str(&format!(" --user {} --askpass", endpoint.user()));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Secret;

    fn config(url: &str) -> settings::Redis {
        settings::Redis { url: Secret::new(url), ..settings::Redis::default() }
    }

    fn at(url: &str) -> Endpoint {
        Endpoint::all(&config(url)).unwrap().remove(0)
    }

    #[test]
    fn redis_cli_is_led_where_the_gateway_goes_and_told_no_password() {
        let cli = |url: &str| cli(&config(url));
        assert_eq!(cli("redis://127.0.0.1:6379"), "redis-cli");
        assert_eq!(cli("redis://127.0.0.1:7390"), "redis-cli -p 7390");
        assert_eq!(cli("redis://ada:secret@redis.example:6379/0"), "redis-cli -h redis.example --user ada --askpass");
        assert_eq!(cli("unix:///run/redis.sock"), "redis-cli -s /run/redis.sock");
        assert_eq!(cli("redis+cluster://a:7000,b"), "redis-cli -h a -p 7000 -c");
        assert_eq!(cli("redis+sentinel://a/main"), "redis-cli -h MASTER");
    }

    #[test]
    fn an_address_never_shows_the_password() {
        for url in ["redis://ada:secret@h", "redis+sentinel://ada:secret@h/m", "redis+cluster://ada:secret@h"] {
            let endpoint = at(url);
            assert_eq!(endpoint.user(), "ada");
            assert!(!format!("{endpoint:?} {}", endpoint.address()).contains("secret"));
        }
    }

    #[test]
    fn user_and_password_stand_in_for_what_the_url_leaves_open() {
        let keys =
            |url: &str| settings::Redis { username: "ada".into(), password: Secret::new("secret"), ..config(url) };
        let endpoint = Endpoint::all(&keys("redis://localhost")).unwrap().remove(0);
        assert_eq!((endpoint.user(), endpoint.dialer.has_password()), ("ada".into(), true));
        assert_eq!(Endpoint::all(&keys("redis://bob:other@localhost")).unwrap()[0].user(), "bob");
        assert!(!at("redis://localhost").dialer.has_password());
    }
}
