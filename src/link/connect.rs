//! One connection to Redis: dialled by us, so that its socket options and its end are ours.

mod refusals;
mod server;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
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
use crate::link::login::{Credentials, Login};
use crate::link::names::Names;
use crate::link::reach::{Patience, race};
use crate::link::tls::Tls;
use crate::settings;

pub use server::{Role, Server};

use refusals::{missed, refused, too_old, ungreeted};
use server::OLDEST;

/// The longest that a server which is well takes to answer a question of ours.
pub const ANSWER: Duration = Duration::from_secs(1);

/// How long the kernel keeps trying to send what nobody acknowledges. Shorter than the canary's 3 s + 2 s
/// would cut links in a brownout; much longer would keep dead sockets.
const USER_TIMEOUT: Duration = Duration::from_secs(6);

/// A silent peer is asked after this long …
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// … and then this often.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(3);

/// Commands that may wait on one connection before those who send them wait for room.
const DEPTH: usize = 1024;

/// How a server is dialled: who we are there, and whether the way is encrypted.
#[derive(Clone)]
pub struct Dialer {
    login: Arc<Login>,
    tls: Option<Tls>,
    means: Means,
}

/// What every dial of the same settings shares.
#[derive(Clone)]
pub struct Means {
    /// How long each step may take.
    pub patience: Patience,
    /// Who looks names up.
    pub names: Names,
    /// Who counts how it goes.
    pub watch: Watch,
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

impl Means {
    /// As these settings have it.
    #[must_use]
    pub fn of(config: &settings::Redis, watch: &Watch) -> Self {
        let patience = Patience { lookup: config.lookup_timeout, connect: config.connect_timeout };
        Self { patience, names: Names::default(), watch: watch.clone() }
    }
}

impl Default for Means {
    fn default() -> Self {
        Self::of(&settings::Redis::default(), &Watch::default())
    }
}

impl Dialer {
    /// Dials nobody yet.
    #[must_use]
    pub fn new(login: Login, tls: Option<Tls>, means: Means) -> Self {
        Self { login: Arc::new(login), tls, means }
    }

    /// The user we are there.
    #[must_use]
    pub fn user(&self) -> String {
        self.login.last().username.unwrap_or_else(|| "default".into())
    }

    /// Whether a password goes with it.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.login.last().password.is_some()
    }

    /// The longest that [`connect`](Self::connect) takes.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.means.patience.whole()
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
        // Boxed: it is large and rare, and would be part of every publication's future.
        let dialled = Box::pin(self.dial(place, name, answer, pushed)).await;
        self.means.watch.saw(dialled.as_ref().err(), self.tls.as_ref());
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
                Ok::<_, Infallible>(())
            });
        match (place, &self.tls) {
            (Place::Unix(path), _) => {
                let socket = self.within(place, "dialling", UnixStream::connect(path)).await?;
                self.greet(place, socket, config, name).await
            }
            (Place::Tcp { host, port }, tls) => {
                let socket = self.reach(place, host, *port).await?;
                tune(&socket).map_err(|why| refused(place, &why))?;
                let Some(tls) = tls else { return self.greet(place, socket, config, name).await };
                tls.refresh().await;
                let shaking = "shaking hands (TLS; is that its TLS port?)";
                let socket = self.within(place, shaking, tls.wrap(place, host, socket)).await;
                let socket = socket.map_err(ConnectError::encrypting)?;
                self.greet(place, socket, config, name).await
            }
        }
    }

    async fn login(&self) -> RedisConnectionInfo {
        let Credentials { username, password } = self.login.now().await;
        // `CLIENT SETINFO` would need a permission of its own.
        let login = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
        let login = username.map_or(login.clone(), |name| login.set_username(name));
        let login = password.map_or(login.clone(), |password| login.set_password(password.reveal()));
        login.set_db(self.login.db)
    }

    /// Looks the name up, and connects to the first of its addresses that takes us.
    async fn reach(&self, place: &Place, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let Patience { lookup, connect } = self.means.patience;
        let found = self.means.names.find(host, port, lookup).await;
        let addresses = found.map_err(|unfound| ConnectError::unfound(host, lookup, unfound))?;
        race(&addresses, connect, TcpStream::connect).await.map_err(|misses| missed(place, connect, misses))
    }

    async fn within<T, E: fmt::Display>(
        &self,
        place: &Place,
        doing: &'static str,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, ConnectError> {
        let within = self.means.patience.connect;
        match timeout(within, step).await {
            Ok(done) => done.map_err(|why| refused(place, &why)),
            Err(_) => Err(ConnectError::Silent { address: place.to_string(), doing, within }),
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
        let login = self.login().await;
        let greeting = Box::pin(async {
            let (mut connection, driver) = MultiplexedConnection::new_with_config(&login, socket, config).await?;
            let mut driver = ending_once(driver);
            // The crate keeps the answer to its own HELLO to itself. A second one needs no permission, names
            // the connection without `CLIENT SETNAME`, and tells version and role.
            let mut hello = redis::cmd("HELLO");
            hello.arg(3).arg("SETNAME").arg(name);
            let answer = driven(&mut driver, hello.query_async::<Value>(&mut connection)).await?;
            Ok::<_, RedisError>((connection, driver, answer))
        });
        let greeted = self.within(place, "greeting it", async { Ok::<_, Infallible>(greeting.await) }).await?;
        let (connection, driver, answer) = greeted.map_err(|error| ungreeted(place, self.tls.is_some(), &error))?;
        let server = Server::of(&answer);
        if !server.is_at_least(OLDEST) {
            return Err(too_old(place, server.version));
        }
        Ok(Wire { place: place.clone(), connection, driver, server })
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

    #[tokio::test]
    async fn a_driver_that_ended_while_its_last_answer_was_taken_may_be_polled_again() {
        let mut driver = ending_once(async {});
        assert_eq!(driven(&mut driver, async { 7 }).await, 7);
        driver.await;
    }

    /// A listener whose queue is full answers no more than a host that is gone.
    #[tokio::test]
    async fn a_name_whose_first_address_is_dead_is_reached_by_its_second() {
        let dead = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        dead.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        dead.listen(0).unwrap();
        let gone = dead.local_addr().unwrap().as_socket().unwrap();
        let mut queue = Vec::new();
        while let Ok(Ok(socket)) = timeout(Duration::from_millis(300), TcpStream::connect(gone)).await {
            queue.push(socket);
        }
        let there = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let all = vec![gone, there.local_addr().unwrap()];
        let names = Names::with(move |_, _| future::ready(Ok(all.clone())).boxed());
        let patience = Patience { lookup: Duration::from_secs(5), connect: Duration::from_secs(30) };
        let means = Means { patience, names, watch: Watch::default() };
        let dialer = Dialer::new(Login::default(), None, means);
        let place = Place::Tcp { host: "redis".into(), port: 6379 };
        let began = std::time::Instant::now();
        let socket = dialer.reach(&place, "redis", 6379).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), there.local_addr().unwrap());
        assert!(began.elapsed() < patience.connect / 3, "it waited for the dead one: {:?}", began.elapsed());
    }
}
