//! One connection to Redis: dialled by us, so that its socket options and its end are ours.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{self, Either, FusedFuture, FutureExt};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, RedisConnectionInfo, RedisError, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::link::address::Place;
use crate::link::failure::{ConnectError, Watch};
use crate::link::tls::{self, Tls};
use crate::settings::Secret;

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

/// Commands that may wait on one connection before those who send them wait for room.
const DEPTH: usize = 1024;

/// How a server is dialled: who we are there, and whether the way is encrypted.
#[derive(Clone)]
pub struct Dialer {
    login: RedisConnectionInfo,
    tls: Option<Tls>,
    watch: Watch,
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
    /// Where it leads.
    pub place: Place,
    /// Sends commands.
    pub connection: MultiplexedConnection,
    /// Reads and writes the socket.
    pub driver: Driver,
    /// Who answered.
    pub server: Server,
}

impl Dialer {
    /// Logs in with these; an empty name is the default user's.
    #[must_use]
    pub fn new(username: Option<&str>, password: Option<&Secret>, db: i64, tls: Option<Tls>, watch: Watch) -> Self {
        // `CLIENT SETINFO` would need a permission of its own.
        let login = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
        let login = username.map_or(login.clone(), |name| login.set_username(name));
        let login = password.map_or(login.clone(), |password| login.set_password(password.reveal()));
        Self { login: login.set_db(db), tls, watch }
    }

    /// The user we are there.
    #[must_use]
    pub fn user(&self) -> &str {
        self.login.username().unwrap_or("default")
    }

    /// Whether a password goes with it.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.login.password().is_some()
    }

    /// Dials, greets, and is called `name` in `CLIENT LIST`. Commands on the connection are given up after
    /// `answer`; pushes go to `pushed`, called by the driver, which must not block.
    ///
    /// # Errors
    /// What stands between us and a usable server.
    pub async fn connect<F>(&self, place: &Place, name: &str, answer: Duration, pushed: F) -> Result<Wire, ConnectError>
    where
        F: Fn(PushInfo) + Send + Sync + 'static,
    {
        let dialled = self.dial(place, name, answer, pushed).await;
        self.watch.saw(dialled.as_ref().err(), self.tls.as_ref());
        dialled
    }

    async fn dial<F>(&self, place: &Place, name: &str, answer: Duration, pushed: F) -> Result<Wire, ConnectError>
    where
        F: Fn(PushInfo) + Send + Sync + 'static,
    {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(answer))
            .set_pipeline_buffer_size(DEPTH)
            .set_push_sender(move |push| {
                pushed(push);
                Ok::<_, std::convert::Infallible>(())
            });
        match (place, &self.tls) {
            (Place::Unix(path), _) => {
                let socket = within(place, "dialling", UnixStream::connect(path)).await?;
                self.greet(place, socket, config, name).await
            }
            (Place::Tcp { host, port }, tls) => {
                let socket = within(place, "dialling", TcpStream::connect((host.as_str(), *port))).await?;
                tune(&socket).map_err(|why| refused(place, &why))?;
                let Some(tls) = tls else { return self.greet(place, socket, config, name).await };
                let socket =
                    within(place, "shaking hands (TLS; is that its TLS port?)", tls.wrap(place, host, socket)).await;
                let socket = socket.map_err(ConnectError::encrypting)?;
                self.greet(place, socket, config, name).await
            }
        }
    }

    async fn greet<S>(
        &self,
        place: &Place,
        socket: S,
        config: AsyncConnectionConfig,
        name: &str,
    ) -> Result<Wire, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let greeting = async {
            let (mut connection, driver) = MultiplexedConnection::new_with_config(&self.login, socket, config).await?;
            let mut driver = ending_once(driver);
            // The crate keeps the answer to its own HELLO to itself. A second one needs no permission, names
            // the connection without `CLIENT SETNAME`, and tells version and role.
            let mut hello = redis::cmd("HELLO");
            hello.arg(3).arg("SETNAME").arg(name);
            let answer = driven(&mut driver, hello.query_async::<Value>(&mut connection)).await?;
            Ok::<_, RedisError>((connection, driver, answer))
        };
        let silent = || ConnectError::Silent { address: place.to_string(), doing: "greeting it" };
        let greeted = timeout(CONNECT_WAIT, greeting).await.map_err(|_| silent())?;
        let (connection, driver, answer) = greeted.map_err(|error| self.ungreeted(place, &error))?;
        let server = Server::of(&answer);
        if !server.is_at_least(OLDEST) {
            return Err(too_old(place, server.version));
        }
        Ok(Wire { place: place.clone(), connection, driver, server })
    }

    fn ungreeted(&self, place: &Place, error: &RedisError) -> ConnectError {
        match error.kind() {
            redis::ErrorKind::RESP3NotSupported => too_old(place, "older than 6.0".into()),
            redis::ErrorKind::Io if self.tls.is_some() => match tls::alerted(&error.to_string()) {
                Some(why) => ConnectError::Tls { address: place.to_string(), why },
                None => refused(place, error),
            },
            redis::ErrorKind::Io | redis::ErrorKind::Parse if self.tls.is_none() => {
                refused(place, &format_args!("{error} (does it expect TLS? write rediss://)"))
            }
            _ if denies(error) => ConnectError::Denied { address: place.to_string(), why: error.to_string() },
            _ => ConnectError::Greeting { address: place.to_string(), why: error.to_string() },
        }
    }
}

/// Whether it is our user that Redis does not want.
fn denies(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
}

fn too_old(place: &Place, version: String) -> ConnectError {
    ConnectError::TooOld { address: place.to_string(), version, needs: "Redis 6.2, Valkey 7.2" }
}

fn refused(place: &Place, why: &dyn fmt::Display) -> ConnectError {
    ConnectError::Refused { address: place.to_string(), why: why.to_string() }
}

async fn within<T, E: fmt::Display>(
    place: &Place,
    doing: &'static str,
    dial: impl Future<Output = Result<T, E>>,
) -> Result<T, ConnectError> {
    match timeout(CONNECT_WAIT, dial).await {
        Ok(dialled) => dialled.map_err(|why| refused(place, &why)),
        Err(_) => Err(ConnectError::Silent { address: place.to_string(), doing }),
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

/// A driver that has ended stays so: an answer that came with the end of the connection is taken, and its
/// driver is polled again afterwards.
fn ending_once(driver: impl Future<Output = ()> + Send + 'static) -> Driver {
    let mut driver = Box::pin(driver.fuse());
    Box::pin(future::poll_fn(move |cx| if driver.is_terminated() { Poll::Ready(()) } else { driver.poll_unpin(cx) }))
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

    #[tokio::test]
    async fn a_driver_that_ended_while_its_last_answer_was_taken_may_be_polled_again() {
        let mut driver = ending_once(async {});
        assert_eq!(driven(&mut driver, async { 7 }).await, 7);
        driver.await;
    }

    #[test]
    fn a_replica_is_told_from_a_master() {
        assert_eq!(hello("7.0.15", "replica").role, Role::Replica);
        assert_eq!(hello("7.0.15", "master").role, Role::Master);
    }
}
