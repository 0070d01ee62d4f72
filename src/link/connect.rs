//! One connection to Redis: dialled by us, so that its socket options and its end are ours.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::{self, Either};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, PushInfo, RedisError,
    Value,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::settings;

/// The longest that dialling and greeting may take, each.
pub const CONNECT_WAIT: Duration = Duration::from_secs(1);

/// How long the kernel keeps trying to send what nobody acknowledges. Shorter than the canary's 3 s + 2 s
/// would cut links in a brownout; much longer would keep dead sockets.
const USER_TIMEOUT: Duration = Duration::from_secs(6);

/// A silent peer is asked after this long …
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// … and then this often.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(3);

/// The oldest Redis whose pub/sub and ACLs we rely on. Every Valkey (≥ 7.2) is newer.
const OLDEST: (u32, u32) = (6, 2);

/// Where Redis is and who we are there.
#[derive(Clone)]
pub struct Endpoint {
    info: ConnectionInfo,
}

/// Why a URL leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "redis.url is no URL of Redis: {0} (try \"redis://host:6379\", \"redis://user:password@host:6379/0\" or \"unix:///path/to/socket\")"
)]
pub struct BadUrl(String);

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answered in time.
    #[error("{address} did not answer within {} ms while {doing}", CONNECT_WAIT.as_millis())]
    Silent {
        /// Who was asked.
        address: String,
        /// What for.
        doing: &'static str,
    },
    /// The network said no.
    #[error("cannot connect to {address}: {why}")]
    Refused {
        /// Who was asked.
        address: String,
        /// What it said.
        why: String,
    },
    /// Redis said no, to our user say.
    #[error("{address} refused the greeting: {why}")]
    Greeting {
        /// Who was asked.
        address: String,
        /// What it said.
        why: String,
    },
    /// Too old a server.
    #[error("{address} runs Redis {version}; Fanline needs Redis 6.2, Valkey 7.2 or newer")]
    TooOld {
        /// Who was asked.
        address: String,
        /// What it runs.
        version: String,
    },
}

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

/// The task behind a connection, as a future: whoever drops it has closed the socket.
pub type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A greeted connection. Nothing happens on it unless `driver` is polled.
pub struct Wire {
    /// Sends commands.
    pub connection: MultiplexedConnection,
    /// Reads and writes the socket.
    pub driver: Driver,
    /// Who answered.
    pub server: Server,
}

/// How `redis-cli` reaches the Redis of these settings: bare where that is its default. Never with a password,
/// for which it asks.
#[must_use]
pub fn cli(config: &settings::Redis) -> String {
    let Ok(endpoint) = Endpoint::parse(config) else { return "redis-cli".into() };
    let mut command = match endpoint.info.addr() {
        ConnectionAddr::Unix(path) => format!("redis-cli -s {}", path.display()),
        ConnectionAddr::Tcp(host, port) => {
            let host =
                if ["localhost", "127.0.0.1"].contains(&host.as_str()) { String::new() } else { format!(" -h {host}") };
            let port = if *port == 6379 { String::new() } else { format!(" -p {port}") };
            format!("redis-cli{host}{port}")
        }
        _ => "redis-cli".into(),
    };
    let (user, password) = (endpoint.user(), endpoint.info.redis_settings().password());
    if password.is_some() {
        command.push_str(&format!(" --user {user} --askpass"));
    }
    command
}

impl Endpoint {
    /// Reads `redis.url`.
    ///
    /// # Errors
    /// What is wrong with it; never the password.
    pub fn parse(config: &settings::Redis) -> Result<Self, BadUrl> {
        let info = config.url.reveal().into_connection_info().map_err(|e| BadUrl(e.to_string()))?;
        if let ConnectionAddr::TcpTls { .. } = info.addr() {
            return Err(BadUrl("this build speaks no TLS".into()));
        }
        // `CLIENT SETINFO` would need a permission of its own.
        let mut settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
        // What the URL leaves open stands in keys of its own, so that a password need not be in a URL.
        if settings.username().is_none() && !config.username.is_empty() {
            settings = settings.set_username(&config.username);
        }
        if settings.password().is_none() && !config.password.is_empty() {
            settings = settings.set_password(config.password.reveal());
        }
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive()).set_user_timeout(USER_TIMEOUT);
        Ok(Self { info: info.set_redis_settings(settings).set_tcp_settings(tcp) })
    }

    /// The address, for people; without user and password.
    #[must_use]
    pub fn address(&self) -> String {
        self.info.addr().to_string()
    }

    /// The user we are there.
    #[must_use]
    pub fn user(&self) -> &str {
        self.info.redis_settings().username().unwrap_or("default")
    }

    /// All of it, for a pool.
    #[must_use]
    pub fn info(&self) -> ConnectionInfo {
        self.info.clone()
    }

    /// Dials, greets, and is called `name` in `CLIENT LIST`. Commands on the connection are given up after
    /// `answer`; pushes go to `pushed`, called by the driver, which must not block.
    ///
    /// # Errors
    /// What stands between us and a usable server.
    pub async fn connect<F>(&self, name: &str, answer: Duration, pushed: F) -> Result<Wire, ConnectError>
    where
        F: Fn(PushInfo) + Send + Sync + 'static,
    {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(answer)).set_push_sender(move |push| {
            pushed(push);
            Ok::<_, std::convert::Infallible>(())
        });
        match self.info.addr() {
            ConnectionAddr::Unix(path) => {
                let socket = self.within("dialling", UnixStream::connect(path)).await?;
                self.greet(socket, config, name).await
            }
            ConnectionAddr::Tcp(host, port) => {
                let socket = self.within("dialling", TcpStream::connect((host.as_str(), *port))).await?;
                tune(&socket).map_err(|why| self.refused(&why))?;
                self.greet(socket, config, name).await
            }
            _ => Err(self.refused(&"no kind of address that this build knows")),
        }
    }

    async fn greet<S>(&self, socket: S, config: AsyncConnectionConfig, name: &str) -> Result<Wire, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let silent = || ConnectError::Silent { address: self.address(), doing: "greeting it" };
        let greeting = async {
            let info = self.info.redis_settings();
            let (mut connection, driver) = MultiplexedConnection::new_with_config(info, socket, config).await?;
            let mut driver: Driver = Box::pin(driver);
            // The crate keeps the answer to its own HELLO to itself. A second one needs no permission, names
            // the connection without `CLIENT SETNAME`, and tells version and role.
            let mut hello = redis::cmd("HELLO");
            hello.arg(3).arg("SETNAME").arg(name);
            let answer = driven(&mut driver, hello.query_async::<Value>(&mut connection)).await?;
            Ok::<_, RedisError>((connection, driver, answer))
        };
        let (connection, driver, answer) =
            timeout(CONNECT_WAIT, greeting).await.map_err(|_| silent())?.map_err(|e| self.ungreeted(&e))?;
        let server = Server::of(&answer);
        if !server.young_enough() {
            return Err(ConnectError::TooOld { address: self.address(), version: server.version });
        }
        Ok(Wire { connection, driver, server })
    }

    async fn within<T>(
        &self,
        doing: &'static str,
        dial: impl Future<Output = std::io::Result<T>>,
    ) -> Result<T, ConnectError> {
        match timeout(CONNECT_WAIT, dial).await {
            Ok(dialled) => dialled.map_err(|why| self.refused(&why)),
            Err(_) => Err(ConnectError::Silent { address: self.address(), doing }),
        }
    }

    fn refused(&self, why: &dyn fmt::Display) -> ConnectError {
        ConnectError::Refused { address: self.address(), why: why.to_string() }
    }

    fn ungreeted(&self, error: &RedisError) -> ConnectError {
        match error.kind() {
            redis::ErrorKind::RESP3NotSupported => {
                ConnectError::TooOld { address: self.address(), version: "older than 6.0".into() }
            }
            redis::ErrorKind::Io => self.refused(&error),
            _ => ConnectError::Greeting { address: self.address(), why: error.to_string() },
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.address()).finish()
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

    /// A version that nobody can read is given the benefit of the doubt.
    fn young_enough(&self) -> bool {
        self.numbers().is_none_or(|numbers| numbers >= OLDEST)
    }
}

/// Waits for `answer` while the driver runs; a driver that ends leaves the answer's own error.
/// The driver comes first: after a pause of this whole process an answer that has arrived must be read
/// before the time limit on it strikes.
pub async fn driven<T>(driver: &mut Driver, answer: impl Future<Output = T>) -> T {
    match future::select(driver, std::pin::pin!(answer)).await {
        Either::Left(((), answer)) => answer.await,
        Either::Right((answer, _)) => answer,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

fn tune(socket: &TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = socket2::SockRef::from(socket);
    socket.set_tcp_keepalive(&keepalive())?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}

fn keepalive() -> socket2::TcpKeepalive {
    socket2::TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_EVERY).with_retries(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Secret;

    fn at(url: &str) -> Result<Endpoint, BadUrl> {
        Endpoint::parse(&settings::Redis { url: Secret::new(url), ..settings::Redis::default() })
    }

    fn hello(version: &str, role: &str) -> Server {
        let pair = |key: &str, value: &str| {
            (Value::BulkString(key.as_bytes().into()), Value::BulkString(value.as_bytes().into()))
        };
        Server::of(&Value::Map(vec![pair("server", "redis"), pair("version", version), pair("role", role)]))
    }

    #[test]
    fn a_server_older_than_6_2_is_refused_and_a_valkey_is_not() {
        assert!(!hello("6.0.16", "master").young_enough());
        assert!(!hello("5.9", "master").young_enough());
        for version in ["6.2.0", "7.2.4", "8.0.1", "10.0", "255.255.255", "unstable"] {
            assert!(hello(version, "master").young_enough(), "{version}");
        }
    }

    #[test]
    fn a_replica_is_told_from_a_master() {
        assert_eq!(hello("7.0.15", "replica").role, Role::Replica);
        assert_eq!(hello("7.0.15", "master").role, Role::Master);
    }

    #[test]
    fn redis_cli_is_led_where_the_gateway_goes_and_told_no_password() {
        let cli = |url: &str| cli(&settings::Redis { url: Secret::new(url), ..settings::Redis::default() });
        assert_eq!(cli("redis://127.0.0.1:6379"), "redis-cli");
        assert_eq!(cli("redis://127.0.0.1:7390"), "redis-cli -p 7390");
        assert_eq!(cli("redis://ada:secret@redis.example:6379/0"), "redis-cli -h redis.example --user ada --askpass");
        assert_eq!(cli("unix:///run/redis.sock"), "redis-cli -s /run/redis.sock");
    }

    #[test]
    fn an_address_never_shows_the_password() {
        let endpoint = at("redis://ada:secret@localhost:7000/2").unwrap();
        assert_eq!(endpoint.address(), "localhost:7000");
        assert_eq!(endpoint.user(), "ada");
        assert!(!format!("{endpoint:?}").contains("secret"));
    }

    #[test]
    fn a_url_that_leads_nowhere_is_named() {
        for url in ["", "localhost:6379", "http://localhost", "rediss://localhost"] {
            let bad = at(url).unwrap_err().to_string();
            assert!(bad.starts_with("redis.url is no URL of Redis"), "{bad}");
        }
        assert!(at("unix:///run/redis.sock").is_ok());
    }

    #[test]
    fn user_and_password_stand_in_for_what_the_url_leaves_open() {
        let keys = |url: &str| settings::Redis {
            url: Secret::new(url),
            username: "ada".into(),
            password: Secret::new("secret"),
            ..settings::Redis::default()
        };
        let endpoint = Endpoint::parse(&keys("redis://localhost")).unwrap();
        assert_eq!(endpoint.user(), "ada");
        assert_eq!(endpoint.info.redis_settings().password(), Some("secret"));
        let endpoint = Endpoint::parse(&keys("redis://bob:other@localhost")).unwrap();
        assert_eq!((endpoint.user(), endpoint.info.redis_settings().password()), ("bob", Some("other")));
    }
}
