//! A master, a replica and three Sentinels of the test's own, all on 127.0.0.1.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::redis::{RedisServer, free_port, signal};
use super::tls::Certificates;

/// What the Sentinels call the master.
pub const SERVICE: &str = "mymaster";

/// How long a master may be silent before it is replaced, in ms.
const DOWN_AFTER: u32 = 1_000;

/// Killed when dropped.
pub struct Watched {
    servers: Vec<RedisServer>,
    sentinels: Vec<Sentinel>,
    tls: bool,
}

struct Sentinel {
    port: u16,
    /// Where clients find it: its port for TLS, if it has one.
    listens: u16,
    password: &'static str,
    child: Child,
    _dir: TempDir,
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Watched {
    /// Starts all; none where [`RedisServer::start`] would not. The Sentinels log in as `watcher`, so that they
    /// can be shut out of a server that goes on answering others.
    pub fn start() -> Option<Self> {
        Self::start_guarded("")
    }

    /// The same with a password on the Sentinels themselves.
    pub fn start_guarded(password: &'static str) -> Option<Self> {
        let servers = (RedisServer::start()?, RedisServer::start()?);
        let port = servers.0.port();
        let guard = if password.is_empty() { String::new() } else { format!("requirepass {password}") };
        Some(Self::watching(servers, port, password, &guard, false))
    }

    /// The same where all is said by TLS.
    pub fn start_tls(certificates: &Certificates) -> Option<Self> {
        let all = ["--tls-replication", "yes"];
        let (master, port) = certificates.server_with("server", "no", &all)?;
        let (replica, _) = certificates.server_with("server", "no", &all)?;
        let path = |name: &str| certificates.path(name);
        let (ca, cert, key) = (path("ca.pem"), path("server.pem"), path("server.key"));
        let tls = format!(
            "tls-replication yes\ntls-auth-clients no\ntls-ca-cert-file {ca}\ntls-cert-file {cert}\ntls-key-file {key}"
        );
        Some(Self::watching((master, replica), port, "", &tls, true))
    }

    fn watching(
        (master, replica): (RedisServer, RedisServer),
        port: u16,
        password: &'static str,
        extra: &str,
        tls: bool,
    ) -> Self {
        for server in [&master, &replica] {
            server.cli(&["ACL", "SETUSER", "watcher", "on", ">watching", "allchannels", "+@all"]);
        }
        replica.cli(&["REPLICAOF", "127.0.0.1", &port.to_string()]);
        let sentinels = (0..3).map(|_| Sentinel::start(port, password, extra, tls)).collect();
        let watched = Self { servers: vec![master, replica], sentinels, tls };
        watched.until("all know each other", |watched| {
            watched.sentinels.iter().all(|sentinel| {
                let about = sentinel.cli(&["SENTINEL", "MASTER", SERVICE]);
                let field = |name: &str| about.lines().skip_while(|line| *line != name).nth(1);
                field("num-other-sentinels") == Some("2") && field("num-slaves") == Some("1")
            })
        });
        watched
    }

    /// `redis+sentinel://…/mymaster`.
    pub fn url(&self) -> String {
        let hosts: Vec<String> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.listens)).collect();
        let scheme = if self.tls { "rediss" } else { "redis" };
        format!("{scheme}+sentinel://{}/{SERVICE}", hosts.join(","))
    }

    /// The servers: at first the master comes first.
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The port of the master in the word of all Sentinels; none while they disagree.
    pub fn named(&self) -> Option<u16> {
        let mut words = self.sentinels.iter().map(|sentinel| {
            let answer = sentinel.cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]);
            answer.lines().nth(1).and_then(|port| port.parse::<u16>().ok())
        });
        let first = words.next()??;
        words.all(|word| word == Some(first)).then_some(first)
    }

    /// Asks for a failover, and waits until all Sentinels name the other server.
    pub fn fail_over(&self) {
        self.until("a failover is taken up", |watched| {
            watched.sentinels[0].cli(&["SENTINEL", "FAILOVER", SERVICE]) == "OK"
        });
        self.until_named(1);
    }

    /// Shuts the Sentinels out of a server: they take it for dead, and it goes on as it was.
    pub fn shut_out(&self, server: usize) {
        self.servers[server].cli(&["ACL", "SETUSER", "watcher", "off"]);
        // Whoever fails to log in is the default user still.
        self.servers[server].cli(&["ACL", "SETUSER", "default", "-ping", "-info", "-slaveof", "-replicaof"]);
        self.servers[server].cli(&["CLIENT", "KILL", "USER", "watcher"]);
    }

    /// Waits until all Sentinels name a server as the master.
    pub fn until_named(&self, server: usize) {
        self.until("all name the new master", |watched| watched.named() == Some(watched.servers[server].port()));
    }

    /// Lets all Sentinels name another master, whatever is there.
    pub fn name(&self, port: u16) {
        for sentinel in &self.sentinels {
            sentinel.cli(&["SENTINEL", "REMOVE", SERVICE]);
            sentinel.cli(&["SENTINEL", "MONITOR", SERVICE, "127.0.0.1", &port.to_string(), "2"]);
        }
        self.until("all name it", |watched| watched.named() == Some(port));
    }

    /// Ends one Sentinel.
    pub fn kill_sentinel(&mut self) {
        self.sentinels.pop();
    }

    /// SIGSTOP to all Sentinels: who dials them is taken by the kernel, and hears nothing.
    pub fn freeze_sentinels(&self) {
        self.sentinels.iter().for_each(|sentinel| signal("-STOP", sentinel.child.id()));
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds(self) {
            assert!(Instant::now() < deadline, "in 30 s not: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Sentinel {
    fn start(master: u16, password: &'static str, extra: &str, tls: bool) -> Self {
        let (dir, port, secret) = (tempfile::tempdir().unwrap(), free_port(), free_port());
        let (extra, listens) =
            if tls { (format!("{extra}\ntls-port {secret}"), secret) } else { (extra.to_owned(), port) };
        let file = dir.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\n\
             sentinel monitor {SERVICE} 127.0.0.1 {master} 2\n\
             sentinel auth-user {SERVICE} watcher\nsentinel auth-pass {SERVICE} watching\n\
             sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}\n\
             sentinel failover-timeout {SERVICE} 5000\n{extra}\n",
            dir.path().display()
        );
        std::fs::write(&file, text).unwrap();
        let child = Command::new("redis-server").arg(&file).arg("--sentinel").stdout(Stdio::null()).spawn().unwrap();
        let sentinel = Self { port, listens, password, child, _dir: dir };
        let deadline = Instant::now() + Duration::from_secs(10);
        while sentinel.cli(&["PING"]).is_empty() {
            assert!(Instant::now() < deadline, "a Sentinel does not answer on port {port}");
            std::thread::sleep(Duration::from_millis(5));
        }
        sentinel
    }

    fn cli(&self, args: &[&str]) -> String {
        let port = self.port.to_string();
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &port]).args(args);
        if !self.password.is_empty() {
            command.env("REDISCLI_AUTH", self.password);
        }
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }
}
