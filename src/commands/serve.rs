//! `fanline serve`: runs the gateway until a signal, and reloads on SIGHUP.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use fanline::config::{Loaded, Sources};
use fanline::link;
use fanline::metrics::Metrics;
use fanline::server::{Reload, Server, StartError, Stop};
use fanline::settings::{self, Settings};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::logging::{self, Logs, Writer};
use super::notify::{self, Manager};
use super::{CONFIG, UNAVAILABLE};

pub fn serve(loaded: &Loaded, sources: &Sources, descriptors: usize) -> anyhow::Result<ExitCode> {
    let metrics = Arc::new(Metrics::new());
    // Outlives the runtime, so that the last task's lines leave, too.
    let logs = logging::start(&loaded.settings.log, &metrics).context("no log")?;
    loaded.warnings.iter().for_each(|warning| warn!("{warning}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        match Server::bind(loaded.settings.clone(), descriptors, metrics).await {
            Ok(server) => run(server, loaded, sources, &logs).await,
            Err(error) => {
                logs.say(&format!("fanline: {error}{}", mend(&error, loaded)));
                Ok(ExitCode::from(if matches!(error, StartError::Redis(_)) { CONFIG } else { UNAVAILABLE }))
            }
        }
    })
}

/// Where the address that cannot be bound comes from: `PORT` is no key that one finds in the file.
fn mend(error: &StartError, loaded: &Loaded) -> String {
    match error {
        StartError::Bind { key, .. } => match loaded.origin(key) {
            None => format!("; set {key} to another address"),
            Some(origin) => format!("; {origin} says so: set another one there"),
        },
        StartError::Redis(_) => String::new(),
    }
}

async fn run(server: Server, loaded: &Loaded, sources: &Sources, logs: &Logs) -> anyhow::Result<ExitCode> {
    // Before anybody hears that it is there: a signal that nobody listens for ends the process.
    let signals = Signals::listen()?;
    let (public, internal) = (server.public_address()?, server.internal_address()?);
    let _said = announce(&loaded.settings, public, internal)?;
    let (stop, stopped) = oneshot::channel();
    let (reload, vitals) = (server.reload(sources, loaded), server.vitals());
    let serving = server.run(async { stopped.await.unwrap_or(Stop::Supervisor) });
    let (manager, errand) = notify::manager();
    manager.ready(&format!("public {public}, internal {internal}"));
    tokio::select! {
        // What is to be told leaves before the server is seen to have ended.
        biased;
        never = errand.run(vitals) => match never {},
        code = signals.obey(stop, reload, logs, &loaded.settings.drain, &manager) => Ok(code),
        () = serving => Ok(ExitCode::SUCCESS),
    }
}

/// Says what was bound, and how to try it; whoever does not read that holds up nobody.
fn announce(settings: &Settings, public: SocketAddr, internal: SocketAddr) -> io::Result<Writer> {
    let stdout = Writer::start(io::stdout(), |_| ())?;
    // Never fails: what the writer does not take is dropped.
    let _ = stdout.lines().write_all(greeting(settings, public, internal).as_bytes());
    info!(%public, %internal, redis = !settings.redis.url.is_empty(), "listening");
    if settings.redis.sharded {
        info!("{SHARDED}");
    }
    Ok(stdout)
}

const SHARDED: &str = "redis.sharded is on: producers must SPUBLISH; what they PUBLISH reaches nobody";
const ALONE: &str =
    "no Redis is configured: publications stay in this process (set REDIS_URL to share them between replicas)";

fn greeting(settings: &Settings, public: SocketAddr, internal: SocketAddr) -> String {
    let (fanline, port) = (program(), public.port());
    let sharded = settings.redis.sharded;
    let (publish, last) = match settings.redis.url.is_empty() {
        true => (format!("{fanline} publish{} ", elsewhere(internal)), Some(ALONE)),
        false => {
            let (redis, prefix) = (link::endpoint::cli(&settings.redis), &settings.redis.prefix);
            let publish = if sharded { "SPUBLISH" } else { "PUBLISH" };
            (format!("{redis} {publish} {prefix}"), sharded.then_some(SHARDED))
        }
    };
    let first =
        format!("fanline {} listens: public ws://{public}  internal http://{internal}", env!("CARGO_PKG_VERSION"));
    let hear = format!("  hear a topic:       {fanline} listen 'ws://localhost:{port}/ws?topic=hello'");
    let tell = format!("  publish to it:      {publish}hello 'Hello, world'");
    [&first, &hear, &tell].into_iter().map(String::as_str).chain(last).map(|line| format!("{line}\n")).collect()
}

/// The flag that leads to this internal listener, where it is not the default one.
fn elsewhere(internal: SocketAddr) -> String {
    match internal.to_string() == settings::Internal::default().listen {
        true => String::new(),
        false => format!(" --internal-listen {internal}"),
    }
}

/// How this program is called from here: by its name where the shell would find it, else by its path.
fn program() -> String {
    let Ok(path) = std::env::current_exe() else { return "fanline".into() };
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&dirs).any(|dir| dir.join("fanline").canonicalize().is_ok_and(|it| it == path));
    if found {
        return "fanline".into();
    }
    let here = std::env::current_dir().ok().and_then(|here| Some(path.strip_prefix(here).ok()?.to_owned()));
    here.unwrap_or(path).display().to_string()
}

/// What the process is told from outside.
struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("no signal handler");
        Ok(Self {
            term: listen(SignalKind::terminate())?,
            int: listen(SignalKind::interrupt())?,
            hup: listen(SignalKind::hangup())?,
        })
    }

    /// The first SIGTERM or SIGINT drains, the second ends at once; SIGHUP reloads.
    async fn obey(
        mut self,
        stop: oneshot::Sender<Stop>,
        mut reload: Reload,
        logs: &Logs,
        drain: &settings::Drain,
        manager: &Manager,
    ) -> ExitCode {
        let mut stop = Some(stop);
        loop {
            let by = tokio::select! {
                _ = self.hup.recv() => {
                    if stop.is_none() {
                        info!("SIGHUP while draining: nothing is read again");
                        continue;
                    }
                    manager.reloading();
                    logs.set(&reload.again().log.level);
                    manager.reloaded();
                    continue;
                }
                _ = self.term.recv() => Stop::Supervisor,
                _ = self.int.recv() => Stop::Terminal,
            };
            let Some(stop) = stop.take() else {
                warn!("second signal: ending at once");
                return ExitCode::FAILURE;
            };
            // Nobody hears it only where the server has ended by itself.
            let _ = stop.send(by);
            manager.stopping(drain);
        }
    }
}
