//! What each command does; what it needs stands in the library.

mod logging;
mod notify;
mod serve;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Context;
use fanline::cli::{Cli, Command};
use fanline::config::{self, Limits, Loaded, Sources};
use fanline::identity::Replica;
use fanline::link::doctor::Level;
use fanline::{broker, client, link};

/// The configuration cannot be used (`EX_USAGE` of sysexits.h).
const CONFIG: u8 = 64;
/// An address cannot be bound (`EX_UNAVAILABLE`).
const UNAVAILABLE: u8 = 69;

/// Carries out the command.
pub fn run(cli: &Cli, descriptors: usize) -> anyhow::Result<ExitCode> {
    let sources = sources(cli, descriptors);
    if let Command::Listen { url, count } = cli.task() {
        return block_on(client::listen(&url, count)).map(|()| ExitCode::SUCCESS);
    }
    let loaded = match config::load(&sources) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            complain(&format!("fanline: the configuration cannot be used:\n{mistakes}"));
            return Ok(ExitCode::from(CONFIG));
        }
    };
    match cli.task() {
        Command::Serve => serve::serve(&loaded, &sources, descriptors),
        Command::CheckConfig { connect } => check(&loaded, connect),
        Command::PrintConfig => {
            say(config::print(&loaded.settings).trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Which { topic } => which(&loaded, &topic),
        Command::Publish { topic, text } => {
            twice_prefixed(&loaded, &topic, "publish");
            say(&block_on(client::publish(&loaded.settings, &topic, &text))?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Healthcheck => {
            say(&block_on(client::healthcheck(&loaded.settings))?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Listen { .. } => Ok(ExitCode::SUCCESS),
    }
}

fn sources(cli: &Cli, descriptors: usize) -> Sources {
    Sources {
        file: cli.settings.config.clone(),
        env: config::environment(),
        flags: cli.settings.overrides(),
        limits: Limits { descriptors: u64::try_from(descriptors).ok() },
    }
}

fn check(loaded: &Loaded, connect: bool) -> anyhow::Result<ExitCode> {
    for warning in &loaded.warnings {
        say(&format!("warning: {warning}"))?;
    }
    let source =
        loaded.file.as_ref().map_or_else(|| "no configuration file".to_owned(), |file| file.display().to_string());
    say(&format!("the configuration is good ({source})"))?;
    let redis = &loaded.settings.redis;
    if !connect {
        return Ok(ExitCode::SUCCESS);
    }
    if redis.url.is_empty() {
        say("no Redis is configured: nothing to connect to (set redis.url or REDIS_URL)")?;
        return Ok(ExitCode::SUCCESS);
    }
    let histories = loaded.settings.topics.keeps_histories();
    let replica = Replica::new("check-config");
    let findings = block_on(async { Ok(link::doctor::check(redis, &replica, histories).await) })?;
    findings.iter().try_for_each(|finding| say(&finding.to_string()))?;
    let failed = findings.iter().any(|finding| finding.level == Level::Bad);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn which(loaded: &Loaded, topic: &str) -> anyhow::Result<ExitCode> {
    let topic = fanline::topic::Topic::parse(topic).with_context(|| format!("{topic:?} is no topic"))?;
    twice_prefixed(loaded, topic.as_str(), "which");
    let rule = loaded.settings.topics.rule(topic.as_str());
    say(&format!("topic   {topic}\nrule    match = {:?}", rule.matches))?;
    let home = broker::redis::home(&loaded.settings.redis, &topic);
    say(&match loaded.settings.redis.url.is_empty() {
        true => "home    this process (no Redis is configured)".to_owned(),
        false => format!("channel {}\nhome    {}\nlink    {}", home.channel, home.address, home.link),
    })?;
    if rule.keeps_history() && !home.address.is_empty() {
        say(&format!("publish FCALL {} 1 {} PAYLOAD", home.function, home.channel))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Says so where a channel seems to be given for a topic: as a topic it is another one.
fn twice_prefixed(loaded: &Loaded, topic: &str, command: &str) {
    let prefix = &loaded.settings.redis.prefix;
    let inner = topic.strip_prefix(prefix.as_str()).filter(|inner| !prefix.is_empty() && !inner.is_empty());
    if let Some(inner) = inner {
        complain(&format!(
            "note: {topic} begins with redis.prefix = {prefix:?}, so its channel is {prefix}{topic}; for the channel {topic} write: fanline {command} {inner}"
        ));
    }
}

/// Prints lines. Whoever has read enough, as `head` has, is no mistake.
fn say(lines: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(format!("{lines}\n").as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot print"),
        _ => Ok(()),
    }
}

/// Prints lines to stderr, where somebody reads it: there is nobody else to tell.
pub fn complain(lines: &str) {
    let _ = io::stderr().write_all(format!("{lines}\n").as_bytes());
}

fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?.block_on(future)
}
